"""A stranger's model: no byte of its graph reaches onnxruntime, and what cannot be made anew is refused in one line."""

import json
import os

import numpy as np
import onnx
import onnxruntime
import pytest
import strangers
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import DATA, rows_of
from strangers import altered, form, polyglot
from toys import GROUPS, READOUT, changed, make_model, small_spec

from ffedge.engine.session import make_session
from ffedge.errors import ModelError
from ffedge.learning.learner import Learner
from ffedge.model.graph import predictor_graph
from ffedge.onnx.graph import model_bytes
from ffedge.predict import predictor as predictor_module
from ffedge.predict.predictor import Predictor

KINDS = {"tried": {}, "groups": GROUPS, "readout": READOUT}
MADE = {kind: make_model(small_spec(**more), DATA["floats"]) for kind, more in KINDS.items()}
MODEL = MADE["tried"][0]
OTHER = make_model(small_spec(), DATA["floats"], seed=1)[0]
INT8 = form("exact", int8=True)[2]
ROWS = rows_of(DATA["floats"], 5)
CANNOT_RUN = "model: is no model that ffedge can run ({}). Pass a model.onnx"
CANNOT_USE = "model: its graph cannot be used ({}). Export the model anew"


def scores(model):
    return Predictor(model).predict(ROWS).scores


def refusal(model):
    with pytest.raises(ModelError) as caught:
        Predictor(model).predict(ROWS)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


@pytest.fixture
def loaded(monkeypatch):
    """Collect the bytes that onnxruntime is given."""
    contents = []

    def noted(content, *more, **named):
        contents.append(content)
        return make_session(content, *more, **named)

    monkeypatch.setattr(predictor_module, "make_session", noted)
    return contents


