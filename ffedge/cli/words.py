"""Arguments and flags of commands that must start fast: defined once, read here without typer, or shown by typer.

A command describes its parameters as ``Annotated[type, Argument(help)]`` or ``Annotated[type, Flag(name, help)]``.
`read` takes what is plainly right and leaves everything else, help and mistakes, to typer, which takes 50 ms to import.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, get_args, get_origin, get_type_hints

KINDS = (bool, int, float, str, Path)


@dataclass(frozen=True)
class Argument:
    """A word that stands for itself; the last one of a command may be a list of words."""

    help: str


@dataclass(frozen=True)
class Flag:
    """A word with its name before it; of a bool, the name alone.

    Attributes
    ----------
    least : of a number.
    """

    name: str
    help: str
    metavar: str | None = None
    least: float | None = None


def read(command: Callable[..., None], words: list[str]) -> dict[str, Any] | None:
    """Return the values of a command's parameters; None where typer must say what is wrong, or show the help."""
    parameters = _parameters(command)
    flags = {word.name: (name, kind, word) for name, (kind, word) in parameters.items() if isinstance(word, Flag)}
    values: dict[str, Any] = {}
    plain: list[str] = []
    left = iter(words)
    for word in left:
        if word == "--":
            plain += left
        elif word.startswith("-") and word != "-":
            flag, equals, text = word.partition("=")
            if flag not in flags:
                return None
            name, kind, described = flags[flag]
            given = None if kind is bool else text if equals else next(left, None)
            value = True if kind is bool and not equals else _value(kind, given)
            if value is None or (described.least is not None and value < described.least):
                return None
            values[name] = value
        else:
            plain.append(word)
    arguments = [(name, kind) for name, (kind, word) in parameters.items() if isinstance(word, Argument)]
    for name, kind in arguments:
        if not plain:
            return None
        values[name] = list(map(get_args(kind)[0], plain)) if get_origin(kind) is list else kind(plain[0])
        plain = [] if get_origin(kind) is list else plain[1:]
    return None if plain else values


def for_typer(command: Callable[..., None]) -> Callable[..., None]:
    """Return the command with its parameters described as typer wants them."""
    import typer

    def described(kind: Any, word: Argument | Flag) -> Any:
        if isinstance(word, Argument):
            return typer.Argument(help=word.help)
        least = word.least if word.least is None or kind is float else int(word.least)
        return typer.Option(word.name, help=word.help, metavar=word.metavar, min=least)

    def run(**values: Any) -> None:
        command(**values)

    signature, parameters = inspect.signature(command), []
    for name, (kind, word) in _parameters(command).items():
        hint = get_type_hints(command)[name]
        parameters.append(signature.parameters[name].replace(annotation=Annotated[hint, described(kind, word)]))
    run.__name__, run.__doc__ = command.__name__, command.__doc__
    run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in parameters}
    return run


def _parameters(command: Callable[..., None]) -> dict[str, tuple[Any, Argument | Flag]]:
    """Return the kind and the description of each parameter; ``X | None`` is of kind X."""
    found = {}
    for name, hint in get_type_hints(command, include_extras=True).items():
        if get_origin(hint) is Annotated:
            kind, word = get_args(hint)
            found[name] = (next(k for k in get_args(kind) if k in KINDS) if isinstance(kind, UnionType) else kind, word)
    return found


def _value(kind: Any, text: str | None) -> Any:
    """Return a flag's value; None where the text is none of its kind."""
    try:
        return None if text is None else kind(text)
    except ValueError:
        return None
