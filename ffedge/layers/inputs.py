"""From raw inputs to what the first layer reads: scaled, some dropped, normed together with the label.

Shape letters: N samples, I raw inputs of a sample, D inputs of the first layer, C classes.
"""

from typing import TYPE_CHECKING

from ffedge.layers.base import NORM_EPSILON
from ffedge.onnx.graph import GraphBuilder

if TYPE_CHECKING:
    from torch import Tensor

    from ffedge.network import InputFacts
    from ffedge.recipe import Network, Train


def read(g: GraphBuilder, network: "Network", facts: "InputFacts") -> tuple[str, str | None]:
    """Add ``input`` [N, ...] of a predictor; return what the first layer reads [N, D], and `normed`'s value."""
    given = g.input("input", ("N", *facts.shape), facts.dtype)
    raw = g.op("Reshape", given, g.ints(-1, facts.size))
    return normed(g, scaled(g, raw, network, facts), network, facts)


def scaled(g: GraphBuilder, raw: str, network: "Network", facts: "InputFacts", out: str | None = None) -> str:
    """Turn raw inputs [N, I] into scaled inputs [N, D]; with an overlay the label's C inputs are left out.

    For a convolution, pictures whose channels come last are turned: channels first.
    """
    start = facts.n_classes if network.label_mode == "overlay" else 0
    if start:
        raw = g.op("Slice", raw, g.ints(start), g.ints(facts.size), g.ints(1))
    x = g.op("Cast", raw, to=1) if facts.dtype == "uint8" else raw
    offset, scale = (v if len(v) == 1 else v[start:] for v in (facts.offset, facts.scale))
    x = g.op("Sub", x, g.const(offset, name="input.offset")) if any(offset) else x
    if not network.turns_channels(facts.shape):
        return g.op("Mul", x, g.const(scale, name="input.scale"), out=out)
    x = g.op("Reshape", g.op("Mul", x, g.const(scale, name="input.scale")), g.ints(-1, *facts.shape))
    return g.op("Reshape", g.op("Transpose", x, perm=[0, 3, 1, 2]), g.ints(-1, facts.size), out=out)


def dropped(g: GraphBuilder, x: str, mask: str, train: "Train") -> str:
    """Set the inputs whose uint8 mask [N, D] is 0 to zero, and scale the others up to the same expectation."""
    stay = g.op("Mul", g.op("Cast", mask, to=1), g.const(1.0 / (1.0 - train.input_dropout)))
    return g.op("Mul", x, stay, out="dropped")


def normed(g: GraphBuilder, x: str, network: "Network", facts: "InputFacts") -> tuple[str, str | None]:
    """Norm each row of x [N, D] together with its label; return x and the label's value [N, 1, 1].

    The norm is the same for every label, as each adds ``label_scale ** 2`` to the sum of squares. Without a norm x
    stays, and the value is ``label_scale`` (None); it is None too where no label is in the input.
    """
    if network.input_norm == "none":
        return x, None
    squares = g.sum(g.op("Mul", x, x), 1, keep=True)
    if network.tries_labels:
        squares = g.op("Add", squares, g.const(network.label_scale**2))
    if network.input_norm == "rms":
        squares = g.op("Mul", squares, g.const(1.0 / _inputs(network, facts)))
    length = g.op("Add", g.op("Sqrt", squares), g.const(NORM_EPSILON))
    if not network.tries_labels:
        return g.op("Div", x, length), None
    value = g.op("Div", g.const(network.label_scale), length)
    return g.op("Div", x, length), g.op("Unsqueeze", value, g.ints(2))


def _inputs(network: "Network", facts: "InputFacts") -> int:
    """Return the inputs of a row, its label's included."""
    return facts.size + (facts.n_classes if network.label_mode == "concat" else 0)


def torch(
    raw: "Tensor", mask: "Tensor | None", network: "Network", facts: "InputFacts", input_dropout: float
) -> "tuple[Tensor, Tensor]":
    """Return what the first layer reads [N, D], and the label's value [N, 1]."""
    import torch

    start = facts.n_classes if network.label_mode == "overlay" else 0
    offset, scale = (v if len(v) == 1 else v[start:] for v in (facts.offset, facts.scale))
    x = (raw[:, start:] - torch.tensor(offset, device=raw.device)) * torch.tensor(scale, device=raw.device)
    if network.turns_channels(facts.shape):
        x = x.view(-1, *facts.shape).permute(0, 3, 1, 2).flatten(1)
    if mask is not None:
        x = x * mask / (1.0 - input_dropout)
    value = torch.full((len(x), 1), network.label_scale, device=raw.device)
    if network.input_norm != "none":
        squares = x.square().sum(1, keepdim=True) + (value.square() if network.tries_labels else 0.0)
        squares = squares / _inputs(network, facts) if network.input_norm == "rms" else squares
        length = squares.sqrt() + NORM_EPSILON
        x, value = x / length, value / length
    return x, value
