"""Pictures in class folders, from the command line: train, go on, evaluate, predict, monitor, learn."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.cli.conftest import Ffedge

Image = pytest.importorskip("PIL.Image", reason="needs Pillow")
TINTS = {"apple": (200, 40, 40), "leaf": (40, 180, 60), "sky": (60, 90, 220)}


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FFEDGE_CACHE", str(tmp_path / "cache"))


def draw(folder: Path, count: int, seed: int, names: tuple[str, ...] = tuple(TINTS)) -> Path:
    rng = np.random.default_rng(seed)
    for name in names:
        (folder / name).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            size = [(32, 32), (48, 64), (60, 45)][i % 3]
            values = np.clip(rng.normal(0, 40, (*size, 3)) + TINTS[name], 0, 255).astype(np.uint8)
            Image.fromarray(values).save(folder / name / f"{i}.{'png' if i % 2 else 'jpg'}")
    return folder


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    draw(tmp_path / "photos" / "train", 30, 0)
    draw(tmp_path / "photos" / "test", 6, 1)
    return tmp_path / "photos"


@pytest.fixture
def run(photos: Path, tmp_path: Path, ffedge: Ffedge) -> Path:
    done = ffedge("train", "--data", photos, "--size", 12, "--widths", 16, "--epochs", 5, "--out", tmp_path / "run")
    assert done.code == 0, done.err
    assert f"ffedge: {photos}/train: reads 90 pictures of 3 classes as 12x12 in colour\n" in done.err
    return tmp_path / "run"


def test_a_run_on_pictures_goes_on_as_it_began(run: Path, photos: Path, ffedge: Ffedge) -> None:
    report = json.loads((run / "report.json").read_text())
    assert (report["input"]["shape"], report["test_accuracy"]) == ([12, 12, 3], 1.0)
    (run / "model.onnx").unlink()
    done = ffedge("train", "--resume", "--out", run)
    assert done.code == 0, done.err
    assert f"{photos}/train: 90 pictures of 3 classes as 12x12 in colour, as read before" in done.err
    assert ffedge("train", "--resume", "--out", run, "--size", 16).line == (
        "ffedge: --size plays no part with --resume. Leave it out"
    )


def test_eval_and_learn_bring_class_folders_to_the_models_shape(run: Path, tmp_path: Path, ffedge: Ffedge) -> None:
    done = ffedge("eval", run / "model.onnx", "--data", tmp_path / "photos" / "test", "--json")
    assert json.loads(done.out)["accuracy"] == 1.0
    new = draw(tmp_path / "new", 20, 3)
    (new / "sky" / "0.jpg").write_bytes(b"x")
    done = ffedge("learn", run / "model.onnx", "--data", new, "--epochs", 1)
    line = done.err.splitlines()[-1]
    assert line.startswith(f"ffedge: {new}/sky/0.jpg: is no picture that can be read")
    assert line.endswith(" Or leave such pictures out: --skip-broken")
    done = ffedge("learn", run / "model.onnx", "--data", new, "--epochs", 1, "--skip-broken")
    assert done.code == 0, done.err
    assert "learnt from 59 new rows" in done.out


def test_predict_and_monitor_take_files_and_folders(run: Path, photos: Path, ffedge: Ffedge) -> None:
    done = ffedge("predict", run / "model.onnx", photos / "test", "--resize", "--json")
    samples = json.loads(done.out)["samples"]
    assert len(samples) == 18
    assert all(Path(sample["file"]).parent.name == sample["label"] for sample in samples)
    done = ffedge("predict", run / "model.onnx", photos / "test" / "sky" / "0.jpg")
    assert done.line == (
        f"ffedge: {photos}/test/sky/0.jpg: is 32x32 pixels (height x width), but the model takes 12x12. Resize it or "
        "pass --resize."
    )
    done = ffedge("monitor", run / "model.onnx", photos / "test" / "sky", "--resize")
    assert done.out.startswith("6 samples, ")


def test_pictures_that_cannot_be_read_are_left_out_where_asked(
    run: Path, photos: Path, tmp_path: Path, ffedge: Ffedge
) -> None:
    broken = photos / "test" / "sky" / "0.jpg"
    broken.write_bytes(broken.read_bytes()[:40])
    for command, lines in (("predict", 1 + 17), ("monitor", 1)):
        words = (command, run / "model.onnx", photos / "test", "--resize")
        done = ffedge(*words)
        assert (done.code, done.line.startswith(f"ffedge: {broken}: is no picture that can be read")) == (1, True)
        done = ffedge(*words, "--skip-broken")
        assert (done.code, len(done.out.splitlines()), len(done.err.splitlines())) == (0, lines, 1)
        assert done.line.startswith(f"ffedge: {broken}: is no picture that can be read")
    found = json.loads(ffedge("predict", *words[1:], "--skip-broken", "--json").out)["samples"]
    assert str(broken) not in {sample["file"] for sample in found}
    done = ffedge("predict", run / "model.onnx", broken, "--resize", "--skip-broken")
    assert (done.code, done.out, len(done.err.splitlines())) == (1, "", 2)
    np.save(tmp_path / "a.npy", np.zeros((2, 12, 12, 3), np.uint8))
    assert ffedge("predict", run / "model.onnx", tmp_path / "a.npy", "--skip-broken").line == (
        f"ffedge: {tmp_path}/a.npy: is no picture or recording, so that --skip-broken plays no part. Leave it out"
    )


def test_monitor_says_nothing_of_drift_where_it_saw_no_sample(run: Path, tmp_path: Path, ffedge: Ffedge) -> None:
    (tmp_path / "a.png").write_bytes(b"x")
    done = ffedge("monitor", run / "model.onnx", tmp_path / "a.png")
    assert (done.code, done.out) == (1, "0 samples\n")
    done = ffedge("monitor", run / "model.onnx", tmp_path / "a.png", "--json")
    assert json.loads(done.out) == {"event": "end of input", "samples": 0}


def test_channels_first_models_take_picture_files(photos: Path, tmp_path: Path, ffedge: Ffedge) -> None:
    files = sorted((photos / "train").glob("*/*"))
    rows = np.stack([np.asarray(Image.open(file).resize((8, 8)).convert("RGB")).transpose(2, 0, 1) for file in files])
    np.savez(tmp_path / "chw.npz", x=rows, y=[file.parent.name for file in files])
    words = ("--widths", 16, "--epochs", 5, "--out", tmp_path / "c")
    assert ffedge("train", "--data", tmp_path / "chw.npz", *words).code == 0
    done = ffedge("predict", tmp_path / "c" / "model.onnx", photos / "test", "--resize", "--json")
    samples = json.loads(done.out)["samples"]
    assert all(Path(sample["file"]).parent.name == sample["label"] for sample in samples)
    done = ffedge("eval", tmp_path / "c" / "model.onnx", "--data", photos)
    assert "accuracy 100.00 % of 18 rows" in done.out


def test_a_share_of_the_rows_is_taken_to_test_on(photos: Path, tmp_path: Path, ffedge: Ffedge) -> None:
    words = ("train", "--data", photos / "train", "--widths", 16, "--epochs", 3, "--grey", "--test")
    done = ffedge(*words, 0.2, "--out", tmp_path / "a", "--json")
    report = json.loads(done.out)
    assert report["test_accuracy"] is not None
    assert report["input"]["shape"] == [32, 32]
    assert ffedge("train", "--resume", "--out", tmp_path / "a").code == 0
    done = ffedge(*words, photos / "test", "--out", tmp_path / "b", "--json")
    assert json.loads(done.out)["test_accuracy"] is not None
    done = ffedge("train", "--data", photos, "--test", 0.2)
    line = "ffedge: --test plays no part for photos, which has a test split. Leave it out"
    assert (done.code, done.err.splitlines()[-1]) == (2, line)
