"""NumPy's ``.npy`` and ``.npz`` files, read as rows; never unpickled.

Members of an ``.npz`` are unpacked to the cache one after another, in chunks, and read there.
"""

import math
import os
import struct
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tokenize import TokenError
from typing import IO, Any
from urllib.parse import quote

import numpy as np

from ffedge.data.cache_folder import CHUNK_BYTES, unpack
from ffedge.data.fortran import in_rows
from ffedge.data.rows import MAX_AXES, Rows, open_to_read
from ffedge.errors import DataError

BROKEN = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError, RuntimeError, ValueError)
_RESAVE = "Save it again with np.save(file, np.ascontiguousarray(array))"
_AS_PLAIN = "Save it again as np.asarray(names, dtype=str) or np.asarray(numbers, dtype=float)"


def read_npy(path: Path, name: str = "", sha256: str = "") -> Rows:
    """Open a ``.npy`` file as rows.

    Parameters
    ----------
    path : the file.
    name : what errors call it, if not `path` (a member of an ``.npz``).
    sha256 : of the file, where it is known.

    Returns
    -------
    Rows
        ``[N, *row_shape]``, dtype as stored: a number, bool or str.

    Raises
    ------
    DataError
        If it is no ``.npy`` file, holds objects or no rows, or has the wrong length.
    """
    path, name = Path(path), name or str(path)
    with os.fdopen(open_to_read(path), "rb") as file:
        shape, fortran, dtype = npy_header(file, name)
        offset, size = file.tell(), os.fstat(file.fileno()).st_size
    if dtype.hasobject:
        raise DataError(f"{name}: holds Python objects, which ffedge never unpickles. {_AS_PLAIN}.")
    if dtype.kind not in "biufUS":
        raise DataError(f"{name}: must hold numbers or strings, got {dtype}. Convert it first.")
    if len(shape) > MAX_AXES:
        raise DataError(f"{name}: has {len(shape)} axes, more than {MAX_AXES}. Reshape it.")
    if not shape or min(shape) < 1:
        raise DataError(f"{name}: holds no rows (its shape is {list(shape)}). Check the file.")
    if dtype.itemsize == 0:
        raise DataError(f"{name}: holds only empty strings. Check the file.")
    rows = Rows(path, offset, (math.prod(shape),) if fortran else shape, dtype, name, sha256)
    if size > (needed := offset + rows.n_bytes):
        raise DataError(f"{name}: has {size - needed} bytes more than its header says. {_RESAVE}.")
    return in_rows(rows, shape, name) if fortran else rows


def npy_header(file: IO[bytes], name: str) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Read up to an array's first value; return its shape, whether it is in Fortran's order, and its dtype."""
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    try:
        version = np.lib.format.read_magic(file)
        if version not in readers:
            raise ValueError(f"version {version} of the format is for structured arrays")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # numpy's remark on headers that Python 2 wrote
            return readers[version](file)
    except (ValueError, TypeError, EOFError, MemoryError, RecursionError, TokenError) as error:
        first_line = str(error).partition("\n")[0]
        raise DataError(f"{name}: is not a .npy file ffedge can read ({first_line}). {_RESAVE}.") from error


def npz_members(path: Path) -> tuple[str, ...]:
    """Return the names of the arrays in an ``.npz`` file.

    Raises
    ------
    DataError
        If it is not a zip file.
    """
    with open_zip(Path(path)) as archive:
        names = [info.filename for info in archive.infolist()]
    return tuple(name.removesuffix(".npy") for name in names if name.endswith(".npy"))


def read_npz(path: Path, member: str) -> Rows:
    """Open one array of an ``.npz`` file as rows.

    Raises
    ------
    DataError
        If the archive is corrupt or encrypted or lacks the member, or as `read_npy` does.
    """
    path, name = Path(path), f"{path}[{member}]"
    with open_zip(path) as archive:
        try:
            info = archive.getinfo(f"{member}.npy")
        except KeyError as error:
            raise DataError(f"{name}: was not found. Members are {', '.join(npz_members(path))}.") from error
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise DataError(f"{name}: is packed in a way that np.savez does not use. Save it again with np.savez.")
        assert archive.fp is not None
        file = f"{quote(member, safe='')}.npy"
        unpacked, sha256 = unpack(archive.fp, str(path), file, lambda: _unzip(archive, info, path), info.file_size)
    return read_npy(unpacked, name, sha256)


@contextmanager
def open_zip(path: Path) -> Iterator[zipfile.ZipFile]:
    """Yield an ``.npz`` file's archive; DataError where it is none."""
    with os.fdopen(open_to_read(path), "rb") as file:
        try:
            archive = zipfile.ZipFile(file)
        except BROKEN as error:
            raise DataError(f"{path}: is no complete .npz file ({error}). Copy or save it again.") from error
        with archive:
            yield archive


def _unzip(archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path) -> Iterator[bytes]:
    try:
        with archive.open(info) as member:
            while chunk := member.read(CHUNK_BYTES):
                yield chunk
    except BROKEN as error:
        raise DataError(f"{path}: is corrupt or not supported ({error}). Copy or save it again.") from error
