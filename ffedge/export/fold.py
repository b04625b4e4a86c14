"""The weights of a form: a trained network's, with everything folded into them that is constant at prediction.

Input scaling, the label's scale, the mean in the goodness, the prediction weights and the factor of the norm all move
into W, b and V, so that an exported predictor has fewer operators. The answers differ by rounding alone.

Shape letters: I inputs of a sample, D inputs of a layer, H its units, C classes.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ffedge.kinds import goodness_of
from ffedge.layers.base import NORM_EPSILON
from ffedge.model.form import Folded, FoldedLayer
from ffedge.network import Layers

Array = NDArray[Any]


def fold(network: Folded, layers: Layers, *, tried: bool = True) -> dict[str, Array]:
    """Return the weights of a form by name.

    Parameters
    ----------
    layers : W, b, V of each layer as trained; power of a fixed norm.
    tried : whether labels are tried, where the network does: then a bias is one for each label [C, H], else [H].
    """
    result, before = {}, 1.0
    shares = network.recipe.score_weights(layers)
    for index, (layer, arrays) in enumerate(zip(network.layers, layers, strict=True)):
        if tried and (S := goodness_of(layer.layer).matrix(arrays)) is not None:
            result[f"S.{index}"] = np.float32(shares[index]) * S
        W, b, V = _folded(network, layer, arrays, before)
        result[f"W.{index}"] = W
        if tried and V is not None and index == 0 and network.recipe.network.input_norm != "none":
            result |= {"b.0": b, "V.0": V}  # the label's value differs from sample to sample
        else:
            result[f"bias.{index}"] = b + V if tried and V is not None else b
        before = missing(network, layer, arrays)
    return result


def missing(network: Folded, layer: FoldedLayer, arrays: Mapping[str, Array]) -> float:
    """Return the factor that a layer's normed activity lacks in a form; a fixed norm is this factor alone."""
    if network.recipe.network.norm == "fixed":
        return 1.0 / (math.sqrt(float(arrays.get("power", 1.0))) + NORM_EPSILON) / layer.factor
    return math.sqrt(layer.layer.units) if network.recipe.network.norm == "rms" else 1.0


def _folded(
    network: Folded, layer: FoldedLayer, arrays: Mapping[str, Array], before: float
) -> tuple[Array, Array, Array | None]:
    """Return W, b and V, of which V is None where the layer does not see the label."""
    facts, place, factor = network.facts, layer.layer.place, layer.factor
    W, b = (np.asarray(arrays[name], np.float64) for name in "Wb")
    if place.index == 0 and network.raw:
        offset, scale = (np.broadcast_to(np.array(v, np.float64), facts.size) for v in (facts.offset, facts.scale))
        rows = np.zeros((facts.size, layer.layer.units))
        rows[facts.size - place.inputs :] = W  # the label stands over the first inputs
        W = rows * scale[:, None]
        b = b if network.centred else b - offset @ W
    with_sample = place.index == 0 and network.recipe.network.input_norm != "none"
    label_scale = 1.0 if with_sample else place.label_scale
    V = factor * label_scale * np.asarray(arrays["V"], np.float64) if place.sees_label else None
    return (
        (before * factor * W).astype(np.float32),
        (factor * b).astype(np.float32),
        None if V is None else V.astype(np.float32),
    )
