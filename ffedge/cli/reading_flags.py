"""Flags that say how a data set is to be read."""

import argparse
from typing import TYPE_CHECKING

from ffedge.cli.parser import Parser, Plays, flag, value, whole

if TYPE_CHECKING:
    from ffedge.data import Reading

FLAGS = ("size", "colour", "grey", "bins", "skip_broken", "test")


def add_reading_flags(parser: Parser) -> None:
    """Add those of a command that trains anew."""
    group, anew = parser.add_argument_group("Data"), ("resume",)
    size = value(_size, "N|HxW", "one or two numbers of pixels, as in 32 or 32x48")
    pixels = "Pixels that pictures in class folders are brought to, or that an event camera has."
    flag(group, "--size", pixels, size, plays=Plays(not_with=anew))
    flag(group, "--colour", "Keep the colour of such pictures.", plays=Plays(not_with=("grey", *anew)))
    flag(group, "--grey", "Make such pictures grey.", plays=Plays(not_with=("colour", *anew)))
    bins = "Parts that the time of an event recording is cut into. (default: 2)"
    flag(group, "--bins", bins, whole(1), plays=Plays(not_with=anew))
    add_skip_broken(group, Plays(not_with=anew))
    test = "Rows to test on: a data set, or a share of the rows (0.2), the same of each class."
    flag(group, "--test", test, value(_test, "DATA|X"), plays=Plays(not_with=anew))


def add_skip_broken(to: "Parser | argparse._ArgumentGroup", plays: Plays | None = None) -> None:
    """Add the flag that leaves out what cannot be read."""
    flag(to, "--skip-broken", "Leave out pictures or event recordings that cannot be read.", plays=plays)


def reading_of(options: argparse.Namespace) -> "Reading | None":
    """Return how data are to be read; None where no flag says it."""
    if not options.given & set(FLAGS):
        return None
    from ffedge.data import Reading

    given = {name: getattr(options, name, None) for name in FLAGS}
    colour = True if given["colour"] else False if given["grey"] else None
    return Reading(given["size"], colour, bool(given["skip_broken"]), given["test"], given["bins"])


def _size(text: str) -> tuple[int, int]:
    height, _, width = text.partition("x")
    return int(height), int(width or height)


def _test(text: str) -> str | float:
    try:
        return float(text)
    except ValueError:
        return text
