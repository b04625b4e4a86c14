"""How the documents write numbers, tables and captions."""

import math
import re
import statistics
import textwrap
from collections.abc import Iterable, Sequence

from results import COMMANDS

MIB = 2**20
# data sets as the documents call them
DATA = {"mnist": "MNIST", "fashion-mnist": "Fashion-MNIST", "cifar-10": "CIFAR-10, JPEG edition"}


def spread(values: Iterable[float]) -> str:
    """Write the median and the range; the median alone where the range is no wider than what is printed."""
    numbers = list(values)
    low, middle, high = (rounded(f(numbers)) for f in (min, statistics.median, max))
    return middle if low == high else f"{middle} [{low}, {high}]"


def rounded(value: float, digits: int = 3) -> str:
    """Write a number with so many digits; with two where it is below 1."""
    if value == 0:
        return "0"
    exponent = math.floor(math.log10(abs(value)))
    decimals = digits - 1 - exponent if exponent >= 0 else 1 - exponent
    return f"{value:.{max(0, decimals)}f}"


def percent(each: Sequence[float], digits: int = 2) -> str:
    """Write the mean of percentages, and each."""
    return f"{statistics.mean(each):.{digits}f} % ({' '.join(f'{value:.2f}' for value in each)})"


def span(values: Iterable[float], digits: int = 0) -> str:
    """Write the least and the greatest."""
    numbers = list(values)
    low, high = f"{min(numbers):.{digits}f}", f"{max(numbers):.{digits}f}"
    return low if low == high else f"{low} to {high}"


def counted(number: int, noun: str) -> str:
    """Write a number before its noun."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def layers(widths: Sequence[int]) -> str:
    """Name a network by its layers' units."""
    return f"{len(widths)} layers of {widths[0]}" if len(set(widths)) == 1 else "-".join(map(str, widths))


def table(header: Sequence[str], rows: Iterable[Sequence[str]], text: str = "", *made_by: str) -> str:
    """Lay out a table in Markdown, over its caption."""
    lines = [header, ["---"] * len(header), *rows]
    whole = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
    return f"{whole}\n\n{caption(text, *made_by)}" if text or made_by else whole


def caption(text: str, *made_by: str) -> str:
    """Write what tables hold, and the commands that made the results of some names."""
    return wrapped("; ".join([text] * bool(text) + [f"`{COMMANDS[name]}`" for name in made_by]) + ".")


def wrapped(text: str) -> str:
    """Break a text into lines, but for what stands in backticks."""
    whole = re.sub("`[^`]*`", lambda code: code[0].replace(" ", "\0"), text)
    return textwrap.fill(whole, 120, break_long_words=False, break_on_hyphens=False).replace("\0", " ")
