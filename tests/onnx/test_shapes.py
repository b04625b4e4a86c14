"""A stranger's model: shapes as ONNX's own inference works them out; whatever ffedge does not write is refused."""

import math
import re
from itertools import pairwise

import numpy as np
import onnx
import pytest
from ffedge.runtime.proto import ModelParts, Node, Tensor, read_parts
from ffedge.runtime.verify import MAX_ROWS, Walk, rows_at_once
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import DATA, NETWORKS, rows_of
from onnx import TensorProto, helper
from toys import clusters, make_model, small_spec

from ffedge.errors import ModelError
from ffedge.predict.predictor import Predictor

MODEL, SPEC, FACTS, _ = make_model(small_spec(), DATA["floats"])


def altered(change, model=MODEL):
    proto = onnx.load_from_string(model)
    change(proto)
    return proto.SerializeToString()


def refusal(model):
    with pytest.raises(ModelError) as caught:
        Predictor(model)
    return str(caught.value)


def inferred(model, rows):
    """Return the shape of every node's output by ONNX's own shape inference, with a number for N."""
    proto = onnx.load_from_string(model)
    proto.graph.input[0].type.tensor_type.shape.dim[0].dim_value = rows
    del proto.graph.output[:]
    proto = onnx.shape_inference.infer_shapes(proto, strict_mode=True, data_prop=True)
    return {v.name: tuple(d.dim_value for d in v.type.tensor_type.shape.dim) for v in proto.graph.value_info}


@pytest.mark.parametrize("changes", NETWORKS, ids=str)
@pytest.mark.parametrize("data", DATA)
def test_shapes_are_those_of_onnx_itself(changes, data):
    model, _, facts, _ = make_model(small_spec(**changes), DATA[data])
    parts, wanted = read_parts(model), inferred(model, 7)
    walk = Walk(parts, (7, *facts.shape))
    assert len(wanted) > 20
    assert {name: walk._shapes[name] for name in wanted} == wanted
    assert walk.cost.n_bytes >= 4 * sum(map(math.prod, wanted.values()))


def test_a_products_work_is_its_multiply_adds():
    model, _, facts, _ = make_model(small_spec(widths=(12, 10), label_mode="concat"), DATA["floats"])
    assert Walk(read_parts(model), (5, *facts.shape)).cost.work == 5 * (16 * 12 + 4 * 12 * 10 + 2 * 3 + 2)


def test_what_is_read_is_what_onnx_reads():
    parts, proto = read_parts(MODEL), onnx.load_from_string(MODEL)
    assert parts.metadata == {p.key: p.value for p in proto.metadata_props}
    assert {n: t.shape for n, t in parts.tensors.items()} == {t.name: tuple(t.dims) for t in proto.graph.initializer}
    ints = {t.name: onnx.numpy_helper.to_array(t) for t in proto.graph.initializer if t.data_type == TensorProto.INT64}
    assert {n: t.ints for n, t in parts.tensors.items() if t.ints} == {n: tuple(v.tolist()) for n, v in ints.items()}
    assert [(n.kind, n.inputs, n.outputs) for n in parts.nodes] == [
        (n.op_type, tuple(n.input), tuple(n.output)) for n in proto.graph.node
    ]
    listed = [
        {a.name: tuple(np.atleast_1d(helper.get_attribute_value(a))) for a in n.attribute} for n in proto.graph.node
    ]
    assert [n.attributes for n in parts.nodes] == listed
    assert (parts.opset, parts.inputs, parts.n_bytes) == (17, ["input"], len(MODEL))


def test_a_file_is_read_as_its_bytes_are(tmp_path):
    (tmp_path / "model.onnx").write_bytes(MODEL)
    assert read_parts(tmp_path / "model.onnx") == read_parts(MODEL)


