"""JSON that is strict: what ffedge prints any reader reads; what a stranger's file holds cannot fill the memory."""

import json
import math
from typing import Any

MOST_CHARACTERS = 1 << 23
MOST_BRACKETS = 50_000  # a table of 18,000 columns has 40,000
MOST_DEPTH = 16


def parse(text: str) -> Any:
    """Read a JSON text.

    Raises
    ------
    ValueError
        It is no JSON, holds more than 8 Mi characters or 50,000 lists and objects, or nests more than 16 deep.
    """
    if len(text) > MOST_CHARACTERS:
        raise ValueError(f"it is {len(text)} characters long, more than {MOST_CHARACTERS}")
    if (brackets := text.count("[") + text.count("{")) > MOST_BRACKETS:
        raise ValueError(f"it holds {brackets} lists and objects, more than {MOST_BRACKETS}")
    try:
        value = json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    level, depth = [value], 0
    while level:
        depth += 1
        if depth > MOST_DEPTH:
            raise ValueError("it is nested too deeply")
        parts = (part.values() if isinstance(part, dict) else part for part in level if isinstance(part, dict | list))
        level = [item for part in parts for item in part]
    return value


def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make an object of JSON of its pairs; ValueError where a name comes twice."""
    made = dict(pairs)
    if len(made) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"has {next(name for name in names if names.count(name) > 1)!r} twice")
    return made


def text(value: Any, indent: int | None = None) -> str:
    """Return a value as JSON that a strict reader takes.

    It has neither numbers that are not finite (null stands there) nor names that are no Unicode (shown by escapes).
    """
    try:
        written = json.dumps(value, allow_nan=False, indent=indent)
    except ValueError:
        written = "\\ud"
    return json.dumps(_strict(value), allow_nan=False, indent=indent) if "\\ud" in written else written


def _strict(value: Any) -> Any:
    if isinstance(value, dict):
        return {_strict(name): _strict(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_strict(part) for part in value]
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    return None if isinstance(value, float) and not math.isfinite(value) else value
