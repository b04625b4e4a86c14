"""What a stranger's model file says of itself: facts and numbers that cannot be, names like markup, paths to open."""

import json
import re

import numpy as np
import pytest
from refusals import command, refusal, saved
from toys import changed, clusters, make_model, small_spec

import ffedge
from ffedge.errors import ModelError
from ffedge.network import InputFacts
from ffedge.spec import Spec


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("shape", [True], "shape must be whole numbers from 1 to 16777216, got (True,)"),
        ("shape", [1] * 9, f"shape must have at most 8 axes and 16777216 inputs, got {(1,) * 9}"),
        ("classes", [], "classes must be names that differ, got ()"),
        ("classes", ["a", "a"], "classes must be names that differ, got ('a', 'a')"),
        ("classes", ["a\nb", "c"], r"classes must be names of one line of plain text, got 'a\nb'"),
        ("offset", [], "offset must be a finite number for all inputs or for each, got ()"),
        ("offset", [10**400], f"offset must be a finite number for all inputs or for each, got ({10**400},)"),
        ("offset", [1e39], "offset must be a finite number for all inputs or for each, got (1e+39,)"),
        ("scale", "x", "scale must be a finite number for all inputs or for each, got 'x'"),
        ("largest", None, "largest must be a finite number and free_border a bool, got None"),
    ],
)
def test_facts_that_no_data_can_have_are_refused(model, name, value, rule):
    facts = model[2].to_dict() | {name: value}
    assert refusal(ValueError, InputFacts.from_dict, facts) == rule


@pytest.mark.parametrize(("field", "value"), [("theta", 10**400), ("label_scale", 1e39), ("rate", [10**400])])
def test_a_number_that_no_float32_can_hold_is_refused(field, value):
    with pytest.raises(ValueError, match=f"^`{field}` must be "):
        Spec.make(**{field: value})


@pytest.mark.parametrize("gamma", [[1e39, 0.0, 0.0], [10**400, 0, 0], [True, 0, 0], [0.0], "x"])
def test_a_model_of_gammas_that_no_training_gives_is_refused(model, tmp_path, gamma):
    (tmp_path / "model.onnx").write_bytes(changed(model[0], gamma=json.dumps(gamma)))
    assert "(gamma must be " in refusal(ModelError, ffedge.Predictor, tmp_path / "model.onnx")


def test_threads_without_number_are_refused():
    assert refusal(ValueError, Spec.make, threads=10**6) == "`threads` must be 0 to 1024, got 1000000"


def test_names_that_look_like_markup_are_shown_as_they_are(tmp_path, monkeypatch, capfd):
    names = np.array(["[/red]", "[bold]", ":smile:"])[np.arange(60) % 3]
    raw = np.random.default_rng(0).random((60, 16), dtype=np.float32)
    path = saved(tmp_path / "d", raw, names)
    (tmp_path / "model.onnx").write_bytes(make_model(small_spec(), ffedge.load(path))[0])
    for words in (("info", tmp_path / "model.onnx"), ("eval", tmp_path / "model.onnx", "--data", path)):
        code, out, err = command(monkeypatch, capfd, *words)
        assert (code, err) == (0, "")
        assert all(name in out for name in names[:3])


@pytest.mark.parametrize("about", [{}, {"data": []}, {"data": {"name": []}}, {"data": {"name": "/etc"}}])
def test_a_model_does_not_choose_the_file_that_eval_opens(tmp_path, monkeypatch, capfd, about):
    (tmp_path / "model.onnx").write_bytes(make_model(small_spec(), clusters(), **about)[0])
    code, _, err = command(monkeypatch, capfd, "eval", tmp_path / "model.onnx")
    assert code == 1
    assert re.fullmatch(
        rf"ffedge: {tmp_path}/model.onnx: learnt from .*, which ffedge does not know by name. Pass --data\n", err
    )
