"""Writes protobuf's wire format, of which an ONNX file is made: tags, lengths and bytes.

A field is a tag (its number and its kind) and a number, or a length and as many bytes. Numbers of fields are given
where a message is written; `ffedge.runtime.proto` reads what a stranger wrote.
"""

import mmap
import struct

VARINT, BYTES, FIXED32 = 0, 2, 5  # kinds of fields


def field(number: int, content: bytes) -> bytes:
    """Return a field that has a length: a text, bytes or a message."""
    return head(number, len(content)) + content


def text(number: int, content: str) -> bytes:
    """Return a field of a text."""
    return field(number, content.encode())


def whole(number: int, value: int) -> bytes:
    """Return a field of a whole number, as int64."""
    return varint(number << 3 | VARINT) + varint(value % (1 << 64))


def real(number: int, value: float) -> bytes:
    """Return a field of a float32."""
    return varint(number << 3 | FIXED32) + struct.pack("<f", value)


def head(number: int, length: int) -> bytes:
    """Return what stands before the content of a field that has a length."""
    return varint(number << 3 | BYTES) + varint(length)


def varint(number: int) -> bytes:
    """Return a number from 0 up, 7 bits a byte."""
    result = bytearray()
    while number > 127:
        result.append(number & 127 | 128)
        number >>= 7
    return bytes([*result, number])


def read_varint(message: bytes | mmap.mmap, at: int) -> tuple[int, int]:
    """Return the number that begins at a place, and where it ends; IndexError where the bytes end before it."""
    number = shift = 0
    while True:
        byte = message[at]
        number |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return number, at
