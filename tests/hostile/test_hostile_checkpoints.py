"""Checkpoints and metrics of strangers: weights, layers, specs and places that the run they stand in cannot have."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
from refusals import refusal
from toys import clusters

from ffedge.errors import ModelError
from ffedge.network import check_state
from ffedge.tensors import TensorFile, write_tensors
from ffedge.training.checkpoint import Checkpoints, Place
from ffedge.training.folder import RunFolder, StoredRun, export
from ffedge.training.records import EpochRecord


def checkpointed(tmp_path, model, state=None, place=None, **about):
    _, recipe, facts, layers = model
    about = {"spec": recipe.to_dict(), "data": "x", "input": facts.to_dict(), "name": "toy", "source": "toy"} | about
    return Checkpoints(tmp_path / "checkpoint").save(state or layers, place or Place(), about)


def altered(model, change):
    state = [dict(layer) for layer in model[3]]
    change(state)
    return state


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda s: s[1].update(W=s[1]["W"].T), "layer 1 has W of float32 [10, 12]"),
        (lambda s: s[0].update({"W.m": np.zeros((2, 2), np.float32)}), "layer 0 has W.m of float32 [2, 2]"),
        (lambda s: s[2].update(banana=np.zeros(2, np.float32)), "layer 2 has banana of float32 [2]"),
        (lambda s: s[0].pop("gamma"), "layer 0 lacks gamma"),
        (lambda s: s.pop(), "it has 2 layers, but the network 3"),
    ],
)
def test_a_checkpoint_of_other_weights_is_refused(model, tmp_path, change, why):
    path = checkpointed(tmp_path, model, altered(model, change))
    line = f"{path}: cannot be used ({why}). Train anew, with `force` instead of `resume`"
    assert refusal(ModelError, export, tmp_path, tmp_path / "model.onnx") == line
    folder = RunFolder(tmp_path, *model[1:3], replace(clusters(), sha256="x"), "toy", {})
    assert refusal(ModelError, folder.restore) == line


def test_the_state_of_any_run_passes(model):
    _, recipe, facts, layers = model
    check_state(recipe, facts, layers)
    check_state(recipe, facts, [{}, {}, {}])
    check_state(recipe, facts, [layers[0] | {"W.m": layers[0]["W"], "gamma.v": layers[0]["gamma"]}, layers[1], {}])


@pytest.mark.parametrize("name", ["layers.1000000000.W", "layers.-9.W", "layers.7.W"])
def test_a_layer_that_no_network_has_takes_no_memory(model, tmp_path, name):
    path = checkpointed(tmp_path, model)
    tensors = {name: np.zeros((2, 2), np.float32)}
    write_tensors(path, tensors, {k: v for k, v in TensorFile(path).metadata.items() if k != "sha256"})
    text = refusal(ModelError, Checkpoints(path.parent).newest)
    why = "000000.safetensors: list index out of range"
    assert text == f"{path.parent}: holds only torn files ({why}). Train anew, with `force` instead of `resume`"


@pytest.mark.parametrize("name", ["place", "about", "kept"])
def test_a_checkpoint_whose_parts_are_no_objects_is_torn(model, tmp_path, name):
    path = checkpointed(tmp_path, model)
    texts = {k: v for k, v in TensorFile(path).metadata.items() if k != "sha256"}
    write_tensors(path, {}, texts | {name: "1"})
    text = refusal(ModelError, Checkpoints(path.parent).newest)
    assert "(000000.safetensors: place, about and kept must be objects)" in text


def test_a_spec_in_a_checkpoint_that_is_none_is_another_spec(model, tmp_path):
    path = checkpointed(tmp_path, model, spec={"network": "wide", "rule": [], "train": None})
    text = refusal(ModelError, Checkpoints(path.parent).load, {"spec": model[1].to_dict(), "data": "x"})
    assert text.startswith(f"{path}: was made with another spec. Resume with")


def nested(levels):
    value = []
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize("spec", [[], {}, "deep"])
def test_what_a_checkpoint_says_of_its_run_may_make_no_sense(model, tmp_path, spec):
    if spec == "deep":
        spec = model[1].to_dict()
        spec["network"]["widths"] = nested(900)
    checkpointed(tmp_path, model, spec=spec)
    for call in (lambda: StoredRun.read(tmp_path), lambda: export(tmp_path, tmp_path / "model.onnx")):
        text = refusal(ModelError, call)
        assert text.startswith(f"{tmp_path}/checkpoint")
        assert text.endswith("Train anew, with `force` instead of `resume`")


NO_PLACES = [{"stage": -1}, {"epoch": "a"}, {"step": 0.5}, {"step": True}, {"stage": 2**64}, {"seconds": "x"}]
NO_PLACES += [{"sums": (item,)} for item in ((), (0, 1, 2), ("a", 1.0, 1.0, 1.0), (0, 1.0, "x", 1.0))]


@pytest.mark.parametrize("changes", NO_PLACES, ids=str)
def test_a_place_where_no_run_can_stand_is_refused(changes):
    with pytest.raises(ValueError, match=r"^place must "):
        Place(**changes)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"loss": "x"}, "loss must be float, got 'x'"),
        ({"seconds": [1]}, "seconds must be float, got [1]"),
        ({"accuracy": {}}, "accuracy must be float or NoneType, got {}"),
        ({"epoch": None}, "epoch must be int, got None"),
        ({"rate": nested(900)}, "it is nested too deeply"),
    ],
    ids=["word", "list", "object", "null", "deep"],
)
def test_a_line_of_metrics_that_makes_no_sense_is_refused(model, tmp_path, changes, why):
    checkpointed(tmp_path, model)
    record = EpochRecord(0, 0, 1.0, 1.0, 1.0, None, None, None, 1.0, 0.1, 1, 1)
    (tmp_path / "metrics.jsonl").write_text(json.dumps(asdict(record) | changes) + "\n")
    folder = RunFolder(tmp_path, *model[1:3], replace(clusters(), sha256="x"), "toy", {})
    line = f"{tmp_path}/metrics.jsonl: is damaged ({why}). Train anew, with `force` instead of `resume`"
    assert refusal(ModelError, folder.restore) == line
