"""A stranger's exported form: its operators' shapes are those of ONNX's own inference; what does not fit is refused."""

import math
import re

import numpy as np
import onnx
import pytest
from ffedge.graph.folded import fold
from ffedge.graph.forms import Head, exact_graph, head_graph, pruned_graph
from ffedge.runtime.proto import Node, Tensor, read_parts
from ffedge.runtime.verify import Walk, rows_at_once
from networks import DATA, rows_of
from onnx import TensorProto, helper, numpy_helper
from tests.runtime.test_verify import MODEL, inferred, toy
from toys import prepared, random_layers, small_spec

from ffedge.errors import ModelError
from ffedge.export.int8 import quantised
from ffedge.predict.predictor import Predictor


def form(kind, data, *, int8, per_channel=False):
    recipe, facts = prepared(small_spec(label_layers="all"), DATA[data])
    layers, rng = random_layers(recipe, facts), np.random.default_rng(0)
    folded = fold(recipe, facts, layers, even=int8)
    if kind == "head":
        model = head_graph(recipe, facts, folded, Head(rng.random((30, 4), np.float32), rng.random(4, np.float32)))
    else:
        model = exact_graph(recipe, facts, folded) if kind == "exact" else pruned_graph(recipe, facts, folded, 3)
    if int8:
        model = quantised(model, [rows_of(DATA[data], 50)], per_channel=per_channel)
    return model, facts


@pytest.mark.parametrize("scales", ["float32", "a layer", "a unit"])
@pytest.mark.parametrize("kind", ["exact", "pruned", "head"])
@pytest.mark.parametrize("data", DATA)
def test_shapes_are_those_of_onnx_itself(kind, data, scales):
    model, facts = form(kind, data, int8=scales != "float32", per_channel=scales == "a unit")
    written = model.SerializeToString()
    parts, wanted = read_parts(written), inferred(written, 7)
    walk = Walk(parts, (7, *facts.shape))
    assert len(wanted) > 15
    assert {name: walk._shapes[name] for name in wanted} == wanted
    assert walk.cost.n_bytes >= 4 * sum(map(math.prod, wanted.values()))
    assert rows_at_once(parts, facts, 3) == 160


def test_a_products_work_is_its_multiply_adds():
    model, facts = form("pruned", "floats", int8=False)
    work = Walk(read_parts(model.SerializeToString()), (5, *facts.shape)).cost.work
    assert work == 5 * (16 * 12 + 3 * (12 * 10 + 10 * 8) + 2)  # raw inputs; 3 labels tried; the margin of two scores


def test_small_whole_numbers_are_read_at_their_size():
    model, _ = form("head", "floats", int8=True)
    stored = {t.name: t for t in model.graph.initializer}
    assert {t.data_type for t in stored.values()} == {
        TensorProto.FLOAT,
        TensorProto.UINT8,
        TensorProto.INT8,
        TensorProto.INT32,
        TensorProto.INT64,
    }
    parts = read_parts(model.SerializeToString())
    assert {name: tensor.shape for name, tensor in parts.tensors.items()} == {
        n: tuple(t.dims) for n, t in stored.items()
    }
    wrong = next(t for t in model.graph.initializer if t.data_type == TensorProto.INT8 and t.dims)
    wrong.raw_data = numpy_helper.to_array(wrong).astype(np.float32).tobytes()
    with pytest.raises(ValueError, match=r"^weights '.*' of type 3 and shape"):
        read_parts(model.SerializeToString())


