"""The committed models predict what their cards say."""

import os
import re

import numpy as np
import pytest
from make_models import ROOT, TRAININGS, fields_of, on_digits, problems

from ffedge import FfedgeError, Predictor, load
from ffedge.predict.evaluation import accuracy

MODELS = ROOT / "models"
MOST_APART = 3  # of 1,000 rows that may get another label on another machine
POINTS_APART = 0.05


@pytest.fixture(params=TRAININGS)
def name(request):
    """Give each model's name; all are there or none is."""
    if not MODELS.is_dir():
        pytest.skip("models/ is not in this copy (an sdist has none): python tools/make_models.py")
    return request.param


@pytest.fixture
def told(name):
    return fields_of((MODELS / name / "MODEL.md").read_text())


@pytest.fixture
def predictor(name):
    return Predictor(MODELS / name / "model.onnx", threads=1)


def test_a_card_is_of_the_file_beside_it(name):
    assert problems(MODELS / name, TRAININGS[name]) == []


def test_a_model_gives_mnist_minis_digits_the_labels_on_its_card(told, predictor):
    right, labels = on_digits(predictor)
    assert abs(right - int(told["right of mnist-mini's test digits"])) <= MOST_APART
    counts = np.array(told["labels of mnist-mini's test digits"].split(), int)
    assert np.abs(np.array(labels) - counts).max() <= MOST_APART


def test_a_model_of_digits_knows_them(name, told):
    if name.startswith("mnist"):
        assert int(told["right of mnist-mini's test digits"]) > 970


def test_a_model_has_the_accuracy_of_its_card(name, told, predictor):
    if not os.environ.get("FFEDGE_DATA"):
        pytest.skip("FFEDGE_DATA is not set")
    try:
        split = load(TRAININGS[name].data).test
    except FfedgeError as error:
        pytest.skip(f"{TRAININGS[name].data} is not at hand: {error}")
    share, rows = re.fullmatch(r"([\d.]+) % of ([\d,]+) rows", told["test accuracy"]).groups()
    assert len(split.labels) == int(rows.replace(",", ""))
    assert 100 * accuracy(predictor, split) == pytest.approx(float(share), abs=POINTS_APART)
