"""A trained network's weights with everything folded into them that is constant at prediction.

Input scaling, the label's scale, the mean in the goodness, the prediction weights and the factor of the norm all move
into W, b and V, so that an exported predictor has fewer operators. The answers differ by rounding alone.

Shape letters: I inputs of a sample, D inputs of a layer, H its units, C classes.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ffedge.network import InputFacts, adds_input, layer_shapes
from ffedge.recipe import Network, Recipe
from ffedge.spec import NORM_EPSILON

Array = NDArray[Any]
LARGEST_OFFSET = (
    8.0  # in deviations: beyond it, what is taken off must be taken off before the product, or it drowns it
)


@dataclass(frozen=True)
class FoldedLayer:
    """One layer: ``y = relu(x W + b + V[label])``, cut at the bound, whose sum of squares is its share of the score.

    Attributes
    ----------
    W : [D, H] float32; the first layer's takes raw inputs where `Folded.raw` says so.
    b : [H] float32.
    V : [C, H] float32, or None where the layer does not see the label.
    sign : 1 where the share is added to the score, -1 where it is taken off, 0 where it has no part in it.
    bound : the largest y, or None.
    epsilon : what the norm adds to the length of y (norm ``layer``: to its variance).
    missing : what y so normed lacks as a factor; a fixed norm is this factor alone.
    skips : whether the layer passes on what it read, added to its normed y and normed again.
    """

    W: Array
    b: Array
    V: Array | None
    sign: int
    bound: float | None
    epsilon: float
    missing: float
    skips: bool


@dataclass(frozen=True)
class Folded:
    """A network.

    Attributes
    ----------
    raw : whether the first layer takes raw inputs [N, I]; else scaled ones [N, D], normed if the recipe asks for it.
    centred : whether the offsets are taken off before, as they are large; with `raw` only.
    """

    layers: tuple[FoldedLayer, ...]
    raw: bool
    centred: bool


def fold(recipe: Recipe, facts: InputFacts, state: Sequence[Mapping[str, Array]], *, even: bool = False) -> Folded:
    """Fold a network's parameters.

    Parameters
    ----------
    state : W, b, V of each layer as trained; gamma where the layers collaborate, power of a fixed norm.
    even : keep the inputs of a layer, and the rows of its W, within one range, as few bits must hold them: scales that
        differ from input to input are not folded.
    """
    network = recipe.network
    shares = recipe.score_weights(state)
    alike = facts.dtype == "uint8" and len(facts.scale) == 1
    raw, before, layers = network.input_norm == "none" and (alike or not even), 1.0, []
    offset, scale = (np.broadcast_to(np.array(v, np.float64), facts.size) for v in (facts.offset, facts.scale))
    centred = raw and bool(np.abs(offset * scale).max() > LARGEST_OFFSET)
    for shape, share in zip(layer_shapes(recipe, facts), shares, strict=True):
        W, b, V = (np.asarray(state[shape.index].get(name, 0.0), np.float64) for name in "WbV")
        if shape.first and raw:
            rows = np.zeros((facts.size, shape.units))
            rows[facts.size - shape.inputs :] = W  # the label stands over the first inputs
            W = rows * scale[:, None]
            b = b if centred else b - offset @ W
        factor = _factor(network, shape.units, share)
        # where the input is normed, the label's value differs from sample to sample: the graph multiplies by it
        label_scale = network.label_scale if network.input_norm == "none" or not shape.first else 1.0
        epsilon, missing = _norm(network, shape.units, factor, float(state[shape.index].get("power", 1.0)))
        values = (before * factor * W, factor * b, factor * label_scale * V if shape.sees_label else None)
        W32, b32, V32 = (None if value is None else value.astype(np.float32) for value in values)
        assert W32 is not None
        assert b32 is not None
        sign, bound = (share > 0) - (share < 0), None if network.bound is None else factor * network.bound
        layers.append(FoldedLayer(W32, b32, V32, sign, bound, epsilon, missing, adds_input(network, shape)))
        before = missing
    return Folded(tuple(layers), raw, centred)


def _factor(network: Network, units: int, share: float) -> float:
    """Return what a layer's activity is multiplied by, so that its sum of squares is its share of the score."""
    return math.sqrt((abs(share) or 1.0) / (units if network.goodness == "mean" else 1))


def _norm(network: Network, units: int, factor: float, power: float) -> tuple[float, float]:
    """Return the norm's epsilon for an activity so multiplied, and what the normed activity then lacks."""
    if network.norm == "layer":
        return NORM_EPSILON * factor**2, 1.0
    if network.norm == "fixed":
        return 0.0, 1.0 / (math.sqrt(power) + NORM_EPSILON) / factor
    missing = math.sqrt(units) if network.norm == "rms" else 1.0
    return NORM_EPSILON * factor * missing, missing