GRAPHS = {  # a change of the graph -> why a form in whole numbers, which is read, is refused
    "endless": "field 6 of an attribute",
    "foreign": "an operator of 'com.microsoft'",
    "unknown": "node 3, 'ConstantOfShape': no graph of ffedge has this operator",
    "crowded": "a graph of 3 layers must have at most 160 nodes, got 241",
    "heavy": "one sample makes 596 MiB and 195.3 G multiply-adds",
    "laborious": "one sample makes 38 MiB and 10.0 G multiply-adds",
    "bomb": "one sample makes 6103 MiB and 0.0 G multiply-adds",
    "opset": "it must read input by operator set 17, got ['input'] by 18",
    "two_inputs": "2 times field 11 of a graph",
    "no_input": "it must read input by operator set 17, got [] by 17",
    "text": "node 12, 'Cast': casts to type 8",
    "other_scores": "node 38, 'ArgMax': reads 'scores' before it is made",
    "no_answers": "it lacks the output scores",
}
FILES = {  # what no file of ffedge holds
    "outside": "field 13 of weights",
    "enormous": f"weights 'huge' of type 1 and shape [{2**31}, {2**20}]",
    "many": "more than 4096 times field 1 of a graph",
    "twice": "weights of the same name 'const.int64.[-1,16]' twice",
    "empty": "weights 'none' of type 1 and shape [0]",
    "other_operators": "operators of 'evil'",
    "more_operators": "2 times field 8 of a model",
    "sparse": "field 15 of a graph",
    "function": "field 25 of a model",
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("change", GRAPHS)
def test_whatever_a_graph_says_a_model_predicts_by_its_metadata_and_weights(change, kind, loaded):
    whole, recipe, facts, _ = MADE[kind]
    model = altered(getattr(strangers, change), whole)
    np.testing.assert_array_equal(scores(model), scores(whole))
    assert set(loaded) == {model_bytes(predictor_graph(recipe, facts))}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("change", ["spec", "A", "W"])
def test_metadata_that_tell_of_another_class_goodness_or_weights_that_do_not_fit_it_are_one_line(kind, change):
    whole, recipe, _, _ = MADE[kind]
    proto, told = onnx.load_from_string(whole), recipe.to_dict()
    if change == "spec":
        other = {"tried": "groups", "groups": "readout", "readout": "tried"}[kind]
        told["network"] |= {"class_goodness": other, "label_mode": "overlay" if other == "tried" else "none"}
        assert refusal(changed(whole, spec=json.dumps(told))).startswith("model: ")
        return
    place = next((t for t in proto.graph.initializer if t.name == f"layers.1.{change}"), None)
    if place is not None:
        place.CopyFrom(onnx.numpy_helper.from_array(np.ones((3, 3), np.float32), place.name))
        assert refusal(proto.SerializeToString()).startswith("model: ")


@pytest.mark.parametrize(
    ("base", "kind"),
    [("exact", "tried"), ("pruned", "tried"), ("head", "tried"), ("exact", "groups"), ("exact", "readout")],
)
def test_so_does_a_form_in_float32(base, kind):
    model = form(base, **KINDS[kind])[2]
    np.testing.assert_array_equal(scores(altered(strangers.no_answers, model)), scores(model))


@pytest.mark.parametrize(("change", "why"), GRAPHS.items(), ids=GRAPHS)
def test_a_form_in_whole_numbers_with_any_of_it_is_refused(change, why, loaded):
    assert refusal(altered(getattr(strangers, change), INT8)) == CANNOT_USE.format(why)
    assert not loaded


@pytest.mark.parametrize("model", [MODEL, INT8], ids=["model", "int8"])
@pytest.mark.parametrize(("change", "why"), FILES.items(), ids=FILES)
def test_what_no_file_of_ffedge_holds_is_refused(change, why, model, loaded):
    assert refusal(altered(getattr(strangers, change), model)) == CANNOT_RUN.format(why)
    assert not loaded


def test_a_form_in_whole_numbers_is_written_anew(loaded):
    """Names of nodes, texts beside the graph and whatever else is not read do not reach onnxruntime."""

    def change(proto):
        proto.producer_name = proto.doc_string = proto.graph.name = "a stranger's words"
        for node in proto.graph.node:
            node.name = "a stranger's node"

    np.testing.assert_array_equal(scores(altered(change, INT8)), scores(INT8))
    assert loaded[0] == loaded[1]
    assert b"stranger" not in loaded[0]


@pytest.mark.parametrize("model", [MODEL, INT8], ids=["model", "int8"])
def test_a_flatbuffer_beside_the_protobuf_is_not_what_runs(model, tmp_path):
    """onnxruntime, given such a file, runs the other model."""
    (tmp_path / "model.ort").write_bytes(polyglot(model))
    session = onnxruntime.InferenceSession(tmp_path / "model.ort", providers=["CPUExecutionProvider"])
    assert session.run(["label", "margin"], {"input": ROWS[:1]}) == [strangers.LABEL, strangers.MARGIN]
    for stranger in (tmp_path / "model.ort", polyglot(model)):
        np.testing.assert_array_equal(scores(stranger), scores(model))


def test_an_attribute_of_an_unread_type_takes_no_memory(loaded):
    np.testing.assert_array_equal(scores(strangers.hidden(MODEL)), scores(MODEL))
    assert b"wide" not in loaded[0]
    loaded.clear()
    assert refusal(strangers.hidden(INT8)) == CANNOT_USE.format(f"attribute 'start' of type {2 + 2**32}")
    assert not loaded


@pytest.mark.parametrize("model", [MODEL, INT8], ids=["model", "int8"])
def test_a_file_that_is_swapped_between_check_and_load_is_not_opened_again(model, tmp_path, monkeypatch):
    path, other, opened = tmp_path / "model.onnx", tmp_path / "other.onnx", predictor_module.rows_at_once
    path.write_bytes(model)
    other.write_bytes(OTHER)
    wanted = scores(path)

    def swapping(model):
        os.replace(other, path)
        return opened(model)

    with monkeypatch.context() as patch:
        patch.setattr(predictor_module, "rows_at_once", swapping)
        np.testing.assert_array_equal(scores(path), wanted)
    np.testing.assert_array_equal(scores(path), scores(OTHER))
    assert not np.array_equal(wanted, scores(OTHER))


def test_a_learner_does_not_open_its_file_again_either(tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(MODEL)
    learner = Learner(path, threads=1, force=True)
    path.write_bytes(b"nonsense")
    np.testing.assert_allclose(learner.predict(ROWS).scores, scores(MODEL), rtol=1e-5)


def test_a_file_that_is_cut_between_check_and_load_is_refused(tmp_path, monkeypatch):
    path, opened = tmp_path / "model.onnx", predictor_module.rows_at_once
    path.write_bytes(make_model(small_spec(widths=(200, 200)), DATA["floats"])[0])
    monkeypatch.setattr(predictor_module, "rows_at_once", lambda model: os.truncate(path, 60_000) or opened(model))
    with pytest.raises(ModelError, match=f"^{path}: is no ONNX model that onnxruntime can load"):
        Predictor(path)


NAMES = {  # text of a file -> the same with a byte that no UTF-8 has
    "a dimension": (b"\x12\x01N", b"\x12\x01\xff"),
    "a weight": (b"layers.1.W", b"layers.1\xffW"),
    "an operator": (b"ArgMax", b"ArgMa\xff"),
    "metadata's key": (b"ffedge.input", b"ffedge.inpu\xff"),
    "metadata": (b"class 0", b"class \xff"),
    "a value": (b"margin", b"margi\xff"),
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("model", [MODEL, INT8], ids=["model", "int8"])
def test_names_that_are_no_utf8_play_no_part_or_are_refused(name, model):
    old, new = NAMES[name]
    damaged = model.replace(old, new)
    outcome = answer(damaged)
    assert outcome_is_one_line(outcome) or np.array_equal(outcome, Predictor(model).predict(ROWS).label)


def answer(model):
    """Return the labels of some rows, or the line that refuses the model."""
    try:
        return Predictor(model).predict(ROWS).label
    except ModelError as error:
        return str(error)


def outcome_is_one_line(outcome):
    if not isinstance(outcome, str):
        return False
    return outcome.startswith("model: ") and len(outcome.splitlines()) == 1


def test_a_field_twice_is_refused():
    """One reader of the protobuf format takes the first of two fields, another the last."""
    assert refusal(MODEL + b"\x08\x08") == CANNOT_RUN.format("field 1 of a model twice")


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"\x08" + b"\xff" * 9 + b"\x7f", "byte 1 begins no number"),
        (b"\x08\x80", "byte 1 begins no number"),
        (b"\x3a\x7f1234", "byte 2 begins no field"),
        (b"\x0b", "byte 1 begins no number"),
        (b"\x0b\x01", "byte 2 begins no field"),
    ],
)
def test_bytes_that_are_no_fields_are_refused(data, why):
    assert refusal(data) == CANNOT_RUN.format(why)


