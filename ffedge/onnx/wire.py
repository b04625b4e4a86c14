"""Protobuf's wire format, of which an ONNX file is made: tags, lengths and bytes.

A field is a tag (its number and its kind) and a number, or a length and as many bytes. Numbers of fields are given
where a message is written or read (`ffedge.onnx.graph`, `ffedge.onnx.read`).
"""

import struct
from collections.abc import Iterator
from typing import Protocol

VARINT, BYTES, FIXED32 = 0, 2, 5  # kinds of fields
Span = tuple[int, int]  # where bytes begin and end
_SMALL = [bytes((number,)) for number in range(128)]


class Source(Protocol):
    """Bytes, of which parts are read: in memory or in a file."""

    def __getitem__(self, part: slice, /) -> bytes: ...  # noqa: D105


def field(number: int, content: bytes) -> bytes:
    """Return a field that has a length: a text, bytes or a message."""
    return head(number, len(content)) + content


def text(number: int, content: str) -> bytes:
    """Return a field of a text."""
    return field(number, content.encode())


def whole(number: int, value: int) -> bytes:
    """Return a field of a whole number, as int64."""
    return _varint(number << 3 | VARINT) + _varint(value % (1 << 64))


def real(number: int, value: float) -> bytes:
    """Return a field of a float32."""
    return _varint(number << 3 | FIXED32) + struct.pack("<f", value)


def head(number: int, length: int) -> bytes:
    """Return what stands before the content of a field that has a length."""
    return _varint(number << 3 | BYTES) + _varint(length)


def fields(data: Source, start: int, end: int) -> Iterator[tuple[int, int, int | float | Span]]:
    """Yield number, kind and value of each field; the value of `BYTES` is where they stand.

    Raises
    ------
    ValueError
        A field that no ONNX file has, or one that ends beyond `end`.
    """
    while start < end:
        key, start = _read_varint(data, start, end)
        number, kind = key >> 3, key & 7
        if kind == FIXED32 and end - start >= 4:
            yield number, kind, struct.unpack("<f", data[start : start + 4])[0]
            start += 4
            continue
        value, start = _read_varint(data, start, end)
        if kind == VARINT:
            yield number, kind, value
        elif kind == BYTES and value <= end - start:
            yield number, kind, (start, start + value)
            start += value
        else:
            raise ValueError(f"byte {start} begins no field")


def _varint(number: int) -> bytes:
    """Return a number from 0 up, 7 bits a byte."""
    if number < 128:  # nearly all are: a plan writes graphs by the hundred
        return _SMALL[number]
    result = bytearray()
    while number > 127:
        result.append(number & 127 | 128)
        number >>= 7
    return bytes([*result, number])


def _read_varint(data: Source, start: int, end: int) -> tuple[int, int]:
    """Read a number of 7 bits a byte; return it and where it ends."""
    value = 0
    for place, byte in enumerate(data[start : min(end, start + 10)]):
        value |= (byte & 127) << 7 * place
        if byte < 128:
            if value >> 64:
                break
            return value, start + place + 1
    raise ValueError(f"byte {start} begins no number")
