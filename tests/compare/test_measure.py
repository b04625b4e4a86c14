"""Arms measured for real, in clean children."""

from pathlib import Path

import numpy as np
import pytest
from toys import clusters

from ffedge.child import ask
from ffedge.compare.arms import ARMS, NEEDS, Work
from ffedge.compare.measure import measure as measure_here
from ffedge.compare.trainers import train
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


def needed(arm):
    package = NEEDS.get(ARMS[arm].trainer, ("numpy",))[0]
    pytest.importorskip(package, reason=f"needs {package}, which is not installed")


@pytest.mark.parametrize("arm", [arm for arm in ARMS if ARMS[arm].form == "plain"])
def test_an_arm_learns_far_more_than_chance(arm):
    needed(arm)
    assert measure(arm, epochs=2)["accuracy"] > 0.7


@pytest.mark.parametrize("arm", ["ffedge-ff-adam-torch", "backprop-adam", "backprop-adam-ort"])
def test_what_is_unknown_is_none_and_says_why(arm):
    needed(arm)
    found = measure(arm, rows=200)
    layers = {f"layers.{key}": value for layer in found["layers"] for key, value in layer.items()}
    absent = {name for name, value in (found["counted_bytes"] | layers).items() if value is None}
    assert absent
    assert absent == set(found["unknown"])
    assert all(len(why) > 20 for why in found["unknown"].values())


def test_backprop_in_onnxruntime_needs_neither_torch_nor_more_imports_than_ffedge(lean):
    needed("backprop-adam-ort-inplace")
    found = measure("backprop-adam-ort-inplace")
    assert found["import_bytes"] < lean["import_bytes"] + 10 * 2**20
    assert found["setup_s"] < found["seconds"]


@pytest.mark.parametrize(
    ("arm", "grown"),
    [("backprop-adam", 1), ("backprop-adam-ort", 2), ("ffedge-ff-adam-torch", 0), ("ffedge-ff-adam", 0)],
)
def test_what_backprop_saves_grows_with_depth_and_the_local_step_does_not(arm, grown):
    """In torch a layer's ReLU is saved; the graph in onnxruntime also reads what went into it."""
    needed(arm)
    shallow, deep = (
        measure(arm, widths=[64] * depth, rows=200)["counted_bytes"]["saved_for_backward"] for depth in (3, 6)
    )
    assert (shallow > 0) == (arm != "ffedge-ff-adam")
    assert deep - shallow == 3 * grown * 4 * 32 * 64


def test_where_no_peak_can_be_reset_the_layers_have_none_and_the_process_has_its_own(monkeypatch):
    monkeypatch.setattr("ffedge.meter.CLEAR_REFS", Path("/nowhere/clear_refs"))
    found = measure_here(ARMS["ffedge-ff-sgd"], Work(widths=(8, 8), rows=200, batch_size=32, threads=1))
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
