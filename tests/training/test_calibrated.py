"""What counts as known is chosen at the end of training, on the rows that were held out, and goes into the model."""

import shutil
import tracemalloc

import numpy as np
import pytest
from toys import GROUPS, READOUT, clusters, prepared, small_spec

import ffedge
from ffedge.data import Split
from ffedge.data.rows import ArrayRows
from ffedge.data.stream import split_rows
from ffedge.training.evaluator import Evaluator
from ffedge.training.folder import export

DATA = clusters(rows=800)
SPEC = small_spec(epochs=3, holdout=0.25, coverage=0.8)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return ffedge.train(SPEC, DATA, tmp_path_factory.mktemp("known") / "run")


def held_out(spec):
    return split_rows(len(DATA.train.labels), prepared(spec, DATA)[0])[0]


@pytest.mark.parametrize("changes", [{}, GROUPS, READOUT], ids=["tried", "groups", "readout"])
@pytest.mark.parametrize("schedule", ["greedy", "interleaved"])
@pytest.mark.parametrize("coverage", [0.8, 1.0])
def test_the_share_of_held_out_rows_that_was_asked_for_is_known(tmp_path, schedule, coverage, changes):
    spec = small_spec(epochs=3, holdout=0.25, schedule=schedule, coverage=coverage, **changes)
    predictor = ffedge.Predictor(ffedge.train(spec, DATA, tmp_path / "run").model)
    found = predictor.calibration
    assert (found.rows, found.coverage) == (200, coverage)
    assert coverage <= found.known < coverage + 0.02
    rows = held_out(spec)
    known = predictor.predict(DATA.train.inputs.take(rows)).known
    assert known.mean() == pytest.approx(found.known, abs=0.011)  # rows on a bound may fall to either side


def test_choosing_it_takes_little_memory_of_many_rows_and_classes():
    """All scores of 4,000 rows and 1,000 classes at once would take 16 MB."""

    class Scorer:
        recipe, n_classes = prepared(SPEC, DATA)[0], 1000

        def scored(self, raw, layers):
            return None, np.random.default_rng(0).random((len(raw), 1000), np.float32)

    rows = Split(ArrayRows(np.zeros((4000, 1), np.uint8)), np.zeros(4000, np.int64))
    tracemalloc.start()
    assert Evaluator(Scorer()).calibration([(rows, np.arange(4000))]).rows == 4000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**20


def test_rows_that_nobody_held_out_play_no_part(run):
    predictor = ffedge.Predictor(run.model)
    best = predictor.predict(DATA.train.inputs.take(held_out(SPEC))).scores.max(axis=1)
    assert predictor.calibration.score.mean == pytest.approx(best.mean(dtype=np.float64), rel=1e-4)
    assert predictor.calibration.score.deviation == pytest.approx(best.std(dtype=np.float64), rel=1e-4)


def test_noise_is_known_less_often_than_data(run):
    strange = 40 * np.random.default_rng(0).normal(size=(400, 16)).astype(np.float32)
    assert ffedge.Predictor(run.model).predict(strange).known.mean() < 0.1


def test_without_held_out_rows_every_answer_counts(tmp_path):
    run = ffedge.train(SPEC.with_train(holdout=0.0), DATA, tmp_path / "run")
    predictor = ffedge.Predictor(run.model)
    assert predictor.metadata["known"] is None
    assert predictor.predict(np.full((3, 16), 40.0, np.float32)).known.all()


def test_an_export_and_a_resumed_run_hold_the_same_calibration(run, tmp_path):
    export(run.path, tmp_path / "copy.onnx")
    shutil.copytree(run.path, tmp_path / "again")
    again = ffedge.train(None, DATA, tmp_path / "again", resume=True)
    assert (tmp_path / "copy.onnx").read_bytes() == run.model.read_bytes() == again.model.read_bytes()


def test_a_run_that_has_not_come_to_its_end_has_nothing_calibrated(tmp_path):
    asked = []
    with pytest.raises(ffedge.FfedgeError, match="stopped at a checkpoint"):
        ffedge.train(SPEC, DATA, tmp_path / "run", stop=lambda: len(asked) > 30 or asked.append(1))
    export(tmp_path / "run", tmp_path / "model.onnx")
    assert ffedge.Predictor(tmp_path / "model.onnx").metadata["known"] is None
