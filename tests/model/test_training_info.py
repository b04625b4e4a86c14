"""A model file's learning step, run as ONNX says: joined to the predictor's graph, by onnx's reference evaluator.

The oracle takes the same steps in float64 with code of its own.
"""

from functools import cache

import numpy as np
import onnx
import onnxruntime
import pytest
from networks import DATA
from onnx.reference import ReferenceEvaluator
from oracle import Oracle
from toys import clusters, conv_spec, draws, make_engine, make_loop, make_model, pictures, small_spec

from ffedge import load
from ffedge.data.cache_folder import passing_folder
from ffedge.network import layers_of
from ffedge.training.checkpoint import Place
from tests.data.test_tables import ROWS, write

MATRIX = ((9.0, 0.5, -0.25), (0.75, 9.0, 0.3), (0.2, -0.4, 9.0))
SPECS = {
    "acff": {},
    "ff, sgd": {"variant": "ff", "optimizer": "sgd", "weight_decay": 0.0},
    "fcff, momentum": {"variant": "fcff", "optimizer": "momentum", "rate": (0.02, 0.01)},
    "dropout, label everywhere": {"input_dropout": 0.25, "label_layers": "all"},
    "concat, unit": {"label_mode": "concat", "input_norm": "unit", "norm": "unit"},
    "overlay, rms": {"input_norm": "rms", "norm": "layer"},
    "logistic": {"loss": "logistic", "n_negatives": 1, "theta_placement": "once"},
    "symmetric, matrix": {"loss": "symmetric", "alpha": MATRIX, "n_negatives": 3},
    "gamma by adam, collaborative": {"gamma_optimizer": "adam", "prediction_weights": "collaborative", "momentum": 0.5},
    "next": {"scope": "next", "prediction_weights": "collaborative"},
    "one layer": {"widths": (7,)},
    "groups": {"class_goodness": "groups", "label_mode": "none", "widths": (9, 8), "n_negatives": 2},
    "readout, unit": {"class_goodness": "readout", "label_mode": "none", "input_norm": "unit", "n_negatives": 3},
}
ONE_EPOCH = {"schedule": "interleaved", "epochs": 1, "cooldown": "none"}  # in which all layers learn at each step
CONVOLUTIONS = {
    "convolutions": {"optimizer": "adam", "rate": (0.002,)},
    "groups, stride, mean": {"class_goodness": "groups", "widths": ("7c3s2", "9c1a2"), "norm": "layer"},
    "top-groups, similarity": {"class_goodness": "top-groups", "widths": ("9c3", "9c3p2"), "similarity": 2.0},
    "5 x 5, dropout": {"widths": ("8c5p2", "8c1"), "variant": "ff", "bound": 0.8, "input_dropout": 0.2},
}
TABLES = {"table": {}, "table, concat": {"class_goodness": "tried", "label_mode": "concat", "n_negatives": 1}}
EVERY = [*SPECS, *CONVOLUTIONS, *TABLES]
STEPS, SAMPLES = 3, 6


def joined(model):
    """Join the predictor's graph and the algorithm as ONNX says that a step of training is run."""
    result = onnx.ModelProto()
    result.CopyFrom(model)
    del result.training_info[:]
    for part in ("input", "initializer", "output", "node", "value_info", "sparse_initializer"):
        getattr(result.graph, part).extend(getattr(model.training_info[0].algorithm, part))
    return result


@cache
def data_of(name):
    """Return what a network learns from."""
    if name in CONVOLUTIONS:
        return pictures()
    if name not in TABLES:
        return DATA["floats"]
    with passing_folder() as folder:
        gaps = [[*row[:2], "" if i % 9 == 4 else row[2], *row[3:]] for i, row in enumerate(ROWS)]
        return load(write(folder / "t.csv", gaps))


def made(name, data=None):
    """Return a model file's bytes and message, its recipe, facts and layers."""
    spec = conv_spec(**CONVOLUTIONS[name], **ONE_EPOCH) if name in CONVOLUTIONS else None
    if name in TABLES:
        spec = small_spec(**({"class_goodness": "readout", "label_mode": "none"} | ONE_EPOCH | TABLES[name]))
    bits, *rest = make_model(spec or small_spec(**SPECS[name]), DATA[data] if data else data_of(name))
    return bits, onnx.load_from_string(bits), *rest


