"""The memory of a graph's own values: counted by hand on small graphs."""

import onnx
import pytest
from ffedge.graph import live, training_graph
from ffedge.graph.build import GraphBuilder
from ffedge.graph.live import live_lines, most_bytes
from ffedge.training.graphs import needed_kernels
from toys import clusters, prepared, small_spec


def graph(*nodes):
    """Build x [N, 10] -> y from (operator, inputs, name) triples."""
    g = GraphBuilder("toy")
    g.input("x", ("N", 10))
    for kind, inputs, name in nodes:
        g.op(kind, *inputs, out=name)
    g.output(nodes[-1][2], ("N", 10))
    return g.model()


@pytest.mark.parametrize(
    ("nodes", "alive"),
    [
        ([("Exp", ["x"], "y")], 0),  # into the caller's output
        ([("Exp", ["x"], "a"), ("Tanh", ["a"], "y")], 1),
        ([("Exp", ["x"], "a"), ("Exp", ["a"], "b"), ("Tanh", ["b"], "y")], 1),  # b is written over a
        ([("Exp", ["x"], "a"), ("Tanh", ["a"], "b"), ("Tanh", ["b"], "y")], 2),  # Tanh is not
        ([("Exp", ["x"], "a"), ("Exp", ["a"], "b"), ("Add", ["a", "b"], "y")], 2),  # a is read later
        ([("Exp", ["x"], "a"), ("Identity", ["a"], "b"), ("Tanh", ["b"], "y")], 1),  # a view
        ([("Exp", ["x"], "a"), ("Identity", ["a"], "b"), ("Exp", ["a"], "c"), ("Add", ["b", "c"], "y")], 2),
        ([("Identity", ["x"], "a"), ("Tanh", ["a"], "y")], 0),
    ],
)
def test_what_lives_at_once_is_counted(nodes, alive):
    lines = live_lines(graph(*nodes), 1)
    assert most_bytes(lines, 7) == alive * 7 * 10 * 4


def test_a_part_that_does_not_grow_with_the_samples_is_told_apart():
    g = GraphBuilder("toy")
    g.op("Gemm", g.input("x", ("N", 10)), g.op("Tanh", g.input("W", (10, 6))), out="y")
    g.output("y", ("N", 6))
    assert live_lines(g.model(), 1) == [(240, 0)]


def test_of_two_lines_the_greater_one_counts():
    assert [most_bytes([(100, 1), (0, 10)], n) for n in (1, 11, 12, 100)] == [101, 111, 120, 1000]
    assert most_bytes([], 5) == 0


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"label_layers": "all", "loss": "logistic"},
        {"input_norm": "unit"},
        {"norm": "fixed", "bound": 0.9, "sparsity": 0.1},
    ],
    ids=str,
)
def test_lines_from_two_sizes_hold_for_others(changes):
    recipe, facts = prepared(small_spec(**changes), clusters())
    for key in needed_kernels(recipe, facts):
        model = onnx.load_from_string(training_graph(recipe, facts, key.kind, key.shape, key.flag))
        for samples in (1, 2, 5, 64):
            counted = max(live._peaks(model, live._sizes(model, samples, 3)))
            said = most_bytes(live_lines(model, 3), samples)
            assert said == counted or (samples == 1 and said > counted), key
