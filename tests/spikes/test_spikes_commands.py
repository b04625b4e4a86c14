"""ffedge export --nir, and predict and eval of a NIR file."""

import io
import json
import sys
from contextlib import redirect_stderr, redirect_stdout
from types import SimpleNamespace

import numpy as np
import pytest
from spiking_toys import toy
from toys import clusters

from ffedge import Predictor, Spec, train
from ffedge.cli import main
from ffedge.errors import DataError
from ffedge.spikes import SpikingPredictor, read
from ffedge.spikes.evaluate import evaluate_spikes

pytest.importorskip("nir", reason="needs ffedge[nir]")
SPEC = {"widths": (24, 16), "epochs": 6, "batch_size": 32, "label_scale": 3.0}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Train a spiking and a tuned network on files, and export the spiking one."""
    folder = tmp_path_factory.mktemp("spikes")
    data = clusters(rows=300, noise=0.5, test_rows=60)
    splits = {"train": data.train, "test": data.test}
    arrays = {f"x_{n}": s.inputs.take(np.arange(len(s.labels))) for n, s in splits.items()}
    np.savez(folder / "data.npz", **arrays, **{f"y_{n}": s.labels for n, s in splits.items()})
    train(Spec.make("spiking", **SPEC), folder / "data.npz", folder / "spiking")
    train(Spec.make("tuned", **SPEC), folder / "data.npz", folder / "tuned")
    done = ffedge("export", folder / "spiking", "--nir", folder / "a.nir", "--timesteps", 300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"spiking network {folder / 'a.nir'} (")
    np.save(folder / "x.npy", arrays["x_test"])
    return folder


def ffedge(*words):
    """Run a command line in this process."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = main([str(word) for word in words])
    return SimpleNamespace(returncode=code, stdout=out.getvalue(), stderr=err.getvalue())


def line(*words, code):
    done = ffedge(*words)
    assert done.returncode == code, done.stderr
    (only,) = done.stderr.strip().splitlines()
    return only


def test_a_nir_file_predicts_what_its_model_predicts(place):
    found = json.loads(ffedge("predict", place / "a.nir", place / "x.npy", "--json").stdout)["samples"]
    wanted = Predictor(place / "spiking" / "model.onnx").predict(np.load(place / "x.npy"))
    assert np.mean([int(s["label"]) == label for s, label in zip(found, wanted.label, strict=True)]) > 0.95
    scores = np.array([list(s["scores"].values()) for s in found])
    assert np.corrcoef(scores.ravel(), wanted.scores.ravel())[0, 1] > 0.99


def test_leaky_neurons_may_have_a_synapse_and_must_have_a_leak(place):
    out = place / "cuba.nir"
    words = ("export", place / "spiking", "--nir", out, "--leak", 100, "--timesteps", 64)
    assert ffedge(*words, "--current-based").returncode == 0
    with pytest.importorskip("h5py").File(out) as file:
        kind, tau = file["node/nodes/neuron0/type"][()], file["node/nodes/neuron0/tau_syn"][0]
    assert (kind, tau) == (b"CubaLIF", pytest.approx(1e-4 / np.log(2)))
    found = json.loads(ffedge("eval", out, "--data", place / "data.npz", "--json").stdout)
    assert found["accuracy"][0] > 0.9
    words = ("export", place / "spiking", "--nir", place / "b.nir", "--current-based")
    assert line(*words, code=2) == "ffedge: --current-based plays no part without --leak. Add that, or leave it out"


