"""Flags of the command line made from the fields of `ffedge.spec`: name, default and help have one home there."""

import dataclasses
import inspect
import re
import types
from collections.abc import Callable, Container
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import typer

from ffedge.fields import Bytes, bytes_of
from ffedge.presets import PRESETS
from ffedge.spec import Spec

PANELS = {"network": "Network", "rule": "Learning rule", "train": "Training"}


def with_spec_flags(
    command: Callable[..., None], only: Container[str] | None = None, stored: bool = False
) -> Callable[..., None]:
    """Give a command a flag for each field of a spec; it gets those that were used as ``changes``.

    Parameters
    ----------
    only : the fields that are flags; None takes all.
    stored : whether their defaults are what a model file holds.
    """
    signature = inspect.signature(command)
    own = [p for p in signature.parameters.values() if p.name != "changes"]
    flags = [
        _flag(name, field, part, stored)
        for part in Spec.PARTS
        for name, field in _fields(part)
        if only is None or name in only
    ]

    def run(**values: Any) -> None:
        given = {flag.name: values.pop(flag.name) for flag in flags}
        changes = {n: parse(n, text) for n, text in given.items() if text is not None}
        command(changes=changes, **values)

    run.__name__, run.__doc__ = command.__name__, command.__doc__
    run.__signature__ = signature.replace(parameters=[*own, *flags])  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in [*own, *flags]}
    return run


def parse(name: str, text: str) -> Any:
    """Read a field's value from its flag's text.

    Raises
    ------
    ValueError
        The text is no value of the field's kind.
    """
    hint = next(get_type_hints(part)[name] for part in Spec.PARTS.values() if name in get_type_hints(part))
    for kind in _alternatives(hint):
        try:
            return _read(kind, text)
        except ValueError:
            continue
    raise ValueError(f"{name} must be {_metavar(hint)}, got {text!r}")


def _alternatives(hint: Any) -> tuple[Any, ...]:
    """Return the kinds of a union (``int | Literal["full"]``), or the one kind."""
    is_union = get_origin(hint) in (types.UnionType, Union)
    return tuple(kind for kind in get_args(hint) if kind is not types.NoneType) if is_union else (hint,)


def _read(kind: Any, text: str) -> Any:
    if kind is Bytes:
        return bytes_of(text)
    if kind in (int, float, str):
        return kind(text)
    if get_origin(kind) is Literal:
        if text in get_args(kind):
            return text
        raise ValueError(text)
    if get_origin(kind) is tuple:  # 500,500 and, for a matrix, 0,1;1,0
        item = get_args(kind)[0]
        separator = ";" if get_origin(item) is tuple else ","
        return tuple(_read(item, part) for part in text.split(separator) if part.strip())
    raise ValueError(text)


def _fields(part: str) -> list[tuple[str, dataclasses.Field[Any]]]:
    return [(field.name, field) for field in dataclasses.fields(Spec.PARTS[part])]


def _flag(name: str, field: dataclasses.Field[Any], part: str, stored: bool) -> inspect.Parameter:
    hint = get_type_hints(Spec.PARTS[part])[name]
    default = "as stored" if stored else _shown(PRESETS["tuned"].get(name, field.default))
    option = typer.Option(
        f"--{name.replace('_', '-')}",
        help=f"{_described(part).get(name, '')} (default: {default})",
        metavar=_metavar(hint),
        rich_help_panel=PANELS[part],
        show_default=False,
    )
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[str | None, option]
    )


def _metavar(hint: Any) -> str:
    names = {int: "N", float: "X", str: "NAME", Bytes: "SIZE"}
    shown: list[str] = []
    for kind in _alternatives(hint):
        if get_origin(kind) is Literal:
            shown += get_args(kind)
        elif get_origin(kind) is tuple:
            item = get_args(kind)[0]
            shown.append("X,X;X,X" if get_origin(item) is tuple else f"{names[item]},{names[item]}")
        elif kind in names:
            shown.append(names[kind])
    return "|".join(shown)


def _shown(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _described(part: str) -> dict[str, str]:
    """Return the text of each field in the dataclass's docstring, plain."""
    text = inspect.getdoc(Spec.PARTS[part]) or ""
    entries = re.findall(r"^(\w[\w, ]*) : (.*(?:\n    .*)*)", text, re.MULTILINE)
    plain = {names: " ".join(body.replace("``", "").split()) for names, body in entries}
    return {name.strip(): body for names, body in plain.items() for name in names.split(",")}
