"""Charts as inline SVG, in colours of the page's style; every text is escaped."""

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

COLOURS = 8
MOST_POINTS, MOST_NAMES = 240, 16
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 340, 200, 46, 8, 8, 32


@dataclass(frozen=True)
class Line:
    """One line of a chart; where y is None or not finite it has a gap.

    Attributes
    ----------
    colour : its number among the page's; a dashed line may share it.
    """

    name: str
    points: Sequence[tuple[float, float | None]]
    colour: int = 0
    dashed: bool = False


def line_chart(title: str, lines: Sequence[Line], x: str, *, per_cent: bool = False, last: bool = True) -> str:
    """Return a figure of lines over an x axis, with the last value of each; empty where there is nothing to draw.

    Parameters
    ----------
    per_cent : show values as per cent of 1.
    last : name the last value of each line.
    """
    drawn = [(line, thinned(finite)) for line in lines if (finite := _finite(line.points))]
    if not drawn:
        return ""
    xs = [at for _, points in drawn for at, _ in points]
    ys = [value for _, points in drawn for _, value in points]
    x_ticks, y_ticks = ticks(min(xs), max(xs)), ticks(min(ys), max(ys))
    if all(at == int(at) for at in xs):  # epochs
        x_ticks = [tick for tick in x_ticks if tick == int(tick)] or sorted({min(xs), max(xs)})
    if per_cent:
        y_ticks = [tick for tick in y_ticks if tick <= 1] or y_ticks
    least, most = min(xs[0], *xs), max(xs)
    low, high = min(*y_ticks, *ys), max(*y_ticks, *ys)

    def place(at: float, value: float) -> str:
        across = (at - least) / (most - least) if most > least else 0.5
        up = (value - low) / (high - low) if high > low else 0.5
        return f"{LEFT + across * (WIDTH - LEFT - RIGHT):.1f},{HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM):.1f}"

    parts = []
    for tick in y_ticks:
        y = place(least, tick).partition(",")[2]
        parts.append(f'<path class="grid" d="M{LEFT},{y}H{WIDTH - RIGHT}"/>')
        parts.append(f'<text x="{LEFT - 4}" y="{y}" dy="4" text-anchor="end">{shown(tick, per_cent=per_cent)}</text>')
    for tick in (tick for tick in x_ticks if least <= tick <= most):
        where = place(tick, low).partition(",")[0]
        parts.append(f'<text x="{where}" y="{HEIGHT - BOTTOM + 14}" text-anchor="middle">{tick:g}</text>')
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(f'<text x="{middle}" y="{HEIGHT - 3}" text-anchor="middle">{escape(x)}</text>')
    for line, points in drawn:
        style = f"line c{line.colour % COLOURS}{' dashed' if line.dashed else ''}"
        if len(points) == 1:
            at = place(*points[0]).split(",")
            parts.append(f'<circle class="{style}" cx="{at[0]}" cy="{at[1]}" r="3"/>')
        else:
            parts.append(f'<polyline class="{style}" points="{" ".join(place(*point) for point in points)}"/>')
    named = [(line, shown(points[-1][1], per_cent=per_cent) if last else "") for line, points in drawn]
    said = (
        f"{title}{': at the end ' if last else ': '}{', '.join(f'{o.name} {v}'.strip() for o, v in named[:MOST_NAMES])}"
    )
    keys = "".join(
        f'<li><i class="key c{line.colour % COLOURS}{" dashed" if line.dashed else ""}"></i>'
        f"{escape(line.name)} <b>{value}</b></li>"
        for line, value in named[:MOST_NAMES]
    )
    if len(named) > MOST_NAMES:
        keys += f"<li>and {len(named) - MOST_NAMES} more lines</li>"
    return figure(title, drawing(said, WIDTH, HEIGHT, parts) + f'<ul class="keys">{keys}</ul>')