def test_traces_stand_beside_the_file_and_eval_compares_them(place):
    out, beside = place / "traced.nir", place / "traced.traces.nir"
    done = ffedge("export", place / "spiking", "--nir", out, "--timesteps", 32, "--traces", 3)
    assert done.stdout.splitlines()[-1] == f"traces {beside}"
    done = ffedge("eval", out, "--data", beside)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "as the traces tell")
    found = json.loads(ffedge("eval", out, "--data", beside, "--json").stdout)
    assert found["agree"]
    assert [layer["differ"] for layer in found["layers"]] == [0] * len(found["layers"])
    ffedge("export", place / "spiking", "--nir", place / "zero.nir", "--timesteps", 32, "--reset", "zero")
    done = ffedge("eval", place / "zero.nir", "--data", beside)
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1].startswith("not as the traces tell")
    again = ffedge("export", place / "spiking", "--nir", place / "new.nir", "--traces", 1, "--timesteps", 8)
    assert again.returncode == 0
    (place / "new.nir").unlink()
    words = ("export", place / "spiking", "--nir", place / "new.nir", "--traces", 1)
    assert (
        line(*words, code=1) == f"ffedge: {place}/new.traces.nir: exists already. Choose another place, or use --force"
    )
    words = ("eval", out, "--data", beside, "--timesteps", "4")
    assert line(*words, code=2) == "ffedge: --timesteps plays no part for traces. Leave it out"
    words = ("eval", place / "spiking" / "model.onnx", "--data", beside)
    assert line(*words, code=2).startswith(f"ffedge: --data {beside}: traces are of a NIR file, not of ")
    ffedge("export", place / "spiking", "--nir", out, "--timesteps", 16, "--force")
    assert not beside.exists()


def test_eval_measures_each_number_of_timesteps_and_early_decisions(place):
    words = ("eval", place / "a.nir", "--data", place / "data.npz", "--timesteps", "64,8,256", "--margin", "0.1")
    found = json.loads(ffedge(*words, "--json").stdout)
    assert found["timesteps"] == [8, 64, 256]
    data = clusters(rows=300, noise=0.5, test_rows=60)
    raw = data.test.inputs.take(np.arange(60))
    for count, accuracy in zip(found["timesteps"], found["accuracy"], strict=True):
        predictor = SpikingPredictor(read(place / "a.nir"), count)
        assert accuracy == (predictor.predict(raw).label == data.test.labels).mean()
    early = SpikingPredictor(place / "a.nir", 256, 0.1)
    assert found["early_accuracy"] == (early.predict(raw).label == data.test.labels).mean()
    assert found["early_timesteps"] == early.taken.mean() < 256
    shown = ffedge(*words).stdout
    assert f"{100 * found['accuracy'][1]:.2f} %" in shown
    assert f"{found['early_timesteps']:.1f} (mean, margin 0.1)" in shown


def test_info_says_what_a_nir_file_holds(place):
    about = json.loads(ffedge("info", place / "a.nir", "--json").stdout)
    assert about == read(place / "a.nir").about()
    shown = ffedge("info", place / "a.nir").stdout
    for word in ("spiking network", "subtract", "300", about["label_mode"], "threshold"):
        assert word in shown


def test_without_timesteps_eval_takes_the_files(place):
    found = json.loads(ffedge("eval", place / "a.nir", "--data", place / "data.npz", "--json").stdout)
    assert (found["timesteps"], found["rows"]) == ([300], 60)


def test_a_network_that_spikes_cannot_carry_is_one_line(place):
    text = line("export", place / "tuned", "--nir", place / "b.nir", code=1)
    assert text == (
        f"ffedge: {place / 'tuned'}: was trained with --norm rms, which divides each row by a number of its own; "
        "spikes cannot. Train another with --preset spiking"
    )
    assert not (place / "b.nir").exists()


def test_other_errors_are_one_line_too(place, tmp_path):
    (tmp_path / "bad.nir").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    assert "is no NIR file that ffedge can run (" in line("predict", tmp_path / "bad.nir", place / "x.npy", code=1)
    model = place / "spiking" / "model.onnx"
    assert "--timesteps plays no part for a model.onnx" in line(
        "predict", model, place / "x.npy", "--timesteps", 8, code=2
    )
    assert "--margin plays no part for a model.onnx" in line("eval", model, "--margin", 0.1, code=2)
    assert "--timesteps must be N,N, got '8,a'" in line("eval", place / "a.nir", "--timesteps", "8,a", code=2)
    assert "--timesteps must be 1 to 4096, got 0" in line("eval", place / "a.nir", "--timesteps", "0", code=2)
    assert "which ffedge does not know by name. Pass --data" in line("eval", place / "a.nir", code=1)
    assert "exists already" in line("export", place / "spiking", "--nir", place / "a.nir", code=1)
    assert "--reject plays no part for a NIR file" in line(
        "predict", place / "a.nir", place / "x.npy", "--reject", code=2
    )
    for command, rest in (("monitor", [place / "x.npy"]), ("learn", ["--data", place / "data.npz"])):
        text = line(command, place / "a.nir", *rest, code=1)
        assert "is a NIR file, which only predict, eval and info take" in text
    assert "--reset must be subtract or zero" in line(
        "export", place / "spiking", "--nir", tmp_path / "c.nir", "--reset", "none", code=2
    )
    assert "--form plays no part with --nir" in line(
        "export", place / "spiking", "--nir", tmp_path / "c.nir", "--form", "exact", code=2
    )
    assert "cannot be written (No such file or directory)" in line(
        "export", place / "spiking", "--nir", tmp_path / "none" / "c.nir", code=1
    )
    assert "--leak must be 2 to 4096 timesteps" in line(
        "export", place / "spiking", "--nir", tmp_path / "c.nir", "--leak", 1, code=2
    )


