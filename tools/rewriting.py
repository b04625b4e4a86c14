"""The command line of tools that write documents from results: rewrite what is out of date, or only say so."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from results import ROOT

from ffedge.errors import FfedgeError


def run(name: str, about: str | None, update: Callable[..., list[str]], words: list[str] | None) -> int:
    """Rewrite or check; return the exit code.

    Parameters
    ----------
    name : of the tool, ``tools/<name>.py``; about : its docstring.
    update : returns what is out of date under a folder, a line each, and mends it if it may ``write``.
    """
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing")
    parser.add_argument("--root", type=Path, default=ROOT, help="folder of README.md, docs and bench")
    options = parser.parse_args(words)
    try:
        stale = update(options.root, write=not options.check)
    except FfedgeError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 1
    for line in stale:
        print(f"{line}. Run: python tools/{name}.py" if options.check else f"{line}: rewritten", file=sys.stderr)
    return int(options.check and bool(stale))
