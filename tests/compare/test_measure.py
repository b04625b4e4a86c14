"""Arms measured for real, in clean children."""

import pytest

from ffedge.child import ask
from ffedge.compare.arms import ARMS, Work

WORK = Work(widths=(64, 64, 64), rows=1500, batch_size=32)


def measure(arm, **changes):
    work = {**vars(WORK), "widths": list(WORK.widths), **changes}
    return ask("ffedge.compare", {"arm": arm, "work": work})


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


@pytest.mark.torch
@pytest.mark.parametrize("arm", ["ffedge-acff-adam", "ffedge-ff-adam-torch", "backprop-adam", "backprop-sgd-hook"])
def test_an_arm_learns_more_than_chance(arm):
    pytest.importorskip("torch", reason="needs torch, which is not installed")
    epochs = 8 if ARMS[arm].optimizer == "sgd" else 2
    assert measure(arm, epochs=epochs)["accuracy"] > 0.3


@pytest.mark.torch
def test_what_backprop_saves_grows_with_depth_and_the_local_step_does_not():
    pytest.importorskip("torch", reason="needs torch, which is not installed")
    saved = {
        (arm, depth): measure(arm, widths=[64] * depth, rows=200)["counted_bytes"]["saved_for_backward"]
        for arm in ("backprop-adam", "ffedge-ff-adam-torch")
        for depth in (3, 6)
    }
    assert saved["backprop-adam", 6] > saved["backprop-adam", 3] + 3 * 4 * 32 * 64 - 1
    assert saved["ffedge-ff-adam-torch", 6] == saved["ffedge-ff-adam-torch", 3]
