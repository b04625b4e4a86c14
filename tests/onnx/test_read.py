"""Reading a model file: what onnx reads of it, at its size."""

import numpy as np
import onnx
import pytest
from networks import DATA
from onnx import TensorProto, helper, numpy_helper
from strangers import form
from toys import make_model, small_spec

from ffedge.model.file import Model
from ffedge.onnx.read import ints_of, read_nodes, read_parts

MODEL = make_model(small_spec(), DATA["floats"])[0]


@pytest.mark.parametrize("content", [MODEL, form("pruned", int8=True)[2]], ids=["model", "int8"])
def test_what_is_read_is_what_onnx_reads(content):
    parts, proto = read_parts(content, len(content)), onnx.load_from_string(content)
    assert parts.metadata == {p.key: p.value for p in proto.metadata_props}
    stored = {t.name: t for t in proto.graph.initializer}
    assert {n: (t.shape, t.kind) for n, t in parts.tensors.items()} == {
        n: (tuple(t.dims), t.data_type) for n, t in stored.items()
    }
    for name, tensor in parts.tensors.items():
        start, end = tensor.span
        assert content[start:end] == stored[name].raw_data
        if tensor.kind == TensorProto.INT64:
            assert ints_of(content, tensor) == tuple(numpy_helper.to_array(stored[name]).reshape(-1).tolist())
    inputs, nodes = read_nodes(content, parts)
    assert [(n.kind, n.inputs, n.outputs) for n in nodes] == [
        (n.op_type, tuple(n.input), tuple(n.output)) for n in proto.graph.node
    ]
    listed = [{a.name: helper.get_attribute_value(a) for a in n.attribute} for n in proto.graph.node]
    assert [n.attributes for n in nodes] == [
        {name: tuple(value) if isinstance(value, list) else value for name, value in each.items()} for each in listed
    ]
    assert (parts.opset, inputs, parts.n_bytes) == (17, ["input"], len(content))


def test_a_file_is_read_as_its_bytes_are(tmp_path):
    (tmp_path / "model.onnx").write_bytes(MODEL)
    assert Model(tmp_path / "model.onnx").parts == Model(MODEL).parts == read_parts(MODEL, len(MODEL))


def test_small_whole_numbers_are_read_at_their_size():
    proto = onnx.load_from_string(form("head", int8=True)[2])
    kinds = (TensorProto.FLOAT, TensorProto.UINT8, TensorProto.INT8, TensorProto.INT32, TensorProto.INT64)
    assert {t.data_type for t in proto.graph.initializer} == set(kinds)
    wrong = next(t for t in proto.graph.initializer if t.data_type == TensorProto.INT8 and t.dims)
    wrong.raw_data = numpy_helper.to_array(wrong).astype(np.float32).tobytes()
    content = proto.SerializeToString()
    with pytest.raises(ValueError, match=r"^weights '.*' of type 3 and shape"):
        read_parts(content, len(content))