@pytest.mark.parametrize(
    ("kind", "inputs", "attributes", "why"),
    [
        ("MatMul", "input v", {}, "multiplies [2, 3] with [5, 4]"),
        ("MatMul", "input cube", {}, "multiplies [2, 3] with [2, 3, 4]"),
        ("MatMul", "w w", {}, "multiplies [3, 4] with [3, 4]"),
        ("MatMul", "input block", {}, "multiplies [2, 3] with [3, 2, 2]"),
        ("GatherND", "cube w", {}, "takes places [3, 4] out of [2, 3, 4] behind 0 axes"),
        ("GatherND", "cube input", {"batch_dims": (2,)}, "takes places [2, 3] out of [2, 3, 4] behind 2 axes"),
        ("GatherND", "w input", {"batch_dims": (1,)}, "takes places [2, 3] out of [3, 4] behind 1 axes"),
        ("GatherND", "cube column", {"batch_dims": (1,)}, "takes places [3, 1] out of [2, 3, 4] behind 1 axes"),
        ("GatherND", "w input", {"batch_dims": (-1,)}, "takes places [2, 3] out of [3, 4] behind -1 axes"),
        ("GatherND", "w input", {"axis": (1,)}, "has 2 inputs and the attributes ['axis']"),
        ("ScatterElements", "input input w", {"axis": (1,)}, "puts [3, 4] at places [2, 3] of [2, 3]"),
        ("ScatterElements", "input w w", {"axis": (1,)}, "puts [3, 4] at places [3, 4] of [2, 3]"),
        ("ScatterElements", "input flat flat", {"axis": (1,)}, "puts [1] at places [1] of [2, 3]"),
        ("ScatterElements", "input input input", {"axis": (2,)}, "names axis 2 of 2"),
        ("DequantizeLinear", "w b input", {}, "scales [3, 4] by [4] and [2, 3]"),
        ("DequantizeLinear", "w b b", {"axis": (0,)}, "scales [3, 4] by [4] and [4]"),
        ("QuantizeLinear", "w flat b", {}, "scales [3, 4] by [1] and [4]"),
        ("QuantizeLinear", "b b b", {}, "names axis 1 of 1"),
        ("QuantizeLinear", "w b b", {"axis": (1,)}, "has 3 inputs and the attributes ['axis']"),
        ("TopK", "input 0", {"axis": (1,)}, "takes the best (0,) of [2, 3]"),
        ("TopK", "input 2,2", {"axis": (1,)}, "takes the best (2, 2) of [2, 3]"),
    ],
)
def test_a_node_that_does_not_fit_its_inputs_is_refused(kind, inputs, attributes, why):
    outputs = ("best", "place") if kind == "TopK" else ("out",)
    with pytest.raises(ValueError, match=f"^{re.escape(f'node 0, {kind!r}: {why}')}$"):
        Walk(more(Node(kind, tuple(inputs.split()), outputs, attributes)), (2, 3))


def more(node):
    """Return a graph of one node over the toy tensors and two more."""
    parts = toy(node)
    parts.tensors |= {"column": Tensor((3, 1), None), "block": Tensor((3, 2, 2), None)}
    return parts


@pytest.mark.parametrize(
    ("kind", "inputs", "attributes", "shape"),
    [
        ("MatMul", "input w", {}, (2, 4)),
        ("MatMul", "cube b", {}, (2, 3)),
        ("GatherND", "cube flat", {}, (3, 4)),
        ("DequantizeLinear", "w b b", {"axis": (1,)}, (3, 4)),
        ("QuantizeLinear", "w flat flat", {}, (3, 4)),
    ],
)
def test_a_node_that_fits_its_inputs_has_its_shape(kind, inputs, attributes, shape):
    walk = Walk(toy(Node(kind, tuple(inputs.split()), ("out",), attributes)), (2, 3))
    assert walk._shapes["out"] == shape


def test_places_beyond_the_labels_are_one_line():
    """Where a gather reads is known only as it runs."""
    model, _ = form("pruned", "floats", int8=False)
    model.metadata_props.extend(onnx.load_from_string(MODEL).metadata_props)
    top = next(node for node in model.graph.node if node.op_type == "TopK")
    gather = next(node for node in model.graph.node if node.op_type == "GatherND" and len(node.attribute))
    model.graph.initializer.append(numpy_helper.from_array(np.array([9]), "nine"))
    model.graph.node.insert(
        list(model.graph.node).index(top) + 1, helper.make_node("Mul", [top.output[1], "nine"], ["far"])
    )
    gather.input[1] = "far"
    predictor = Predictor(model.SerializeToString())
    with pytest.raises(ModelError, match=r"^model: cannot be run \(.*\). Export the model anew$"):
        predictor.predict(rows_of(DATA["floats"], 30))
