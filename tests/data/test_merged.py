"""Numbers that float32 makes one are learnt as doubles, or refused before a network learns from what is left."""

import numpy as np
import pytest

import ffedge
from ffedge.data.merged import SAMPLE_BYTES, StreamSample, refuse_merged
from ffedge.errors import DataError

ROWS = 2000
RNG = np.random.default_rng(0)
LABELS = np.arange(ROWS) % 2
NOISE = RNG.normal(size=ROWS)
SPEC = ffedge.Spec.make(widths=(8,), epochs=1, threads=1)
WITHIN_AN_HOUR = 1_700_000_000 + RNG.integers(0, 3600, ROWS)
LOST = {
    "seconds within an hour": WITHIN_AN_HOUR,
    "the same as floats": WITHIN_AN_HOUR + 0.25,
    "nanoseconds within a minute": 1_700_000_000 * 10**9 + RNG.integers(0, 60 * 10**9, ROWS),
    "a counter of 40 bits": 2**40 + RNG.integers(0, 10, ROWS),
    "an unsigned one": np.uint64(2**63) + RNG.integers(0, 100, ROWS).astype(np.uint64),
    "two values": 2**24 + LABELS,
    "numbers smaller than any of 32 bits": 1e-50 * NOISE,
    "an hour, and now and then none": np.where(np.arange(ROWS) % 300, WITHIN_AN_HOUR, -1),
}
KEPT = {
    "seconds within a year": 1_700_000_000 + RNG.integers(0, 365 * 86400, ROWS),
    "a counter from 0": np.arange(ROWS),
    "one large number": np.full(ROWS, 2**60 + 1),
    "one float and its rounding": np.where(LABELS, 0.3, 0.1 + 0.2),
    "floats": RNG.normal(20.0, 3.0, ROWS),
    "nothing that float32 lacks": WITHIN_AN_HOUR.astype(np.float32),
}


def rows_of(column):
    """Stand a column between others of its type."""
    return np.stack([LABELS.astype(column.dtype), column], axis=1)


@pytest.fixture(params=["file", "minibatches", "rows one by one"])
def train(request, tmp_path):
    """Return a function that trains on rows, in a file or as minibatches in the order of time."""

    def run(x, order):
        np.savez(tmp_path / "data.npz", x=x, y=LABELS)
        size = 1 if request.param == "rows one by one" else 50
        batches = [(x[order[at : at + size]], LABELS[order[at : at + size]]) for at in range(0, ROWS, size)]
        return ffedge.train(SPEC, tmp_path / "data.npz" if request.param == "file" else batches, tmp_path / "run")

    return run


@pytest.mark.parametrize("kind", LOST)
def test_an_input_that_float32_would_spoil_is_learnt_as_doubles_or_refused_by_name(train, kind, request):
    way = request.node.callspec.params["train"]
    still = {"a counter of 40 bits", "two values"}  # in the first minibatch, which is in the order of time
    if kind == "an unsigned one" or way == "rows one by one" or (way == "minibatches" and kind in still):
        words = r"input 1 \(from 0\) holds numbers that float32 cannot tell apart: of \d+ .* Pass a frame or a CSV"
        with pytest.raises(DataError, match=words):
            train(rows_of(LOST[kind]), np.argsort(LOST[kind]))
        return
    run = train(rows_of(LOST[kind]), np.argsort(LOST[kind]))
    assert ffedge.Predictor(run.model).facts.dtype == "float64"
    assert "scaled in double precision" in run.report.data["notes"][-1]


@pytest.mark.parametrize("way", ["file", "minibatches"])
def test_a_clock_keeps_its_signal_in_training_learning_and_prediction(tmp_path, way):
    seconds = 1.8e9 + np.arange(ROWS) / 4
    x, later = np.column_stack([NOISE, seconds]), (seconds > seconds[ROWS // 2]).astype(int)
    assert len(set(seconds.astype(np.float32))) < 6
    source = [(x, later)]
    if way == "file":
        np.savez(source := tmp_path / "data.npz", x=x, y=later)
    run = ffedge.train(ffedge.Spec.make(widths=(16,), epochs=20, threads=1), source, tmp_path / "run")
    assert (ffedge.Predictor(run.model).predict(x).label == later).mean() > 0.97
    assert ffedge.learn(run.model, source, epochs=1, max_drop=1.0).new.after > 0.97
    assert ffedge.learn(run.model, [(x[:50].astype(np.float32), later[:50])], epochs=1, max_drop=1.0, force=True).rows


def test_windows_of_doubles_are_refused_as_ever(tmp_path):
    with pytest.raises(DataError, match=r"input 1 \(from 0\) holds numbers that float32 cannot tell apart"):
        ffedge.train(SPEC, [(np.stack([rows_of(WITHIN_AN_HOUR)] * 3, axis=1), LABELS)], tmp_path / "run")


@pytest.mark.parametrize("kind", KEPT)
def test_what_float32_holds_well_enough_is_learnt_from(train, kind):
    assert train(rows_of(KEPT[kind]), np.argsort(KEPT[kind])).model.is_file()


def test_a_model_may_learn_from_an_hour_of_the_year_that_it_knows(tmp_path):
    year = rows_of(KEPT["seconds within a year"])
    run = ffedge.train(SPEC, [(year, LABELS)], tmp_path / "run")
    ffedge.learn(run.model, [(rows_of(WITHIN_AN_HOUR), LABELS)], epochs=1, max_drop=1.0)


@pytest.mark.parametrize("sizes", [[1], [7, 100, 1], [5000]])
def test_a_sample_of_a_stream_is_small_and_spread_evenly_over_it(sizes):
    stream, sample, at = np.arange(30_000.0).reshape(-1, 3), StreamSample(), 0
    while at < len(stream):
        size = sizes[at % len(sizes)]
        sample.add(stream[at : at + size])
        at += size
    found = sample.rows()
    assert found.nbytes <= SAMPLE_BYTES
    assert len(found) > 2000
    assert len(set(np.diff(found[:, 0]))) == 1
    assert found[-1, 0] > 0.99 * stream[-1, 0]


def test_a_wide_row_takes_little_memory():
    sample = StreamSample()
    for _ in range(100):
        sample.add(np.ones((10, 20_000)))
    assert sample.rows().nbytes <= SAMPLE_BYTES + 2 * 160_000
    refuse_merged(sample.rows(), "ones")
