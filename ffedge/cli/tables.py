"""Tables, figures and colours for a person."""

import os
import sys
from typing import TextIO

from ffedge.errors import plain


def percent(share: float | None) -> str:
    """Print a fraction as per cent, or a dash."""
    return "-" if share is None else f"{100 * share:.2f} %"


def coloured(text: str, code: str, stream: TextIO) -> str:
    """Return a text in an ANSI colour, where it goes to a terminal and NO_COLOR is not set."""
    bare = not stream.isatty() or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return text if bare else f"\x1b[{code}m{text}\x1b[0m"


def print_table(title: str, columns: list[str], rows: list[list[str]]) -> None:
    """Print a table; figures stand to the right, words to the left; a heading may be of several lines, a cell not."""
    rows = [[plain(cell) for cell in row] for row in rows]
    heads = [column.split("\n") for column in columns]
    lines = max(map(len, heads))
    top = [[head[i - lines + len(head)] if i >= lines - len(head) else "" for head in heads] for i in range(lines)]
    widths = [max(len(line[place]) for line in [*top, *rows]) for place in range(len(columns))]

    figures = [place > 0 and all(row[place][:1] in "+-0123456789" for row in rows) for place in range(len(columns))]

    def line(cells: list[str]) -> str:
        places = zip(cells, widths, figures, strict=True)
        return "  ".join(cell.rjust(width) if right else cell.ljust(width) for cell, width, right in places).rstrip()

    print()
    if title:
        print(coloured(plain(title), "3", sys.stdout))
    for cells in top:
        print(coloured(line(cells), "1", sys.stdout))
    print("-" * (sum(widths) + 2 * len(widths) - 2))
    for cells in rows:
        print(line(cells))
    print()
