"""The same spec, seed and rows give the same weights as when `golden` recorded them."""

import json

import numpy as np
import pytest
from golden import MAKERS, MODELS, RECORDED, probe, scores_of, summary, weights_of

TOLERANCE = 2e-3  # of a mean or root mean square, where the machine rounds otherwise than the one that recorded


@pytest.fixture(scope="module")
def recorded():
    return json.loads(RECORDED.read_text())


@pytest.fixture(scope="module")
def rounds_alike(recorded):
    return probe() == recorded["probe"]


def test_every_run_is_recorded(recorded):
    assert set(recorded["runs"]) == set(MAKERS)


@pytest.mark.parametrize("name", MAKERS)
def test_a_run_gives_the_recorded_weights(name, tmp_path, recorded, rounds_alike):
    now, then = summary(weights_of(MAKERS[name](tmp_path))), recorded["runs"][name]
    assert set(now["moments"]) == set(then["moments"])
    if rounds_alike:
        assert now["sha256"] == then["sha256"]
    for array, values in then["moments"].items():
        np.testing.assert_allclose(now["moments"][array], values, atol=TOLERANCE, err_msg=array)


@pytest.mark.skipif(not MODELS.is_dir(), reason="models/ is not in this copy (an sdist has none)")
@pytest.mark.parametrize("name", json.loads(RECORDED.read_text())["models"])
def test_a_committed_model_gives_the_recorded_scores(name, recorded):
    scores, then = scores_of(MODELS / name / "model.onnx"), np.array(recorded["models"][name])
    assert (scores.argmax(axis=1) == then.argmax(axis=1)).all()
    np.testing.assert_allclose(scores, then, rtol=1e-5, atol=1e-5)