def test_a_part_nested_in_parts_costs_nothing():
    nested = b""
    while len(nested) < 16000:
        nested = b"\x3a" + bytes([len(nested) & 127 | 128, len(nested) >> 7]) + nested
    assert refusal(nested).startswith("model: ")


def test_answers_that_no_model_gives_are_refused():
    """Of a form in whole numbers: its graph is its own, within bounds."""

    def beyond(proto):
        strangers.first(proto, "ArgMax").input[0] = "input"

    def wide(proto):
        margin = next(node for node in proto.graph.node if "margin" in node.output)
        next(t for t in proto.graph.initializer if t.name == margin.input[1]).dims[:] = [2, 1]

    with pytest.raises(ModelError, match=r"^model: gives labels beyond its 4 classes. Export the model anew$"):
        Predictor(altered(beyond, INT8)).predict(np.eye(16, dtype=np.float32))
    assert refusal(altered(wide, INT8)).startswith("model: its graph cannot be used (it makes margin of shape [1, 1]")


def test_places_beyond_the_labels_are_one_line():
    """Where a gather reads is known only as it runs."""

    def change(proto):
        top = strangers.first(proto, "TopK")
        gather = next(node for node in proto.graph.node if node.op_type == "GatherND" and len(node.attribute))
        proto.graph.initializer.append(onnx.numpy_helper.from_array(np.array([9]), "nine"))
        far = onnx.helper.make_node("Mul", [top.output[1], "nine"], ["far"])
        proto.graph.node.insert(list(proto.graph.node).index(top) + 1, far)
        gather.input[1] = "far"

    assert refusal(altered(change, form("pruned", int8=True)[2])).startswith("model: cannot be run (")


@settings(max_examples=100)
@given(st.binary(max_size=200))
def test_any_bytes_are_a_model_or_one_line(data):
    assert outcome_is_one_line(answer(data))


@settings(max_examples=150)
@given(st.data(), st.sampled_from([MODEL, INT8]))
def test_a_damaged_model_predicts_or_is_refused_in_one_line(data, model):
    damaged = bytearray(model)
    for _ in range(data.draw(st.integers(1, 3))):
        damaged[data.draw(st.integers(0, len(model) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    outcome = answer(bytes(damaged))
    assert outcome_is_one_line(outcome) or ((outcome >= 0) & (outcome < 4)).all()
