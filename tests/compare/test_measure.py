"""Arms measured for real, in clean children."""

from pathlib import Path

import numpy as np
import pytest
from toys import clusters

from ffedge.compare import memory
from ffedge.compare.arms import ARMS, Work
from ffedge.compare.child import ask
from ffedge.compare.train import some_rows, train
from ffedge.data import ArrayRows, Dataset, Split
from ffedge.meter import PeakMeter

WORK = Work(widths=(64, 64, 64), rows=1500, batch_size=32)


def measure(arm, **changes):
    work = {**vars(WORK), "widths": list(WORK.widths), **changes}
    return ask("ffedge.compare", {"task": "memory", "arm": arm, "work": work})


@pytest.fixture(scope="module")
def lean():
    return measure("ffedge-ff-adam")


def test_an_arm_tells_imports_peak_and_layers_apart(lean):
    assert 30e6 < lean["import_bytes"] < lean["rss_peak_bytes"] < 400e6
    assert lean["peak_over_imports_bytes"] == lean["rss_peak_bytes"] - lean["import_bytes"]
    assert [layer["index"] for layer in lean["layers"]] == [0, 1, 2]
    assert all(0 < x["rss_start_bytes"] <= x["rss_peak_bytes"] <= lean["rss_peak_bytes"] for x in lean["layers"])


def test_ffedge_counts_one_layers_state_whatever_the_depth(lean):
    deep = measure("ffedge-ff-adam", widths=[64] * 6)
    for key in ("gradients", "moments", "saved_for_backward", "buffers"):
        assert deep["counted_bytes"][key] == lean["counted_bytes"][key]
    assert lean["counted_bytes"]["saved_for_backward"] == 0
    assert deep["counted_bytes"]["weights"] > lean["counted_bytes"]["weights"]


@pytest.mark.parametrize("arm", ["ffedge-fcff-adam", "ffedge-ff-sgd", "ffedge-ff-momentum"])
def test_an_arm_learns_far_more_than_chance(arm):
    assert measure(arm, epochs=2)["accuracy"] > 0.7


@pytest.mark.torch
def test_a_baseline_learns_and_says_why_what_is_unknown_is_none():
    found = measure("backprop-adam", epochs=2)
    assert found["accuracy"] > 0.7
    assert {name for name, value in found["counted_bytes"].items() if value is None} == set(found["unknown"])
    assert len(found["unknown"]["buffers"]) > 20


def test_some_rows_of_a_file_sorted_by_class_are_of_all_its_classes():
    labels = np.arange(6000) // 600
    inputs = np.arange(6000, dtype=np.float32)[:, None]
    whole = Dataset("sorted", Split(ArrayRows(inputs), labels), None, tuple("abcdefghij"), "sha")
    some = some_rows(whole, 300).train
    rows = some.inputs.take(np.arange(300))[:, 0].astype(int)
    assert len(set(rows)) == 300
    assert np.array_equal(some.labels, labels[rows])
    assert np.bincount(some.labels).min() >= 15  # 30 are expected of each
    every = some_rows(whole, 60_000).train
    assert np.array_equal(every.inputs.take(np.arange(6000)), inputs)
    assert np.array_equal(every.labels, labels)


def test_where_no_peak_can_be_reset_the_layers_have_none_and_the_process_has_its_own(monkeypatch):
    monkeypatch.setattr("ffedge.meter.CLEAR_REFS", Path("/nowhere/clear_refs"))
    found = memory.measure(ARMS["ffedge-ff-sgd"], Work(widths=(8, 8), rows=200, batch_size=32, threads=1))
    assert [layer["rss_peak_bytes"] for layer in found["layers"]] == [None, None]
    assert "clear_refs" in found["unknown"]["layers.rss_peak_bytes"]
    assert found["rss_peak_bytes"] > 30e6


def test_a_loss_that_is_no_number_ends_an_arm_and_not_the_comparison():
    data = clusters(rows=200)
    work = Work(widths=(8, 8), batch_size=16, threads=1)
    with np.errstate(all="ignore"):
        trained = train(ARMS["ffedge-ff-sgd"], work, data, PeakMeter(), rate=(0.1, 1e30))
    assert len(trained.layers) == 1
    assert "not a number" in trained.unknown["accuracy"]