@pytest.mark.parametrize(
    ("changes", "classes", "rows"),
    [({}, 4, 160), ({"widths": (2000, 2000)}, 10, 64), ({"widths": (20,) * 64}, 4, 160), ({}, 700, 1)],
)
def test_a_model_of_ffedges_goes_640_rows_at_once(changes, classes, rows):
    data = clusters(rows=max(160, classes), inputs=20, classes=classes)
    model, _, facts, _ = make_model(small_spec(label_mode="concat", **changes), data)
    assert (
        rows_at_once(read_parts(model), facts, len(changes.get("widths", "abc"))) == max(1, MAX_ROWS // classes) == rows
    )


def test_a_wide_model_in_a_small_file_goes_fewer_rows_at_once():
    model, _, facts, _ = make_model(small_spec(widths=(20_000,), label_mode="concat"), clusters(inputs=2, classes=3))
    parts = read_parts(model)
    rows = rows_at_once(parts, facts, 1)
    assert 1 < rows < MAX_ROWS // 3
    assert Walk(parts, (rows, 2)).cost.n_bytes <= 2**26 + 8 * len(model)


def bomb(kind, size=40_000):
    def change(proto):
        for name, dims in (("column", [size, 1]), ("row", [1, size])):
            proto.graph.initializer.append(TensorProto(name=name, data_type=1, dims=dims, raw_data=bytes(4 * size)))
        proto.graph.node.append(helper.make_node(kind, ["column", "row"], ["bomb"]))

    return change


def endless(proto):
    values = [helper.make_tensor_value_info(name, kind, []) for name, kind in (("i", 7), ("c", 9))]
    node, out = helper.make_node("Identity", ["c"], ["again"]), helper.make_tensor_value_info("again", 9, [])
    body = helper.make_graph([node], "body", values, [out])
    proto.graph.node.append(helper.make_node("Loop", ["", "yes"], [], body=body))


def foreign(proto):
    proto.graph.node[3].domain = "com.microsoft"


def unknown(proto):
    proto.graph.node[3].op_type = "ConstantOfShape"


def outside(proto):
    tensor = proto.graph.initializer[0]
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.append(onnx.StringStringEntryProto(key="location", value="/etc/passwd"))


def enormous(proto):
    proto.graph.initializer.append(TensorProto(name="huge", data_type=1, dims=[2**31, 2**20], raw_data=b"1234"))


def crowded(proto):
    proto.graph.node.extend([helper.make_node("Identity", ["input"], [f"v{i}"]) for i in range(200)])


def heavy(proto):
    """1.6 million weights, each used a hundred times for every row."""
    size = 1250
    proto.graph.initializer.append(TensorProto(name="w", data_type=1, dims=[size, size], raw_data=bytes(4 * size**2)))
    proto.graph.initializer.append(TensorProto(name="c", data_type=1, dims=[size], raw_data=bytes(4 * size)))
    names = ["w", *(f"v{i}" for i in range(100))]
    proto.graph.node.extend([helper.make_node("Gemm", [a, "w", "c"], [b]) for a, b in pairwise(names)])


def laborious(proto):
    """Ten products of a million weights with themselves: little memory, much work."""
    size = 1000
    proto.graph.initializer.append(TensorProto(name="w", data_type=1, dims=[size, size], raw_data=bytes(4 * size**2)))
    proto.graph.initializer.append(TensorProto(name="c", data_type=1, dims=[size], raw_data=bytes(4 * size)))
    proto.graph.node.extend([helper.make_node("Gemm", ["w", "w", "c"], [f"v{i}"]) for i in range(10)])


def many(proto):
    proto.graph.node.extend([onnx.NodeProto()] * 5000)


def twice(proto):
    proto.graph.initializer.append(proto.graph.initializer[0])


def empty(proto):
    proto.graph.initializer.append(TensorProto(name="none", data_type=1, dims=[0], raw_data=b""))


def other_operators(proto):
    proto.opset_import[0].domain = "evil"


def two_inputs(proto):
    proto.graph.input.append(helper.make_tensor_value_info("more", 1, [1]))


def no_input(proto):
    del proto.graph.input[:]


def sparse(proto):
    proto.graph.sparse_initializer.add().dims.extend([2**40, 2**40])


def function(proto):
    proto.functions.append(helper.make_function("d", "F", ["x"], ["y"], [helper.make_node("Relu", ["x"], ["y"])], []))


def text(proto):
    next(n for n in proto.graph.node if n.op_type == "Mul").op_type = "Cast"
    node = next(n for n in proto.graph.node if n.op_type == "Cast")
    del node.input[1:]
    node.attribute.append(helper.make_attribute("to", TensorProto.STRING))


def opset(proto):
    proto.opset_import[0].version = 18


CANNOT_RUN = "model: is no model that ffedge can run ({}). Pass a model.onnx"
CANNOT_USE = "model: its graph cannot be used ({}). Export the model anew"


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (endless, CANNOT_RUN.format("field 6 of an attribute")),
        (foreign, CANNOT_RUN.format("an operator of 'com.microsoft'")),
        (outside, CANNOT_RUN.format("field 13 of weights")),
        (enormous, CANNOT_RUN.format(f"weights 'huge' of type 1 and shape [{2**31}, {2**20}]")),
        (sparse, CANNOT_RUN.format("field 15 of a graph")),
        (many, CANNOT_RUN.format("more than 4096 times field 1 of a graph")),
        (twice, CANNOT_RUN.format("weights of the same name 'const.int64.[-1,16]' twice")),
        (empty, CANNOT_RUN.format("weights 'none' of type 1 and shape [0]")),
        (other_operators, CANNOT_RUN.format("operators of 'evil'")),
        (two_inputs, CANNOT_RUN.format("2 times field 11 of a graph")),
        (no_input, CANNOT_USE.format("it must have one input")),
        (laborious, CANNOT_USE.format("one sample makes 38 MiB and 10.0 G multiply-adds")),
        (function, CANNOT_RUN.format("field 25 of a model")),
        (unknown, CANNOT_USE.format("node 3, 'ConstantOfShape': no graph of ffedge has this operator")),
        (crowded, CANNOT_USE.format("a graph of 3 layers must have at most 160 nodes, got 239")),
        (text, CANNOT_USE.format("node 3, 'Cast': casts to type (8,)")),
        (opset, CANNOT_USE.format("its operator set must be 17, got 18")),
        (bomb("Mul"), CANNOT_USE.format("one sample makes 6103 MiB and 0.0 G multiply-adds")),
        (heavy, CANNOT_USE.format("one sample makes 596 MiB and 195.3 G multiply-adds")),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_ffedge_does_not_write_is_refused_before_onnxruntime_sees_it(change, line, monkeypatch):
    monkeypatch.setattr("ffedge.predict.predictor.make_session", None)
    assert refusal(altered(change)) == line


def test_a_name_twice_is_refused():
    """One reader of the protobuf format takes the first of two fields, another the last."""
    assert refusal(MODEL + b"\x08\x08") == CANNOT_RUN.format("field 1 of a model twice")


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"\x08" + b"\xff" * 9 + b"\x7f", "byte 1 begins no number"),
        (b"\x08\x80", "byte 1 begins no number"),
        (b"\x3a\x7f1234", "byte 2 begins no field"),
        (b"\x0b", "byte 1 begins no number"),
        (b"\x0b\x01", "byte 2 begins no field"),
    ],
)
def test_bytes_that_are_no_fields_are_refused(data, why):
    assert refusal(data) == CANNOT_RUN.format(why)


