"""Rewrite what is generated in README.md, docs/measurements.md, bench/PAPER.md and docs/commands.md, and the figures.

    python tools/readme_tables.py            # rewrite
    python tools/readme_tables.py --check    # change nothing; exit 1 naming what is out of date

A block stands between ``<!-- generated: NAME -->`` and ``<!-- /generated -->``. Its text comes from the newest files of
bench/results (`results`, `blocks`), and then stands once in one of the first three documents, or from the command
line's own help (`command_tables`), in docs/commands.md. A figure holds the hash of what it was drawn from, and is drawn
anew where that differs: bytes would differ between versions of matplotlib.
"""

import argparse
import contextlib
import hashlib
import io
import re
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "bench"))

import command_tables  # noqa: E402
from blocks import BLOCKS, PAPER  # noqa: E402
from results import newest, points, read  # noqa: E402

from ffedge.errors import FfedgeError  # noqa: E402

BLOCK = re.compile(r"^<!-- generated: ([\w-]+) -->\n(.*?)^<!-- /generated -->$", re.MULTILINE | re.DOTALL)
MEASURED = ("README.md", "docs/measurements.md", "bench/PAPER.md")  # each of BLOCKS stands in one of them
COMMANDS = ("docs/commands.md",)


def main(words: list[str] | None = None) -> int:
    """Rewrite or check; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing")
    parser.add_argument("--root", type=Path, default=ROOT, help="folder of README.md, docs and bench")
    options = parser.parse_args(words)
    try:
        stale = update(options.root, write=not options.check)
    except FfedgeError as error:
        print(f"readme_tables: {error}", file=sys.stderr)
        return 1
    for line in stale:
        print(line + (". Run: python tools/readme_tables.py" if options.check else ": rewritten"), file=sys.stderr)
    return int(options.check and bool(stale))


def update(root: Path, *, write: bool) -> list[str]:
    """Return what is out of date, a line each; `write` brings it up to date.

    Raises
    ------
    FfedgeError
        A result is missing, a block does not stand once where it belongs, or nothing makes it.
    """
    measured = {name: text(*(read(result, root) for result in results)) for name, (results, text) in BLOCKS.items()}
    stale = _documents(root, MEASURED, measured, write) + _documents(root, COMMANDS, command_tables.blocks(), write)
    for names, draw in FIGURES.items():
        for name in names:
            path, files = root / "bench" / "figures" / f"{name}.svg", [f for r in draw[0] for f in newest(r, root)]
            mark = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
            if not path.exists() or mark not in path.read_text():
                stale.append(f"bench/figures/{path.name}: is not drawn from {files[-1].name}")
                if write:
                    _draw(draw[1], name, root, path, mark)
    return stale


def _documents(root: Path, names: tuple[str, ...], wanted: dict[str, str], write: bool) -> list[str]:
    """Return a line for each block that is not as wanted; each must stand once in all documents together."""
    texts = {name: (root / name).read_text() for name in names}
    stale, seen = list[str](), list[str]()

    def renew(found: re.Match[str], document: str) -> str:
        name, old = found.groups()
        seen.append(name)
        if name not in wanted:
            raise FfedgeError(f"{document}: block {name!r} is made by nothing. Remove it, or see tools/blocks.py")
        if old != f"{wanted[name]}\n":
            stale.append(f"{document}: block {name!r} is out of date")
        return f"<!-- generated: {name} -->\n{wanted[name]}\n<!-- /generated -->"

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


def _memory_depth(root: Path, folder: Path) -> None:
    from backprop import draw_memory

    draw_memory(points(read("memory-depth", root)), "depth", folder / "memory-depth.svg")


def _paper(root: Path, folder: Path) -> None:
    from paper_blocks import main_groups
    from paper_figures import draw

    draw(main_groups(*(read(name, root) for name in PAPER)), folder)


Draw = Callable[[Path, Path], None]
FIGURES: dict[tuple[str, ...], tuple[tuple[str, ...], Draw]] = {  # names of figures: their results, and what draws them
    ("memory-depth",): (("memory-depth",), _memory_depth),
    ("paper-progress", "paper-bars", "paper-gamma"): (PAPER, _paper),
}


def _draw(draw: Draw, name: str, root: Path, path: Path, mark: str) -> None:
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        draw(root, Path(folder))
        svg = (Path(folder) / f"{name}.svg").read_text().rstrip()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{svg}\n<!-- data: sha256 {mark} -->\n")


if __name__ == "__main__":
    sys.exit(main())
