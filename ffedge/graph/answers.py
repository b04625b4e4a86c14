"""What every predictor answers from its scores: the label, its margin, and whether that counts as known.

Shape letters: N samples, C classes.
"""

import onnx

from ffedge.graph.build import GraphBuilder

BIAS = "known.bias"  # [3], a value without a source until the bounds are chosen (`ffedge.calibration`)


def answers(g: GraphBuilder, classes: int) -> None:
    """Add ``label`` [N], ``margin`` [N] and ``known`` [N] (bool) from ``scores`` [N, C]."""
    g.op("ArgMax", "scores", axis=1, keepdims=0, out="label")
    g.nodes.append(onnx.helper.make_node("TopK", ["scores", g.ints(2)], ["best", "best.index"], axis=1))
    g.op("MatMul", "best", g.const([1.0, -1.0]), out="margin")
    # known: neither (score, -score, margin) and the bias have a negative sum
    room = g.op("Gemm", "best", g.const([[1.0, -1.0, 1.0], [0.0, 0.0, -1.0]], name="known.sides"), BIAS)
    g.op("GreaterOrEqual", g.op("ReduceMin", room, axes=[1], keepdims=0), g.const(0.0), out="known")
    g.output("scores", ("N", classes))
    g.output("label", ("N",), "int64")
    g.output("margin", ("N",))
    g.output("known", ("N",), "bool")
