"""The blocks of docs/commands.md: each command's arguments and flags, as its --help says them."""

import re
from typing import Any

from typer.main import get_command

from ffedge.cli.app import app


def blocks() -> dict[str, str]:
    """Return the text of each command by the name of its block, ``help-<command>``."""
    commands: dict[str, Any] = {}
    for name, command in get_command(app).commands.items():  # type: ignore[attr-defined]
        inner = getattr(command, "commands", None)
        commands |= {f"{name} {key}": value for key, value in inner.items()} if inner else {name: command}
    return {f"help-{name.replace(' ', '-')}": _text(command) for name, command in commands.items()}


def _text(command: Any) -> str:
    """Return the command's sentence and a table for each group of its flags."""
    text, groups = " ".join(command.help.split()), dict[str, list[str]]()
    for parameter in command.params:
        groups.setdefault(getattr(parameter, "rich_help_panel", None) or "", []).append(_row(parameter))
    for title, rows in groups.items():
        text += f"\n\n| {title or 'flag'} | value | |\n| --- | --- | --- |\n" + "\n".join(rows)
    return text


def _row(parameter: Any) -> str:
    name, meaning, default = parameter.opts[0], parameter.help or "", parameter.default
    if not name.startswith("-"):
        name, value = f"{name.upper()}{'…' if parameter.nargs == -1 else ''}", ""
    else:
        value = "" if parameter.is_flag else parameter.metavar or parameter.name.upper()
    if parameter.show_default and default not in (None, False, ()):
        meaning = f"{meaning} (default: {default})"
    cells = [f"`{name}`", f"`{value}`" if value else "", re.sub(r"([<>*])", r"\\\1", meaning)]
    return "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |"
