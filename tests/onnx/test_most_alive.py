"""The memory of a graph's own values: counted by hand on small graphs."""

import pytest

from ffedge.onnx.graph import GraphBuilder
from ffedge.onnx.memory import most_alive


def graph(*nodes):
    """Build x [N, 10] -> y from (operator, inputs, name) triples."""
    g = GraphBuilder("toy")
    g.input("x", ("N", 10))
    for kind, inputs, name in nodes:
        g.op(kind, *inputs, out=name)
    g.output(nodes[-1][2], ("N", 10))
    return g.graph


@pytest.mark.parametrize(
    ("nodes", "alive"),
    [
        ([("Sign", ["x"], "y")], 0),  # into the caller's output
        ([("Relu", ["x"], "a"), ("Sign", ["a"], "y")], 1),
        ([("Sign", ["x"], "a"), ("Relu", ["a"], "b"), ("Sign", ["b"], "y")], 1),  # b is written over a
        ([("Relu", ["x"], "a"), ("Sign", ["a"], "b"), ("Sign", ["b"], "y")], 2),  # Sign is not
        ([("Relu", ["x"], "a"), ("Relu", ["a"], "b"), ("Add", ["a", "b"], "y")], 2),  # a is read later
        ([("Relu", ["x"], "a"), ("Identity", ["a"], "b"), ("Sign", ["b"], "y")], 1),  # a view
        ([("Relu", ["x"], "a"), ("Identity", ["a"], "b"), ("Relu", ["a"], "c"), ("Add", ["b", "c"], "y")], 2),
        ([("Identity", ["x"], "a"), ("Sign", ["a"], "y")], 0),
    ],
)
def test_what_lives_at_once_is_counted(nodes, alive):
    assert most_alive(graph(*nodes), {"N": 7}) == alive * 7 * 10 * 4


def test_what_does_not_grow_with_the_samples_is_counted_too():
    g = GraphBuilder("toy")
    g.op("Gemm", g.input("x", ("N", 10)), g.op("Sign", g.input("W", (10, 6))), out="y")
    g.output("y", ("N", 6))
    assert [most_alive(g.graph, {"N": n}) for n in (1, 100)] == [240, 240]
