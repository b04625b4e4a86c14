"""Every graph of training: valid, of standard operators, and the same numbers in onnx's reference evaluator.

Shape letters: N samples, M labels tried for each, R = N * M rows, C classes.
"""

from functools import cache

import numpy as np
import onnx
import pytest
from ffedge.graph.step import training_graph
from ffedge.runtime.session import make_session
from onnx.reference import ReferenceEvaluator
from toys import clusters, prepared, small_spec

from ffedge.network import layer_shapes

SAMPLES = 5
DATA = {
    "floats": clusters(),
    "bytes": clusters(inputs=20, uint8=True, border=True),
}
SPECS = {
    "plain": {},
    "dropout": {"input_dropout": 0.25},
    "concat": {"label_mode": "concat"},
    "scaling none": {"scaling": "none", "input_dropout": 0.25},
    "input_norm unit": {"input_norm": "unit"},
    "input_norm rms": {"input_norm": "rms", "label_mode": "concat"},
    "label everywhere": {"label_layers": "all"},
    "skip": {"skip": "add", "widths": (10, 10, 10)},
    "unit": {"norm": "unit"},
    "layer": {"norm": "layer"},
    "sum": {"goodness": "sum", "norm": "unit"},
    "sum, rms": {"goodness": "sum", "norm": "rms"},
    "fixed, bound, sparsity": {"norm": "fixed", "bound": 0.9, "sparsity": 0.1},
    "fixed, sum": {"norm": "fixed", "goodness": "sum"},
    "ff": {"variant": "ff"},
    "fcff": {"variant": "fcff"},
    "logistic": {"loss": "logistic", "n_negatives": 1},
    "symmetric": {"loss": "symmetric", "n_negatives": 3},
    "momentum": {"optimizer": "momentum", "gamma_optimizer": "adam"},
    "sgd": {"optimizer": "sgd", "weight_decay": 0.0},
}
KINDS = [(kind, flag) for kind in ("product", "forward", "learn", "accumulate") for flag in (False, True)]
KINDS += [("goodness", True)]
KINDS += [(kind, False) for kind in ("apply", "tile", "tile-accumulate", "tile-apply")]


@cache
def setting(name, data="floats"):
    return prepared(small_spec(**SPECS[name]), DATA[data])


def graphs(name, kind, flag, data="floats"):
    """Yield the recipe and the graph of each layer that this kind is for."""
    recipe, facts = setting(name, data)
    shapes = layer_shapes(recipe, facts)
    for shape in shapes[: 1 if kind == "product" else 2]:
        if not (kind in ("forward", "goodness") and flag and not shape.first):
            yield recipe, onnx.load_from_string(training_graph(recipe, facts, kind, shape, flag))


def feeds(model, classes=4):
    """Draw a value for every input: positive moments, labels that exist, a mask of zeros and ones."""
    rng = np.random.default_rng(0)
    dims = {value.name: value.type.tensor_type.shape.dim for value in [*model.graph.input, *model.graph.output]}
    tried = next((d[1].dim_value for n, d in dims.items() if n == "g" and len(d) == 2), 3) or 3
    sizes = {"N": SAMPLES, "M": tried, "R": SAMPLES * tried, "T": 3}
    result = {}
    for value in model.graph.input:
        shape = [sizes[d.dim_param] if d.dim_param else d.dim_value for d in dims[value.name]]
        dtype = onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
        if value.name == "labels":
            drawn = rng.integers(0, classes, shape)
        elif value.name == "mask":
            drawn = rng.integers(0, 2, shape)
        elif value.name == "raw" and dtype == np.uint8:
            drawn = rng.integers(0, 256, shape)
        elif value.name.endswith(".v") or not shape:
            drawn = rng.uniform(0.1, 1.0, shape)
        else:
            drawn = rng.normal(size=shape)
        result[value.name] = np.asarray(drawn, dtype)
    return result


@pytest.mark.parametrize(("kind", "flag"), KINDS)
@pytest.mark.parametrize("name", SPECS)
def test_a_graph_is_valid_and_uses_standard_operators_alone(name, kind, flag):
    for _, model in graphs(name, kind, flag):
        onnx.checker.check_model(model, full_check=True)
        onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
        assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", 17)]
        assert model.ir_version == 8
        assert {node.domain for node in model.graph.node} == {""}
        assert not model.functions


@pytest.mark.parametrize(("kind", "flag"), KINDS)
@pytest.mark.parametrize("name", SPECS)
def test_onnxruntime_computes_what_the_reference_evaluator_computes(name, kind, flag):
    for _, model in graphs(name, kind, flag):
        given = feeds(model)
        wanted = ReferenceEvaluator(model).run(None, given)
        found = make_session(model.SerializeToString(), 1).run(None, given)
        for output, a, b in zip(model.graph.output, found, wanted, strict=True):
            assert a.shape == np.shape(b), output.name
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5, err_msg=output.name)
            assert np.isfinite(a).all(), output.name


@pytest.mark.parametrize("name", ["plain", "dropout", "concat", "input_norm unit"])
def test_bytes_go_in_as_they_are(name):
    for _, model in graphs(name, "product", SPECS[name].get("input_dropout", 0) > 0, "bytes"):
        assert model.graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.UINT8
        given = feeds(model)
        found = make_session(model.SerializeToString(), 1).run(None, given)
        for a, b in zip(found, ReferenceEvaluator(model).run(None, given), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("optimizer", "moments"), [("adam", "mv"), ("momentum", "m"), ("sgd", "")])
def test_a_step_takes_and_gives_the_state_of_its_optimizer(optimizer, moments):
    recipe, facts = prepared(small_spec(optimizer=optimizer, gamma_optimizer="sgd"), DATA["floats"])
    shape = layer_shapes(recipe, facts)[0]
    for kind, names, others in (("learn", ("b", "V"), {"g", "loss", "dz"}), ("tile", ("W",), set())):
        model = onnx.load_from_string(training_graph(recipe, facts, kind, shape, False))
        state = {part for p in names for part in (p, *(f"{p}.{m}" for m in moments))}
        state |= {"gamma"} if kind == "learn" else set()
        assert {output.name for output in model.graph.output} == {f"new.{name}" for name in state} | others
        assert state <= {value.name for value in model.graph.input}


def test_a_variant_that_does_not_learn_gamma_does_not_touch_it():
    for name, takes in (("ff", False), ("fcff", True)):
        for _, model in graphs(name, "learn", False):
            assert ("gamma" in {value.name for value in model.graph.input}) == takes
            assert "new.gamma" not in {value.name for value in model.graph.output}


def test_the_same_key_gives_the_same_bytes():
    recipe, facts = setting("plain")
    shape = layer_shapes(recipe, facts)[0]
    assert training_graph(recipe, facts, "learn", shape, True) == training_graph(recipe, facts, "learn", shape, True)
