"""The commands: their names, their parsers, and the flags that stand for the parameters of the library."""

import gc
import importlib
import inspect
import re
from types import ModuleType

from ffedge.cli.parser import Parser, Plays, flag, one_of

COMMANDS = (
    "train",
    "learn",
    "merge",
    "sweep",
    "eval",
    "predict",
    "monitor",
    "demo",
    "info",
    "export",
    "report",
    "bench",
    "data",
    "doctor",
)
ABOUT = "Train small networks layer by layer, without backpropagation, on the device that uses them."


def run(words: list[str]) -> int:
    """Run the command that the words name; return its exit code.

    Raises
    ------
    ValueError
        The words are no command, or not such as it takes.
    """
    name, *rest = words or [""]
    if name in COMMANDS:
        options = parser_of(name).read(rest)
        gc.collect()  # the parser, before the command's own imports: what trains stands on less
        return module_of(name).run(options) or 0
    if name and not name.startswith("-"):
        raise ValueError(f"there is no command {name!r}. Try `ffedge --help`")
    parser = _parser_of_all()
    options = parser.read(words)
    if options.version:
        from ffedge.version import __version__

        print(__version__)
    elif options.shell:
        from ffedge.cli.completion import script

        print(script(options.shell))
    else:
        print(parser.format_help(), end="")
        return 2
    return 0


def module_of(name: str) -> ModuleType:
    """Return a command's file."""
    return importlib.import_module(f"ffedge.cli.{name}")


def parser_of(name: str) -> Parser:
    """Return a command's parser."""
    module = module_of(name)
    parser = Parser(name, inspect.getdoc(module.run) or "")
    module.add_flags(parser)
    return parser


def with_flags(message: str, command: str = "train") -> str:
    """Name flags where the library names parameters: `` `label_mode='concat'` `` becomes ``--label-mode concat``.

    They are those of the command and of ``train``, which remedies speak of.
    """
    import shlex

    names = [name for name in ("train", command) if name in COMMANDS]
    flags = {action.dest: action.option_strings[-1] for name in names for action in parser_of(name).flags()}

    def written(found: re.Match[str]) -> str:
        name, value = found.groups()
        if name not in flags:
            return found[0]
        if value in (None, "True"):
            return flags[name]
        values = re.findall(r"'([^']*)'", value) or [value]  # a list is a flag given several times
        return " ".join(f"{flags[name]} {shlex.quote(text)}" for text in values)

    return re.sub(r"`(\w+)(?:=([^`]*))?`", written, message)


def _parser_of_all() -> Parser:
    """Return the parser of ``ffedge`` without a command, which lists them."""
    parser = Parser("", ABOUT)
    flag(parser, "--version", "Print the version and exit.", plays=Plays(alone=True))
    shells = one_of("bash", "zsh", "fish")
    flag(parser, "--show-completion", "Print what completes commands and flags in a shell.", shells, dest="shell")
    group = parser.add_argument_group("commands")
    for name in COMMANDS:
        text = (inspect.getdoc(module_of(name).run) or "").split("\n\n")[0]
        group.add_argument(name, help=" ".join(text.split()), nargs="?")
    return parser
