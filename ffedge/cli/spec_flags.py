"""Flags made from the fields of a spec: name, default and help have one home there."""

import argparse
import dataclasses
from collections.abc import Container
from functools import partial
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from ffedge.cli.parser import Parser, flag, value
from ffedge.fields import Bytes, bytes_of
from ffedge.presets import PRESETS
from ffedge.spec import Spec

TITLES = {"network": "Network", "rule": "Learning rule", "train": "Training"}
LETTERS = {int: "N", float: "X", str: "NAME", Bytes: "SIZE"}


def add_spec_flags(parser: Parser, only: Container[str] | None = None, *, stored: bool = False) -> None:
    """Add a flag for each field of a spec, in a group for each part.

    Parameters
    ----------
    only : the fields that are flags; None takes all.
    stored : whether their defaults are what a model file holds.
    """
    for part, title in TITLES.items():
        fields = [f for f in dataclasses.fields(Spec.PARTS[part]) if only is None or f.name in only]
        group = parser.add_argument_group(title) if fields else parser
        for field in fields:
            default = "as stored" if stored else _shown(PRESETS["tuned"].get(field.name, field.default))
            text = f"{field.metadata['option'].help} (default: {default})"
            flag(group, f"--{field.name.replace('_', '-')}", text, reader(field.type, field.metadata["option"].choices))


def changes(options: argparse.Namespace) -> dict[str, Any]:
    """Return the fields of a spec whose flags were used."""
    given = {name: getattr(options, name, None) for name in Spec.options()}
    return {name: value for name, value in given.items() if value is not None}


def reader(hint: Any, choices: tuple[str, ...] = ()) -> Any:
    """Return what reads a field's value from its flag's text: ``500,500``, ``auto``, ``64MiB``, ``0,1;1,0``."""
    if choices:
        hint = Literal[choices]
    kinds = [kind for kind in get_args(hint) if kind is not NoneType] if _is_union(hint) else [hint]
    return value(partial(_read_one_of, kinds), "|".join(map(_letters, kinds)))


def _is_union(hint: Any) -> bool:
    return get_origin(hint) in (UnionType, Union)


def _read_one_of(kinds: list[Any], text: str) -> Any:
    for kind in kinds:
        try:
            return _read(kind, text)
        except ValueError:
            continue
    raise ValueError(text)


def _read(kind: Any, text: str) -> Any:
    if kind is Bytes:
        return bytes_of(text)
    if get_origin(kind) is Literal:
        if text in get_args(kind):
            return text
        raise ValueError(text)
    if get_origin(kind) is tuple:
        item = get_args(kind)[0]
        separator = ";" if get_origin(item) is tuple else ","
        items = get_args(item) if _is_union(item) else (item,)
        return tuple(_read_one_of(list(items), part) for part in text.split(separator) if part.strip())
    return kind(text)


def _letters(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return "|".join(get_args(kind))
    if get_origin(kind) is tuple:
        item = get_args(kind)[0]
        letters = LETTERS[get_args(item)[0] if _is_union(item) else item] if get_origin(item) is not tuple else "X,X"
        return f"{letters};{letters}" if get_origin(item) is tuple else f"{letters},{letters}"
    return LETTERS[kind]


def _shown(default: Any) -> str:
    return ",".join(map(str, default)) if isinstance(default, tuple) else str(default)
