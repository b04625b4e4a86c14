"""Rewrite what is generated in README.md, docs/measurements.md and docs/commands.md, and the figures of bench/figures.

    python tools/readme_tables.py            # rewrite
    python tools/readme_tables.py --check    # change nothing; exit 1 naming what is out of date

A block stands between ``<!-- generated: NAME -->`` and ``<!-- /generated -->``. Its text comes from the newest files of
bench/results (`results`, `readme_blocks`), and then stands once in README.md or docs/measurements.md, or from the
command line's own help (`command_tables`), in docs/commands.md. A figure holds the hash of what it was drawn from, and
is drawn anew where that differs: bytes would differ between versions of matplotlib.
"""

import hashlib
import re
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import command_tables
import rewriting
from readme_blocks import BLOCKS
from results import newest, points, read

from ffedge.errors import FfedgeError

TOOL = "python tools/readme_tables.py"
BLOCK = re.compile(r"^<!-- generated: ([\w-]+) -->\n(.*?)^<!-- /generated -->$", re.MULTILINE | re.DOTALL)
MEASURED = ("README.md", "docs/measurements.md")  # each of readme_blocks.BLOCKS stands in one of the two
COMMANDS = ("docs/commands.md",)
FIGURES = {"memory-depth": "depth"}  # result and sweep; drawn to bench/figures/<result>.svg


def main(words: list[str] | None = None) -> int:
    """Rewrite or check; return the exit code."""
    return rewriting.run("readme_tables", __doc__, update, words)


def update(root: Path, *, write: bool) -> list[str]:
    """Return what is out of date, a line each; `write` brings it up to date.

    Raises
    ------
    FfedgeError
        A result is missing, a block does not stand once where it belongs, or nothing makes it.
    """
    measured = {name: _of_results(name, root) for name in BLOCKS}
    commands = {name: (text, "the command's help") for name, text in command_tables.blocks().items()}
    stale = _documents(root, MEASURED, measured, write) + _documents(root, COMMANDS, commands, write)
    for name, sweep in FIGURES.items():
        path, mark = root / "bench" / "figures" / f"{name}.svg", stamp(newest(name, root))
        if not path.exists() or mark not in path.read_text():
            stale.append(f"bench/figures/{path.name}: is not drawn from {newest(name, root)[-1].name}")
            if write:
                _draw(read(name, root), sweep, path, mark)
    return stale


def _of_results(name: str, root: Path) -> tuple[str, str]:
    """Return a block's text and what it comes from."""
    block = BLOCKS[name]
    return block.text(*(read(result, root) for result in block.results)), f"bench/results ({', '.join(block.results)})"


def _documents(root: Path, names: tuple[str, ...], wanted: dict[str, tuple[str, str]], write: bool) -> list[str]:
    """Return a line for each block that is not as wanted; each must stand once in all documents together."""
    texts = {name: (root / name).read_text() for name in names}
    stale, seen = list[str](), list[str]()

    def renew(found: re.Match[str], document: str) -> str:
        name, old = found.groups()
        seen.append(name)
        if name not in wanted:
            raise FfedgeError(f"{document}: block {name!r} is made by nothing. Remove it, or see {TOOL.split()[1]}")
        new, source = wanted[name]
        if old != f"{new}\n":
            stale.append(f"{document}: block {name!r} is not what {source} says")
        return f"<!-- generated: {name} -->\n{new}\n<!-- /generated -->"

    renewed = {document: BLOCK.sub(partial(renew, document=document), text) for document, text in texts.items()}
    for name in wanted:
        marks = sum(text.count(f"<!-- generated: {name} -->") for text in texts.values())
        if seen.count(name) != 1 or marks != 1:
            raise FfedgeError(
                f"{' or '.join(names)}: must hold the block {name!r} once. Write <!-- generated: {name} --> and "
                "<!-- /generated --> on lines of their own where it belongs"
            )
    for document in names:
        if write and renewed[document] != texts[document]:
            (root / document).write_text(renewed[document])
    return stale


def stamp(files: list[Path]) -> str:
    """Return a hash of what stands in files."""
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()


def _draw(documents: list[Any], sweep: str, path: Path, mark: str) -> None:
    """Draw a sweep as `ffedge bench` does; the same data and versions give the same bytes."""
    from ffedge.compare.figures import draw_memory
    from ffedge.compare.memory import bound_bytes

    found = points(documents)
    bounds = [bound_bytes(point.work, point.inputs, "adam") for point in found]
    with tempfile.TemporaryDirectory() as folder:
        drawn = steadily(lambda: draw_memory(found, sweep, bounds, Path(folder) / "figure"))
        svg = next(file for file in drawn if file.suffix == ".svg").read_text()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(re.sub(r" *<dc:date>.*?</dc:date>\n", "", svg).rstrip() + f"\n<!-- data: sha256 {mark} -->\n")


def steadily(work: Callable[[], list[Path]]) -> list[Path]:
    """Draw with text as text, and with the same names inside the SVG each time."""
    try:
        import matplotlib as mpl
    except ModuleNotFoundError:
        return work()  # which says what to install
    with mpl.rc_context({"svg.hashsalt": "ffedge", "svg.fonttype": "none"}):
        return work()


if __name__ == "__main__":
    sys.exit(main())
