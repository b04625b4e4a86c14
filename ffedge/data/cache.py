"""Where ffedge keeps what it unpacks and downloads, and how it writes there.

An unpacked file is found by the sha256 of the file that it came from: a changed source is never served stale.
"""

import atexit
import functools
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from pathlib import Path

from ffedge.data.rows import open_to_read
from ffedge.errors import DataError
from ffedge.files import atomic_file, writing

CHUNK_BYTES = 1 << 16
SPARE_BYTES = 4 << 20
MAX_RATIO = 100
TO_MEND = "set FFEDGE_CACHE to another folder"


def cache_folder() -> Path:
    """Return ``$FFEDGE_CACHE``, or ``ffedge`` in ``$XDG_CACHE_HOME`` or ``~/.cache``; it need not exist."""
    if own := os.environ.get("FFEDGE_CACHE"):
        return Path(own)
    if base := os.environ.get("XDG_CACHE_HOME"):
        return Path(base) / "ffedge"
    try:
        return Path.home() / ".cache" / "ffedge"
    except RuntimeError:  # a user without a home, as in some containers
        return _temporary_folder()


def writable_folder(*parts: str) -> Path:
    """Create and return a folder of the cache or, where that is read-only, one that is removed at exit."""
    for base in (cache_folder, _temporary_folder):
        folder = base().joinpath(*parts)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError:
            continue
        if os.access(folder, os.W_OK | os.X_OK):
            return folder
    raise DataError(f"{cache_folder()}: is not writable, nor is a temporary folder. Set FFEDGE_CACHE to one that is.")


@functools.cache
def _temporary_folder() -> Path:
    folder = tempfile.mkdtemp(prefix="ffedge-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


def filling(place: Path) -> AbstractContextManager[None]:
    """Turn what goes wrong while something is written in the cache into a DataError of one line."""
    return writing(place, TO_MEND, DataError)


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file's bytes, in hexadecimal.

    Raises
    ------
    DataError
        If the file cannot be read.
    """
    with os.fdopen(open_to_read(path), "rb", buffering=0) as file:
        try:
            return hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({error.strerror}). Check the disk.") from error


def unpack(source: Path, member: str, chunks: Callable[[], Iterable[bytes]], n_bytes: int) -> Path:
    """Write one unpacked member of a file to the cache, unless it is there, and return where it stands.

    Parameters
    ----------
    source : Path
        The compressed file.
    member : str
        Plain file name of the result.
    chunks : callable
        Gives the unpacked bytes; called only if they are not in the cache.
    n_bytes : int
        How many there must be. Reading stops beyond it.

    Raises
    ------
    DataError
        If there are fewer or more bytes, or the cache cannot be written; or if there are over 4 MiB, more than 100
        times those of the source, so that a small file cannot fill the disk, nor its labels the memory.
    """
    packed = source.stat().st_size
    if n_bytes > max(SPARE_BYTES, MAX_RATIO * packed):
        raise DataError(
            f"{source}: unpacks to {n_bytes >> 20} MiB, {n_bytes // packed} times its size, as a bomb would. "
            "If you trust it, unpack it and pass what comes of it."
        )
    target = writable_folder("unpacked", sha256_of(source)) / member
    if not (target.is_file() and target.stat().st_size == n_bytes):
        write_atomically(target, chunks(), n_bytes, source)
    return target


def write_atomically(target: Path, chunks: Iterable[bytes], n_bytes: int, source: Path) -> None:
    """Write a file of exactly `n_bytes`, which takes its place whole; `source` is named in errors."""
    remedy = f"{TO_MEND}: it takes {(n_bytes >> 20) + 1} MiB"
    with atomic_file(target, remedy, DataError) as temporary, temporary.open("wb") as out:
        count = _copy(chunks, out.write, n_bytes)
        if count != n_bytes:
            more = "more" if count > n_bytes else f"{count}"
            raise DataError(
                f"{source}: is corrupt: it should unpack to {n_bytes} bytes, it has {more}. Copy or download it again."
            )


def _copy(chunks: Iterable[bytes], write: Callable[[bytes], object], n_bytes: int) -> int:
    count = 0
    for chunk in chunks:
        count += len(chunk)
        if count > n_bytes:
            break
        write(chunk)
    return count
