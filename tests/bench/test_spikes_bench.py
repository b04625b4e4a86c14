"""bench/spikes.py: each way to predict is measured, by the operations that it takes."""

import argparse

import numpy as np
import pytest
from toys import clusters

pytestmark = pytest.mark.torch
for package in ("nir", "matplotlib", "torch"):
    pytest.importorskip(package, reason=f"needs {package}, which is not installed")

import spikes
from spike_metrics import Workload
from spike_points import MARGINS, energy_nj

from ffedge import Predictor
from ffedge.spikes import SpikingPredictor


@pytest.fixture(scope="module", params=["tried", "groups"])
def found(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bench")
    data = clusters(rows=300, noise=0.8, test_rows=60)
    arrays = {
        f"x_{n}": s.inputs.take(np.arange(len(s.labels))) for n, s in (("train", data.train), ("test", data.test))
    }
    np.savez(folder / "data.npz", **arrays, y_train=data.train.labels, y_test=data.test.labels)
    options = argparse.Namespace(
        widths=(16, 12), variant="ff", epochs=4, batch_size=30, rows=50, timesteps=[8, 300], seed=0, threads=1
    )
    options.class_goodness, options.resets, options.calibrated = request.param, ["subtract", "zero"], 256
    options.work = folder / "work"
    points = spikes.compare(str(folder / "data.npz"), options)
    return options.work / "data", points, data.test.inputs.take(np.arange(50)), data.test.labels[:50]


def test_accuracies_are_those_of_the_files(found):
    folder, points, raw, true = found
    by_name = {point.name: point for point in points}
    label = Predictor(folder / "run" / "model.onnx").predict(raw).label
    assert by_name["model.onnx"].accuracy == pytest.approx((label == true).mean())
    for reset in ("subtract", "zero"):
        label = SpikingPredictor(folder / f"{reset}.nir", 300).predict(raw).label
        assert by_name[f"spikes, reset {reset}, 300 timesteps"].accuracy == pytest.approx((label == true).mean())
        (chosen,) = [p for p in points if p.reset == reset and p.chosen]
        predictor = SpikingPredictor(folder / f"{reset}.nir", 300, chosen.margin)
        assert chosen.accuracy == pytest.approx((predictor.predict(raw).label == true).mean())
        assert chosen.timesteps == pytest.approx(predictor.taken.mean())
        assert chosen.margin in MARGINS


def test_spikes_take_no_multiplication_beyond_the_input(found):
    _, points, raw, _ = found
    for point in points:
        if point.kind == "spikes":
            assert point.workload.effective_macs <= np.prod(raw.shape[1:]) * 16
            assert point.workload.effective_acs > 0 or point.timesteps == 8  # too soon for a first layer's reset to 0
        assert point.workload.effective_macs + point.workload.effective_acs <= point.workload.dense
    assert points[-1].workload.footprint_bytes == 4 * (16 * 16 + 16 + 16 * 12 + 12 + 12 * 4 + 4)


def test_energy_is_each_operation_times_its_constant():
    assert energy_nj(Workload(0, 0, 0, 0, 1000, 500, 9e9)) == pytest.approx(4.6 + 0.45)
