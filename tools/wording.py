"""How README and docs/measurements.md write numbers, lists, tables and paragraphs."""

import math
import re
import statistics
import textwrap
from collections.abc import Iterable, Sequence

DATA = {"mnist": "MNIST", "fashion-mnist": "Fashion-MNIST"}  # data sets as the documents call them


def spread(values: Iterable[float]) -> str:
    """Write the median and the range; the median alone where the range is no wider than what is printed."""
    found = list(values)
    low, middle, high = (rounded(f(found)) for f in (min, statistics.median, max))
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


def span(values: Sequence[float]) -> str:
    """Write the least and the greatest, in whole numbers."""
    low, high = f"{min(values):.0f}", f"{max(values):.0f}"
    return low if low == high else f"{low} to {high}"


def widest(groups: Iterable[Sequence[float]]) -> float:
    """Return the widest range within a group."""
    return max(max(group) - min(group) for group in groups)


def counted(number: int, noun: str) -> str:
    """Write a number before its noun."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def layers(widths: Sequence[int]) -> str:
    """Name a network by its layers' units."""
    return f"{len(widths)} layers of {widths[0]}" if len(set(widths)) == 1 else "-".join(map(str, widths))


def listed(parts: Sequence[str]) -> str:
    """Join parts with commas and a last ``and``."""
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Lay out a table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def wrapped(text: str) -> str:
    """Break a text into lines, but for what stands in backticks."""
    whole = re.sub("`[^`]*`", lambda found: found[0].replace(" ", "\0"), text)
    return textwrap.fill(whole, 120, break_long_words=False, break_on_hyphens=False).replace("\0", " ")


def bullets(lines: Sequence[str]) -> str:
    """Lay out sentences as a list."""
    return "\n".join(wrapped(f"- {line}").replace("\n", "\n  ") for line in lines)
