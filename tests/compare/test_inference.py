"""Ways to predict with one model give the same labels, and are timed in turns."""

import pytest
from toys import clusters, make_model, small_spec

from ffedge.compare import inference
from ffedge.compare.arms import Work
from ffedge.compare.inference import ARMS, Timing, backprop_mlp, compare, summary, taken
from ffedge.compare.runner import Runner
from ffedge.predict.predictor import Predictor


def test_ratios_are_taken_within_rounds():
    found = summary({"ffedge-session": [1.0, 2.0, 4.0], "backprop-ort": [0.5, 1.0, 1.0]})
    assert found["ratio"] == {"backprop-ort / ffedge-session": [0.5, 0.5, 0.25]}
    assert found["ratio_median"] == {"backprop-ort / ffedge-session": 0.5}


def test_the_baseline_is_a_plain_mlp_of_the_same_widths(tmp_path):
    import onnx

    (tmp_path / "model.onnx").write_bytes(make_model(small_spec(), clusters())[0])
    graph = onnx.load_from_string(backprop_mlp(Predictor(tmp_path / "model.onnx"))).graph
    shapes = {t.name: tuple(t.dims) for t in graph.initializer if t.name.startswith("W")}
    assert shapes == {"W0": (16, 12), "W1": (12, 10), "W2": (10, 8), "W3": (8, 4)}
    assert [node.op_type for node in graph.node].count("Gemm") == 4


def test_children_train_and_time():
    found = taken(Timing(Work(widths=(16, 16), threads=1), ARMS, (1, 50), 2, 0.01))
    assert found["labels_unlike_the_first"] == {"ffedge-session": 0, "ffedge-predictor": 0}
    assert found["accuracy"]["ffedge-session"] == found["test_accuracy"] > 0.3
    assert set(found["batch_size"]) == {"1", "50"}
    for size in found["batch_size"].values():
        assert all(len(rounds) == 2 and min(rounds) > 0 for rounds in size["call_s"].values())


def test_what_was_timed_is_not_timed_again_but_where_the_work_is_another(tmp_path, monkeypatch):
    timings = []
    monkeypatch.setattr(inference, "taken", lambda timing: timings.append(timing) or {"samples": len(timings)})
    for changes, samples in (({}, 1), ({}, 1), ({"seed": 1}, 2), ({"threads": 2}, 3), ({}, 1)):
        found = compare(Runner(tmp_path / "measures.jsonl"), changes, quick=True)
        assert found["samples"] == samples
    compare(Runner(tmp_path / "measures.jsonl"), {}, ARMS[:1], quick=True)
    compare(Runner(tmp_path / "measures.jsonl"), {"data": "mnist-mini"})  # more rounds
    assert len(timings) == 5


def test_arms_must_be_known(tmp_path):
    with pytest.raises(ValueError, match=r"`arms` must be of ffedge-session, .*, got 'backprop-adam'"):
        compare(Runner(tmp_path / "measures.jsonl"), {}, ["backprop-adam"])