def test_eval_refuses_data_of_another_shape(place, tmp_path):
    data = dict(np.load(place / "data.npz"))
    for key in ("x_train", "x_test"):
        data[key] = np.concatenate([data[key], data[key]], axis=1)
    np.savez(tmp_path / "wide.npz", **data)
    assert "inputs must have shape" in line("eval", place / "a.nir", "--data", tmp_path / "wide.npz", code=1)


def test_eval_refuses_numbers_for_a_network_of_bytes():
    network, numbers = toy(bytes=True)[0], clusters(rows=20, inputs=20, test_rows=10)
    with pytest.raises(DataError, match="inputs must be whole numbers from 0 to 255"):
        evaluate_spikes(SpikingPredictor(network), numbers, [4])


def test_flags_for_spikes_are_refused_without_their_file(place, tmp_path):
    for flag, value in (("timesteps", 64), ("reset", "zero"), ("leak", 3)):
        text = line("export", place / "spiking", "--out", tmp_path / "m.onnx", f"--{flag}", value, code=2)
        assert text == f"ffedge: --{flag} plays no part without --nir. Add that, or leave it out"
    assert not (tmp_path / "m.onnx").exists()


def test_predict_says_how_long_an_early_decision_took(place):
    words = ("predict", place / "a.nir", place / "x.npy", "--margin", 0.1, "--json")
    predictor = SpikingPredictor(place / "a.nir", None, 0.1)
    predictor.predict(np.load(place / "x.npy"))
    samples = json.loads(ffedge(*words).stdout)["samples"]
    assert [s["timesteps"] for s in samples] == predictor.taken.tolist()
    assert "known" not in samples[0]


def test_data_that_moved_are_named(place, tmp_path):
    moved = tmp_path / "moved.npz"
    moved.write_bytes((place / "data.npz").read_bytes())
    words = ("export", place / "spiking", "--nir", tmp_path / "e.nir", "--timesteps", 300, "--data", moved)
    found = json.loads(ffedge(*words, "--json").stdout)
    assert found == {
        "model": str(tmp_path / "e.nir"),
        "bytes": (tmp_path / "e.nir").stat().st_size,
        "neurons": 40 + 4 * (read(place / "a.nir").layers[0].units != len(read(place / "a.nir").layers[0].b)),
        "timesteps": 300,
        "reset": "subtract",
    }
    for ours, first in zip(read(tmp_path / "e.nir").layers, read(place / "a.nir").layers, strict=True):
        np.testing.assert_array_equal(ours.W, first.W)
    words = ("export", place / "spiking", "--nir", tmp_path / "f.nir", "--data", "mnist-mini")
    text = line(*words, code=1)
    assert text.startswith(
        f"ffedge: mnist-mini: is other data than {place / 'spiking'} learnt from (inputs must have shape"
    )


def test_a_leaky_network_with_a_hard_reset_is_exported_too(place, tmp_path):
    done = ffedge("export", place / "spiking", "--nir", tmp_path / "c.nir", "--reset", "zero", "--leak", 100)
    assert done.returncode == 0, done.stderr
    network = read(tmp_path / "c.nir")
    assert (network.reset, {round(layer.decay, 4) for layer in network.layers}) == ("zero", {0.99})


def test_without_nir_export_says_what_to_install(place, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "nir", None)
    text = line("export", place / "spiking", "--nir", tmp_path / "d.nir", code=1)
    assert text == "ffedge: NIR files need nir, which is not installed. Run: pip install 'ffedge[nir]'"
