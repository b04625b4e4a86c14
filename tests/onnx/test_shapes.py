"""Shapes as ONNX's own inference works them out; a node that does not fit its inputs is refused."""

import math
import re

import numpy as np
import onnx
import pytest
from networks import DATA, NETWORKS
from strangers import form
from toys import as_onnx, built, clusters, make_model, prepared, small_spec

from ffedge.engine.kernels import Kernels
from ffedge.model.file import Model
from ffedge.model.graph import activities_graph, predictor_graph
from ffedge.network import layers_of
from ffedge.onnx.graph import Node
from ffedge.onnx.shapes import Walk, walk
from ffedge.predict.predictor import MOST_ROWS, rows_at_once


def inferred(graph, sizes, weights=None):
    """Return the shape of every node's output by ONNX's own shape inference, with numbers for symbols."""
    proto = as_onnx(graph, weights)
    for value in proto.graph.input:
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param:
                dim.dim_value = sizes[dim.dim_param]
    del proto.graph.output[:]
    proto = onnx.shape_inference.infer_shapes(proto, strict_mode=True, data_prop=True)
    return {v.name: tuple(d.dim_value for d in v.type.tensor_type.shape.dim) for v in proto.graph.value_info}


def check_shapes(graph, sizes, weights=None):
    wanted, result = inferred(graph, sizes, weights), walk(graph, sizes)
    assert {name: result.shape(name) for name in wanted} == wanted
    assert set(wanted) == {name for node in graph.nodes for name in node.outputs}
    assert result.cost.n_bytes >= 4 * sum(map(math.prod, wanted.values()))


@pytest.mark.parametrize("changes", NETWORKS, ids=str)
def test_shapes_of_every_graph_are_those_of_onnx_itself(changes):
    for data in DATA.values():
        recipe, facts = prepared(small_spec(input_dropout=0.25, **changes), data)
        for graph in (predictor_graph(recipe, facts), activities_graph(recipe, facts)):
            weights = {name: np.zeros(port.dims, np.float32) for name, port in graph.weights.items()}
            check_shapes(graph, {"N": 7}, weights)
        kernels, first = Kernels(recipe, facts), layers_of(recipe, facts)[0]
        for kind in ("product", "forward", "goodness", "learn", "accumulate", "apply", "tile", "tile-apply"):
            graph = built(kernels, kind, first, True)
            check_shapes(graph, {"N": 7, "M": 3, "R": 7 if kind == "tile" else 21, "T": 5})


@pytest.mark.parametrize("scales", ["float32", "a layer", "a unit"])
@pytest.mark.parametrize("base", ["exact", "pruned", "head"])
@pytest.mark.parametrize("data", DATA)
def test_shapes_of_a_form_are_those_of_onnx_itself(base, data, scales):
    int8 = scales != "float32"
    graph, weights, content = form(base, data, int8=int8, per_channel=scales == "a unit")
    check_shapes(graph, {"N": 7}, weights)
    assert rows_at_once(Model(content)) == 160


def test_a_products_work_is_its_multiply_adds():
    recipe, facts = prepared(small_spec(widths=(12, 10), label_mode="concat"), DATA["floats"])
    assert walk(predictor_graph(recipe, facts), {"N": 5}).cost.work == 5 * (16 * 12 + 4 * 12 * 10 + 2 * 3 + 2)
    # raw inputs; 3 labels tried; the margin of two scores
    assert walk(form("pruned")[0], {"N": 5}).cost.work == 5 * (16 * 12 + 3 * (12 * 10 + 10 * 8) + 2)