def batches(recipe, facts, dataset):
    """Draw what a step is fed: samples, true labels, wrong ones, and a mask."""
    rng = np.random.default_rng(0)
    first = layers_of(recipe, facts)[0].place.inputs
    for step in range(STEPS):
        rows = np.arange(SAMPLES) + SAMPLES * step
        true = dataset.train.labels[rows].astype(np.int64)
        wrong = (true[:, None] + 1 + np.arange(recipe.train.n_negatives)) % facts.n_classes
        mask = rng.integers(0, 2, (SAMPLES, first)).astype(np.uint8) if recipe.train.input_dropout else None
        yield dataset.train.inputs.take(rows), true, wrong, mask


def after_steps(model, recipe, steps):
    """Run steps of the algorithm alone; return all values that learn, and each step's losses."""
    whole = joined(model)
    update = {pair.key: pair.value for pair in model.training_info[0].update_binding}
    evaluator, values, losses = ReferenceEvaluator(whole), {}, []
    known = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in whole.graph.initializer}
    layers = range(len(recipe.network.widths))
    for raw, true, wrong, mask in steps:
        fed = {"input": raw, "labels": np.concatenate([true[:, None], wrong], axis=1)}
        fed |= {} if mask is None else {"mask": mask}
        names = [*update.values(), *(f"learn.{i}/loss" for i in layers)]
        found = evaluator.run(names, fed | values)
        values = dict(zip(update, found, strict=False))
        losses.append(found[len(update) :])
    return known | values, losses


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize("data", DATA)
def test_anyone_who_runs_it_takes_the_steps_of_the_oracle(name, data):
    _, model, recipe, facts, layers = made(name, data)
    values, losses = after_steps(model, recipe, batches(recipe, facts, DATA[data]))
    oracle = Oracle(recipe, facts, layers)
    rates = {i: recipe.train.rate[min(i, len(recipe.train.rate) - 1)] for i in range(len(layers))}
    for step, (raw, true, wrong, mask) in enumerate(batches(recipe, facts, DATA[data])):
        kept = None if mask is None else mask.astype(float)
        wanted = oracle.learn(list(rates), raw.reshape(len(raw), -1), true, wrong, kept, step, rates)
        for i, loss in wanted.items():
            assert float(losses[step][i]) == pytest.approx(loss, rel=1e-4, abs=1e-6)
    for i in range(len(layers)):
        for parameter, wanted in oracle.parameters(i).items():
            found = values[f"layers.{i}.{parameter}"]
            assert np.linalg.norm(found - wanted) < 2e-4 * np.linalg.norm(wanted), (i, parameter)
            assert not np.array_equal(found, layers[i][parameter])
        if recipe.rule.variant != "ff":
            assert float(values[f"layers.{i}.gamma"]) == pytest.approx(oracle.gamma[i], abs=1e-5)
    assert int(values["step"]) == STEPS
    weights = [1.0] * len(layers)
    if recipe.rule.prediction_weights == "collaborative":
        every = range(len(layers))
        weights = [1.0 + sum(oracle.gamma[m] * oracle.alpha(m, i) for m in every if m != i) for i in every]
    np.testing.assert_allclose(values["prediction_weights"][:, 0], weights, rtol=1e-5)


@pytest.mark.torch
@pytest.mark.parametrize("name", [*CONVOLUTIONS, *TABLES])
def test_on_pictures_and_tables_it_takes_the_steps_of_autograd(name):
    _, model, recipe, facts, layers = made(name)
    recipe = recipe.with_train(engine="torch", statistics="stored")  # a convolution's are, where its file learns
    loop = make_loop(recipe, data_of(name), make_engine(recipe, facts, layers), facts=facts)
    loop.train(Place(), lambda: False)
    drawn = draws(recipe, data_of(name), facts)(0, 0)
    steps = ((raw.reshape(-1, *facts.shape), true, wrong, mask) for raw, true, mask, wrong in drawn)
    values, _ = after_steps(model, recipe, steps)
    for i, (wanted, before) in enumerate(zip(loop.engine.state(), layers, strict=True)):
        for parameter in before:
            found = values[f"layers.{i}.{parameter}"]
            np.testing.assert_allclose(found, wanted[parameter], rtol=2e-3, atol=2e-4, err_msg=f"{i} {parameter}")


