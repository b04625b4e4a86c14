"""ffedge learn: what it prints, writes, refuses and undoes."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from ffedge import Predictor
from tests.cli.conftest import Ffedge, bars, spawn


@pytest.fixture
def model(run_folder: Path, tmp_path: Path) -> Path:
    """Copy a trained model with its kept examples."""
    for name in ("model.onnx", "model.kept.safetensors"):
        shutil.copy(run_folder / name, tmp_path / name)
    return tmp_path / "model.onnx"


@pytest.fixture
def new(tmp_path: Path) -> Path:
    """Write new rows: pictures with a bright column, of which one class is missing."""
    images, labels = bars(300, 7)
    images[:, 1:, 0] = 200
    np.savez(tmp_path / "new.npz", x=images[labels > 0], y=labels[labels > 0])
    return tmp_path / "new.npz"


def test_it_says_what_was_gained_and_kept_and_leaves_the_one_before(ffedge: Ffedge, model: Path, new: Path) -> None:
    before = model.read_bytes()
    done = ffedge("learn", model, "--data", new, "--epochs", 4, "--holdout", 0.2, "--max-drop", 0.05)
    assert done.code == 0, done.err
    assert "new rows, held out" in done.out
    assert f"model {model}; the one before is {model}.previous (--rollback puts it back)" in done.out
    assert "layer 1  epoch 4/4" in done.err
    images, labels = bars(200, 1)
    predictor = Predictor(model)
    assert (predictor.predict(images).label == labels).mean() > 0.9
    images[:, 1:, 0] = 200
    known = labels > 0
    assert (predictor.predict(images).label == labels)[known].mean() > 0.9
    assert ffedge("learn", model, "--rollback").out == f"model {model} is the one before\n"
    assert model.read_bytes() == before
    again = ffedge("learn", model, "--rollback")
    assert (again.code, "There is nothing to go back to" in again.line) == (1, True)


def test_json_holds_accuracy_seconds_and_memory(model: Path, new: Path) -> None:
    done = spawn("learn", model, "--data", new, "--epochs", 1, "--layers", "1", "--max-drop", 1, "--json")
    found = json.loads(done.out)
    assert found["accepted"]
    assert found["rows"] == len(np.load(new)["y"])
    assert found["spec"]["train"]["epochs"] == 1
    assert [layer["index"] for layer in found["layers"]] == [1]
    assert 0 < found["import_bytes"] < found["rss_peak_bytes"]
    assert set(found["kept"]) == {"rows", "before", "after"}


def test_a_class_is_added_by_its_name(ffedge: Ffedge, model: Path, tmp_path: Path) -> None:
    images = bars(80, 3)[0]
    images[:, 1:] = 30
    images[:, 1] = 200
    np.savez(tmp_path / "third.npz", x=images, y=np.full(80, 3))
    refused = ffedge("learn", model, "--data", tmp_path / "third.npz")
    assert (refused.code, "To add it, pass --add-class 3" in refused.line) == (1, True)
    words = ["--add-class", "3", "--epochs", 8, "--max-drop", 0.2, "--batch-size", 16]
    done = ffedge("learn", model, "--data", tmp_path / "third.npz", *words)
    assert done.code == 0, done.err
    assert "new classes: 3" in done.out
    assert (Predictor(model).predict(images).label == 3).mean() > 0.9
    done = ffedge("learn", model, "--data", tmp_path / "third.npz", "--add-class", "late", "--max-drop", 1)
    assert "third: has no row of the class 'late'. It is added, and nothing is known of it\n" in done.err, done.err


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["--epochs", 0], 2, "--epochs must be 1 or more, or auto, got 0"),
        (["--layers", "7"], 2, "--layers must be numbers from 0 to 1, got 7"),
        (["--layers", "x"], 2, "--layers must be N,N, got 'x'"),
        (["--replay-share", 1], 2, "--replay-share must be in [0, 1), got 1.0"),
        (["--memory-budget", "9MiB"], 1, "--memory-budget 9.0MiB: this network needs at least"),
        (["--data", "nowhere.npz"], 1, "nowhere.npz: is neither a known data set"),
    ],
)
def test_what_cannot_be_is_one_line(
    ffedge: Ffedge, model: Path, new: Path, words: list[object], code: int, text: str
) -> None:
    before = model.read_bytes()
    done = ffedge("learn", model, "--data", new, *words)
    assert (done.code, done.line.startswith(f"ffedge: {text}")) == (code, True), done.err
    assert model.read_bytes() == before


def test_without_rows_it_says_what_to_do(ffedge: Ffedge, model: Path) -> None:
    done = ffedge("learn", model)
    assert (done.code, done.line) == (2, "ffedge: learn needs --data, the new rows, or --rollback")


def test_a_model_that_got_worse_is_refused_with_figures(ffedge: Ffedge, model: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "lies.npz", x=bars(300, 9)[0], y=rng.integers(0, 3, 300))
    before = model.read_bytes()
    done = ffedge("learn", model, "--data", tmp_path / "lies.npz", "--epochs", 6, "--replay-share", 0)
    assert done.code == 1
    last = done.err.strip().splitlines()[-1]
    assert last.startswith(f"ffedge: {model}: stands as it was: accuracy on ")
    assert " % to " in last
    assert model.read_bytes() == before


def test_a_model_without_its_kept_examples_learns_only_by_force_and_says_so(
    ffedge: Ffedge, model: Path, new: Path
) -> None:
    model.with_name("model.kept.safetensors").unlink()
    before = model.read_bytes()
    done = ffedge("learn", model, "--data", new, "--epochs", 1, "--max-drop", 1)
    assert done.code == 1
    assert done.line.startswith(
        f"ffedge: {model}: stands as it was: no kept examples of 3 of its 3 classes ('0', '1', "
    )
    assert done.line.endswith("as --replay-from, or learn all the same with --force")
    assert model.read_bytes() == before
    done = ffedge("learn", model, "--data", new, "--epochs", 1, "--max-drop", 1, "--force")
    assert (done.code, "not checked: no kept examples of 3 classes" in done.out) == (0, True)
    assert model.read_bytes() != before