@pytest.mark.parametrize(
    ("changes", "classes", "rows"),
    [({}, 4, 160), ({"widths": (2000, 2000)}, 10, 64), ({"widths": (20,) * 64}, 4, 160), ({}, 700, 1)],
)
def test_a_model_of_ffedges_goes_640_rows_at_once(changes, classes, rows):
    data = clusters(rows=max(160, classes), inputs=20, classes=classes)
    model = Model(make_model(small_spec(label_mode="concat", **changes), data)[0])
    assert rows_at_once(model) == max(1, MOST_ROWS // classes) == rows


def test_a_wide_model_in_a_small_file_goes_fewer_rows_at_once():
    content = make_model(small_spec(widths=(20_000,), label_mode="concat"), clusters(inputs=2, classes=3))[0]
    rows = rows_at_once(Model(content))
    assert 1 < rows < MOST_ROWS // 3
    assert walk(Model(content).graph, {"N": rows}).cost.n_bytes <= 2**26 + 8 * len(content)


SHAPES = {"input": (2, 3), "w": (3, 4), "v": (5, 4), "b": (4,), "cube": (2, 3, 4), "flat": (1,)}
SHAPES |= {"column": (3, 1), "block": (3, 2, 2)}
INTS = {"0": (0,), "1": (1,), "5": (5,), "-9": (-9,), "2,2": (2, 2), "6": (6,), "0,1": (0, 1), "7": (7,), "1,1": (1, 1)}


def walked(*nodes):
    return Walk(nodes, SHAPES | {name: (len(values),) for name, values in INTS.items()}, INTS)


@pytest.mark.parametrize(
    ("kind", "inputs", "attributes", "why"),
    [
        ("Add", "input w", {}, "joins the shapes [2, 3] and [3, 4]"),
        ("Add", "input", {}, "has 1 inputs and the attributes []"),
        ("Relu", "input w", {}, "has 2 inputs and the attributes []"),
        ("Relu", "input", {"x": 1}, "has 1 inputs and the attributes ['x']"),
        ("Relu", "banana", {}, "reads 'banana' before it is made"),
        ("Loop", "input", {}, "no graph of ffedge has this operator"),
        ("Gemm", "input v b", {}, "multiplies [2, 3] with [5, 4]"),
        ("Gemm", "input w cube", {}, "joins the shapes [2, 4] and [2, 3, 4]"),
        ("Reshape", "input 7", {}, "reshapes [2, 3] to [7]"),
        ("Reshape", "input w", {}, "reads 'w', which must be a few known whole numbers"),
        ("Slice", "input 5 6 1", {}, "makes a value of shape [2, 0]"),
        ("Slice", "input 0 1 7", {}, "names axis 7 of 2"),
        ("Slice", "input 0,1 1 0", {}, "cuts at (0, 1) and (1,)"),
        ("Squeeze", "input 1", {}, "takes the axes (1,) out of [2, 3]"),
        ("Squeeze", "input 1,1", {}, "names the axes [1, 1]"),
        ("Unsqueeze", "input -9", {}, "names axis -9 of 3"),
        ("TopK", "input 5", {"axis": 1}, "takes the best (5,) of [2, 3]"),
        ("TopK", "input 0", {"axis": 1}, "takes the best (0,) of [2, 3]"),
        ("TopK", "input 2,2", {"axis": 1}, "takes the best (2, 2) of [2, 3]"),
        ("ArgMax", "input", {"axis": 1, "keepdims": 2}, "has keepdims 2"),
        ("ArgMax", "input", {"axis": (), "keepdims": 0}, "has axis ()"),
        ("ReduceMean", "input", {"axes": 1, "keepdims": 0}, "has axes 1"),
        ("Concat", "input w", {"axis": 0}, "joins the shapes (2, 3) and (3, 4)"),
        ("Cast", "input", {"to": 8}, "casts to type 8"),
        ("Clip", "input 0 b", {}, "is cut at more than one number"),
        ("MatMul", "input v", {}, "multiplies [2, 3] with [5, 4]"),
        ("MatMul", "input cube", {}, "multiplies [2, 3] with [2, 3, 4]"),
        ("MatMul", "w w", {}, "multiplies [3, 4] with [3, 4]"),
        ("MatMul", "input block", {}, "multiplies [2, 3] with [3, 2, 2]"),
        ("OneHot", "input w b", {}, "reads 'w', which must be one known whole number"),
        ("Softmax", "input", {"axis": 2}, "names axis 2 of 2"),
        ("GatherND", "cube w", {}, "takes places [3, 4] out of [2, 3, 4] behind 0 axes"),
        ("GatherND", "cube input", {"batch_dims": 2}, "takes places [2, 3] out of [2, 3, 4] behind 2 axes"),
        ("GatherND", "w input", {"batch_dims": 1}, "takes places [2, 3] out of [3, 4] behind 1 axes"),
        ("GatherND", "cube column", {"batch_dims": 1}, "takes places [3, 1] out of [2, 3, 4] behind 1 axes"),
        ("GatherND", "w input", {"batch_dims": -1}, "takes places [2, 3] out of [3, 4] behind -1 axes"),
        ("GatherND", "w input", {"axis": 1}, "has 2 inputs and the attributes ['axis']"),
        ("ScatterElements", "input input w", {"axis": 1}, "puts [3, 4] at places [2, 3] of [2, 3]"),
        ("ScatterElements", "input w w", {"axis": 1}, "puts [3, 4] at places [3, 4] of [2, 3]"),
        ("ScatterElements", "input flat flat", {"axis": 1}, "puts [1] at places [1] of [2, 3]"),
        ("ScatterElements", "input input input", {"axis": 2}, "names axis 2 of 2"),
        ("DequantizeLinear", "w b input", {}, "scales [3, 4] by [4] and [2, 3]"),
        ("DequantizeLinear", "w b b", {"axis": 0}, "scales [3, 4] by [4] and [4]"),
        ("QuantizeLinear", "w flat b", {}, "scales [3, 4] by [1] and [4]"),
        ("QuantizeLinear", "b b b", {}, "names axis 1 of 1"),
    ],
)
def test_a_node_that_does_not_fit_its_inputs_is_refused(kind, inputs, attributes, why):
    outputs = ("best", "place") if kind == "TopK" else ("out",)
    with pytest.raises(ValueError, match=f"^{re.escape(f'node 0, {kind!r}: {why}')}$"):
        walked(Node(kind, tuple(inputs.split()), outputs, attributes))


@pytest.mark.parametrize(
    ("kind", "inputs", "attributes", "shape"),
    [
        ("MatMul", "input w", {}, (2, 4)),
        ("MatMul", "cube b", {}, (2, 3)),
        ("GatherND", "cube flat", {}, (3, 4)),
        ("DequantizeLinear", "w b b", {"axis": 1}, (3, 4)),
        ("QuantizeLinear", "w b b", {"axis": 1}, (3, 4)),
        ("QuantizeLinear", "w flat flat", {}, (3, 4)),
        ("ArgMax", "input", {"axis": -1, "keepdims": 0}, (2,)),
    ],
)
def test_a_node_that_fits_its_inputs_has_its_shape(kind, inputs, attributes, shape):
    assert walked(Node(kind, tuple(inputs.split()), ("out",), attributes)).shape("out") == shape


@pytest.mark.parametrize("outputs", [("w",), ("input",), ("",), (), ("a", "b"), ("a", "a")])
def test_a_value_is_made_once_and_as_many_as_the_operator_makes(outputs):
    with pytest.raises(ValueError, match=r"^node 0, 'Relu': (makes '.*' again|has \d outputs)$"):
        walked(Node("Relu", ("input",), outputs))


def test_what_nodes_make_counts_among_the_bytes_of_a_run():
    assert walked().cost.n_bytes == 0
    assert walked(Node("Relu", ("input",), ("out",))).cost.n_bytes == 24
