"""The memory of a graph's own values: counted by hand on small graphs."""

import json
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from ffedge.onnx.graph import GraphBuilder, model_bytes
from ffedge.onnx.memory import as_run, most_alive


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


def test_nodes_run_in_onnxruntimes_order(tmp_path):
    """Its own profile tells it: the last result that nobody reads comes first, and what it reads before it."""
    g = GraphBuilder("toy")
    g.input("x", ("N", 10))
    for kind, inputs, name in [
        ("Relu", ["x"], "a"),
        ("Sign", ["a"], "b"),
        ("Neg", ["a"], "c"),
        ("Sigmoid", ["x"], "d"),
        ("Mul", ["d", "b"], "e"),
        ("Sqrt", ["d"], "f"),
    ]:
        g.op(kind, *inputs, out=name)
    for name in ("c", "e", "f"):
        g.output(name, ("N", 10))
    options = ort.SessionOptions()
    options.enable_profiling, options.profile_file_prefix = True, str(tmp_path / "profile")
    session = ort.InferenceSession(model_bytes(g.graph), options, providers=["CPUExecutionProvider"])
    session.run(None, {"x": np.ones((2, 10), np.float32)})
    events = json.loads(Path(session.end_profiling()).read_text())
    ran = [e["args"]["op_name"] for e in events if e["name"].endswith("_kernel_time")]
    assert [node.kind for node in as_run(g.graph)] == ran == ["Sigmoid", "Sqrt", "Relu", "Sign", "Mul", "Neg"]


@pytest.mark.parametrize("reader", ["MatMul", "Sign"])
def test_a_transposed_operand_of_a_product_is_read_where_it_lies(reader):
    g = GraphBuilder("toy")
    x = g.op("Reshape", g.op("Relu", g.input("x", ("N", 12))), g.ints(-1, 4, 3))
    turned = g.op("Transpose", x, perm=[0, 2, 1])
    last = g.op("MatMul", x, turned) if reader == "MatMul" else g.op("Sign", turned)
    g.op("ReduceSum", last, g.ints(1, 2), keepdims=0, out="y")
    g.output("y", ("N",))
    after = {"MatMul": 4 * 4, "Sign": 12}[reader]  # the product, or what Sign makes of the copy when x is gone
    assert most_alive(g.graph, {"N": 7}) == 7 * 4 * (12 + after)


def test_what_does_not_grow_with_the_samples_is_counted_too():
    g = GraphBuilder("toy")
    g.op("Gemm", g.input("x", ("N", 10)), g.op("Sign", g.input("W", (10, 6))), out="y")
    g.output("y", ("N", 6))
    assert [most_alive(g.graph, {"N": n}) for n in (1, 100)] == [240, 240]
