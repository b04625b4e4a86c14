"""The norm between layers: what a layer's activity is divided by before the next layer sees it.

    unit    y / (length of y + eps)
    rms     y / (root mean square of y + eps)
    layer   (y - mean) / sqrt(variance + eps)
    fixed   y / (sqrt(power) + eps), power the running mean square of what the layer did in training

Shape letters: R rows, H units; an activity is [..., H].
"""

from typing import TYPE_CHECKING

from ffedge.kinds import goodness_of
from ffedge.layers.base import NORM_EPSILON, Layer
from ffedge.onnx.graph import GraphBuilder

if TYPE_CHECKING:
    from torch import Tensor

    from ffedge.recipe import Network


def normed(
    g: GraphBuilder,
    y: str,
    good: str | None,
    power: str | None,
    axis: int,
    layer: Layer,
    network: "Network",
    out: str | None = None,
) -> str:
    """Return y [..., H] over its norm.

    Parameters
    ----------
    good : y's goodness where it is at hand.
    power : the layer's power [], of a fixed norm.
    """
    if network.norm == "layer":
        return centred(g, y, axis, NORM_EPSILON, out)
    if network.norm == "fixed":
        assert power is not None
        return over(g, y, power, 1.0, NORM_EPSILON, out)
    if layer.passes == layer.units:
        squares, factor = goodness_of(layer).square_sum(g, y, good, axis)
    else:  # it is pooled
        squares, factor = g.sum(g.op("Mul", y, y), axis, keep=True), 1.0
    factor = factor if network.norm == "unit" else factor / layer.passes
    return over(g, y, squares, factor, NORM_EPSILON, out)


def passed_on(
    g: GraphBuilder,
    x: str,
    y: str,
    good: str,
    power: str | None,
    axis: int,
    layer: Layer,
    network: "Network",
    out: str,
    *,
    skips: bool,
) -> str:
    """Return what the next layer reads: the normed y; where a layer skips, x is added and the sum normed again."""
    y = layer.pooled(g, y)
    if not skips:
        return normed(g, y, good, power, axis, layer, network, out)
    both = g.op("Add", normed(g, y, good, power, axis, layer, network), x)
    return normed(g, both, None, power, axis, layer, network, out)


def centred(g: GraphBuilder, y: str, axis: int, epsilon: float, out: str | None = None) -> str:
    """Return y without its mean, over its deviation."""
    around = g.op("Sub", y, g.mean(y, axis, keep=True))
    variance = g.mean(g.op("Mul", around, around), axis, keep=True)
    return g.op("Div", around, g.op("Sqrt", g.op("Add", variance, g.const(epsilon))), out=out)


def over(g: GraphBuilder, y: str, squares: str, factor: float, epsilon: float, out: str | None = None) -> str:
    """Return y over the root of its squares times a factor."""
    squares = squares if factor == 1.0 else g.op("Mul", squares, g.const(factor))
    return g.op("Div", y, g.op("Add", g.op("Sqrt", squares), g.const(epsilon)), out=out)


def torch(y: "Tensor", network: "Network", power: "Tensor | None") -> "Tensor":
    """Return the activities [R, ...] over their norm; `power` [] is the layer's, of a fixed norm."""
    import torch

    if network.norm == "fixed":
        assert power is not None
        return y / (power.sqrt() + NORM_EPSILON).to(y.dtype)
    units = tuple(range(1, y.ndim))
    if network.norm == "layer":
        y = y - y.mean(units, keepdim=True)
        variance = y.square().mean(units, keepdim=True, dtype=torch.float32)
        return y / (variance + NORM_EPSILON).sqrt().to(y.dtype)
    sum_or_mean = torch.sum if network.norm == "unit" else torch.mean
    squares = sum_or_mean(y.square(), units, keepdim=True, dtype=torch.float32)
    return y / (squares.sqrt() + NORM_EPSILON).to(y.dtype)
