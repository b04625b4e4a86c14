"""What a bad disk or an enemy makes of a file: bytes changed anywhere, mostly within the structure that they have."""

import contextlib
import gzip
import hashlib
import io
import json
import random
import zipfile
from typing import Any

NUMBERS = (0, 1, 2, 7, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 1 << 24, (1 << 31) - 1, 1 << 31, 1 << 40, (1 << 63) - 1, 1 << 63)
VALUES = (*NUMBERS, -1, 0.5, 1e308, 10**400, True, None, "", "x" * 3000, "a\nb", "\ud800", "../../x", [], {}, [[[1]]])
CHECKSUM = b"ffedge sha256 "  # of NIR files
SIZES = {1: 8, 5: 4}  # of protobuf's fixed numbers, by wire type
ENDS = ("little", "big")


def damaged(data: bytes, rng: random.Random) -> bytes:
    """Change something in JSON, npz, gzip, safetensors, NIR or protobuf, at any depth, or in any bytes."""
    for change in (_json, _lines, _zip, _gzip, _tensors, _nir, _protobuf) if rng.random() < 0.8 else ():
        with contextlib.suppress(Exception):  # damaged before, so that it has no such structure any more
            if (changed := change(data, rng)) is not None:
                return changed
    return _bytes(data, rng)


def _bytes(data: bytes, rng: random.Random) -> bytes:
    at, size = rng.randint(0, len(data)), rng.choice((1, 1, 2, 4, 8, 64))
    part, number = data[at : at + size], rng.choice(NUMBERS) & ((1 << (8 * size)) - 1)
    new = (
        number.to_bytes(size, rng.choice(ENDS)),
        bytes(byte ^ (1 << rng.randrange(8)) for byte in part[:1]) + part[1:],
        rng.randbytes(size),
        part + rng.randbytes(size),
        part + part,
        b"",
    )
    return data[:at] if rng.random() < 0.1 else data[:at] + rng.choice(new) + data[at + size :]


def _json(data: bytes, rng: random.Random) -> bytes | None:
    value = json.loads(data)
    return json.dumps(_value(value, rng), separators=(",", ":")).encode() if isinstance(value, dict | list) else None


def _lines(data: bytes, rng: random.Random) -> bytes | None:
    lines = data.split(b"\n")
    at = rng.randrange(len(lines))
    changed = _json(lines[at], rng) if data.isascii() else None
    return changed and b"\n".join([*lines[:at], changed, *lines[at + 1 :]])


def _value(value: Any, rng: random.Random) -> Any:
    """Change a value of JSON, in place where it can be; a text may be JSON itself."""
    if isinstance(value, str) and value[:1] in ("{", "["):
        with contextlib.suppress(ValueError):
            return (_json(value.encode(), rng) or b"{").decode()
    if not isinstance(value, dict | list) or not value or rng.random() < 0.05:
        return rng.choice(VALUES)
    at, way = rng.choice(list(value) if isinstance(value, dict) else range(len(value))), rng.random()
    if way < 0.1:
        del value[at]
    elif way < 0.2 and isinstance(value, dict):
        value[rng.choice(("more", "", "x\n"))] = rng.choice(VALUES)
    else:
        value[at] = _value(value[at], rng)
    return value


def _zip(data: bytes, rng: random.Random) -> bytes | None:
    if data[:2] != b"PK":
        return None
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = rng.choice(list(members))
    members[name] = damaged(members[name], rng)
    with zipfile.ZipFile(out := io.BytesIO(), "w", rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return out.getvalue()


def _gzip(data: bytes, rng: random.Random) -> bytes | None:
    return gzip.compress(damaged(gzip.decompress(data), rng), mtime=0) if data[:2] == b"\x1f\x8b" else None


def _tensors(data: bytes, rng: random.Random) -> bytes | None:
    """Change the header of a safetensors file, and let its checksum be right."""
    end = 8 + int.from_bytes(data[:8], "little")
    header = _json(data[8:end], rng) if end < len(data) else None
    if header is None:
        return None
    start, mark, rest = (len(header).to_bytes(8, "little") + header + data[end:]).partition(b'"sha256":"')
    right = hashlib.sha256(start + mark + b"0" * 64 + rest[64:]).hexdigest().encode()
    return start + mark + right + rest[64:]


def _nir(data: bytes, rng: random.Random) -> bytes | None:
    """Change a byte or some of HDF5, and let the checksum behind it be right."""
    content, mark, _ = data.rpartition(CHECKSUM)
    changed = _bytes(content, rng) if mark else b""
    return changed + CHECKSUM + hashlib.sha256(changed).digest() if mark else None


def _protobuf(data: bytes, rng: random.Random) -> bytes | None:
    """Leave out, double or change one field of a message."""
    fields, at = [], 0
    while at < len(data):
        start, (key, content) = at, _varint(data, at)
        size, content = _varint(data, content) if key & 7 == 2 else (SIZES.get(key & 7), content)
        at = _varint(data, content)[1] if key & 7 == 0 else content + size
        fields.append((start, key, content, at))
    if not fields or at != len(data):
        return None
    start, key, content, end = rng.choice(fields)
    way, new = rng.random(), bytes(_as_varint(key))
    if way < 0.16:
        new = b"" if way < 0.08 else 2 * data[start:end]
    elif key & 7 == 0:
        new += _as_varint(rng.choice(NUMBERS))
    elif key & 7 == 2:
        inner = damaged(data[content:end], rng)
        new += _as_varint(len(inner) if way < 0.95 else rng.choice(NUMBERS)) + inner
    else:
        new += rng.randbytes(end - content)
    return data[:start] + new + data[end:]


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Return a number and where it ends."""
    value = shift = 0
    while data[at] & 0x80:
        value, shift, at = value | (data[at] & 0x7F) << shift, shift + 7, at + 1
    return value | data[at] << shift, at + 1


def _as_varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])
