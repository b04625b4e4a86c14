"""Files that take their place whole, locks that end with their process, and files without a name.

What is being written stands beside its place as ``.NAME.tmp``, locked. A killed process leaves it there unlocked, and
the next one that writes the same file begins it anew: no left-over outlives that.
"""

import contextlib
import errno
import fcntl
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO, BinaryIO

from ffedge.errors import FfedgeError

REMEDY = "choose another place"
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)  # of a file system that has none: nobody is kept out
NO_FOLDER_SYNC = (errno.EINVAL, errno.EBADF, errno.ENOSYS, errno.EOPNOTSUPP)  # of one that cannot sync folders
MOUNTS = Path("/proc/self/mountinfo")


@contextlib.contextmanager
def writing(place: Path, remedy: str = REMEDY, kind: type[FfedgeError] = FfedgeError) -> Iterator[None]:
    """Turn what goes wrong while something is written into one line, which ends with the remedy.

    Raises
    ------
    FfedgeError
        The disk is full, or `place` cannot be written; of this `kind`.
    """
    try:
        yield
    except OSError as error:
        why, full = error.strerror or str(error), error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        what_to_do = f"Free space there, or {remedy}" if full else remedy[0].upper() + remedy[1:]
        raise kind(f"{place}: cannot be written ({why}). {what_to_do}") from error


@contextlib.contextmanager
def atomic_file(
    path: Path, remedy: str = REMEDY, kind: type[FfedgeError] = FfedgeError, like: Path | None = None
) -> Iterator[Path]:
    """Yield a path to write to; the file then takes its place whole or not at all, even if power fails.

    The new file has the owner and the permissions of the one that it replaces, or else of the file `like`. A link stays
    one: what it leads to is replaced. If another process is writing the same file, this one waits until it is done.

    Raises
    ------
    FfedgeError
        The disk is full, the folder cannot be written, or the place holds what cannot be replaced; of this `kind`.
    """
    with writing(path, remedy, kind), replacing(path, like=like) as temporary:
        yield temporary


@contextlib.contextmanager
def replacing(
    path: Path, guard: Callable[[], AbstractContextManager[None]] = contextlib.nullcontext, like: Path | None = None
) -> Iterator[Path]:
    """Do what `atomic_file` does; the block's own errors pass, and only what is done around it is guarded."""
    with guard():
        target = replaceable(path)
        temporary = target.with_name(f".{target.name}.tmp")
        descriptor = _hold(temporary, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW)
    try:
        try:
            with guard():
                os.ftruncate(descriptor, 0)  # what a killed process had written
                _liken(descriptor, like if like is not None and not target.exists() else target)
            yield temporary
            with guard():
                sync(temporary)
                temporary.replace(target)
        except BaseException:
            with contextlib.suppress(OSError):  # the next one that writes it begins it anew
                temporary.unlink()
            raise
        confirm(target)
    finally:
        os.close(descriptor)


def regular_file(path: Path) -> BinaryIO:
    """Open a file to read; what is none, such as a pipe that might never say anything, is not waited for.

    Raises
    ------
    OSError
        It cannot be opened, or is no regular file.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is no regular file")
    return open(descriptor, "rb")


def behind_links(path: Path) -> Path:
    """Return the file that a link leads to; another path as it is."""
    return Path(os.path.realpath(path)) if path.is_symlink() else path


def replaceable(path: Path) -> Path:
    """Return the file that a path leads to, which need not exist.

    Raises
    ------
    FfedgeError
        It is no regular file, or it is mounted by itself: neither can be replaced by another file.
    """
    target = behind_links(path)
    if target.exists():
        if not target.is_file():
            raise FfedgeError(f"{path}: is no regular file, and nothing can take its place. Choose another path")
        if _is_mount(target):
            raise FfedgeError(f"{path}: is mounted as a single file, and nothing can take its place. Mount its folder")
    return target


def stands(path: Path, before: os.stat_result) -> bool:
    """Tell whether a path still leads to the file that stood there before, unchanged."""
    try:
        now = path.stat()
    except FileNotFoundError:
        return False
    return all(getattr(now, name) == getattr(before, name) for name in ("st_dev", "st_ino", "st_size", "st_mtime_ns"))


def sync(path: Path) -> None:
    """Force a file, or a folder's list of files, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def confirm(path: Path) -> None:
    """Force a file's new name to the disk.

    Raises
    ------
    FfedgeError
        The disk does not confirm it. The file stands there all the same, and the message says so.
    """
    try:
        sync(path.parent)
    except OSError as error:
        if error.errno not in NO_FOLDER_SYNC:
            text = f"{path}: stands in its place, but the disk does not confirm it ({error.strerror}). Check the disk"
            raise FfedgeError(text) from error


