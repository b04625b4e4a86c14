"""The values of a field that a sweep tries: a list, or a range; every combination of them, or some drawn at random.

A list is always a choice. So a field that is itself a list takes a list of lists: ``widths = [[500, 500], [200]]``.
"""

import itertools
import json
import math
import random
from collections.abc import Iterator
from typing import Any, get_origin, get_type_hints

from ffedge.fields import is_finite, is_whole, kinds_of
from ffedge.spec import Spec

MOST_TRIALS = 10_000
Fields = dict[str, Any]


def values_of(name: str, value: Any) -> Any:
    """Return a field's values as a list, each once (0 is 0.0), or its range."""
    if isinstance(value, dict):
        if not _is_range(value):
            raise ValueError(f"`{name}` must be a range as in {{low = 0.1, high = 1, log = true}}, got {value!r}")
        return value
    if not isinstance(value, list):
        return [value]
    if name in _lists() and not all(isinstance(item, list | str) for item in value):
        each = f"`{name}={[[item] for item in value]}` to try each, or `{name}=[{value}]` as one value"
        raise ValueError(f"`{name}` is a list of values, and each is a list itself. Use {each}")
    once: dict[str, Any] = {}
    for item in value:
        once.setdefault(json.dumps(json.loads(json.dumps(item), parse_float=_number), sort_keys=True), item)
    return list(once.values())


def _number(text: str) -> float | int:
    """Return a number as an int where it is whole."""
    value = float(text)
    return int(value) if value.is_integer() else value


def _is_range(value: dict[str, Any]) -> bool:
    low, high, log = (value.get(name, False) for name in ("low", "high", "log"))
    known = set(value) <= {"low", "high", "log"} and isinstance(log, bool)
    return bool(known and is_finite(low) and is_finite(high) and low < high and (low > 0 or not log))


def _lists() -> set[str]:
    """Return the fields that are lists themselves."""
    hints = {name: hint for part in Spec.PARTS.values() for name, hint in get_type_hints(part).items()}
    return {name for name, hint in hints.items() if any(get_origin(kind) is tuple for kind in kinds_of(hint))}


def grid(choices: dict[str, Any]) -> list[Fields]:
    """Return every combination, the last field changing first."""
    for name, values in choices.items():
        if isinstance(values, dict):
            raise ValueError(f"`{name}` is a range, from which only `random` can draw. List its values, or add that")
    if math.prod(map(len, choices.values())) > MOST_TRIALS:
        raise ValueError(f"this makes more than {MOST_TRIALS:,} trials. Use fewer values, or `random`")
    return [dict(zip(choices, values, strict=True)) for values in itertools.product(*choices.values())]


def drawn(choices: dict[str, Any], count: int, seed: int) -> list[Fields]:
    """Return so many different combinations drawn at random; all of them where there are no more."""
    if count > MOST_TRIALS:
        raise ValueError(f"`random` must be at most {MOST_TRIALS:,}, got {count}")
    if all(isinstance(values, list) for values in choices.values()) and math.prod(map(len, choices.values())) <= count:
        return grid(choices)
    points = dict[str, Fields]()
    for n in range(1000 + 20 * count):  # a range of whole numbers may hold fewer than are asked for
        point = dict(_draw(choices, f"{seed}/{n}"))
        points.setdefault(json.dumps(point, sort_keys=True), point)
        if len(points) == count:
            break
    return list(points.values())


def _draw(choices: dict[str, Any], key: str) -> Iterator[tuple[str, Any]]:
    """Yield a value of each field; it depends on the key and its name alone, whatever other fields there are."""
    for name, values in choices.items():
        share = random.Random(f"{key}/{name}").random()
        if isinstance(values, list):
            yield name, values[int(share * len(values))]
            continue
        low, high = values["low"], values["high"]
        whole = is_whole(low) and is_whole(high)
        top = high + 1 if whole else high
        value = low * (top / low) ** share if values.get("log") else low + share * (top - low)
        value = min(high, math.floor(value)) if whole else value
        yield name, [value] if name in _lists() else value
