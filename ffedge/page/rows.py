"""Rows and first-layer weights as the page shows them: pictures, small lines, or tables of columns."""

import math
from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ffedge.columns import Table
from ffedge.model.file import Model
from ffedge.network import InputFacts
from ffedge.page.answers import Shown
from ffedge.page.charts import COLOURS, bar_chart, spark
from ffedge.page.pictures import image, of_row, of_weights, size_of, upright
from ffedge.page.tables import row_table
from ffedge.recipe import Recipe

MOST_COLUMNS, MOST_UNITS, MOST_BARS = 12, 48, 24


def cards(rows: Sequence[Shown], recipe: Recipe, facts: InputFacts) -> str:
    """Return rows as pictures, or as small lines, each with what it is and what was said; a table's as a table."""
    if not rows:
        return ""
    if facts.table:
        return _of_table(rows, facts.table, facts.classes)
    size, first, parts = size_of(recipe, facts.shape), recipe.network.layout == "chw", []
    for row in rows:
        channels = row.input.T if row.input.ndim == 2 and row.input.shape[1] <= COLOURS else row.input.reshape(1, -1)
        seen = spark(channels.tolist())
        if size is not None:
            seen = image(of_row(row.input, size, first=first), f"row {row.row}")
        true, given = escape(facts.classes[row.true]), escape(facts.classes[row.given])
        said = f"said <b>{given}</b>" + ("" if row.true == row.given else f", is <b>{true}</b>")
        parts.append(
            f'<div class="card">{seen}<p>{said}</p><small>row {row.row}<br>margin {row.margin:.3g}</small></div>'
        )
    return f'<div class="cards">{"".join(parts)}</div>'


def _of_table(rows: Sequence[Shown], table: Table, classes: Sequence[str]) -> str:
    columns = table.columns[:MOST_COLUMNS]
    left = len(table.columns) - len(columns)
    note = f"<p>The first {len(columns)} of {len(table.columns)} columns.</p>" if left else ""
    lines = []
    for row in rows:
        values = []
        for column, value in zip(columns, row.input.tolist(), strict=False):
            text = "" if math.isnan(value) else f"{value:.6g}"
            if column.categories:
                text = column.categories[int(value)] if 0 <= value < len(column.categories) else "?"
            values.append(text)
        lines.append([str(row.row), classes[row.true], classes[row.given], f"{row.margin:.3g}", *values])
    return note + row_table(["row", "is", "said", "margin", *(column.name for column in columns)], lines)


def weights(model: Model) -> str:
    """Return a section of the first layer's weights: filters or units as pictures, or how much each input counts."""
    try:
        arrays = model.layer(0)
    except (KeyError, ValueError):  # an exported form has no weights as trained
        return ""
    W, recipe, facts = arrays["W"], model.recipe, model.facts
    if W.ndim == 4:
        tiles, what = [_filter(each) for each in W], "filters"
    else:
        size = None if facts.table else size_of(recipe, facts.shape)
        if size is None:
            return _inputs(W, recipe, facts)
        tiles, what = [], "units"
        start = facts.size - len(W)  # where an overlay's label stands, and no weight
        for column in W.T[_largest(W.T)]:
            whole = np.zeros(facts.size, np.float32)
            whole[start:] = column
            tiles.append(upright(whole, size, first=recipe.network.layout == "chw"))
    count = W.shape[0] if W.ndim == 4 else W.shape[1]
    if W.ndim == 4:
        tiles = [tiles[i] for i in _largest(W.reshape(count, -1))]
    shown = "".join(image(of_weights(tile), f"{what[:-1]}") for tile in tiles)
    few = (
        f"the {len(tiles)} of {count:,} {what} with the largest weights"
        if count > len(tiles)
        else f"all {count} {what}"
    )
    note = "<p>Zero is white, positive weights red, negative ones blue; in colour pictures zero is grey.</p>"
    return f'<section><h2>First layer: {few}</h2>{note}<div class="tiles">{shown}</div></section>'


def _filter(each: NDArray[Any]) -> NDArray[Any]:
    """Return a filter [channels, k, k] as [k, k] or [k, k, 3]."""
    turned = each.transpose(1, 2, 0)
    return turned[:, :, :3] if turned.shape[2] >= 3 else turned[:, :, 0]


def _largest(units: NDArray[Any]) -> NDArray[np.intp]:
    """Return the places of the units [H, D] with the largest weights, the largest first."""
    return np.argsort(-np.square(units, dtype=np.float64).sum(axis=1), kind="stable")[:MOST_UNITS]


def _inputs(W: NDArray[Any], recipe: Recipe, facts: InputFacts) -> str:
    """Return how large the weights of each input [D, H] are, on average over the units."""
    names = _names(facts)
    names = names[len(names) - len(W) :]
    sizes = np.abs(W.astype(np.float64)).mean(axis=1)
    order = np.argsort(-sizes, kind="stable")[:MOST_BARS]
    title = "Mean size of the weights of each input"
    title += f", the largest {len(order)} of {len(sizes):,}" if len(sizes) > len(order) else ""
    chart = bar_chart(title, [(names[i], float(sizes[i]), f"{sizes[i]:.3g}") for i in order])
    return f'<section><h2>First layer</h2><div class="grid">{chart}</div></section>'


def _names(facts: InputFacts) -> list[str]:
    """Name what the network gets of a sample, in its order."""
    if facts.table is None:
        return [f"input {i}" for i in range(facts.size)]
    numbers = [column.name for column in facts.table.columns if not column.categories]
    return numbers + [f"{c.name} = {text}" for c in facts.table.columns for text in c.categories]