def test_an_axis_may_count_from_the_end():
    def change(proto):
        next(n for n in proto.graph.node if n.op_type == "ArgMax").attribute[0].i = -1

    raw = rows_of(DATA["floats"], 5)
    np.testing.assert_array_equal(Predictor(altered(change)).predict(raw).label, Predictor(MODEL).predict(raw).label)


TENSORS = {"w": (3, 4), "v": (5, 4), "b": (4,), "cube": (2, 3, 4), "flat": (1,)}
INTS = {"0": (0,), "1": (1,), "5": (5,), "-9": (-9,), "2,2": (2, 2), "6": (6,), "0,1": (0, 1), "7": (7,), "1,1": (1, 1)}


@pytest.mark.parametrize(
    ("kind", "inputs", "attributes", "why"),
    [
        ("Add", "input w", {}, "joins the shapes [2, 3] and [3, 4]"),
        ("Add", "input", {}, "has 1 inputs and the attributes []"),
        ("Relu", "input w", {}, "has 2 inputs and the attributes []"),
        ("Relu", "input", {"x": (1,)}, "has 1 inputs and the attributes ['x']"),
        ("Relu", "banana", {}, "reads 'banana' before it is made"),
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
        ("TopK", "input 5", {"axis": (1,)}, "takes the best (5,) of [2, 3]"),
        ("ArgMax", "input", {"axis": (1,), "keepdims": (2,)}, "has keepdims (2,)"),
        ("ArgMax", "input", {"axis": (), "keepdims": (0,)}, "names the axes []"),
        ("Concat", "input w", {"axis": (0,)}, "joins the shapes (2, 3) and (3, 4)"),
        ("Cast", "input", {"to": (8,)}, "casts to type (8,)"),
        ("Clip", "input 0 b", {}, "is cut at more than one number"),
    ],
)
def test_a_node_that_does_not_fit_its_inputs_is_refused(kind, inputs, attributes, why):
    outputs = ("best", "place") if kind == "TopK" else ("out",)
    with pytest.raises(ValueError, match=f"^{re.escape(f'node 0, {kind!r}: {why}')}$"):
        Walk(toy(Node(kind, tuple(inputs.split()), outputs, attributes)), (2, 3))


