"""ffedge bench --neuromorphic: each way to predict is measured, by the operations that it takes."""

import json

import numpy as np
import pytest
from toys import clusters

pytest.importorskip("nir", reason="needs ffedge[nir]")

from ffedge import Predictor
from ffedge.compare.neuromorphic import Choice, compare, document, write
from ffedge.compare.spike_points import MARGINS, energy_nj
from ffedge.spikes import SpikingPredictor, read
from ffedge.spikes.metrics import Workload
from ffedge.spikes.simulate import Run


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bench")
    data = clusters(rows=300, noise=0.8, test_rows=60)
    arrays = {
        f"x_{n}": s.inputs.take(np.arange(len(s.labels))) for n, s in (("train", data.train), ("test", data.test))
    }
    np.savez(folder / "data.npz", **arrays, y_train=data.train.labels, y_test=data.test.labels)
    choice = Choice(
        folder,
        str(folder / "data.npz"),
        widths=(16, 12),
        epochs=4,
        batch_size=30,
        rows=50,
        timesteps=(8, 300),
        threads=1,
    )
    points, notes = compare(choice)
    return choice, points, notes, data.test.inputs.take(np.arange(50)), data.test.labels[:50]


def test_accuracies_are_those_of_the_files(found):
    choice, points, _, raw, true = found
    by_name = {point.name: point for point in points}
    label = Predictor(choice.out / "run" / "model.onnx").predict(raw).label
    assert by_name["model.onnx"].accuracy == pytest.approx((label == true).mean())
    for reset in ("subtract", "zero"):
        for count in (8, 300):
            label = SpikingPredictor(choice.out / f"{reset}.nir", count).predict(raw).label
            point = by_name[f"spikes, reset {reset}, {count} timesteps"]
            assert (point.accuracy, point.timesteps) == (pytest.approx((label == true).mean()), count)
        for margin in MARGINS:
            predictor = SpikingPredictor(choice.out / f"{reset}.nir", 300, margin)
            label = predictor.predict(raw).label
            point = by_name[f"spikes, reset {reset}, margin {margin:g}"]
            assert point.accuracy == pytest.approx((label == true).mean())
            assert point.timesteps == pytest.approx(predictor.taken.mean())


def test_an_early_decision_counts_the_spikes_until_then(found):
    choice, points, _, raw, _ = found
    network = read(choice.out / "subtract.nir")
    predictor = SpikingPredictor(network, 300, MARGINS[-1])
    predictor.predict(raw)
    spikes = 0.0
    for sample, taken in zip(raw, predictor.taken, strict=True):
        run = Run(network, sample[None])
        for _ in range(taken):
            run.step()
        spikes += run.counts[0].sum(axis=0) @ np.count_nonzero(network.layers[1].W, axis=0)
    labels = np.count_nonzero(network.layers[0].W[:, network.inputs :])
    (point,) = [p for p in points if p.reset == "subtract" and p.margin == MARGINS[-1]]
    assert point.workload.effective_acs == pytest.approx(spikes / len(raw) + labels)


def test_one_margin_of_each_reset_is_chosen(found):
    _, points, *_ = found
    for reset in ("subtract", "zero"):
        (chosen,) = [p for p in points if p.reset == reset and p.chosen]
        assert chosen.margin in MARGINS
    assert len([p for p in points if p.chosen]) == 2


def test_spikes_take_no_multiplication_beyond_the_input(found):
    _, points, _, raw, _ = found
    inputs = np.prod(raw.shape[1:])
    for point in points:
        if point.kind == "spikes":
            assert point.workload.effective_macs <= inputs * 16
            assert point.workload.effective_acs > 0
        assert point.workload.effective_macs + point.workload.effective_acs <= point.workload.dense
        assert 0 <= point.workload.activation_sparsity <= 1


def test_more_timesteps_take_more_operations(found):
    points = [p for p in found[1] if p.reset == "subtract" and p.margin is None]
    assert points[0].workload.effective_acs < points[1].workload.effective_acs


def test_energy_is_each_operation_times_its_constant():
    assert energy_nj(Workload(0, 0, 0, 0, 1000, 500, 9e9)) == pytest.approx(4.6 + 0.45)


@pytest.mark.torch
def test_backprop_stands_beside_them(found):
    *_, point = found[1]
    assert point.kind == "backprop"
    assert point.workload.effective_acs == 0
    assert point.workload.footprint_bytes == 4 * (16 * 16 + 16 + 16 * 12 + 12 + 12 * 4 + 4)


def test_the_document_holds_what_was_chosen_and_found(found):
    choice, points, notes, *_ = found
    written = document(choice, points, notes)
    assert written["settings"]["widths"] == (16, 12)
    assert len(written["points"]) == len(points)
    assert (written["energy"]["mac_pj"], written["energy"]["ac_pj"]) == (4.6, 0.9)
    assert any("not a measurement" in caveat for caveat in written["caveats"])


def test_files_and_a_figure_are_written(found):
    pytest.importorskip("matplotlib", reason="needs matplotlib")
    choice, points, notes, *_ = found
    files, no_figure = write(choice, points, notes)
    assert no_figure is None
    assert [path.name for path in files] == ["neuromorphic.json", "neuromorphic.png", "neuromorphic.svg"]
    assert len(json.loads(files[0].read_text())["points"]) == len(points)
