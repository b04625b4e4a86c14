"""Named arrays in a file, of floats or uint8: the safetensors format, read and written a block at a time; a checksum.

The safetensors package reads such a file too; it is not used here, as it holds a whole tensor at once where a memory
budget allows a block. Of its format: 8 bytes of header length, a JSON header (name -> dtype, shape, data_offsets; and
``__metadata__``, texts), then the data without gaps. Here the metadata MUST carry ``sha256``: of the whole file, with
these 64 digits taken as zeros.
"""

import hashlib
import json
import math
import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ffedge.files import regular_file
from ffedge.pages import BLOCK_BYTES, release

Array = NDArray[Any]
DTYPES: dict[str, np.dtype[Any]] = {"F32": np.dtype(np.float32), "F64": np.dtype(np.float64), "U8": np.dtype(np.uint8)}
KINDS = {dtype.name: kind for kind, dtype in DTYPES.items()}
NO_DIGEST = "0" * 64
MARK = b'"sha256":"'
MAX_HEADER_BYTES = 2**23


def write_tensors(path: Path, tensors: dict[str, Array], metadata: dict[str, str]) -> str:
    """Write arrays of float32, float64 or uint8 and return the file's checksum.

    Raises
    ------
    OSError
        The disk is full or the folder cannot be written.
    """
    header = _header(tensors, metadata)
    digest = hashlib.sha256()
    with path.open("wb") as file:
        digest.update(header)
        file.write(header)
        for block in _blocks(tensors):
            digest.update(block.data)
            file.write(block.data)
        file.seek(header.index(MARK) + len(MARK))
        file.write(digest.hexdigest().encode())
    return digest.hexdigest()


def _kind(array: Array) -> str:
    return KINDS.get(array.dtype.name, "F32")


def _header(tensors: dict[str, Array], metadata: dict[str, str]) -> bytes:
    entries: dict[str, Any] = {"__metadata__": {"sha256": NO_DIGEST, **metadata}}
    start = 0
    for name, array in tensors.items():
        stop = start + array.nbytes
        entries[name] = {"dtype": _kind(array), "shape": list(array.shape), "data_offsets": [start, stop]}
        start = stop
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-(8 + len(text)) % 64)
    return len(text).to_bytes(8, "little") + text


def _blocks(tensors: dict[str, Array]) -> Iterator[Array]:
    for array in tensors.values():
        flat = np.ascontiguousarray(array, DTYPES[_kind(array)]).reshape(-1)
        for start in range(0, flat.size, BLOCK_BYTES // flat.itemsize):
            yield flat[start : start + BLOCK_BYTES // flat.itemsize]
            release(array)


class TensorFile:
    """A file of arrays, mapped: they are views of it, read-only, and take memory only where they are touched.

    Raises
    ------
    ValueError
        It is torn or is no such file.
    OSError
        It cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with regular_file(path) as file:
            self._data_start, header = _read_header(file)
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self.metadata: dict[str, str] = _texts(header.pop("__metadata__", None))
        self.arrays = {name: self._view(name, entry) for name, entry in header.items()}
        self.offsets = {name: self._data_start + entry["data_offsets"][0] for name, entry in header.items()}

    def check(self) -> str:
        """Return the checksum, after comparing it with the content; ValueError where they differ."""
        digest, at = hashlib.sha256(), self._map.find(MARK, 0, self._data_start) + len(MARK)
        whole = memoryview(self._map)
        for block in (whole[:at], NO_DIGEST.encode(), whole[at + 64 : self._data_start]):
            digest.update(block)
        for start in range(self._data_start, len(whole), BLOCK_BYTES):
            digest.update(whole[start : start + BLOCK_BYTES])
            self.release()
        if digest.hexdigest() != self.metadata["sha256"]:
            raise ValueError("sha256 differs")
        return digest.hexdigest()

    def release(self) -> None:
        """Give the pages back (`ffedge.pages.release`)."""
        release(np.frombuffer(self._map, np.uint8))

    def _view(self, name: str, entry: Any) -> Array:
        shape, (start, stop) = tuple(entry["shape"]), entry["data_offsets"]
        dtype, whole = DTYPES.get(entry["dtype"]), len(self._map) - self._data_start
        sized = all(isinstance(n, int) and 0 <= n <= whole for n in (*shape, start, stop))
        if dtype is None or not sized or stop - start != dtype.itemsize * (size := math.prod(shape)):
            raise ValueError(f"tensor {name} does not fit the file")
        view: Array = np.frombuffer(self._map, dtype, size, self._data_start + start).reshape(shape)
        return view


def _read_header(file: BinaryIO) -> tuple[int, dict[str, Any]]:
    length = int.from_bytes(file.read(8), "little")
    if not 2 <= length <= MAX_HEADER_BYTES:
        raise ValueError(f"header of {length} bytes")
    text = file.read(length)
    try:
        header = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError("header is no JSON") from error
    if len(text) < length or not isinstance(header, dict):
        raise ValueError("header is torn")
    return 8 + length, header


def _texts(metadata: Any) -> dict[str, str]:
    if not isinstance(metadata, dict) or not all(isinstance(text, str) for text in metadata.values()):
        raise ValueError("metadata must be texts")
    if "sha256" not in metadata:
        raise ValueError("metadata has no sha256")
    return metadata