def bar_chart(title: str, bars: Sequence[tuple[str, float, str]]) -> str:
    """Return a figure of lying bars: each a name, a value from 0 on, and the text that stands beside it."""
    bars = [(name, max(value, 0.0) if math.isfinite(value) else 0.0, text) for name, value, text in bars]
    if not bars:
        return ""
    most, step, parts = max(value for _, value, _ in bars) or 1.0, 20, []
    for row, (name, value, text) in enumerate(bars):
        y, short = row * step, name if len(name) <= 16 else f"{name[:15]}…"
        parts.append(f'<text x="104" y="{y + 14}" text-anchor="end">{escape(short)}</text>')
        parts.append(f'<rect class="bar" x="110" y="{y + 3}" width="{150 * value / most:.1f}" height="14"/>')
        parts.append(f'<text x="{114 + 150 * value / most:.1f}" y="{y + 14}">{escape(text)}</text>')
    said = f"{title}: {', '.join(f'{name} {text}' for name, _, text in bars[:MOST_NAMES])}"
    return figure(title, drawing(said, WIDTH, len(bars) * step, parts))


def histogram(title: str, edges: Sequence[float], counts: Sequence[tuple[str, Sequence[int]]]) -> str:
    """Return a figure of how often values lie between edges [B + 1], for one or more named sets of counts [B]."""
    middles = [(a + b) / 2 for a, b in itertools.pairwise(edges)]
    lines = []
    for colour, (name, each) in enumerate(counts):
        total = sum(each) or 1
        lines.append(Line(name, [(m, n / total) for m, n in zip(middles, each, strict=True)], colour))
    return line_chart(title, lines, "goodness", per_cent=True, last=False)


def spark(channels: Sequence[Sequence[float]]) -> str:
    """Return a small drawing of a row's values in their order, a line for each channel."""
    lines = [points for values in channels if (points := thinned(_finite(list(enumerate(values)))))]
    if not lines:
        return ""
    ys, last = [value for points in lines for _, value in points], max(points[-1][0] for points in lines) or 1
    low, span = min(ys), (max(ys) - min(ys)) or 1.0
    parts = []
    for colour, points in enumerate(lines):
        path = " ".join(f"{2 + 116 * at / last:.1f},{38 - 36 * (value - low) / span:.1f}" for at, value in points)
        parts.append(f'<polyline class="line c{colour % COLOURS}" points="{path}"/>')
    text = f"{sum(map(len, channels))} values from {min(ys):.3g} to {max(ys):.3g}"
    return drawing(text, 120, 40, parts)


def figure(title: str, content: str) -> str:
    """Return a figure with its title."""
    return f"<figure><figcaption>{escape(title)}</figcaption>{content}</figure>"


def drawing(said: str, width: int, height: int, parts: Iterable[str]) -> str:
    """Return an SVG of parts that are safe already, with a text for those who do not see it."""
    what = escape(said, quote=True)
    return f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{what}">{"".join(parts)}</svg>'


def ticks(least: float, most: float) -> list[float]:
    """Return round numbers about a range, three to seven of them; around a single value, that one and two beside it."""
    if not most > least:
        span = abs(least) or 1.0
        return [least - span / 2, least, least + span / 2]
    rough = (most - least) / 4
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * unit for factor in (1, 2, 2.5, 5, 10) if factor * unit >= rough * 0.999)
    first, last = math.floor(least / step + 1e-9), math.ceil(most / step - 1e-9)
    return [float(f"{i * step:.12g}") for i in range(first, last + 1)]


def shown(value: float, *, per_cent: bool = False) -> str:
    """Return a number as it stands in a chart."""
    return f"{100 * value:.4g} %" if per_cent else f"{value:.4g}"


def thinned(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return at most a few hundred of some points, evenly spread, the first and the last among them."""
    if len(points) <= MOST_POINTS:
        return points
    return [points[round(i * (len(points) - 1) / (MOST_POINTS - 1))] for i in range(MOST_POINTS)]


def _finite(points: Sequence[tuple[float, float | None]]) -> list[tuple[float, float]]:
    return [(at, value) for at, value in points if value is not None and math.isfinite(value) and abs(value) < 1e300]
