"""A further loss: samples of one class are to look alike, others not (Nøkland and Eidnes, arXiv:1901.06656, section 3).

    S = mean_ij (h_i . h_j - T_ij)^2,    h = c / |c|,    c = f - mean(f)

f is the profile of a sample, the root mean square of each channel over its places (of a dense layer the activity
itself). T_ij is what the classes' one-hot rows give: 1 for two samples of a class, else -1 / (C - 1). It is local, and
its gradient is closed:

    dS/dh = 4 / N^2 (h h^T - T) h,    dS/df = (dS/dh - h (h . dS/dh)) / |c|,    df/dy = y / (P f)

It is taken over the samples that learn at once. Shape letters: N of them, M labels, C classes, K channels of P places
each, H = K * P.
"""

from typing import TYPE_CHECKING

import numpy as np

from ffedge.layers.base import Layer, dots
from ffedge.onnx.graph import FLOAT, GraphBuilder
from ffedge.rule.groups import pooled_squares

if TYPE_CHECKING:
    from torch import Tensor

EPSILON = 1e-4  # what is added to a mean square before its root is divided by


def slope(g: GraphBuilder, y: str, layer: Layer, weight: float) -> str:
    """Return weight * N / batch * dS/dy [N, H]; reads ``labels`` [N, M], the true one first, and ``share``."""
    channels, places, classes = layer.channels, layer.units // layer.channels, layer.place.classes
    if places > 1:
        squares = g.op("Reshape", dots(g, y, y, channels, places), g.ints(-1, channels))
        squares = g.op("Mul", squares, g.const(1.0 / places))
    else:
        squares = g.op("Mul", y, y)
    f = g.op("Sqrt", g.op("Add", squares, g.const(EPSILON)))
    c = g.op("Sub", f, g.mean(f, 1, keep=True))
    length = g.op("Sqrt", g.op("Add", g.sum(g.op("Mul", c, c), 1, keep=True), g.const(EPSILON)))
    h = g.op("Div", c, length)
    true = g.op("Slice", "labels", g.ints(0), g.ints(1), g.ints(1))
    same = g.op("Cast", g.op("Equal", true, g.op("Transpose", true, perm=[1, 0])), to=FLOAT)
    wanted = g.op("Sub", g.op("Mul", same, g.const(classes / (classes - 1))), g.const(1.0 / (classes - 1)))
    apart = g.op("Sub", g.op("Gemm", h, h, transB=1), wanted)
    count = g.op("Cast", g.op("Gather", g.op("Shape", y), g.const(0, np.int64)), to=FLOAT)
    dh = g.op("Mul", g.op("MatMul", apart, h), g.op("Div", "share", count))
    dc = g.op("Div", g.op("Sub", dh, g.op("Mul", h, g.sum(g.op("Mul", h, dh), 1, keep=True))), length)
    each = g.op("Div", dc, g.op("Mul", f, g.const(places / (4.0 * weight))))
    dy = g.op("Mul", g.op("Reshape", y, g.ints(-1, channels, places)), g.op("Unsqueeze", each, g.ints(2)))
    return g.op("Reshape", dy, g.ints(-1, layer.units))


def torch(y: "Tensor", true: "Tensor", classes: int) -> "Tensor":
    """Return S of an activity and its true labels [N]."""
    f = (pooled_squares(y, *y.shape[2:]) + EPSILON).sqrt()
    c = f - f.mean(1, keepdim=True)
    h = c / (c.square().sum(1, keepdim=True) + EPSILON).sqrt()
    wanted = ((true[:, None] == true).float() * classes - 1.0) / (classes - 1)
    return (h @ h.T - wanted).square().mean()
