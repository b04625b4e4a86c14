"""One row of a driver's error values among the training rows is left out, and told; rare and spread values are not."""

import json

import numpy as np
import pytest

import ffedge
from ffedge.data.stream import split_rows
from ffedge.training.odd import split_as_trained, without_absurd
from ffedge.training.train import plan
from ffedge.training.watch import Watcher

ROWS, AT = 800, 417
SPEC = ffedge.Spec.make(widths=(8,), epochs=1)


class Notes(Watcher):
    def __init__(self):
        self.notes = []

    def note(self, text):
        self.notes.append(text)


def sensors(value=None, rows=ROWS):
    rng = np.random.default_rng(0)
    y = np.arange(rows) % 3
    x = np.stack([20 + 2 * (y == 1), 0.3 + 0.1 * (y == 2), np.full(rows, 1013.0)], axis=1)
    x = (x + rng.normal(size=(rows, 3)) * [0.7, 0.04, 3]).astype(np.float32)
    if value is not None:
        x[AT] = value
    return x, y


@pytest.mark.parametrize("value", [-127, -999, 65535, 9.96921e36, -3e38])
def test_a_row_of_error_values_is_left_out_and_told(tmp_path, value):
    watcher = Notes()
    run = ffedge.train(SPEC, [sensors(value)], tmp_path / "run", watcher=watcher)
    told = [note for note in watcher.notes if "row 417" in note]
    assert len(told) == 1
    assert "1 of 800 rows are odd and not learnt from" in told[0]
    assert "input 0" in told[0]
    assert json.loads((tmp_path / "run" / "report.json").read_text())["data"]["odd"] == told[0]
    x, y = sensors()
    clean = ffedge.train(SPEC, [(np.delete(x, AT, 0), np.delete(y, AT))], tmp_path / "clean")
    found, wanted = (ffedge.Predictor(each.model).predict(x[:50]).scores for each in (run, clean))
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize(
    "column",
    [
        lambda rng: rng.lognormal(sigma=2, size=5000),
        lambda rng: rng.standard_cauchy(size=5000) * (np.arange(5000) < 2500),
        lambda rng: (rng.random(5000) < 0.001).astype(float),
        lambda rng: np.ones(5000),
        lambda rng: 1.7e9 + np.arange(5000.0),
    ],
    ids=["long tail", "half of it wild", "rare", "constant", "a clock"],
)
def test_rows_of_data_that_are_so_are_kept(column):
    x = np.stack([np.arange(5000) % 7.0, column(np.random.default_rng(1))], axis=1).astype(np.float32)
    data = ffedge.load([(x, np.arange(5000) % 2)])
    assert without_absurd(data)[1] <= 5  # in a thousand


def test_the_plan_leaves_them_out_too():
    assert plan(SPEC, [sensors(-127)]).peak_bytes > 0


@pytest.mark.parametrize("value", [None, -999])
def test_the_rows_that_training_held_out_are_known_again(tmp_path, value):
    data = ffedge.load([sensors(value)])
    run = ffedge.train(SPEC.with_train(holdout=0.1), data, tmp_path / "run")
    recipe = ffedge.Predictor(run.model).recipe
    held, learnt = split_as_trained(data, recipe)
    left = without_absurd(data)[0].train
    wanted, others = split_rows(len(left.labels), recipe)
    for found, rows in ((held, wanted), (learnt[np.arange(len(learnt))], others[np.arange(len(others))])):
        np.testing.assert_array_equal(data.train.inputs.take(found), left.inputs.take(rows))
    again = ffedge.recalibrate(run.model, data, out=tmp_path / "again.onnx")
    assert again.rows == len(held)
    assert again.least_margin == pytest.approx(ffedge.Predictor(run.model).calibration.least_margin, rel=1e-4)


@pytest.mark.parametrize(
    ("rows", "shape", "values"),
    [
        (100, (128, 128, 3), lambda rng, size: rng.random(size)),
        (200, (10_000,), lambda rng, size: rng.lognormal(size=size)),
        (2000, (1500,), lambda rng, size: rng.exponential(size=size) * (rng.random(size) < 0.02)),
        (2000, (1500,), lambda rng, size: rng.exponential(size=size) * (rng.random(size) < 0.001)),
    ],
    ids=["pictures", "long tails", "sparse", "nearly empty"],
)
def test_good_rows_of_many_inputs_are_kept(rows, shape, values):
    x = values(np.random.default_rng(1), (rows, *shape)).astype(np.float32)
    data = ffedge.load([(x, np.arange(rows) % 2)])
    assert without_absurd(data)[1:] == (0, None)


def test_one_absurd_value_among_many_inputs_is_found():
    x = np.random.default_rng(1).normal(size=(300, 5000)).astype(np.float32)
    x[217, 4321] = 65535
    assert without_absurd(ffedge.load([(x, np.arange(300) % 2)]))[1] == 1


def test_what_is_not_rare_is_no_fault():
    x, y = sensors()
    x[::10, 0] = -999
    assert without_absurd(ffedge.load([(x, y)]))[1] == 0
