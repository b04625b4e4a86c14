"""Counts and rows as HTML tables; every text is escaped."""

import math
from collections.abc import Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray

MOST_CLASSES, MOST_PAIRS = 24, 40


def confusion(counts: NDArray[np.int64], classes: Sequence[str]) -> str:
    """Return how many rows of each class got which label: all of [C, C], or of many classes the commonest mistakes."""
    if len(classes) > MOST_CLASSES:
        return _commonest(counts, classes)
    heads = "".join(f'<th scope="col">{_short(name)}</th>' for name in classes)
    rows = []
    for true, name in enumerate(classes):
        total = max(int(counts[true].sum()), 1)
        cells = "".join(_cell(int(n), int(n) / total, right=given == true) for given, n in enumerate(counts[true]))
        rows.append(f'<tr><th scope="row">{_short(name)}</th>{cells}</tr>')
    return _table(f'<th scope="col">true \\ said</th>{heads}', rows)


def _commonest(counts: NDArray[np.int64], classes: Sequence[str]) -> str:
    wrong = counts.copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:MOST_PAIRS]
    pairs = [divmod(int(at), len(classes)) for at in order if wrong.flat[at]]
    rows = [
        f"<tr><td>{_short(classes[true])}</td><td>{_short(classes[given])}</td><td>{wrong[true, given]}</td></tr>"
        for true, given in pairs
    ]
    note = f"<p>Of {len(classes)} classes, the {len(rows)} commonest mistakes.</p>"
    return note + _table('<th scope="col">is</th><th scope="col">said</th><th scope="col">rows</th>', rows)


def row_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table of texts."""
    lines = ["<tr>" + "".join(f"<td>{_short(cell)}</td>" for cell in row) + "</tr>" for row in rows]
    return _table("".join(f'<th scope="col">{_short(head)}</th>' for head in heads), lines)


def _cell(count: int, share: float, *, right: bool) -> str:
    colour = f"rgb({'22 163 74' if right else '220 38 38'} / {0.6 * math.sqrt(share):.2f})"
    return f'<td style="background:{colour}">{count or "·"}</td>'


def _short(name: str) -> str:
    short = name if len(name) <= 24 else f"{name[:23]}…"
    return escape(short, quote=True)


def _table(head: str, rows: Sequence[str]) -> str:
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'
