"""What the fields of a spec are, and are held to: help, who fills them in; choices, numbers, sizes in bytes."""

import re
import sys
from dataclasses import dataclass, field, fields
from typing import Any, Literal, NewType, get_args, get_origin, get_type_hints

Bytes = NewType("Bytes", int)
UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}


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
        raise ValueError(f"{name} must {rule}, got {value!r}")


def check_choices(spec: object) -> None:
    """Hold every ``Literal`` field of a dataclass to its values."""
    for name, hint in get_type_hints(type(spec)).items():
        if get_origin(hint) is Literal:
            choices = get_args(hint)
            check(getattr(spec, name) in choices, name, f"be one of {', '.join(choices)}", getattr(spec, name))


def is_finite(value: object) -> bool:
    """Tell whether a value is a number that a float can hold: no bool, no NaN, no infinity, not 10**400."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def is_list(value: object) -> bool:
    """Tell whether a value is a tuple or a list."""
    return isinstance(value, tuple | list)


def is_whole(value: object) -> bool:
    """Tell whether a value is a whole number, and no bool."""
    return isinstance(value, int) and not isinstance(value, bool)


@dataclass(frozen=True)
class Option:
    """What the command line, the data and a model file may do with a field of a spec.

    Attributes
    ----------
    help : what it is, on one line.
    auto : who fills it in where it was left open: the ``data`` or the memory ``plan``; None: it is never open.
    learns : whether `learn` may change what a model file says of it.
    machine : whether it belongs to the machine that trains, and so not to a model that goes on learning elsewhere.
    later : whether it came after the first model files, which lack it and mean its default.
    """

    help: str
    auto: Literal["data", "plan"] | None = None
    learns: bool = False
    machine: bool = False
    later: bool = False

    def is_open(self, value: object) -> bool:
        """Tell whether a value leaves the field to the data or to the plan."""
        return self.auto is not None and (value in ("auto", "max") or (self.auto == "plan" and value == 0))


def option(default: Any, text: str, **rest: Any) -> Any:
    """Return a dataclass field with its `Option`."""
    return field(default=default, metadata={"option": Option(text, **rest)})


def options(part: type) -> dict[str, Option]:
    """Return the options of a dataclass by field."""
    return {f.name: f.metadata["option"] for f in fields(part)}
