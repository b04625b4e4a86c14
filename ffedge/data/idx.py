"""IDX files, the format of MNIST: a big-endian header (magic, sizes), then the array; plain or gzipped.

``00 00 <dtype> <number of axes>``, then each axis's size as uint32, then the values in C order.
"""

import gzip
import math
import os
import struct
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ffedge.data.cache import CHUNK_BYTES, unpack
from ffedge.data.rows import MAX_AXES, Rows, open_to_read
from ffedge.errors import DataError

GZIP_MAGIC = b"\x1f\x8b"  # told by content: servers and browsers unpack files and keep the name
DTYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


class IdxHeader(NamedTuple):
    """What an IDX header says; the array begins at `offset` and the file ends at `n_bytes`."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    offset: int
    n_bytes: int


def read_idx(path: Path) -> Rows:
    """Open an IDX file, plain or ``.gz``; a gzipped one is unpacked to the cache once.

    Returns
    -------
    Rows
        ``[N, *row_shape]``; dtype as stored (uint8 for images and labels).

    Raises
    ------
    DataError
        If it is no IDX file, is truncated or corrupt, has bytes to spare, or holds no rows.
    """
    path = Path(path)
    if next(plain_chunks(path), b"")[:2] != GZIP_MAGIC:
        header = read_header(path, plain_chunks(path))
        size = path.stat().st_size
        if size > header.n_bytes:
            raise DataError(
                f"{path}: has {size - header.n_bytes} bytes more than its header says. Copy or download it again."
            )
        return Rows(path, header.offset, header.shape, header.dtype)
    header = read_header(path, gunzip(path))
    unpacked = unpack(path, path.name.removesuffix(".gz"), lambda: gunzip(path), header.n_bytes)
    return Rows(unpacked, header.offset, header.shape, header.dtype, str(path))


def read_header(path: Path, chunks: Iterable[bytes]) -> IdxHeader:
    """Parse the header at the start of `chunks`; `path` is named in errors."""
    head = next(iter(chunks), b"")
    if len(head) < 4:
        raise DataError(f"{path}: is too short for an IDX file ({len(head)} bytes). Copy or download it again.")
    zeros, code, n_axes = struct.unpack(">HBB", head[:4])
    if zeros != 0 or code not in DTYPES or n_axes == 0:
        raise DataError(f"{path}: is not an IDX file (it begins with {head[:4].hex(' ')}). Check the file.")
    offset = 4 + 4 * n_axes
    if len(head) < offset:
        raise DataError(f"{path}: is truncated within its header. Copy or download it again.")
    shape = struct.unpack(f">{n_axes}I", head[4:offset])
    if 0 in shape:
        raise DataError(f"{path}: holds no rows (its shape is {list(shape)}). Check the file.")
    if n_axes > MAX_AXES:
        raise DataError(f"{path}: has {n_axes} axes, more than {MAX_AXES}. Check the file.")
    dtype = np.dtype(DTYPES[code])
    return IdxHeader(shape, dtype, offset, offset + math.prod(shape) * dtype.itemsize)


def plain_chunks(path: Path) -> Iterator[bytes]:
    """Yield a file's bytes."""
    with os.fdopen(open_to_read(path), "rb", buffering=0) as file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk


def gunzip(path: Path) -> Iterator[bytes]:
    """Yield the unpacked bytes of a gzip file.

    Raises
    ------
    DataError
        If it is truncated, corrupt, or no gzip file.
    """
    with os.fdopen(open_to_read(path), "rb") as raw, gzip.GzipFile(fileobj=raw) as file:
        while True:
            try:
                chunk = file.read(CHUNK_BYTES)
            except (EOFError, zlib.error, OSError) as error:
                raise DataError(f"{path}: is no complete gzip file ({error}). Copy or download it again.") from error
            if not chunk:
                return
            yield chunk
