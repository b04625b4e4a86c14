"""The embedded digits in other clothes, in colour or as a table with gaps and a category: for checks elsewhere."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def pooled(images: Array) -> Array:
    """Return the means of 4 x 4 pixels as float32 columns in [0, 1]."""
    return (images.reshape(-1, 7, 4, 7, 4).mean(axis=(2, 4)).reshape(-1, 49) / 255).astype(np.float32)


def coloured(images: Array) -> Array:
    """Return the means of 2 x 2 pixels in drawn colours on drawn grounds, as uint8 [N, 14, 14, 3]."""
    grey = images.reshape(-1, 14, 2, 14, 2).mean(axis=(2, 4))[..., None] / 255
    ground, ink = np.random.default_rng(0).uniform([[0], [140]], [[90], [255]], (len(grey), 2, 3)).transpose(1, 0, 2)
    return (ground[:, None, None] * (1 - grey) + ink[:, None, None] * grey).astype(np.uint8)


def write_csv(file: Path, images: Array, labels: Array, *, clock: bool = False, news: bool = False) -> None:
    """Write digits as a table with gaps in a column of numbers, and a category that some rows lack.

    Parameters
    ----------
    clock : put seconds since 1970 before the other columns, whose last digits tell something of the label.
    news : let some rows have a category of their own.
    """
    columns, sides = pooled(images), np.array(["left", "right", "neither"])
    heavier = np.sign(columns[:, 3::7].sum(axis=1) - columns[:, 2::7].sum(axis=1)).astype(int)
    times = 1.75e9 + 4 * labels + np.random.default_rng(0).normal(0, 8, len(labels))
    with file.open("w", newline="") as out:
        lines = csv.writer(out)
        lines.writerow([*["time"] * clock, *(f"cell {i}" for i in range(49)), "side", "digit"])
        for row, (cells, side, label) in enumerate(zip(columns, sides[heavier], labels, strict=True)):
            told = ["" if row % 11 == 0 and i == 24 else f"{v:.4f}" for i, v in enumerate(cells)]
            strange = {0: "", 1: "unheard" if news else side}.get(row % 13, side)
            lines.writerow([*[f"{times[row]:.3f}"] * clock, *told, strange, label])
