"""Ways to predict with one model give the same labels; the summary and sentences follow from planted rounds."""

import numpy as np
import pytest
from toys import clusters, in_child, make_model, small_spec

from ffedge.compare import inference
from ffedge.compare.arms import Work
from ffedge.compare.inference_arms import ARMS, FORM_ARMS, SAME_NETWORK, backprop_mlp, build_arms
from ffedge.predict.predictor import Predictor

CALLS = {"ffedge-session": [1.0, 2.0, 4.0], "torch-passes": [4.0, 4.0, 12.0], "backprop-ort": [0.5, 1.0, 1.0]}


def test_ratios_are_taken_within_rounds():
    found = inference.summary(CALLS)
    assert found["ratio"] == {
        "torch-passes / ffedge-session": [4.0, 2.0, 3.0],
        "backprop-ort / ffedge-session": [0.5, 0.5, 0.25],
    }
    assert found["ratio_median"]["torch-passes / ffedge-session"] == 3.0


def test_the_sentence_says_where_backprop_is_better():
    said = inference.sentences({"call_s": {"1": CALLS}})
    assert said[:2] == [
        "Batch 1: ffedge-session is 3.00 [2.00, 4.00] times as fast as torch-passes.",
        "Batch 1: backprop-ort is 2.00 [2.00, 4.00] times as fast as ffedge-session: backprop is better.",
    ]
    assert said[-1].startswith("Energy is not measured")


@pytest.mark.torch
@pytest.mark.parametrize("mode", ["overlay", "concat"])
@pytest.mark.parametrize("layers", ["first", "all"])
def test_all_ways_give_the_labels_of_the_predictor(tmp_path, mode, layers):
    pytest.importorskip("torch", reason="needs torch, which is not installed")
    data = clusters(uint8=True)
    spec = small_spec(label_mode=mode, label_layers=layers)
    (tmp_path / "model.onnx").write_bytes(make_model(spec, data)[0])
    raw = data.train.inputs.take(np.arange(60))
    expected = Predictor(tmp_path / "model.onnx").predict(raw).label
    arms = build_arms(str(tmp_path / "model.onnx"), [name for name in ARMS if name not in FORM_ARMS], 1)
    assert len(set(expected.tolist())) > 1
    for name in SAME_NETWORK:
        assert (np.asarray(arms[name].predict(arms[name].prepare(raw))) == expected).all()


def test_the_baseline_is_a_plain_mlp_of_the_same_widths(tmp_path):
    import onnx

    (tmp_path / "model.onnx").write_bytes(make_model(small_spec(), clusters())[0])
    graph = onnx.load_from_string(backprop_mlp(Predictor(tmp_path / "model.onnx"))).graph
    shapes = {t.name: tuple(t.dims) for t in graph.initializer if t.name.startswith("W")}
    assert shapes == {"W0": (16, 12), "W1": (12, 10), "W2": (10, 8), "W3": (8, 4)}
    assert [node.op_type for node in graph.node].count("Gemm") == 4


def test_forms_stand_beside_the_model():
    choice = inference.Choice(Work(widths=(16, 16), threads=1), ("ffedge-session", *FORM_ARMS), (1,), 1, 0.001)
    found = inference.compare(choice)
    assert set(found["call_s"]["1"]) == {"ffedge-session", *FORM_ARMS}
    assert found["labels_unlike_the_first"]["ffedge-exact"] == 0
    assert set(found["form_bytes"]) == set(FORM_ARMS)
    assert found["form_bytes"]["ffedge-int8"] < found["form_bytes"]["ffedge-exact"]
    for name in FORM_ARMS:
        lost = found["accuracy"]["ffedge-session"] - found["accuracy"][name]
        assert abs(lost) * found["samples"] <= found["labels_unlike_the_first"][name] < 0.2 * found["samples"]


def test_children_train_and_time():
    choice = inference.Choice(
        Work(widths=(16, 16), threads=1), ("ffedge-session", "ffedge-predictor", "backprop-ort"), (1, 50), 2, 0.01
    )
    alive = []
    found = inference.compare(choice, alive=alive.append)
    assert found["labels_unlike_the_first"] == {"ffedge-session": 0, "ffedge-predictor": 0}
    assert found["accuracy"]["ffedge-session"] == found["test_accuracy"] > 0.3
    assert all(len(rounds) == 2 for call_s in found["call_s"].values() for rounds in call_s.values())
    assert min(min(rounds) for rounds in found["call_s"]["1"].values()) > 0
    assert alive
    written = inference.document(choice, found, [])
    assert set(written["batch_size"]) == {"1", "50"}
    assert "call_s" not in written


def test_without_torch_the_error_is_one_line(tmp_path):
    (tmp_path / "model.onnx").write_bytes(make_model(small_spec(), clusters())[0])
    printed = in_child(
        """
        from ffedge.compare.inference_arms import build_arms
        from ffedge.errors import FfedgeError
        print(*build_arms("model.onnx", ["backprop-ort", "ffedge-session"], 1))
        try:
            build_arms("model.onnx", ["ffedge-session", "torch-passes"], 1)
        except FfedgeError as error:
            print(error)
        """,
        hidden={"torch"},
        cwd=tmp_path,
    )
    assert printed.splitlines() == [
        "backprop-ort ffedge-session",
        "the arms torch-passes and torch-stacked need torch, which is not installed. "
        "Run: pip install 'ffedge[torch]', or choose others with --arms",
    ]
