"""The output ``known``: what the bounds of the calibration say, in onnxruntime and in ONNX's own evaluator."""

import json

import numpy as np
import onnx
import pytest
from networks import DATA, rows_of
from onnx.reference import ReferenceEvaluator
from toys import changed, make_model, small_spec

from ffedge.errors import ModelError
from ffedge.model.calibration import calibrate
from ffedge.predict.predictor import Predictor

PLAIN = make_model(small_spec(), DATA["floats"])[0]
RAW = rows_of(DATA["floats"])
FOUND = Predictor(PLAIN).predict(RAW)
BEST = FOUND.scores.max(axis=1)
CALIBRATION = calibrate(BEST, FOUND.margin, 0.6)
MODEL = make_model(small_spec(), DATA["floats"], calibration=CALIBRATION)[0]


def older(model):
    """Return a model as ffedge wrote it before answers could be unknown."""
    proto = onnx.load_from_string(model)
    graph = proto.graph
    graph.output.remove(next(o for o in graph.output if o.name == "known"))
    for node in [n for n in graph.node if n.op_type in ("GreaterOrEqual", "ReduceMin")] + [
        n for n in graph.node if "known.bias" in n.input
    ]:
        graph.node.remove(node)
    for tensor in [t for t in graph.initializer if t.name.startswith("known.")]:
        graph.initializer.remove(tensor)
    spec = json.loads(next(p.value for p in proto.metadata_props if p.key == "ffedge.spec"))
    del spec["train"]["coverage"]
    return changed(proto.SerializeToString(), spec=json.dumps(spec), known=None)


def test_known_is_what_the_bounds_say():
    found = Predictor(MODEL).predict(RAW)
    score, bounds = BEST, CALIBRATION
    wanted = (score >= bounds.least_score) & (score <= bounds.most_score)
    wanted &= FOUND.margin >= CALIBRATION.least_margin
    assert 0.3 < wanted.mean() < 0.7
    apart = np.abs(np.subtract.outer(BEST, [CALIBRATION.least_score, CALIBRATION.most_score])).min(axis=1)
    apart = np.minimum(apart, np.abs(FOUND.margin - CALIBRATION.least_margin))
    assert (found.known == wanted)[apart > 1e-4].all()
    assert (apart > 1e-4).mean() > 0.9
    assert found.known.dtype == np.bool_
    assert found.known.mean() == pytest.approx(CALIBRATION.known, abs=0.03)


def test_known_is_the_same_in_onnxs_own_evaluator():
    (known,) = ReferenceEvaluator(onnx.load_from_string(MODEL)).run(["known"], {"input": RAW})
    assert (known == Predictor(MODEL).predict(RAW).known).mean() > 0.98  # a value on a bound may fall to either side


def test_nothing_else_changes_with_the_calibration():
    found = Predictor(MODEL).predict(RAW)
    np.testing.assert_array_equal(found.scores, FOUND.scores)
    np.testing.assert_array_equal(found.margin, FOUND.margin)


def test_without_a_calibration_every_answer_counts():
    predictor = Predictor(PLAIN)
    assert predictor.metadata["known"] is None
    assert predictor.calibration is None
    assert predictor.predict(10 * RAW).known.all()


def test_a_calibration_is_read_back():
    assert Predictor(MODEL).calibration == CALIBRATION


@pytest.mark.parametrize("count", [0, 1, 700])
def test_an_older_model_predicts_and_every_answer_counts(count):
    predictor, raw = Predictor(older(MODEL)), rows_of(DATA["floats"], count)
    found = predictor.predict(raw, layers=True)
    assert found.known.tolist() == [True] * count
    assert predictor.calibration is None
    np.testing.assert_array_equal(found.scores, Predictor(MODEL).predict(raw).scores)
    assert found.goodness.shape == (count, 3, 4)


@pytest.mark.parametrize("value", ["3", "[]", "{}", '"text"', '{"rows": 1e400}'])
def test_a_damaged_calibration_is_refused(value):
    with pytest.raises(ModelError, match=r"^model: its metadata (cannot be used|is damaged) .*Export the model anew$"):
        Predictor(changed(MODEL, known=value))
