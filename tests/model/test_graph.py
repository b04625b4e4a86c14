"""The model file: the fields that other programs rely on, and the predictor's numbers."""

import json

import numpy as np
import onnx
import pytest
from networks import DATA, NETWORKS
from onnx.reference import ReferenceEvaluator
from toys import make_model, small_spec

from ffedge.network import InputFacts
from ffedge.recipe import Recipe
from ffedge.version import MODEL_FORMAT


@pytest.mark.parametrize("changes", NETWORKS, ids=str)
@pytest.mark.parametrize("data", DATA)
def test_a_model_is_valid_and_uses_standard_operators_alone(changes, data):
    model = onnx.load_from_string(make_model(small_spec(**changes), DATA[data])[0])
    onnx.checker.check_model(model, full_check=True)
    assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", 17)]
    assert model.ir_version == 8
    assert {node.domain for node in model.graph.node} == {""}
    (given,) = model.graph.input
    dims = given.type.tensor_type.shape.dim
    assert given.name == "input"
    assert [d.dim_param or d.dim_value for d in dims] == ["N", *DATA[data].input_shape]
    assert {"scores", "label", "margin"} <= {output.name for output in model.graph.output}


def test_everything_that_changes_the_numbers_stands_in_the_metadata():
    written, recipe, facts, layers = make_model(
        small_spec(), DATA["floats"], version="1.2", data={"name": "x", "sha256": "y"}
    )
    stored = {p.key: json.loads(p.value) for p in onnx.load_from_string(written).metadata_props}
    assert stored["ffedge.format"] == MODEL_FORMAT
    assert Recipe.from_dict(stored["ffedge.spec"]) == recipe
    assert InputFacts.from_dict(stored["ffedge.input"]) == facts
    assert stored["ffedge.gamma"] == [float(layer["gamma"]) for layer in layers]
    assert (stored["ffedge.version"], stored["ffedge.data"]) == ("1.2", {"name": "x", "sha256": "y"})


def test_the_first_layers_product_is_computed_once_for_all_labels():
    """The cost that the factored label saves: the widest Gemm has N rows, not N * C."""
    model = onnx.load_from_string(make_model(small_spec(), DATA["floats"])[0])
    raw = DATA["floats"].train.inputs.take(np.arange(3))
    first = next(node for node in model.graph.node if node.op_type == "Gemm")
    model.graph.output.append(onnx.helper.make_tensor_value_info(first.output[0], onnx.TensorProto.FLOAT, None))
    (product,) = ReferenceEvaluator(model).run([first.output[0]], {"input": raw})
    assert product.shape == (3, 12)
