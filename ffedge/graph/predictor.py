"""The predictor's graph: raw inputs in, class goodness out, the first layer's product computed once for all labels.

Shape letters: N samples, I inputs of a sample, C classes, L layers, R = N * C rows, H units of a layer.
"""

import onnx

from ffedge.graph.build import GraphBuilder
from ffedge.graph.layer import (
    deep_activity,
    first_activity,
    goodness,
    normalised,
    normalised_input,
    scaled_input,
)
from ffedge.network import InputFacts, layer_shapes
from ffedge.spec import Spec


def predictor_graph(spec: Spec, facts: InputFacts) -> onnx.ModelProto:
    """Build ``input`` [N, ...] -> ``scores`` [N, C], ``label`` [N], ``margin`` [N], ``known`` [N] (bool),
    ``goodness`` [N, L, C].

    Its weights are values without a source: ``layers.<l>.W``, ``.b`` and, where the layer sees the label, ``.V``; and
    ``prediction_weights`` [L, 1] and ``known.bias`` [3] (`ffedge.calibration`).
    """
    g = GraphBuilder("ffedge")
    raw = g.op("Reshape", g.input("input", ("N", *facts.shape), facts.dtype), g.ints(-1, facts.size))
    x, value = scaled_input(g, raw, spec.network, facts), None
    if spec.network.input_norm != "none":
        x, value = normalised_input(g, x, spec.network, facts)
    each = []
    shapes = layer_shapes(spec, facts)
    for shape in shapes:
        names = {p: f"layers.{shape.index}.{p}" for p in shape.parameters()}
        scale = float(spec.network.label_scale)
        if shape.first:
            z = g.op("Gemm", x, names["W"], names["b"])
            y = first_activity(g, z, names["V"], None, value, scale)
            y = g.op("Reshape", y, g.ints(-1, shape.units))
        else:
            y = deep_activity(g, x, names["W"], names["b"], names.get("V"), None, scale)
        good = goodness(g, y, 1, spec.network)
        each.append(g.op("Reshape", good, g.ints(-1, 1, shape.classes)))
        if shape.index < len(shapes) - 1:
            x = normalised(g, y, good, 1, shape.units, spec.network, f"rows.{shape.index}")
    _outputs(g, facts, each)
    return g.model(check=False)  # the checker would miss the weights


def _outputs(g: GraphBuilder, facts: InputFacts, each: list[str]) -> None:
    layers, classes = len(each), facts.n_classes
    if layers > 1:
        g.op("Concat", *each, axis=1, out="goodness")
    else:
        g.op("Identity", each[0], out="goodness")
    g.sum(g.op("Mul", "goodness", "prediction_weights"), 1, out="scores")
    g.op("ArgMax", "scores", axis=1, keepdims=0, out="label")
    g.nodes.append(onnx.helper.make_node("TopK", ["scores", g.ints(2)], ["best", "best.index"], axis=1))
    g.sum(g.op("Mul", "best", g.const([1.0, -1.0])), 1, out="margin")
    g.output("scores", ("N", classes))
    g.output("label", ("N",), "int64")
    g.output("margin", ("N",))
    g.output("goodness", ("N", layers, classes))
    _known(g)


def _known(g: GraphBuilder) -> None:
    """Add ``known``: whether (score, -score, margin) and the bias have no negative sum."""
    room = g.op("Gemm", "best", g.const([[1.0, -1.0, 1.0], [0.0, 0.0, -1.0]], name="known.sides"), "known.bias")
    g.op("GreaterOrEqual", g.op("ReduceMin", room, axes=[1], keepdims=0), g.const(0.0), out="known")
    g.output("known", ("N",), "bool")
