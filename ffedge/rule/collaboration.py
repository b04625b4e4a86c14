"""Collaboration (NetworkFF eq. 5): ``G_l = g_l - theta + gamma_l sum_k alpha_lk (g_k - theta)``, g_k plain numbers.

Shape letters: N samples, M labels tried for each, L layers.
"""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ffedge.onnx.graph import GraphBuilder

if TYPE_CHECKING:
    from torch import Tensor

    from ffedge.recipe import Rule

Floats = NDArray[np.float32]


def others(
    layer: int,
    goodness: Mapping[int, Any],
    shape: tuple[int, ...],
    rule: "Rule",
    among: Iterable[int],
    so_far: Floats | None = None,
) -> Any:
    """Return the sum over the other layers [N, M], plain numbers: no gradient passes through them.

    Parameters
    ----------
    goodness : [N, M] of each layer, in its engine's own form, as the sum is.
    among : the layers whose goodness is summed here, in ascending order.
    so_far : [N, M] the sum over those before them.
    """
    theta = rule.theta if rule.theta_placement == "per_layer" else 0.0
    total: Any = so_far
    for k in among:
        if weight := rule.alpha[layer][k]:
            part = weight * (goodness[k] - theta)
            total = part if total is None else total + part
    return np.zeros(shape, np.float32) if total is None else total


def joined(g: GraphBuilder, M: int, rule: "Rule") -> str:
    """Return G [N, M] from ``g`` [N, M]; variants that collaborate read ``other`` [N, M] and ``gamma`` [] too."""
    G = g.op("Sub", "g", g.const(rule.theta))
    if rule.variant == "ff":
        return G
    return g.op("Add", G, g.op("Mul", g.input("other", ("N", M)), g.input("gamma", ())))


def gamma_gradient(g: GraphBuilder, slope: str) -> str:
    """Return dLoss/dgamma = sum dLoss/dG * other (eq. 7)."""
    return g.op("ReduceSum", g.op("Mul", slope, "other"), keepdims=0, out="grad.gamma")


def torch(goodness: "Tensor", other: "Tensor | None", gamma: "Tensor | None", rule: "Rule") -> "Tensor":
    """Return G [N, M] from goodness and the sum over the others [N, M], if it listens to any."""
    return goodness - rule.theta + (gamma * other if gamma is not None and other is not None else 0.0)
