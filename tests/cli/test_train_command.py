"""ffedge train: what it leaves, what it prints, and how it says no."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from ffedge.cli import main
from ffedge.compare.child import variables
from tests.cli.conftest import Ffedge

SMALL = ["--widths", "24,16", "--epochs", "3", "--batch-size", "32", "--label-scale", "3"]
LONG = [*SMALL, "--epochs", "40"]


@pytest.mark.parametrize("variant", ["ff", "fcff", "acff"])
def test_a_run_leaves_its_files_and_learns(ffedge: Ffedge, data: Path, tmp_path: Path, variant: str) -> None:
    done = ffedge("train", "--variant", variant, "--data", data, "--out", tmp_path / "run", *SMALL)
    assert done.code == 0, done.err
    assert {p.name for p in (tmp_path / "run").iterdir()} == {
        "model.onnx",
        "model.kept.safetensors",
        "report.json",
        "metrics.jsonl",
        "checkpoint",
    }
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert report["test_accuracy"] > 0.9
    assert f"test accuracy  {100 * report['test_accuracy']:.2f} %" in done.out
    assert len((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()) == 2 * 3


def test_json_prints_the_report_and_nothing_else_on_stdout(ffedge: Ffedge, data: Path, tmp_path: Path) -> None:
    done = ffedge("train", "--data", data, "--out", tmp_path / "run", "--json", *SMALL)
    assert json.loads(done.out) == json.loads((tmp_path / "run" / "report.json").read_text())
    assert "layer 1  epoch 3/3" in done.err


def test_runs_are_numbered_where_no_folder_is_named(
    ffedge: Ffedge, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        assert ffedge("train", "--data", data, *SMALL).code == 0
    assert sorted(p.name for p in (tmp_path / "runs").iterdir()) == ["acff-bars-1", "acff-bars-2"]


def test_train_says_what_it_chose_for_the_data(ffedge: Ffedge, data: Path, tmp_path: Path) -> None:
    done = ffedge("train", "--data", data, "--out", tmp_path / "run", *SMALL)
    said = "chose class_goodness tried, label_mode overlay, scaling centred, layout none, slope 1.0, smoothing 0.05, "
    said += "prediction_weights plain, n_negatives 2, rate [0.015, 0.005], input_dropout 0.2"
    assert done.err.startswith(f"ffedge: bars: 600 rows of 36 inputs of an image, 3 classes; {said}\n")
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    named = {
        "class_goodness": "tried",
        "label_mode": "overlay",
        "scaling": "centred",
        "layout": "none",
        "slope": 1.0,
        "smoothing": 0.05,
        "prediction_weights": "plain",
        "n_negatives": 2,
        "rate": [0.015, 0.005],
        "input_dropout": 0.2,
    }
    assert report["chosen"] == named


@pytest.mark.parametrize(
    ("channels", "flags", "told"),
    [(3, [], True), (1, [], False), (3, ["--widths", "40"], False), (3, ["--preset", "pictures-small"], False)],
)
def test_who_trains_a_dense_network_on_colour_pictures_hears_of_convolutions(
    ffedge: Ffedge, tmp_path: Path, channels: int, flags: list[str], told: bool
) -> None:
    draw = np.random.default_rng(0)
    np.savez(tmp_path / "few.npz", x=draw.integers(0, 256, (40, 8, 8, channels), np.uint8), y=np.arange(40) % 2)
    done = ffedge("train", "--data", tmp_path / "few.npz", "--out", tmp_path / "run", "--epochs", "1", *flags)
    assert done.code == 0, done.err
    assert ("presets pictures and pictures-small train convolutions" in done.err) == told


def test_an_existing_run_is_not_overwritten_unless_forced(ffedge: Ffedge, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert ffedge("train", "--data", data, "--out", out, *SMALL).code == 0
    before = (out / "model.onnx").read_bytes()
    again = ffedge("train", "--data", data, "--out", out, "--seed", 1, *SMALL)
    assert again.code == 1
    assert again.line == f"ffedge: {out}: exists already. Choose another --out, or use --resume or --force"
    assert (out / "model.onnx").read_bytes() == before
    assert ffedge("train", "--data", data, "--out", out, "--seed", 1, "--force", *SMALL).code == 0
    assert (out / "model.onnx").read_bytes() != before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--variant", "xyz"], "--variant must be ff|fcff|acff, got 'xyz'"),
        (["--widths", "0"], "--widths must be whole numbers from 1 to 65536, got (0,)"),
        (["--widths", "a"], "layer 0, 'a': must be a number of units, as in 500, or <channels>c<kernel>[s"),
        (["--widths", ",".join(["4"] * 65)], "--widths must name 1 to 64 layers"),
        (["--preset", "best"], "--preset must be one of tuned, pictures, pictures-small, spiking, paper, got 'best'"),
        (["--epochs", "1.5"], "--epochs must be N|auto, got '1.5'"),
        (["--rate", "-1"], "--rate must be positive, or auto, got (-1.0,)"),
        (["--batch-size", "100000"], "--batch-size must be at most the 570 rows that are trained on, got 100000"),
        (["--n-negatives", "3"], "--n-negatives must be less than the 3 classes, got 3"),
        (["--resume"], "--resume plays no part without --out. Add that, or leave it out"),
        (["--bogus"], "unrecognized arguments: --bogus. Try `ffedge train --help`"),
    ],
)
def test_wrong_usage_is_one_line_and_exits_2(
    ffedge: Ffedge, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    done = ffedge("train", "--data", data, *words)
    assert done.code == 2
    assert message in done.line
    assert not (tmp_path / "runs").exists()


def test_an_overlay_with_more_classes_than_inputs_is_refused(ffedge: Ffedge, tmp_path: Path) -> None:
    import numpy as np

    path = tmp_path / "narrow.npz"
    np.savez(path, x=np.random.default_rng(0).random((60, 3), np.float32), y=np.arange(60) % 5)
    done = ffedge("train", "--data", path, "--label-mode", "overlay", "--out", tmp_path / "run")
    assert done.code == 2
    assert "overlay needs more inputs than classes, got 3 inputs and 5 classes. Use --label-mode concat" in done.line
    assert ffedge("train", "--data", path, "--out", tmp_path / "run", "--widths", "8", "--batch-size", 16).code == 0
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert report["spec"]["network"]["label_mode"] == "concat"


def test_a_loss_that_is_no_number_stops_at_the_last_good_epoch(ffedge: Ffedge, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    wild = ["--optimizer", "sgd", "--rate", "1e12", "--weight-decay", "0"]
    done = ffedge("train", "--variant", "ff", "--data", data, "--out", out, *SMALL, *wild)
    assert done.code == 1
    assert "layer 0, epoch 0: the loss is not a number at rate 1e+12" in done.err.splitlines()[-1]
    assert "Use a smaller --rate" in done.err


@pytest.fixture(scope="module")
def whole(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "whole"
    assert main(["train", "--data", str(data), *LONG, "--out", str(out)]) == 0
    return out


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_run_goes_on_to_the_same_model(
    ffedge: Ffedge, data: Path, whole: Path, tmp_path: Path, number: int, code: int
) -> None:
    metrics, waited = tmp_path / "stopped" / "metrics.jsonl", time.monotonic() + 60
    words = ["train", "--data", str(data), *LONG, "--out", str(metrics.parent)]
    command = [sys.executable, "-m", "ffedge", *words]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=variables()) as stopped:
        while not metrics.exists() and time.monotonic() < waited:
            time.sleep(0.01)
        stopped.send_signal(number)
        _, err = stopped.communicate(timeout=60)
    assert stopped.returncode == code, err
    assert f"Go on with: ffedge train --resume --out {metrics.parent}" in err.splitlines()[-1]
    assert ffedge("train", "--resume", "--out", metrics.parent).code == 0
    assert (whole / "model.onnx").read_bytes() == (metrics.parent / "model.onnx").read_bytes()
