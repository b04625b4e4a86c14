"""A parser of flags whose errors are one line and whose help has colours, and the flags that several commands share."""

import argparse
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from ffedge.cli.tables import coloured

Read = Callable[[str], Any]


@dataclass(frozen=True)
class Plays:
    """When a flag plays a part: beside which others, by their names; where it does not, it is refused.

    Attributes
    ----------
    only_with : one of these must be there.
    not_with : none of these may be.
    alone : no other flag may be.
    """

    only_with: tuple[str, ...] = ()
    not_with: tuple[str, ...] = ()
    alone: bool = False

    def check(self, flag: str, others: dict[str, str]) -> None:
        """Raise ValueError where the flag, or another of those that were used, plays no part."""
        if self.alone and others:
            raise ValueError(f"{min(others.values())} plays no part with {flag}. Leave it out")
        if idle := [others[name] for name in self.not_with if name in others]:
            raise ValueError(f"{flag} plays no part with {idle[0]}. Leave it out")
        if self.only_with and not set(self.only_with) & set(others):
            wanted = " or ".join(f"--{name.replace('_', '-')}" for name in self.only_with)
            raise ValueError(f"{flag} plays no part without {wanted}. Add that, or leave it out")


class Parser(argparse.ArgumentParser):
    """Reads the words of one command."""

    def __init__(self, command: str, about: str) -> None:
        super().__init__(
            f"ffedge {command}".strip(),
            description=" ".join(about.split()).replace("%", "%%"),
            formatter_class=_Help,
            allow_abbrev=False,
            add_help=False,
        )
        self._positionals.title, self._optionals.title = "arguments", "flags"
        self.add_argument("-h", "--help", action="help", help="Show this help and exit.")
        self.color = False  # `format_help` adds the colours, whatever Python it is
        self._negative_number_matcher = re.compile(r"-\.?\d")  # also -1,2 is no flag

    def read(self, words: list[str]) -> argparse.Namespace:
        """Return the options that the words ask for; ``given`` are the names of the flags among them.

        Raises
        ------
        ValueError
            They are not such as the command takes, or a flag plays no part beside the others.
        """
        options = self.parse_intermixed_args(words)
        before = words[: words.index("--")] if "--" in words else words
        named = {word.partition("=")[0] for word in before}
        used = {action.dest: action for action in self.flags() if named & set(action.option_strings)}
        flags = {name: action.option_strings[-1] for name, action in used.items()}
        for name, action in used.items():
            getattr(action, "plays", Plays()).check(flags[name], {n: f for n, f in flags.items() if n != name})
        options.given = set(used)
        return options

    def flags(self) -> list[argparse.Action]:
        """Return the flags, without the words that stand for themselves."""
        return [action for action in self._actions if action.option_strings]

    def groups(self) -> dict[str, list[argparse.Action]]:
        """Return the words by the title of their group, as the help shows them; all but --help."""
        shown = {group.title or "": group._group_actions for group in self._action_groups}
        return {title: [a for a in actions if a.dest != "help"] for title, actions in shown.items()}

    def error(self, message: str) -> NoReturn:
        """Raise ValueError with what is wrong, and where the help is."""
        text = re.sub(r"^argument (?:-\w/)?(\S+?):", r"\1", message)
        raise ValueError(f"{text}. Try `{self.prog} --help`")

    def format_help(self) -> str:
        """Return the help: how it is used, what it does, and a word on every flag."""
        import shutil

        _Help.columns = shutil.get_terminal_size().columns
        words = [_shown(action) for action in self._actions if not action.option_strings]
        self.usage = " ".join([self.prog, "[flags]", *words]) if self.prog != "ffedge" else "ffedge COMMAND [flags]"
        text = re.sub(r"(?m)^(\w[\w ]*:)", lambda found: coloured(found[1], "1", sys.stdout), super().format_help())
        return re.sub(r"(?m)^  (-{1,2}\w[\w-]*)", lambda found: f"  {coloured(found[1], '36', sys.stdout)}", text)


