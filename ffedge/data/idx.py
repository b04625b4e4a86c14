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
from typing import IO, Any, NamedTuple

import numpy as np

from ffedge.data.cache_folder import CHUNK_BYTES, unpack
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
    path, name, sha256 = Path(path), str(path), ""
    with os.fdopen(open_to_read(path), "rb") as file:
        start = file.read(CHUNK_BYTES)
        if start[:2] == GZIP_MAGIC:
            header = read_header(name, gunzip(file, name))
            member = path.name.removesuffix(".gz")
            path, sha256 = unpack(file, name, member, lambda: gunzip(file, name), header.n_bytes)
        else:
            header, size = read_header(name, [start]), os.fstat(file.fileno()).st_size
            if size > header.n_bytes:
                raise DataError(
                    f"{name}: has {size - header.n_bytes} bytes more than its header says. Copy or download it again."
                )
        return Rows(path, header.offset, header.shape, header.dtype, name, sha256)


def read_header(name: str, chunks: Iterable[bytes]) -> IdxHeader:
    """Parse the header at the start of `chunks`; `name` is what errors call the file."""
    head = next(iter(chunks), b"")
    if len(head) < 4:
        raise DataError(f"{name}: is too short for an IDX file ({len(head)} bytes). Copy or download it again.")
    zeros, code, n_axes = struct.unpack(">HBB", head[:4])
    if zeros != 0 or code not in DTYPES or n_axes == 0:
        raise DataError(f"{name}: is not an IDX file (it begins with {head[:4].hex(' ')}). Check the file.")
    offset = 4 + 4 * n_axes
    if len(head) < offset:
        raise DataError(f"{name}: is truncated within its header. Copy or download it again.")
    shape = struct.unpack(f">{n_axes}I", head[4:offset])
    if 0 in shape:
        raise DataError(f"{name}: holds no rows (its shape is {list(shape)}). Check the file.")
    if n_axes > MAX_AXES:
        raise DataError(f"{name}: has {n_axes} axes, more than {MAX_AXES}. Check the file.")
    dtype = np.dtype(DTYPES[code])
    return IdxHeader(shape, dtype, offset, offset + math.prod(shape) * dtype.itemsize)


def gunzip(packed: IO[bytes], name: str) -> Iterator[bytes]:
    """Yield the unpacked bytes of a gzip file, from its start; `name` is what errors call it.

    Raises
    ------
    DataError
        If it is truncated, corrupt, or no gzip file.
    """
    packed.seek(0)
    with gzip.GzipFile(fileobj=packed) as file:
        while True:
            try:
                chunk = file.read(CHUNK_BYTES)
            except (EOFError, zlib.error, OSError) as error:
                raise DataError(f"{name}: is no complete gzip file ({error}). Copy or download it again.") from error
            if not chunk:
                return
            yield chunk
