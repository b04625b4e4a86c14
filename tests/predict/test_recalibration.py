"""A model's calibration is replaced in the file, on rows that it has not learnt from; nothing else changes."""

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from toys import clusters, make_model, prepared, small_spec

import ffedge
from ffedge.cli import main
from ffedge.data.stream import split_rows
from ffedge.errors import DataError, ModelError
from tests.predict.test_known import older

DATA = clusters(rows=800)
SPEC = small_spec(epochs=2, holdout=0.25)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return ffedge.train(SPEC, DATA, tmp_path_factory.mktemp("recalibration") / "run").model


@pytest.mark.parametrize("coverage", [0.5, 0.9, 1.0])
def test_the_share_asked_for_of_the_held_out_rows_is_known(model, tmp_path, coverage):
    found = ffedge.recalibrate(model, DATA, coverage, tmp_path / "new.onnx")
    predictor = ffedge.Predictor(tmp_path / "new.onnx")
    assert predictor.calibration == found
    assert found.rows == 200
    known = predictor.predict(DATA.train.inputs.take(split_rows(800, prepared(SPEC, DATA)[0])[0])).known
    assert coverage - 0.011 <= known.mean() < coverage + 0.02  # rows on a bound may fall to either side


def test_nothing_but_the_calibration_changes(model, tmp_path):
    ffedge.recalibrate(model, DATA, 0.5, tmp_path / "new.onnx")
    before, after = onnx.load(model), onnx.load(tmp_path / "new.onnx")
    onnx.checker.check_model(after)
    for proto in (before, after):
        stored = [p for p in proto.metadata_props if p.key in ("ffedge.known", "ffedge.proba")]
        assert len(stored) == 2
        weights = [t for t in proto.graph.initializer if t.name in ("known.bias", "proba.scale")]
        for listed, found in ((proto.metadata_props, stored), (proto.graph.initializer, weights)):
            for each in found:
                listed.remove(each)
    assert before == after


def test_the_coverage_of_training_gives_the_calibration_of_training(model, tmp_path):
    found = ffedge.recalibrate(model, DATA, 0.95, tmp_path / "new.onnx")
    wanted = ffedge.Predictor(model).calibration
    assert found.known == wanted.known
    assert found.least_margin == pytest.approx(wanted.least_margin, rel=1e-4)
    assert found.temperature == pytest.approx(wanted.temperature, rel=1e-3)


def older_than_proba(content):
    """Return a model as ffedge wrote it before there were probabilities."""
    proto = onnx.load_from_string(content)
    for listed in (proto.graph.output, proto.graph.initializer):
        for each in [each for each in listed if each.name.startswith("proba")]:
            listed.remove(each)
    for node in [node for node in proto.graph.node if node.output[0] in ("logits", "proba")]:
        proto.graph.node.remove(node)
    proto.metadata_props.remove(next(p for p in proto.metadata_props if p.key == "ffedge.proba"))
    return proto.SerializeToString()


def test_a_model_older_than_probabilities_gets_them(model, tmp_path):
    old = tmp_path / "old.onnx"
    old.write_bytes(older_than_proba(model.read_bytes()))
    assert ffedge.Predictor(old).temperature is None
    found = ffedge.recalibrate(old, DATA, 0.9)
    onnx.checker.check_model(onnx.load(old))
    raw = DATA.train.inputs.take(np.arange(50))
    (given,) = ort.InferenceSession(old).run(["proba"], {"input": raw})
    answers = ffedge.Predictor(old).predict(raw)
    assert answers.temperature == found.temperature
    np.testing.assert_allclose(answers.proba, given, rtol=1e-3, atol=1e-5)


