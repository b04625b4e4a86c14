"""A kind of layer or goodness that is a class and a name learns, predicts and goes on learning as the others do."""

import dataclasses

import numpy as np
import onnx
import pytest
from toys import clusters, make_engine, make_loop, prepared, random_layers, small_spec

import ffedge
from ffedge import kinds
from ffedge.model.write import write_model
from ffedge.training.checkpoint import Place

DATA = clusters(rows=160, border=True)


@pytest.fixture(autouse=True)
def toys(monkeypatch):
    monkeypatch.setitem(kinds.LAYERS, "lowrank", "tests.layers.toy_kinds.LowRank")
    monkeypatch.setitem(kinds.GOODNESS, "absolute", "tests.layers.toy_kinds.Absolute")


def recipe_of(goodness, **changes):
    """Return a recipe and facts; no spec has a toy goodness among its choices."""
    spec = small_spec(widths=("lowrank:9x4", 8, "lowrank:7x3"), optimizer="momentum", rate=(0.02,), **changes)
    recipe, facts = prepared(spec, DATA)
    return dataclasses.replace(recipe, network=dataclasses.replace(recipe.network, goodness=goodness)), facts


@pytest.mark.torch
@pytest.mark.parametrize("goodness", ["mean", "absolute"])
@pytest.mark.parametrize("schedule", ["greedy", "interleaved"])
def test_their_local_gradients_are_those_of_autograd(goodness, schedule):
    weights = []
    for engine in ("onnx", "torch"):
        recipe, facts = recipe_of(goodness, schedule=schedule, engine=engine)
        state = random_layers(recipe, facts)
        loop = make_loop(recipe, DATA, make_engine(recipe, facts, state), facts=facts)
        loop.train(Place(), lambda: False)
        weights.append(loop.engine.state())
    for ours, torchs in zip(*weights, strict=True):
        for name, array in torchs.items():
            np.testing.assert_allclose(ours[name], array, rtol=2e-4, atol=2e-5, err_msg=name)


def test_their_model_predicts_in_any_runtime_and_goes_on_learning(tmp_path):
    recipe, facts = recipe_of("mean")
    write_model(tmp_path / "model.onnx", recipe, facts, random_layers(recipe, facts), {})
    onnx.checker.check_model(onnx.load(tmp_path / "model.onnx"), full_check=True)
    before = ffedge.Predictor(tmp_path / "model.onnx").predict(DATA.train.inputs.take(np.arange(20)))
    assert ffedge.learn(tmp_path / "model.onnx", DATA, max_drop=1.0, force=True, epochs=1, threads=1).accepted
    after = ffedge.Predictor(tmp_path / "model.onnx").predict(DATA.train.inputs.take(np.arange(20)))
    assert not np.array_equal(before.scores, after.scores)


def test_they_have_no_folded_form(tmp_path):
    recipe, facts = recipe_of("mean")
    path = tmp_path / "model.onnx"
    write_model(path, recipe, facts, random_layers(recipe, facts), {})
    from ffedge.export.forms import Forms
    from ffedge.export.source import read_trained

    with pytest.raises(ffedge.FfedgeError, match="have no other form"):
        Forms(read_trained(path), None).make("exact")
