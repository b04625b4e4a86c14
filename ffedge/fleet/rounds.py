"""What a round of a fleet computes: boards' layers in, the next layers out, whoever carries them.

It is the average, with the checks, of ``ffedge merge`` (`ffedge.learning.average`); but who sent what cannot be used is
left out, and told, where merging files stops.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ffedge.learning.average import (
    MOST_NORM,
    Array,
    Method,
    average,
    averaged_sizes,
    judged,
    shares_of,
    source_of,
)
from ffedge.network import InputFacts, Layers, Sizes
from ffedge.recipe import Recipe

LEAST = {"mean": 1, "median": 3, "trimmed": 3}


@dataclass(frozen=True)
class Update:
    """What a board sent.

    Attributes
    ----------
    name : of the board.
    layers : the parameters of each layer that learnt, by its number.
    rows : that it learnt from.
    """

    name: str
    layers: dict[int, dict[str, Array]]
    rows: int


@dataclass(frozen=True)
class Round:
    """What became of a round.

    Attributes
    ----------
    layers : the next parameters of every layer.
    merged : whether they are; as before where too few boards are left.
    rows : of each board that counts.
    moved : how far each of these has moved, beside the others (`ffedge.learning.average.judged`).
    left_out : why, of each board that does not count.
    """

    layers: Layers
    merged: bool
    rows: dict[str, int]
    moved: dict[str, float]
    left_out: dict[str, str]


def merged_round(
    recipe: Recipe,
    facts: InputFacts,
    base: Layers,
    updates: Sequence[Update],
    method: Method = "mean",
    most_norm: float = MOST_NORM,
) -> Round:
    """Return the average of what boards sent, who began from `base`; whose update is at fault is left out.

    Layers that nobody sent stay as they are. The median and the trimmed mean ask for three boards, and take what moved
    far: ``most_norm`` is of the mean.
    """
    sizes = averaged_sizes(recipe, facts)
    left_out = {update.name: fault for update in updates if (fault := _fault(update, sizes))}
    most, moved = (most_norm if method == "mean" else np.inf), list[float]()
    while left := [update for update in updates if update.name not in left_out]:
        whole = [source_of(u.name, [base[i] | u.layers.get(i, {}) for i in range(len(sizes))]) for u in left]
        moved, faults = judged(recipe, facts, whole, most, source_of("base", base))
        if not faults:
            break
        left_out |= {left[place].name: fault for place, fault in faults.items()}
    layers, merged = [dict(layer) for layer in base], len(left) >= LEAST[method]
    if merged:
        shares = shares_of([update.rows for update in left])
        for index in {index for update in left for index in update.layers}:
            layers[index] |= average(index, sizes[index], whole, shares, method)
    names = [update.name for update in left]
    far = dict(zip(names, moved if left else [], strict=True))
    return Round(layers, merged, {u.name: u.rows for u in left}, far, left_out)


def layer_bytes(layer: dict[str, Array]) -> int:
    """Return the bytes of a layer's parameters, as they travel."""
    return sum(array.nbytes for array in layer.values())


def _fault(update: Update, sizes: Sequence[Sizes]) -> str | None:
    """Say why an update is none of this network's; None where it is."""
    if type(update.rows) is not int or not 0 < update.rows < 1 << 53:
        return f"rows must be a whole number from 1, got {update.rows!r}"
    if not update.layers or not set(update.layers) <= set(range(len(sizes))):
        return f"layers must be some of 0 to {len(sizes) - 1}, got {sorted(update.layers)}"
    for index, arrays in update.layers.items():
        if set(arrays) != set(sizes[index]):
            return f"layer {index} must hold {', '.join(sizes[index])}, got {', '.join(arrays)}"
        for name, array in arrays.items():
            if array.shape != sizes[index][name] or array.dtype != np.float32:
                return f"layer {index} holds {name} of {array.dtype} {list(array.shape)}"
    return None
