"""What a network must know of its input, measured in one pass over the training rows, block by block."""

import numpy as np

from ffedge.data import Dataset, RowSource
from ffedge.errors import DataError
from ffedge.labels import FREE_BORDER_SHARE, is_free
from ffedge.network import InputFacts
from ffedge.training.table_facts import (
    BETWEEN_QUARTERS,
    CLIP,
    QUARTERS,
    measure_table,
    middle_and_spread,
    quartiles,
    sample,
)

BLOCK_BYTES = 2**20
FEW = 0.05  # of the values of an input
FAR_DEVIATION = 3.0  # times the deviation by quartiles
STROKES_SHARE = 0.2  # of the way from the darkest to the brightest: handwritten digits have 0.13, clothes 0.29


def measure(dataset: Dataset, scaling: str = "auto") -> InputFacts:
    """Return the facts of a data set's training rows, scaled as `ffedge.spec_parts.NetworkSpec` says.

    Raises
    ------
    DataError
        An input is the same in all rows, or too large to scale.
    """
    if dataset.table:
        return measure_table(dataset, scaling)
    source = dataset.train.inputs
    size = int(np.prod(source.row_shape))
    total, squares, free = np.zeros(size), np.zeros(size), 0
    low, high = np.full(size, np.inf), np.full(size, -np.inf)
    for block in source.blocks(max(1, BLOCK_BYTES // (8 * size))):
        rows = block.reshape(len(block), size).astype(np.float64)
        total += rows.sum(axis=0)
        squares += np.square(rows).sum(axis=0)
        low, high = np.minimum(low, rows.min(axis=0)), np.maximum(high, rows.max(axis=0))
        free += int(is_free(rows[:, : dataset.n_classes]).sum())
    count = len(source)
    kind = _fitting(dataset, total / count, low, high) if scaling == "auto" else scaling
    offset, scale = _scaling(kind, dataset, total / count, squares / count, low, high)
    if not np.isfinite(scale).all():
        raise DataError(
            f"{dataset.name}: inputs are all the same or too large. Check the file, or use `scaling='none'`"
        )
    largest = float(np.max((np.maximum(low, high) - offset) * scale))
    return InputFacts(
        shape=tuple(source.row_shape),
        dtype="uint8" if dataset.input_dtype == "uint8" else "float32",
        classes=dataset.classes,
        offset=tuple(float(v) for v in offset.astype(np.float32)),
        scale=tuple(float(v) for v in scale.astype(np.float32)),
        free_border=free >= FREE_BORDER_SHARE * count,
        largest=largest,
        clip=CLIP if kind == "robust" else None,
    )


def _scaling(
    kind: str, dataset: Dataset, mean: np.ndarray, square: np.ndarray, low: np.ndarray, high: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return offset and scale, each [1] or [I]."""
    with np.errstate(divide="ignore", invalid="ignore"):
        if kind == "range":
            return np.zeros(1), 1.0 / np.max(np.maximum(-low, high), keepdims=True)
        if kind == "standard":
            deviation = np.sqrt(square.mean() - mean.mean() ** 2)
            return mean.mean(keepdims=True), np.atleast_1d(1.0 / deviation)
        if kind == "centred":
            deviation = np.sqrt(np.mean(np.maximum(square - mean**2, 0.0)))
            return mean, np.atleast_1d(1.0 / deviation)
        if kind in ("feature", "robust"):
            deviation = np.sqrt(np.maximum(square - mean**2, 0.0))
            if kind == "robust":
                mean, spread = quartiles(dataset.train.inputs)
                deviation = np.where(spread > 0, spread, deviation)
            still = deviation <= 1e-7 * np.maximum(np.abs(mean), 1e-30)  # a constant input stays, as zero
            return mean, np.where(still, 1.0, 1.0 / np.where(still, 1.0, deviation))
    return np.zeros(1), np.ones(1)


def _fitting(dataset: Dataset, mean: np.ndarray, low: np.ndarray, high: np.ndarray) -> str:
    """Choose a scaling: floats of which a few lie far out go by quartiles.

    Pictures whose bytes are nearly all of one brightness are strokes, and have no mean picture.
    """
    if dataset.input_dtype != "uint8":
        return "robust" if _has_far_values(dataset.train.inputs) else "feature"
    darkest, brightest = float(low.min()), float(high.max())
    filled = (mean.mean() - darkest) / max(brightest - darkest, 1.0)
    return "standard" if min(filled, 1.0 - filled) < STROKES_SHARE else "centred"


def _has_far_values(source: RowSource) -> bool:
    """Say whether a few values of an input lie so far out that they make most of its deviation.

    As a sensor's error values do, which are too many to be left out (`ffedge.training.odd`).
    """
    for rows in sample(source):
        middle, spread = middle_and_spread(rows, QUARTERS, BETWEEN_QUARTERS)
        far = np.mean(np.abs(rows - middle) > CLIP * spread, axis=0)
        if np.any((spread > 0) & (far > 0) & (far <= FEW) & (rows.std(axis=0) > FAR_DEVIATION * spread)):
            return True
    return False
