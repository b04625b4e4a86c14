"""What the fields of a spec are, and are held to: help, who fills them in; choices, numbers, sizes in bytes."""

import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from types import NoneType, UnionType
from typing import Any, Literal, NewType, Union, get_args, get_origin, get_type_hints

Bytes = NewType("Bytes", int)
UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
FLOAT32_MAX = (2 - 2**-23) * 2.0**127
FLOAT64_MAX = sys.float_info.max


def bytes_of(text: str) -> Bytes:
    """Read a number of bytes: ``64MiB``, ``1.5 GB``, ``67108864``.

    Raises
    ------
    ValueError
        It is no such number.
    """
    parts = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]*)?)\s*([A-Za-z]*)\s*", text)
    if parts is None or parts[2] not in UNITS:
        raise ValueError(f"a size must be a number and one of {', '.join(filter(None, UNITS))}, got {text!r}")
    return Bytes(int(float(parts[1]) * UNITS[parts[2]]))


def check(ok: bool, name: str, rule: str, value: object) -> None:
    """Raise ValueError where a field's value is not what it must be."""
    if not ok:
        raise ValueError(f"`{name}` must {rule}, got {value!r}")


def is_finite(value: object) -> bool:
    """Tell whether a value is a number that float32 can hold, as graphs do: no bool, no NaN, no infinity, not 1e39."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= FLOAT32_MAX


def is_double(value: object) -> bool:
    """Tell whether a value is a number that float64 can hold: no bool, no NaN, no infinity."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= FLOAT64_MAX


def is_whole(value: object) -> bool:
    """Tell whether a value is a whole number of 64 bits, with a sign or without, and no bool."""
    return isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**64


@dataclass(frozen=True)
class Limit:
    """What a number must be.

    Attributes
    ----------
    text : what stands after "must".
    holds : whether a number that is finite, and whole where it must be, keeps it.
    """

    text: str
    holds: Callable[[Any], bool]


FINITE = Limit("be a finite number", lambda value: True)
POSITIVE = Limit("be positive", lambda value: value > 0)
NOT_NEGATIVE = Limit("not be negative", lambda value: value >= 0)
SHARE = Limit("be in [0, 1)", lambda value: 0 <= value < 1)
COUNT = Limit("be 1 or more", lambda value: value >= 1)


def between(least: int, most: int) -> Limit:
    """Return the limit of numbers from one to another."""
    return Limit(f"be {least} to {most}", lambda value: least <= value <= most)


@dataclass(frozen=True)
class Option:
    """What the command line, the data and a model file may do with a field of a spec.

    Attributes
    ----------
    help : what it is, on one line.
    limit : of the number that it is, or of those that it lists; None where it is a word.
    auto : who fills it in where it was left open: the ``data`` or the memory ``plan``; None: it is never open.
    learns : whether `learn` may change what a model file says of it.
    machine : whether it belongs to the machine that trains, and so not to a model that goes on learning elsewhere.
    choices : the words that it may be, where its type does not say them.
    later : whether it came after the first model files, which lack it and mean its default.
    idle : other fields, with those of their values by which this one plays no part; ``layers`` is how many there are.
    """

    help: str
    limit: Limit | None = None
    auto: Literal["data", "plan"] | None = None
    learns: bool = False
    machine: bool = False
    later: bool = False
    choices: tuple[str, ...] = ()
    idle: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)

    def is_open(self, value: object) -> bool:
        """Tell whether a value leaves the field to the data or to the plan."""
        return self.auto is not None and (value in ("auto", "max") or (self.auto == "plan" and value == 0))


def option(default: Any, text: str, limit: Limit | None = None, **rest: Any) -> Any:
    """Return a dataclass field with its `Option`."""
    return field(default=default, metadata={"option": Option(text, limit, **rest)})


def options(part: type) -> dict[str, Option]:
    """Return the options of a dataclass by field."""
    return {f.name: f.metadata["option"] for f in fields(part)}


def check_fields(part: object) -> None:
    """Hold every field of a frozen dataclass to its type's words and to its limit; make tuples of lists.

    Raises
    ------
    ValueError
        A field is neither one of its words nor what its limit says.
    """
    declared = options(type(part))
    for name, hint in get_type_hints(type(part)).items():
        limit, choices, value = declared[name].limit, declared[name].choices, _frozen(getattr(part, name))
        object.__setattr__(part, name, value)
        kinds = kinds_of(Literal[choices] if choices else hint)
        words = [word for kind in kinds if get_origin(kind) is Literal for word in get_args(kind)]
        listed = " or ".join(words) if limit else f"be one of {', '.join(words)}"
        text = ", or ".join(filter(None, (limit.text if limit else "", listed)))
        if isinstance(value, int) and not (isinstance(value, bool) or is_whole(value)):
            text = "be a number that 64 bits can hold"
        check(any(_fits(value, kind, limit) for kind in kinds), name, text, value)


def kinds_of(hint: Any) -> tuple[Any, ...]:
    """Return the types of a union, or the one that it is."""
    return get_args(hint) if get_origin(hint) in (UnionType, Union) else (hint,)


def _frozen(value: Any) -> Any:
    return tuple(_frozen(item) for item in value) if isinstance(value, list) else value


def _fits(value: Any, kind: Any, limit: Limit | None) -> bool:
    if kind is NoneType:
        return value is None
    if kind is str:
        return isinstance(value, str)
    if get_origin(kind) is Literal:
        return isinstance(value, str) and value in get_args(kind)
    if get_origin(kind) is tuple:
        items = kinds_of(get_args(kind)[0])
        return (
            isinstance(value, tuple) and len(value) > 0 and all(any(_fits(v, k, limit) for k in items) for v in value)
        )
    number = is_finite(value) if kind is float else is_whole(value)
    return number and (limit is None or limit.holds(value))
