"""Where ffedge keeps what it unpacks and downloads, and how it writes there.

An unpacked file is found by the sha256 of the file that it came from: a changed source is never served stale. Its own
sha256 stands beside it: one that was damaged is unpacked again.
"""

import atexit
import functools
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import IO

from ffedge.data.rows import open_to_read
from ffedge.errors import DataError
from ffedge.files import atomic_file, writing

CHUNK_BYTES = 1 << 16
SPARE_BYTES = 4 << 20
MAX_RATIO = 100
TO_MEND = "set FFEDGE_CACHE to another folder"


def cache_folder() -> Path:
    """Return ``$FFEDGE_CACHE``, or ``ffedge`` in ``$XDG_CACHE_HOME`` or ``~/.cache``; it need not exist."""
    if folder := os.environ.get("FFEDGE_CACHE"):
        return Path(folder)
    if base := os.environ.get("XDG_CACHE_HOME"):
        return Path(base) / "ffedge"
    try:
        return Path.home() / ".cache" / "ffedge"
    except RuntimeError:  # a user without a home, as in some containers
        return _temporary_folder()


def writable_folder(*parts: str) -> Path:
    """Create and return a folder of the cache or, where that is read-only, one that is removed at exit."""
    for base in (cache_folder, _temporary_folder):
        try:
            folder = base().joinpath(*parts)
            folder.mkdir(parents=True, exist_ok=True)
        except OSError:
            continue
        if os.access(folder, os.W_OK | os.X_OK):
            return folder
    raise DataError("neither the cache nor a temporary folder can be written. Set FFEDGE_CACHE to one that can.")


@contextmanager
def passing_folder() -> Iterator[Path]:
    """Yield a new folder in the cache, which goes when the block ends; DataError where it cannot be written."""
    place = writable_folder("temporary")
    with filling(place), tempfile.TemporaryDirectory(dir=place) as folder:
        yield Path(folder)


@functools.cache
def _temporary_folder() -> Path:
    folder = tempfile.mkdtemp(prefix="ffedge-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


def filling(place: Path) -> AbstractContextManager[None]:
    """Turn what goes wrong while something is written in the cache into a DataError of one line."""
    return writing(place, TO_MEND, DataError)


@contextmanager
def reading(name: object) -> Iterator[None]:
    """Turn what goes wrong while a file is read into a DataError of one line."""
    try:
        yield
    except OSError as error:
        raise DataError(f"{name}: cannot be read ({error.strerror}). Check the disk.") from error


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file's bytes, in hexadecimal.

    Raises
    ------
    DataError
        If the file cannot be read.
    """
    with os.fdopen(open_to_read(path), "rb", buffering=0) as file, reading(path):
        return hashlib.file_digest(file, "sha256").hexdigest()


def unpack(
    file: IO[bytes], name: str, member: str, chunks: Callable[[], Iterable[bytes]], n_bytes: int
) -> tuple[Path, str]:
    """Write one unpacked member of a file to the cache, unless it is there; return where it stands, and its sha256.

    Parameters
    ----------
    file : the packed one, open: what is hashed is what is unpacked, also where another file takes its name meanwhile.
    name : what errors call it.
    member : plain file name of the result.
    chunks : gives the unpacked bytes; called only if they are not in the cache.
    n_bytes : how many there must be. Reading stops beyond it.

    Raises
    ------
    DataError
        There are fewer or more bytes, or the cache cannot be written; or there are over 4 MiB, more than 100 times
        those of the source, so that a small file cannot fill the disk, nor its labels the memory.
    """
    packed = os.fstat(file.fileno()).st_size
    if n_bytes > max(SPARE_BYTES, MAX_RATIO * packed):
        raise DataError(
            f"{name}: unpacks to {n_bytes >> 20} MiB, {n_bytes // packed} times its size, as a bomb would. "
            "If you trust it, unpack it and pass what comes of it."
        )
    file.seek(0)
    with reading(name):
        digest = hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
    target = writable_folder("unpacked", digest) / member
    beside = target.with_name(f"{member}.sha256")
    if target.is_file() and beside.is_file() and beside.read_bytes() == (found := sha256_of(target)).encode():
        return target, found
    found = write_whole(target, chunks(), n_bytes, name)
    with atomic_file(beside, TO_MEND, DataError) as temporary:
        temporary.write_text(found)
    return target, found


def write_whole(target: Path, chunks: Iterable[bytes], n_bytes: int, source: str, sha256: str = "") -> str:
    """Write a file of exactly `n_bytes`, and of this sha256 where one is given, whole or not at all; return its sha256.

    Raises
    ------
    DataError
        `source`, which is named, has other bytes, or the disk is full.
    """
    remedy, count, digest = f"{TO_MEND}: it takes {(n_bytes >> 20) + 1} MiB", 0, hashlib.sha256()
    with atomic_file(target, remedy, DataError) as temporary, temporary.open("wb") as out:
        for chunk in chunks:
            count += len(chunk)
            if count > n_bytes:
                break
            digest.update(chunk)
            out.write(chunk)
        if count != n_bytes:
            more = "more" if count > n_bytes else f"{count}"
            raise DataError(
                f"{source}: is corrupt: it should unpack to {n_bytes} bytes, it has {more}. Copy or download it again."
            )
        got = digest.hexdigest()
        if sha256 and got != sha256:
            raise DataError(
                f"{source}: is not the expected file (its unpacked sha256 is {got}, not {sha256}). "
                "Get the file elsewhere and pass its folder as `data_dir`."
            )
    return got
