"""What every predictor answers from its scores: the label, its margin, and whether that counts as known.

Shape letters: N samples, C classes.
"""

import onnx

from ffedge.graph.build import GraphBuilder


def add_answers(g: GraphBuilder, classes: int) -> None:
    """Add ``label`` [N] and ``margin`` [N] from ``scores`` [N, C], and ``best`` [N, 2], the two best scores."""
    g.op("ArgMax", "scores", axis=1, keepdims=0, out="label")
    g.nodes.append(onnx.helper.make_node("TopK", ["scores", g.ints(2)], ["best", "best.index"], axis=1))
    g.op("MatMul", "best", g.const([1.0, -1.0]), out="margin")
    g.output("scores", ("N", classes))
    g.output("label", ("N",), "int64")
    g.output("margin", ("N",))


def add_known(g: GraphBuilder) -> None:
    """Add ``known`` [N] (bool): whether (score, -score, margin) and ``known.bias`` [3] have no negative sum."""
    room = g.op("Gemm", "best", g.const([[1.0, -1.0, 1.0], [0.0, 0.0, -1.0]], name="known.sides"), "known.bias")
    g.op("GreaterOrEqual", g.op("ReduceMin", room, axes=[1], keepdims=0), g.const(0.0), out="known")
    g.output("known", ("N",), "bool")