def test_a_model_is_replaced_where_no_other_place_is_named(model, tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(model.read_bytes())
    ffedge.recalibrate(str(path), DATA, 0.6)
    assert ffedge.Predictor(path).calibration.coverage == 0.6
    assert [p.name for p in tmp_path.iterdir()] == ["model.onnx"]


def test_of_other_data_all_train_rows_serve(model, tmp_path):
    assert ffedge.recalibrate(model, clusters(rows=300, seed=4), 0.9, tmp_path / "new.onnx").rows == 300


def test_a_model_trained_without_held_out_rows_needs_other_data(tmp_path):
    run = ffedge.train(small_spec(epochs=1, holdout=0.0), DATA, tmp_path / "run")
    with pytest.raises(DataError, match=r"^clusters: the model has learnt from all of its rows. Pass other data$"):
        ffedge.recalibrate(run.model, DATA, 0.9)
    assert ffedge.recalibrate(run.model, clusters(rows=300, seed=4), 0.9).rows == 300
    assert not ffedge.Predictor(run.model).predict(np.full((1, 16), 1e6, np.float32)).known[0]


def test_a_model_older_than_known_is_refused_and_left_as_it_was(tmp_path):
    path, content = tmp_path / "old.onnx", older(make_model(small_spec(), DATA)[0])
    path.write_bytes(content)
    with pytest.raises(ModelError, match=f"^{path}: has no output known. Export it anew from its run folder$"):
        ffedge.recalibrate(path, DATA, 0.9)
    assert path.read_bytes() == content


def test_a_coverage_outside_its_range_is_refused(model):
    with pytest.raises(ValueError, match="`coverage` must be above 0 and at most 1, got 0"):
        ffedge.recalibrate(model, DATA, 0)


def test_odd_rows_choose_nothing(model, tmp_path):
    x, y = clusters(rows=300, seed=1).train.inputs.take(np.arange(300)), np.arange(300) % 4
    np.savez(tmp_path / "good.npz", x=x[20:], y=y[20:])
    x[:20, 3] = [np.nan, 1e30] * 10
    np.savez(tmp_path / "odd.npz", x=x, y=y)
    found, wanted = (ffedge.recalibrate(model, tmp_path / f"{n}.npz", 0.9, tmp_path / "m") for n in ("odd", "good"))
    assert found.rows == 280
    assert found.most_score == pytest.approx(wanted.most_score, rel=1e-5)
    np.savez(tmp_path / "odd.npz", x=np.full((9, 16), np.nan), y=np.arange(9) % 4)
    with pytest.raises(DataError, match=r"^odd: all of its rows are odd. Check the sensor"):
        ffedge.recalibrate(model, tmp_path / "odd.npz", 0.9, tmp_path / "m")


def test_rows_that_it_went_on_learning_from_are_refused(model, tmp_path):
    path, more = tmp_path / "model.onnx", clusters(rows=300, seed=4)
    path.write_bytes(model.read_bytes())
    assert ffedge.learn(path, more, force=True, max_drop=1.0, progress=False).accepted
    with pytest.raises(DataError, match=r"^clusters: the model has learnt from all of its rows. Pass other data$"):
        ffedge.recalibrate(path, more, 0.9)
    assert ffedge.recalibrate(path, clusters(rows=300, seed=5), 0.9).rows == 300


def test_a_share_that_was_taken_aside_to_test_on_is_taken_aside_again(tmp_path):
    rng, y = np.random.default_rng(0), np.arange(1000) % 4
    np.savez(tmp_path / "data.npz", x=rng.normal(size=(1000, 8)).astype(np.float32) + y[:, None], y=y)
    aside = ffedge.Reading(test=0.2)
    run = ffedge.train(SPEC, tmp_path / "data.npz", tmp_path / "run", reading=aside, progress=False)
    found = ffedge.recalibrate(run.model, tmp_path / "data.npz", 0.9, reading=aside)
    assert found.rows == 200  # a quarter of 800
    words = ["export", str(run.path), "--coverage", "0.9", "--data", str(tmp_path / "data.npz")]
    assert main([*words, "--out", str(tmp_path / "named.onnx")]) == 0
    assert ffedge.Predictor(tmp_path / "named.onnx").calibration.rows == 200
