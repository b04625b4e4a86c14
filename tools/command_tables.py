"""The blocks of docs/commands.md: each command's words and flags, as its --help says them."""

import argparse
import re

from ffedge.cli.commands import COMMANDS, parser_of


def blocks() -> dict[str, str]:
    """Return the text of each command by the name of its block, ``help-<command>``."""
    return {f"help-{name}": _text(name) for name in COMMANDS}


def _text(command: str) -> str:
    """Return what the command does and a table for each group of its flags."""
    parser = parser_of(command)
    tables = [
        f"\n\n| {title} | value | |\n| --- | --- | --- |\n" + "\n".join(map(_row, actions))
        for title, actions in parser.groups().items()
        if actions
    ]
    return _plain(parser.description) + "".join(tables)


def _row(action: argparse.Action) -> str:
    several = "…" * (action.nargs == "+")
    name = action.option_strings[0] if action.option_strings else f"{action.metavar}{several}"
    value = (
        "" if action.nargs == 0 or not action.option_strings else f"{action.metavar or action.dest.upper()}{several}"
    )
    cells = [f"`{name}`", f"`{value}`" if value else "", re.sub(r"([<>*])", r"\\\1", _plain(action.help))]
    return "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |"


def _plain(text: str | None) -> str:
    return (text or "").replace("%%", "%").strip()
