"""Engines that we did not write say of a model.onnx what onnxruntime says in Python."""

import numpy as np
import pytest
from cases import CASES
from engines import ENGINES, installed, need

TOLERANCE = 1e-4  # of a score, or of its size where that is above 1
ROWS = 1000
MOST_NEAR = 50


def tolerance(wanted):
    """Return what each row's best score may move by."""
    return TOLERANCE * np.maximum(1, np.abs(wanted["scores"]).max(axis=1))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("case", CASES)
def test_an_engine_gives_the_labels_and_scores_of_onnxruntime(request, outputs, engine, case):
    if (engine, CASES[case].data) == ("openvino", "clock"):
        request.applymarker(pytest.mark.xfail(reason="OpenVINO makes float32 of float64, and docs/clients.md says so"))
    found, wanted = outputs(engine)[case], outputs("onnxruntime")[case]
    assert isinstance(wanted, dict), wanted
    assert isinstance(found, dict), found
    assert {name: (v.dtype, v.shape) for name, v in found.items()} == {n: (v.dtype, v.shape) for n, v in wanted.items()}
    apart = wanted["margin"] > 2 * tolerance(wanted)
    np.testing.assert_array_equal(found["label"][apart], wanted["label"][apart])
    assert (np.abs(found["margin"] - wanted["margin"]) <= 2 * tolerance(wanted)).all()
    for name in wanted.keys() - {"label", "margin"}:
        if wanted[name].dtype == np.float32:
            np.testing.assert_allclose(found[name], wanted[name], rtol=TOLERANCE, atol=TOLERANCE, err_msg=name)
        else:  # what hangs on a threshold may fall to its other side
            assert (found[name] != wanted[name]).sum() <= ROWS - apart.sum(), name


@pytest.mark.parametrize("case", CASES)
def test_the_models_compared_know_digits_and_have_few_ties(outputs, case):
    """Guards the test above: a model that knows few labels, or has ties everywhere, would hide a wrong engine."""
    need("one of the engines", any(map(installed, ENGINES)))
    wanted = outputs("onnxruntime")[case]
    assert len(wanted["label"]) == ROWS
    assert (wanted["margin"] <= 2 * tolerance(wanted)).sum() <= MOST_NEAR
    assert np.bincount(wanted["label"], minlength=10).min() >= ROWS / 50
