"""What an export or a recalibration says is what it did: no file before all is well, no other's file replaced."""

import os
import shutil

import numpy as np
import pytest
from toys import clusters, small_spec

import ffedge
from ffedge.cli import main
from ffedge.errors import FfedgeError, ModelError, StoppedError
from ffedge.export.source import read_trained
from ffedge.model.file import Model
from ffedge.predict import recalibration
from ffedge.spikes.export import export_nir
from ffedge.training.disk import check_room, run_bytes
from ffedge.training.folder import export
from ffedge.training.train import train

DATA = clusters(rows=200)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return train(small_spec(holdout=0.2, epochs=1), DATA, tmp_path_factory.mktemp("runs") / "run")


def test_an_export_whose_data_are_missing_leaves_no_file(run, tmp_path, capsys):
    words = ["export", str(run.path), "--out", str(tmp_path / "m.onnx"), "--coverage", "0.9", "--data", "nowhere"]
    assert main(words) == 1
    assert os.listdir(tmp_path) == []
    assert "nowhere: is neither a known data set" in capsys.readouterr().err


def test_an_export_for_another_coverage_is_the_run_recalibrated(run, tmp_path):
    split = DATA.train
    np.savez(tmp_path / "data.npz", x=split.inputs.take(np.arange(200)), y=split.labels)
    words = ["export", str(run.path), "--coverage", "0.5", "--data", str(tmp_path / "data.npz")]
    assert main([*words, "--out", str(tmp_path / "m.onnx")]) == 0
    recalibration.recalibrate(run.model, tmp_path / "data.npz", 0.5, tmp_path / "wanted.onnx")
    found, wanted = (Model(tmp_path / name).calibration for name in ("m.onnx", "wanted.onnx"))
    assert found == wanted
    assert found != Model(run.model).calibration


def test_a_run_whose_model_has_learnt_since_is_neither_gone_on_with_nor_exported(run, tmp_path):
    """Its checkpoint is older than the model, which would be replaced, or left behind without a word."""
    folder = tmp_path / "run"
    shutil.copytree(run.path, folder)
    ffedge.learn(folder / "model.onnx", clusters(rows=200, seed=3), max_drop=1.0)
    before = (folder / "model.onnx").read_bytes()
    ways = {
        "resume": lambda: train(None, DATA, folder, resume=True),
        "export": lambda: export(folder, tmp_path / "out.onnx"),
        "form": lambda: read_trained(folder),
        "spikes": lambda: export_nir(folder, tmp_path / "out.nir"),
    }
    for name, way in ways.items():
        with pytest.raises(ModelError, match=r"model.onnx: has learnt since it was trained"):
            way()
        assert (folder / "model.onnx").read_bytes() == before, name
    assert sorted(os.listdir(tmp_path)) == ["run"]
    (folder / "model.onnx").unlink()
    export(folder, tmp_path / "out.onnx")
    assert Model(tmp_path / "out.onnx").metadata.get("learnt") is None


def test_data_that_have_grown_choose_no_coverage(tmp_path, capsys):
    """Which rows were held out is not known of them: nearly all were learnt from."""
    split = DATA.train
    np.savez(tmp_path / "data.npz", x=split.inputs.take(np.arange(199)), y=split.labels[:199])
    grown = train(small_spec(holdout=0.2, epochs=1), tmp_path / "data.npz", tmp_path / "run")
    np.savez(tmp_path / "data.npz", x=split.inputs.take(np.arange(200)), y=split.labels)
    words = ["export", str(grown.path), "--out", str(tmp_path / "m.onnx"), "--coverage", "0.9"]
    assert main(words) == 1
    assert "has changed since" in capsys.readouterr().err
    assert not (tmp_path / "m.onnx").exists()


def test_an_export_of_a_run_that_is_not_at_its_end_names_the_layers_that_lack(tmp_path, capsys):
    asked = iter([False] * 5)
    with pytest.raises(StoppedError):
        train(small_spec(), DATA, tmp_path / "run", stop=lambda: next(asked, True))
    assert main(["export", str(tmp_path / "run"), "--out", str(tmp_path / "m.onnx")]) == 0
    assert "the run is not at its end: layers 1, 2 have not begun to learn" in capsys.readouterr().err


def test_a_place_that_cannot_be_written_is_refused_before_the_work(run, tmp_path, monkeypatch):
    monkeypatch.setattr(recalibration, "write_calibrated", None)
    with pytest.raises(FfedgeError, match=r"none/m.onnx: cannot be written \(No such file or directory\)"):
        recalibration.recalibrate(run.model, DATA, 0.9, tmp_path / "none" / "m.onnx")


def test_a_model_that_learnt_meanwhile_is_not_replaced_by_the_older_one(run, tmp_path, monkeypatch):
    model = tmp_path / "m.onnx"
    shutil.copy(run.model, model)

    def slowly(*given):
        (tmp_path / "new").write_bytes(b"another")
        (tmp_path / "new").replace(model)

    monkeypatch.setattr(recalibration, "write_calibrated", slowly)
    with pytest.raises(ModelError, match="another model has taken its place meanwhile, and stands"):
        recalibration.recalibrate(model, DATA, 0.9)
    assert model.read_bytes() == b"another"


def test_a_run_for_which_the_disk_has_no_room_is_refused_before_it_begins(run, tmp_path, monkeypatch):
    full = os.statvfs_result((4096, 4096, 100, 3, 2, 0, 0, 0, 0, 255))
    monkeypatch.setattr(os, "statvfs", lambda folder: full)
    with pytest.raises(FfedgeError, match=rf"^{tmp_path}: has 0\.0 MiB free, but this takes 0\.1 MiB there"):
        check_room(tmp_path, 100_000, "this")
    check_room(tmp_path, 8192, "this")
    (tmp_path / "there").write_bytes(bytes(2000))
    check_room(tmp_path, 10_192, "this")


def test_the_room_of_a_run_is_what_it_takes_and_at_most_twice_as_much(run):
    wide = train(small_spec(widths=(200, 100), holdout=0.2, epochs=1), DATA, run.path.with_name("wide"))
    taken = sum(file.stat().st_size for file in wide.path.rglob("*") if file.suffix in (".safetensors", ".onnx"))
    model = Model(wide.model)
    assert taken <= run_bytes(model.recipe, model.facts, 200, 4 << 20) <= 2 * taken
