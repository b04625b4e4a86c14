"""From raw inputs to what the first layer reads: scaled, some dropped, normed together with the label.

Shape letters: N samples, I raw inputs of a sample, D inputs of the first layer, C classes.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ffedge.layers.base import NORM_EPSILON
from ffedge.onnx.graph import GraphBuilder

if TYPE_CHECKING:
    from torch import Tensor

    from ffedge.columns import Table
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
    if facts.table is not None:
        return _columns(g, raw, facts, facts.table, out)
    start = facts.n_classes if network.label_mode == "overlay" else 0
    if start:
        raw = g.op("Slice", raw, g.ints(start), g.ints(facts.size), g.ints(1))
    x = g.op("Cast", raw, to=1) if facts.dtype == "uint8" else raw
    offset, scale = (v if len(v) == 1 else v[start:] for v in (facts.offset, facts.scale))
    turns = network.turns_channels(facts.shape)
    x = _at_scale(g, x, facts, offset, scale, None if turns else out)
    if not turns:
        return x
    x = g.op("Reshape", x, g.ints(-1, *facts.shape))
    return g.op("Reshape", g.op("Transpose", x, perm=[0, 3, 1, 2]), g.ints(-1, facts.size), out=out)


def _at_scale(
    g: GraphBuilder,
    x: str,
    facts: "InputFacts",
    offset: Sequence[float],
    scale: Sequence[float],
    out: str | None,
) -> str:
    """Add ``(x - offset) * scale``, cut at the largest; of doubles, which only then become float32."""
    wide = facts.dtype == "float64"
    kind, last = (np.float64 if wide else np.float32), out if facts.clip is None and not wide else None
    x = g.op("Sub", x, g.const(offset, kind, name="input.offset")) if any(offset) else x
    x = g.op("Mul", x, g.const(scale, kind, name="input.scale"), out=last)
    if facts.clip is not None:
        x = g.op("Clip", x, g.const(-facts.clip, kind), g.const(facts.clip, kind), out=None if wide else out)
    return g.op("Cast", x, to=1, out=out) if wide else x


def _columns(g: GraphBuilder, raw: str, facts: "InputFacts", table: "Table", out: str | None) -> str:
    """Turn the columns of a table [N, I] into inputs [N, D]: numbers, filled in and scaled, then a place a category."""
    parts, numbers, (places, codes) = [], table.numbers, table.indicators
    if numbers:
        x = g.op("Gather", raw, g.ints(*numbers), axis=1) if places else raw
        fill = g.const([table.columns[at].fill for at in numbers], np.float64, name="input.fill")
        x = g.op("Where", g.op("Equal", x, x), x, fill)  # NaN is not equal to itself
        offset, scale = ([values[at] for at in numbers] for values in (facts.offset, facts.scale))
        parts.append(_at_scale(g, x, facts, offset, scale, None if places else out))
    if places:
        x = g.op("Gather", raw, g.ints(*places), axis=1)
        alike = g.op("Equal", x, g.const(codes, np.float64, name="input.codes"))
        parts.append(g.op("Cast", alike, to=1, out=None if numbers else out))
    return g.op("Concat", *parts, axis=1, out=out) if len(parts) > 1 else parts[0]


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
    return facts.features + (facts.n_classes if network.label_mode == "concat" else 0)


class TorchInputs:
    """What `read` does, by torch; its constants lie on the device, as work that is repeated needs them."""

    def __init__(self, network: "Network", facts: "InputFacts", device: Any) -> None:
        import torch

        self._network, self._facts = network, facts
        self._start = facts.n_classes if network.label_mode == "overlay" else 0
        wide = torch.float64 if facts.dtype == "float64" else torch.float32

        def constant(values: Sequence[float]) -> "Tensor":
            return torch.tensor(values, dtype=wide, device=device)

        if facts.table is None:
            start = self._start
            self._offset, self._scale = (constant(v if len(v) == 1 else v[start:]) for v in (facts.offset, facts.scale))
            return
        numbers, (places, codes) = facts.table.numbers, facts.table.indicators
        self._numbers, self._places = (torch.tensor(at, dtype=torch.int64, device=device) for at in (numbers, places))
        self._fills, self._codes = constant([facts.table.columns[at].fill for at in numbers]), constant(codes)
        self._offset, self._scale = (constant([v[at] for at in numbers]) for v in (facts.offset, facts.scale))

    def __call__(self, raw: "Tensor", mask: "Tensor | None", input_dropout: float) -> "tuple[Tensor, Tensor]":
        """Return what the first layer reads [N, D] of raw rows [N, I], and the label's value [N, 1]."""
        import torch

        network, facts = self._network, self._facts
        if facts.table is None:
            x = self._cut((raw[:, self._start :] - self._offset) * self._scale)
        else:
            x = self._columns(raw)
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

    def _columns(self, raw: "Tensor") -> "Tensor":
        """Do what `_columns` does."""
        import torch

        numbers = raw.index_select(1, self._numbers)
        x = (torch.where(numbers.isnan(), self._fills, numbers) - self._offset) * self._scale
        return torch.cat([self._cut(x), (raw.index_select(1, self._places) == self._codes).float()], dim=1)

    def _cut(self, x: "Tensor") -> "Tensor":
        clip = self._facts.clip
        return (x if clip is None else x.clamp(-clip, clip)).float()
