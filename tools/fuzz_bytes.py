"""Damage that any file can take: changed bytes, and JSON with changed places."""

import json
import random
from collections.abc import Callable
from typing import Any

NUMBERS = (0, 1, 2, 7, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 2**24, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**63 - 1, 2**64 - 1)
TEXTS = (
    "",
    "x" * 5000,
    "a\nb",
    "\x1b[31m",
    "[/red]",
    "\ud800",
    "../../outside",
    "/etc/passwd",
    "\0",
    "{0}",
    "%s",
    "-1",
)


def mutated(data: bytes, rng: random.Random) -> tuple[bytes, str]:
    """Damage bytes without regard to their meaning."""
    out, kinds = bytearray(data), []
    for _ in range(rng.choice((1, 1, 1, 2, 4, 16))):
        name, change = rng.choice(_BYTE_CHANGES)
        change(out, rng)
        kinds.append(name)
    return bytes(out), f"bytes: {kinds[0]}" if len(kinds) == 1 else "bytes: several"


def _at(out: bytearray, rng: random.Random) -> int:
    """Choose a place, more often near the ends, where headers stand."""
    size = max(1, len(out))
    return rng.choice((rng.randrange(size), rng.randrange(min(size, 64)), size - 1 - rng.randrange(min(size, 64))))


def _flip(out: bytearray, rng: random.Random) -> None:
    if out:
        out[_at(out, rng)] ^= 1 << rng.randrange(8)


def _run(out: bytearray, rng: random.Random) -> None:
    at, size = _at(out, rng), rng.randrange(1, 40)
    out[at : at + size] = bytes([rng.choice((0, 255, rng.randrange(256)))]) * size


def _truncate(out: bytearray, rng: random.Random) -> None:
    del out[_at(out, rng) :]


def _insert(out: bytearray, rng: random.Random) -> None:
    at = _at(out, rng)
    out[at:at] = rng.randbytes(rng.randrange(1, 40))


def _double(out: bytearray, rng: random.Random) -> None:
    at = _at(out, rng)
    out[at:at] = out[at : at + rng.randrange(1, 400)] * rng.choice((1, 2, 20))


def _number(out: bytearray, rng: random.Random) -> None:
    at, width = _at(out, rng), rng.choice((1, 2, 4, 8))
    out[at : at + width] = (rng.choice(NUMBERS) % 256**width).to_bytes(width, rng.choice(("big", "little")))


_BYTE_CHANGES: list[tuple[str, Callable[[bytearray, random.Random], None]]] = [
    ("flip", _flip),
    ("run", _run),
    ("truncate", _truncate),
    ("insert", _insert),
    ("double", _double),
    ("number", _number),
]


def bad_json(value: Any, rng: random.Random) -> str:
    """Write JSON with some places changed: types, extremes, lost and strange keys, deep nesting."""
    value = json.loads(json.dumps(value))
    deep = rng.choice((50, 900, 5000, 100_000))
    for _ in range(rng.choice((1, 1, 1, 2, 5))):
        owner, key = rng.choice(list(_places(value)) or [([value], 0)])
        change = rng.randrange(6)
        if change == 0:
            del owner[key]
        elif change == 1 and isinstance(owner, dict):
            owner[rng.choice(TEXTS)] = owner.pop(key)
        elif change == 2:
            owner[key] = rng.choice(TEXTS)
        elif change == 3:
            owner[key] = rng.choice([*NUMBERS, -1, -(2**63), 10**400, 0.5, 1e308, -1e308, 1e-320, True, False, None])
        elif change == 4:
            owner[key] = rng.choice([float("nan"), float("inf"), -float("inf"), [], {}, [[]], [None], {"a": 1}])
        else:
            owner[key] = rng.choice(["@deep", [owner[key]] * 3, [0] * 100_000, [[]] * 100_000, {"a": owner[key]}])
    text = json.dumps(value)
    bracket = rng.choice(("[]", ("{" + '"a":', "}")))
    return text.replace('"@deep"', bracket[0] * deep + "0" + bracket[1] * deep)


def _places(value: Any) -> Any:
    """Yield every (container, key) of a JSON value."""
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        yield value, key
        yield from _places(value[key])