@pytest.mark.parametrize("name", EVERY)
def test_the_file_and_the_joined_graph_are_valid_onnx(name):
    _, model, *_ = made(name)
    onnx.checker.check_model(model, full_check=True)
    onnx.checker.check_model(joined(model), full_check=True)
    initialization = onnx.helper.make_model(
        model.training_info[0].initialization, opset_imports=model.opset_import, ir_version=8
    )
    onnx.checker.check_model(initialization, full_check=True)
    values = dict(
        zip(
            [output.name for output in initialization.graph.output],
            ReferenceEvaluator(initialization).run(None, {}),
            strict=True,
        )
    )
    known = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in joined(model).graph.initializer}
    for pair in model.training_info[0].initialization_binding:
        np.testing.assert_array_equal(values[pair.value], known[pair.key])


def what_learns(recipe, layers):
    """Return the names of parameters and moments, by the spec."""
    moments, train, rule = {"adam": ("", ".m", ".v"), "momentum": ("", ".m"), "sgd": ("",)}, recipe.train, recipe.rule
    names = {
        f"layers.{i}.{name}{moment}"
        for i, layer in enumerate(layers)
        for name in layer
        if name != "gamma" or rule.variant == "acff"
        for moment in moments[rule.gamma_optimizer if name == "gamma" else train.optimizer]
        if name not in ("mean", "variance")  # of a convolution, stored ones
    }
    return names | ({"prediction_weights"} if rule.prediction_weights == "collaborative" else set())


@pytest.mark.parametrize("name", EVERY)
def test_what_learns_is_bound_and_is_stored_in_the_file(name):
    _, model, recipe, _, layers = made(name)
    info = model.training_info[0]
    update = {pair.key: pair.value for pair in info.update_binding}
    assert set(update) == {"step"} | what_learns(recipe, layers)
    stored = {tensor.name for tensor in (*model.graph.initializer, *info.algorithm.initializer)}
    assert set(update) <= stored
    assert set(update.values()) <= {output.name for output in info.algorithm.output}


def test_weights_are_not_stored_twice_and_moments_not_at_all():
    data = clusters(rows=160, inputs=784, classes=10)
    bits, *_ = make_model(small_spec(widths=(500, 500), label_layers="all", input_dropout=0.2), data)
    model = onnx.load_from_string(bits)
    without = onnx.ModelProto()
    without.CopyFrom(model)
    del without.training_info[:]
    assert len(bits) - without.ByteSize() < 0.015 * len(bits)
    largest = max(len(tensor.raw_data) for tensor in model.training_info[0].algorithm.initializer)
    assert largest <= 64


@pytest.mark.parametrize("name", EVERY)
def test_a_runtime_that_only_predicts_gives_the_same_bits(name):
    bits, model, _, _, _ = made(name)
    rows = {"input": data_of(name).train.inputs.take(np.arange(20))}
    del model.training_info[:]
    outputs = [
        onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"]).run(None, rows)
        for data in (bits, model.SerializeToString())
    ]
    for a, b in zip(*outputs, strict=True):
        assert a.tobytes() == b.tobytes()


def test_a_rate_may_be_fed_and_every_node_tells_its_stage():
    _, model, recipe, facts, layers = made("ff, sgd")
    algorithm = model.training_info[0].algorithm
    assert all(node.name.startswith(f"{node.output[0].partition('/')[0]}/") for node in algorithm.node)
    raw, true, wrong, _ = next(batches(recipe, facts, DATA["floats"]))
    fed = {"input": raw, "labels": np.concatenate([true[:, None], wrong], axis=1)}
    evaluator = ReferenceEvaluator(joined(model))
    still, twice = (
        evaluator.run(["step.0/new.W"], fed | {"rate.0": np.float32(rate)})[0] - layers[0]["W"] for rate in (0.0, 0.02)
    )
    assert not still.any()
    once = evaluator.run(["step.0/new.W"], fed)[0] - layers[0]["W"]
    np.testing.assert_allclose(twice, 2 * once, atol=1e-6)
