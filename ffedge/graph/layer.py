"""A layer's forward pass: scaling, the label term, activity, goodness, and the norm between layers.

Shape letters: N samples, M labels tried for each sample, R = N * M rows, D inputs of a layer, H units, C classes.
"""

import numpy as np

from ffedge.graph.build import GraphBuilder
from ffedge.network import InputFacts, LayerShape, adds_input
from ffedge.recipe import Network, Train
from ffedge.spec import NORM_EPSILON
from ffedge.stages import NORM, START


def scaled_input(g: GraphBuilder, raw: str, network: Network, facts: InputFacts, out: str | None = None) -> str:
    """Turn raw inputs [N, I] into scaled inputs [N, D]; with an overlay the label's C inputs are left out."""
    start = facts.n_classes if network.label_mode == "overlay" else 0
    if start:
        raw = g.op("Slice", raw, g.const([start], np.int64, START), g.ints(facts.size), g.ints(1))
    x = g.op("Cast", raw, to=1) if facts.dtype == "uint8" else raw
    offset, scale = (v if len(v) == 1 else v[start:] for v in (facts.offset, facts.scale))
    x = g.op("Sub", x, g.const(offset, name="input.offset")) if any(offset) else x
    return g.op("Mul", x, g.const(scale, name="input.scale"), out=out)


def dropped_input(g: GraphBuilder, x: str, mask: str, train: Train) -> str:
    """Set the inputs whose uint8 mask [N, D] is 0 to zero, and scale the others up to the same expectation."""
    kept = g.op("Mul", g.op("Cast", mask, to=1), g.const(1.0 / (1.0 - train.input_dropout)))
    return g.op("Mul", x, kept, out="dropped")


def normalised_input(g: GraphBuilder, x: str, network: Network, facts: InputFacts) -> tuple[str, str]:
    """Norm each row of x [N, D] together with its label; return x and the label's value [N, 1, 1].

    The norm is the same for every label, as each adds ``label_scale ** 2`` to the sum of squares.
    """
    squares = g.op("Add", g.sum(g.op("Mul", x, x), 1, keep=True), g.const(network.label_scale**2))
    if network.input_norm == "rms":
        inputs = facts.size + (0 if network.label_mode == "overlay" else facts.n_classes)
        squares = g.op("Mul", squares, g.const(1.0 / inputs, name=NORM))
    length = g.op("Add", g.op("Sqrt", squares), g.const(NORM_EPSILON))
    value = g.op("Div", g.const(network.label_scale), length)
    return g.op("Div", x, length), g.op("Unsqueeze", value, g.ints(2))


def first_activity(g: GraphBuilder, z: str, V: str, labels: str | None, value: str | None, network: Network) -> str:
    """Return y [N, M, H] of the first layer, from its product z [N, H] with the input, which all labels share.

    Parameters
    ----------
    labels : [N, M] int64; None tries all C labels.
    value : the label's value for each sample [N, 1, 1]; None takes the network's for all.
    """
    if value is None:
        V = g.op("Mul", V, g.const(network.label_scale))
    term = g.op("Gather", V, labels) if labels else g.op("Unsqueeze", V, g.ints(0))
    if value is not None:
        term = g.op("Mul", term, value)
    return activity(g, g.op("Add", term, g.op("Unsqueeze", z, g.ints(1))), network)


def deep_activity(g: GraphBuilder, x: str, W: str, b: str, V: str | None, labels: str | None, network: Network) -> str:
    """Return y [R, H] of a further layer; where it sees the label, V's row for each row's label is added.

    Parameters
    ----------
    labels : [R] int64; None where the rows of a sample are all C labels in order, or the layer sees no label.
    """
    z = g.op("Gemm", x, W, b)
    if V is None:
        return activity(g, z, network)
    V = g.op("Mul", V, g.const(network.label_scale))
    if labels is not None:
        return activity(g, g.op("Add", z, g.op("Gather", V, labels)), network)
    apart = g.op("Reshape", z, g.op("Concat", g.ints(-1), g.op("Shape", V), axis=0))  # [N, C, H]
    y = activity(g, g.op("Add", apart, V), network)
    return g.op("Reshape", y, g.op("Shape", z))


def activity(g: GraphBuilder, z: str, network: Network) -> str:
    """Return ``relu(z)``, cut at the network's bound."""
    if network.bound is None:
        return g.op("Relu", z)
    return g.op("Clip", z, g.const(0.0), g.const(network.bound))


def goodness(g: GraphBuilder, y: str, axis: int, network: Network) -> str:
    """Return the mean or sum of squares of y over its last axis, which stays with length 1."""
    squares = g.op("Mul", y, y)
    return g.mean(squares, axis, keep=True) if network.goodness == "mean" else g.sum(squares, axis, keep=True)


def passed_on(
    g: GraphBuilder, x: str, y: str, good: str, axis: int, shape: LayerShape, network: Network, out: str
) -> str:
    """Return what the next layer sees, from what this one read, x, and its activity y (see `normalised`)."""
    if not adds_input(network, shape):
        return normalised(g, y, good, axis, shape.units, network, out)
    both = g.op("Add", normalised(g, y, good, axis, shape.units, network), x)
    return normalised(g, both, goodness(g, both, axis, network), axis, shape.units, network, out)


def normalised(
    g: GraphBuilder, y: str, good: str, axis: int, units: int, network: Network, out: str | None = None
) -> str:
    """Return y over its norm.

    Parameters
    ----------
    good : y's goodness, its last axis kept; for a fixed norm the layer's power [].
    """
    if network.norm == "layer":
        centred = g.op("Sub", y, g.mean(y, axis, keep=True))
        variance = g.mean(g.op("Mul", centred, centred), axis, keep=True)
        return g.op("Div", centred, g.op("Sqrt", g.op("Add", variance, g.const(NORM_EPSILON))), out=out)
    # the mean of squares times the units is the sum of squares
    # a power is a mean of squares already
    factor = {("unit", "mean"): float(units), ("rms", "sum"): 1.0 / units}.get((network.norm, network.goodness), 1.0)
    squares = good if factor == 1.0 else g.op("Mul", good, g.const(factor))
    return g.op("Div", y, g.op("Add", g.op("Sqrt", squares), g.const(NORM_EPSILON)), out=out)
