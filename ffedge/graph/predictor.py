"""The predictor's graph: raw inputs in, class goodness out, the first layer's product computed once for all labels.

Shape letters: N samples, I inputs of a sample, C classes, L layers, R = N * C rows, H units of a layer.
"""

import numpy as np
import onnx

from ffedge.graph.answers import add_answers, add_known
from ffedge.graph.build import GraphBuilder
from ffedge.graph.layer import (
    deep_activity,
    first_activity,
    goodness,
    normalised_input,
    passed_on,
    scaled_input,
)
from ffedge.network import InputFacts, layer_shapes, stored
from ffedge.recipe import Recipe
from ffedge.stages import SCORES


def predictor_graph(recipe: Recipe, facts: InputFacts) -> onnx.ModelProto:
    """Build ``input`` [N, ...] -> ``scores`` [N, C], ``label`` [N], ``margin`` [N], ``known`` [N] (bool),
    ``goodness`` [N, L, C].

    Its weights are values without a source: ``layers.<l>.W``, ``.b`` and, where the layer sees the label, ``.V``; of a
    fixed norm ``.power`` []; and ``prediction_weights`` [L, 1] and ``known.bias`` [3] (`ffedge.calibration`).
    """
    g = GraphBuilder("ffedge")
    raw = g.op("Reshape", g.input("input", ("N", *facts.shape), facts.dtype), g.ints(-1, facts.size))
    x, value = scaled_input(g, raw, recipe.network, facts), None
    if recipe.network.input_norm != "none":
        x, value = normalised_input(g, x, recipe.network, facts)
    each = []
    shapes = layer_shapes(recipe, facts)
    for shape in shapes:
        names = {p: f"layers.{shape.index}.{p}" for p in stored(recipe, shape)}
        if shape.first:
            z = g.op("Gemm", x, names["W"], names["b"])
            y = first_activity(g, z, names["V"], None, value, recipe.network)
            y = g.op("Reshape", y, g.ints(-1, shape.units))
        else:
            y = deep_activity(g, x, names["W"], names["b"], names.get("V"), None, recipe.network)
        good = goodness(g, y, 1, recipe.network)
        each.append(g.op("Reshape", good, g.const((-1, 1, shape.classes), np.int64, SCORES)))
        if shape.index < len(shapes) - 1:
            squares = names.get("power", good)
            x = passed_on(g, x, y, squares, 1, shape, recipe.network, f"rows.{shape.index}")
    _outputs(g, facts, each)
    return g.model(check=False)  # the checker would miss the weights


def _outputs(g: GraphBuilder, facts: InputFacts, each: list[str]) -> None:
    layers, classes = len(each), facts.n_classes
    if layers > 1:
        g.op("Concat", *each, axis=1, out="goodness")
    else:
        g.op("Identity", each[0], out="goodness")
    g.sum(g.op("Mul", "goodness", "prediction_weights"), 1, out="scores")
    add_answers(g, classes)
    g.output("goodness", ("N", layers, classes))
    add_known(g)