@contextlib.contextmanager
def in_turn(path: Path) -> Iterator[None]:
    """Let one process at a time move what belongs to a file; the others wait, and a killed one holds nobody up.

    Raises
    ------
    OSError
        The folder cannot be written.
    """
    lock = path.with_name(f".{path.name}.lock.tmp")
    descriptor = _hold(lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            lock.unlink()
        os.close(descriptor)


@contextlib.contextmanager
def locked(folder: Path, busy: str) -> Iterator[None]:
    """Keep other processes that lock a folder out of it; it is made where there is none.

    Raises
    ------
    FfedgeError
        Another process is in it; the message is `busy`.
    OSError
        It cannot be made.
    """
    try:
        descriptor = _hold(folder, os.O_RDONLY | os.O_DIRECTORY, fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise FfedgeError(busy) from error
    try:
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def nameless_file(folder: Path) -> Iterator[tuple[IO[bytes], Path]]:
    """Yield a new file in a folder that has no name, and a path that opens it until the block ends.

    However the process ends, the file goes when its last descriptor and map do.

    Raises
    ------
    OSError
        The folder cannot be written.
    """
    import tempfile  # which brings compression and random numbers; a device that predicts needs none of it

    with quietly_closed(tempfile.TemporaryFile(dir=folder)) as file:
        yield file, Path(f"/dev/fd/{file.fileno()}")


@contextlib.contextmanager
def quietly_closed(file: IO[bytes]) -> Iterator[IO[bytes]]:
    """Yield a file, and close it without a word of what a full disk did not take; what was flushed is safe."""
    try:
        yield file
    finally:
        with contextlib.suppress(OSError):
            file.close()


@contextlib.contextmanager
def reserved_file(size: int, folder: Path) -> Iterator[IO[bytes]]:
    """Yield a file of zeros without a name.

    Raises
    ------
    OSError
        The disk is full, or the folder cannot be written.
    """
    with nameless_file(folder) as (file, _):
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, size)  # a hole in the file would be a crash on a full disk, later
        else:
            file.truncate(size)
        yield file


def free_bytes(folder: Path) -> int | None:
    """Return the room on the disk of a folder, which need not exist yet; None where the system does not tell."""
    there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    system = os.statvfs(there)
    return system.f_bavail * system.f_frsize if system.f_blocks else None


def make_folder(path: Path) -> None:
    """Make a folder, and those it lies in, where it is not there yet.

    Raises
    ------
    OSError
        Something else stands there, as a link to what is gone, or the folder above cannot be written.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        if path.is_symlink() and not path.exists():
            raise FileNotFoundError(errno.ENOENT, f"it is a link to {os.readlink(path)}, which is not there") from error
        raise


def _hold(path: Path, flags: int, mode: int = 0) -> int:
    """Open and lock a path; the lock goes with the process, however it ends."""
    while True:
        if flags & os.O_DIRECTORY:
            make_folder(path)
        descriptor = os.open(path, flags, 0o666)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | mode)
            except OSError as error:
                if error.errno not in NO_LOCKS:
                    raise
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(descriptor), path.stat()):  # a folder may be a link; no file opens as one
                    return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # the one before has moved or removed it meanwhile


def _liken(descriptor: int, other: Path) -> None:
    """Give a file the owner and the permissions of another, where there is one, as far as that is allowed."""
    with contextlib.suppress(FileNotFoundError):
        before = other.stat()
        with contextlib.suppress(PermissionError):
            os.fchown(descriptor, before.st_uid, before.st_gid)
        with contextlib.suppress(PermissionError):
            os.fchmod(descriptor, stat.S_IMODE(before.st_mode))


def _is_mount(path: Path) -> bool:
    name = "".join(f"\\{ord(char):03o}" if char in " \t\n\\" else char for char in os.path.realpath(path))
    with contextlib.suppress(OSError):
        return any(line.split()[4] == name for line in MOUNTS.read_text(errors="surrogateescape").splitlines())
    return False
