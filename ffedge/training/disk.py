"""Room on the disk, asked for before the work: a full card would end it hours later."""

from pathlib import Path

import numpy as np

from ffedge.errors import FfedgeError
from ffedge.files import free_bytes
from ffedge.network import InputFacts, layers_of, trained
from ffedge.recipe import Recipe
from ffedge.rule.optimizer import MOMENTS
from ffedge.training.checkpoint import KEEP

MIB = 2**20


def run_bytes(recipe: Recipe, facts: InputFacts, kept_rows: int, kept_bytes: int) -> int:
    """Return what a run folder takes.

    These are generations while one more is written, layers that learn no more or are listened to before they do, the
    model, and kept examples as they are drawn and written.
    """
    weights = _layer_bytes(recipe, facts)
    learning = max(weights) if recipe.train.schedule == "greedy" else sum(weights)
    states = (KEEP + 1) * (1 + len(MOMENTS[recipe.train.optimizer])) * learning
    return states + 2 * sum(weights) + 2 * _examples_bytes(facts, kept_rows, kept_bytes)


def learning_bytes(recipe: Recipe, facts: InputFacts, kept_rows: int, kept_bytes: int) -> int:
    """Return what learning takes: layers before and after, the model, kept examples as they are drawn and written."""
    return 3 * sum(_layer_bytes(recipe, facts)) + 2 * _examples_bytes(facts, kept_rows, kept_bytes)


def has_room(folder: Path, n_bytes: int) -> bool:
    """Tell whether the disk of a folder, which need not exist, has room for so many bytes."""
    free = free_bytes(folder)
    return free is None or free >= n_bytes


def check_room(folder: Path, n_bytes: int, what: str) -> None:
    """Raise FfedgeError where a folder's disk has no room for what it is to hold, what is there already included."""
    free, taken = free_bytes(folder), sum(file.lstat().st_size for file in folder.rglob("*"))
    if free is not None and free + taken < n_bytes:
        wanted = f"{what} takes {n_bytes / MIB:.1f} MiB there"
        raise FfedgeError(f"{folder}: has {free / MIB:.1f} MiB free, but {wanted}. Free space, or choose another place")


def _layer_bytes(recipe: Recipe, facts: InputFacts) -> list[int]:
    sizes = (trained(recipe, layer).values() for layer in layers_of(recipe, facts))
    return [4 * sum(int(np.prod(shape)) for shape in shapes) for shapes in sizes]


def _examples_bytes(facts: InputFacts, rows: int, most: int) -> int:
    return min(most, rows * (facts.size * np.dtype(facts.dtype).itemsize + 4))
