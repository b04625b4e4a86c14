"""Texts of variable length in an HDF5 file, read from its global heap without HDF5's own reader.

That one believes what a file says of a text: it takes memory for the length that is claimed, and looks for ever for an
object that a heap does not hold. The layout is that of the HDF5 file format specification, III.E (global heap) and
IV.B (a reference: length, address and index of the object).
"""

import struct
from collections.abc import Iterator
from typing import Any

from ffedge.json_text import MOST_CHARACTERS

REFERENCE = struct.Struct("<IQI")
HEAP = struct.Struct("<4sB3xQ")
OBJECT = struct.Struct("<HHIQ")


def texts(data: Any, dataset: Any) -> Iterator[bytes]:
    """Yield the texts of a dataset in the order of its entries.

    Parameters
    ----------
    data : the bytes of the whole file.
    dataset : of h5py, with a variable-length string type.

    Raises
    ------
    ValueError
        A reference leads nowhere, to something longer than `MOST_CHARACTERS`, or out of the file; or the file has
        another layout than NIR's writers give it.
    """
    made = dataset.file.id.get_create_plist()
    start = dataset.id.get_offset()
    if start is None or made.get_userblock() or made.get_sizes() != (8, 8):
        raise ValueError(f"{dataset.name!r} must stand in one piece")
    for i in range(dataset.size):
        length, address, index = _unpacked(REFERENCE, data, start + i * REFERENCE.size)
        if length > MOST_CHARACTERS:
            raise ValueError(f"{dataset.name!r} claims a text of {length} bytes, more than {MOST_CHARACTERS}")
        yield _object(data, address, index, length) if length else b""


def _object(data: Any, heap: int, wanted: int, length: int) -> bytes:
    """Return an object of a heap, or of it so many bytes."""
    name, version, size = _unpacked(HEAP, data, heap)
    if name != b"GCOL" or version != 1 or heap + size > len(data):
        raise ValueError("a text has no place in the file")
    at, end = heap + HEAP.size, heap + size
    while at + OBJECT.size <= end:
        index, _, _, held = _unpacked(OBJECT, data, at)
        begins = at + OBJECT.size
        if index == 0 or begins + held > end:
            break
        if index == wanted:
            if held < length:
                break
            return bytes(data[begins : begins + length])
        at = begins + (held + 7) // 8 * 8
    raise ValueError("a text has no place in the file")


def _unpacked(form: struct.Struct, data: Any, at: int) -> tuple[Any, ...]:
    if not 0 <= at <= len(data) - form.size:
        raise ValueError("a text lies out of the file")
    return form.unpack_from(data, at)
