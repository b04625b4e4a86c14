"""Every graph of training: valid, of standard operators, and the same numbers in onnx's reference evaluator.

Shape letters: N samples, M labels tried for each, R = N * M rows, C classes.
"""

import numpy as np
import onnx
import pytest
from networks import DATA
from onnx.reference import ReferenceEvaluator
from toys import as_onnx, built, prepared, small_spec

from ffedge.engine.kernels import Kernels
from ffedge.engine.session import make_session
from ffedge.network import layers_of
from ffedge.onnx.graph import model_bytes

SAMPLES = 5
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
FLAGGED = ("product", "forward", "learn", "accumulate")
KINDS = [(kind, flag) for kind in FLAGGED for flag in (False, True)]
KINDS += [(kind, False) for kind in ("goodness", "apply", "tile", "tile-accumulate", "tile-apply")]


def graphs(recipe, facts, kinds=KINDS):
    """Yield every graph of the first two layers, with its kind."""
    kernels = Kernels(recipe, facts)
    for kind, flag in kinds:
        only_first = kind in ("product", "goodness") or (kind == "forward" and flag)
        for layer in layers_of(recipe, facts)[: 1 if only_first else 2]:
            yield kind, built(kernels, kind, layer, flag)


def feeds(graph, classes=4):
    """Draw a value for every input: positive moments, labels that exist, a mask of zeros and ones."""
    rng = np.random.default_rng(0)
    good = graph.outputs.get("g")
    tried = good.dims[1] if good and len(good.dims) == 2 else 3
    sizes = {"N": SAMPLES, "M": tried, "R": SAMPLES * tried, "T": 3}
    result = {}
    for name, port in graph.inputs.items():
        shape = [sizes.get(dim, dim) for dim in port.dims]
        most = {"labels": classes, "mask": 2, "raw": 256}.get(name)
        if most and port.dtype != "float32":
            drawn = rng.integers(0, most, shape)
        else:
            positive = name.endswith(".v") or not shape
            drawn = rng.uniform(0.1, 1.0, shape) if positive else rng.normal(size=shape)
        result[name] = np.asarray(drawn, port.dtype)
    return result


def check_graph(graph):
    """Hold a graph against onnx's checker, its operator set, and its reference evaluator."""
    model = as_onnx(graph)
    onnx.checker.check_model(model, full_check=True)
    onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
    assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", 17)]
    assert (model.ir_version, len(model.functions), {node.domain for node in model.graph.node}) == (8, 0, {""})
    given = feeds(graph)
    wanted = ReferenceEvaluator(model).run(None, given)
    values = make_session(model_bytes(graph), 1).run(None, given)
    for output, a, b in zip(graph.outputs, values, wanted, strict=True):
        assert a.shape == np.shape(b), output
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5, err_msg=output)
        assert np.isfinite(a).all(), output


@pytest.mark.parametrize("name", SPECS)
def test_a_graph_is_valid_and_onnxruntime_computes_what_the_reference_evaluator_computes(name):
    for _, graph in graphs(*prepared(small_spec(**SPECS[name]), DATA["floats"])):
        check_graph(graph)


@pytest.mark.parametrize("name", ["plain", "dropout", "concat", "input_norm unit"])
def test_bytes_go_in_as_they_are(name):
    recipe, facts = prepared(small_spec(**SPECS[name]), DATA["bytes"])
    for _, graph in graphs(recipe, facts, [("product", recipe.train.input_dropout > 0)]):
        assert graph.inputs["raw"].dtype == "uint8"
        check_graph(graph)


@pytest.mark.parametrize(("optimizer", "moments"), [("adam", "mv"), ("momentum", "m"), ("sgd", "")])
def test_a_step_takes_and_gives_the_state_of_its_optimizer(optimizer, moments):
    recipe, facts = prepared(small_spec(optimizer=optimizer, gamma_optimizer="sgd"), DATA["floats"])
    expected = {"learn": (("b", "V"), {"g", "loss", "dz"}, {"gamma"}), "tile": (("W",), set(), set())}
    first = layers_of(recipe, facts)[0]
    for kind, (names, others, more) in expected.items():
        graph = built(Kernels(recipe, facts), kind, first)
        state = {part for p in names for part in (p, *(f"{p}.{m}" for m in moments))} | more
        assert set(graph.outputs) == {f"new.{name}" for name in state} | others
        assert state <= set(graph.inputs)


@pytest.mark.parametrize(("variant", "takes"), [("ff", False), ("fcff", True)])
def test_a_variant_that_does_not_learn_gamma_does_not_touch_it(variant, takes):
    for _, graph in graphs(*prepared(small_spec(variant=variant), DATA["floats"]), [("learn", False)]):
        assert ("gamma" in graph.inputs, "new.gamma" in graph.outputs) == (takes, False)


def test_layers_alike_have_the_same_bytes():
    recipe, facts = prepared(small_spec(widths=(10, 10, 10)), DATA["floats"])
    _, second, third = layers_of(recipe, facts)
    for kind, flag in KINDS[2:]:
        a, b = (model_bytes(built(Kernels(recipe, facts), kind, layer, flag)) for layer in (second, third))
        assert a == b