def toy(*nodes):
    """Return a graph of the given nodes over `TENSORS` and `INTS`."""
    tensors = {name: Tensor(shape, None) for name, shape in TENSORS.items()}
    tensors |= {name: Tensor((len(values),), values) for name, values in INTS.items()}
    return ModelParts(100, {}, 17, ["input"], tensors, list(nodes))


@pytest.mark.parametrize("outputs", [("w",), ("input",), ("",), (), ("a", "b"), ("a", "a")])
def test_a_value_is_made_once_and_as_many_as_the_operator_makes(outputs):
    with pytest.raises(ValueError, match=r"^node 0, 'Relu': (makes '.*' again|has \d outputs)$"):
        Walk(toy(Node("Relu", ("input",), outputs, {})), (2, 3))


def test_the_input_counts_among_the_bytes_of_a_run():
    assert Walk(toy(), (2, 3)).cost.n_bytes == 24
    assert Walk(toy(Node("Relu", ("input",), ("out",), {})), (2, 3)).cost.n_bytes == 48


def test_a_part_nested_in_parts_costs_nothing():
    nested = b""
    for _ in range(2000):
        nested = (
            b"\x3a" + bytes([len(nested) & 127 | 128, len(nested) >> 7]) + nested if len(nested) < 16000 else nested
        )
    assert refusal(nested).startswith("model: ")


def test_labels_beyond_the_classes_are_refused():
    def change(proto):
        node = next(n for n in proto.graph.node if n.op_type == "ArgMax")
        node.input[0], node.attribute[0].i = "input", 1

    predictor = Predictor(altered(change))
    with pytest.raises(ModelError, match=r"^model: gives labels beyond its 4 classes. Export the model anew$"):
        predictor.predict(np.eye(16, dtype=np.float32))


def margin_of(proto):
    return next(n for n in proto.graph.node if "margin" in n.output)


def test_outputs_of_another_shape_are_refused():
    def change(proto):
        (sides,) = (t for t in proto.graph.initializer if t.name == margin_of(proto).input[1])
        sides.dims[:] = [2, 1]

    with pytest.raises(ModelError, match=r"^model: gives margin \[2, 1\] of float32. Export the model anew$"):
        Predictor(altered(change)).predict(rows_of(DATA["floats"], 2))


@settings(max_examples=150)
@given(st.binary(max_size=200))
def test_any_bytes_are_a_model_or_one_line(data):
    assert len(refusal(data).splitlines()) == 1


@settings(max_examples=200)
@given(st.data())
def test_a_damaged_model_predicts_or_is_refused_in_one_line(data):
    damaged = bytearray(MODEL)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(MODEL) - 1))
        damaged[at] ^= 1 << data.draw(st.integers(0, 7))
    found = outcome(bytes(damaged))
    assert len(found.splitlines()) == 1 if isinstance(found, str) else ((found >= 0) & (found < 4)).all()


def outcome(model):
    """Return the labels of some rows, or the line that refuses the model."""
    try:
        return Predictor(model).predict(rows_of(DATA["floats"], 3), layers=True).label
    except ModelError as error:
        return str(error)


def test_a_model_that_cannot_be_run_is_refused():
    def change(proto):
        proto.graph.output.remove(next(o for o in proto.graph.output if o.name == "goodness"))

    predictor = Predictor(altered(change))
    assert len(predictor.predict(rows_of(DATA["floats"], 3))) == 3
    with pytest.raises(ModelError, match=r"^model: cannot be run \(.*goodness.*\). Export the model anew$"):
        predictor.predict(rows_of(DATA["floats"], 3), layers=True)