class _Help(argparse.HelpFormatter):
    """Help whose texts begin further to the right than usual; argparse makes one for each flag that is added."""

    columns = 80  # without a width, each would import what asks the terminal for it

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=32, width=self.columns - 2)


def flag(
    to: Any,
    name: str,
    text: str,
    read: Read | None = None,
    *,
    default: Any = None,
    plays: Plays | None = None,
    **more: Any,
) -> None:
    """Add a flag: with a value where `read` makes one of its text, else a switch.

    Parameters
    ----------
    to : a parser or a group of one.
    default : is shown where it is not None.
    plays : when it plays a part; None: always.
    more : as for ``add_argument``: metavar, dest, action.
    """
    text = text.replace("%", "%%")
    if read is None:
        more["action"] = "store_true"
    else:
        if default not in (None, []):
            text = f"{text} (default: {default})"
        metavar = more.pop("metavar", None) or getattr(read, "metavar", None)
        more |= {"type": read, "default": default, "metavar": metavar}
    action = to.add_argument(name, help=text, **more)
    action.plays = plays or Plays()


def argument(to: Any, name: str, text: str, read: Read = Path, **more: Any) -> None:
    """Add a word that stands for itself."""
    to.add_argument(name, help=text, type=read, metavar=name.upper(), **more)


def value(read: Read, metavar: str, rule: str = "") -> Read:
    """Return a reader of a flag's text that says what it must be where it is not."""

    def read_or_say(text: str) -> Any:
        try:
            return read(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"must be {rule or metavar}, got {text!r}") from None

    read_or_say.metavar = metavar  # type: ignore[attr-defined]
    return read_or_say


def whole(least: int) -> Read:
    """Return a reader of whole numbers."""

    def read(text: str) -> int:
        if (number := int(text)) < least:
            raise ValueError(text)
        return number

    return value(read, "N", f"a whole number from {least}")


def one_of(*choices: str) -> Read:
    """Return a reader of one of a few words."""

    def read(text: str) -> str:
        if text not in choices:
            raise ValueError(text)
        return text

    return value(read, "|".join(choices))


def _port(text: str) -> int:
    if not 0 <= (number := int(text)) < 1 << 16:
        raise ValueError(text)
    return number


PORT = value(_port, "PORT", "a port from 0 to 65535")
SHARED: dict[str, tuple[str, Read | None, Any]] = {
    "--data-dir": ("Where known data sets are looked for first.", value(Path, "FOLDER"), None),
    "--label": ("Of a table, the column that holds the label. (default: the last, or the model's)", str, None),
    "--threads": ("0 takes all cores.", whole(0), 0),
    "--provider": ("What runs the model: cpu, or what the installed onnxruntime has, as cuda or coreml.", str, "cpu"),
    "--resize": ("Bring images to the model's size, whatever their aspect.", None, None),
    "--invert": ("Swap black and white of images.", None, None),
    "--strict": ("End at the first line of stdin that cannot be used.", None, None),
}
NUMBER = value(float, "X", "a number")


def shared(to: Any, *names: str, plays: Plays | None = None) -> None:
    """Add flags that mean the same in each command that has them."""
    for name in names:
        text, read, default = SHARED[name]
        flag(to, name, text, read, default=default, plays=plays)


def check_data_dir(options: argparse.Namespace, *sources: str | None) -> None:
    """Raise ValueError where --data-dir was used, and none of the data sets is looked for by its name."""
    if "data_dir" in options.given:
        from ffedge.data import NAMES

        if not any(source in NAMES and NAMES[source].url for source in sources):
            raise ValueError("--data-dir plays no part without a data set that is looked for by name. Leave it out")


def _shown(action: argparse.Action) -> str:
    return f"{action.metavar}{' ...' if action.nargs == '+' else ''}"
