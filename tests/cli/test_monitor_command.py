"""ffedge monitor: a line when drift begins, one when it ends, and where the averages stand at the end."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from networks import DATA
from toys import make_model, small_spec

from ffedge import Monitor, Predictor
from ffedge.compare.child import variables
from tests.cli.conftest import Ffedge, bars

USUAL = bars(400, 7)[0]
DARK = (bars(200, 8)[0] // 3).astype(np.uint8)


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    for name, images in (("usual", USUAL), ("dark", DARK)):
        np.save(tmp_path / f"{name}.npy", images)
    return tmp_path / "usual.npy", tmp_path / "dark.npy"


@pytest.fixture
def model(run_folder: Path) -> Path:
    return run_folder / "model.onnx"


def test_data_as_in_training_raise_no_alarm(ffedge: Ffedge, model: Path, files: tuple[Path, Path]) -> None:
    done = ffedge("monitor", model, files[0], "--window", 100)
    assert (done.code, done.err) == (0, "")
    (line,) = done.out.splitlines()
    assert line.startswith("400 samples, no drift: goodness ")


def test_drift_is_one_line_with_its_reasons(ffedge: Ffedge, model: Path, files: tuple[Path, Path]) -> None:
    done = ffedge("monitor", model, *files, "--window", 100)
    drift, end = done.out.splitlines()
    assert done.code == 0
    assert 400 < int(drift.removeprefix("sample ").partition(":")[0]) < 500
    assert ": drift: " in drift
    assert "; held-out rows gave " in drift
    assert end.startswith("600 samples, drift: goodness ")


def test_json_lines_are_what_the_class_says(ffedge: Ffedge, model: Path, files: tuple[Path, Path]) -> None:
    out = ffedge("monitor", model, *files, files[0], "--window", 100, "--json").out
    lines = [json.loads(line) for line in out.splitlines()]
    predictor = Predictor(model)
    monitor = Monitor(predictor.calibration, window=100)
    events = monitor.update(predictor.predict(np.concatenate([USUAL, DARK, USUAL])))
    assert [(line["event"], line["sample"]) for line in lines[:-1]] == [
        ("drift" if event.began else "end of drift", event.sample) for event in events
    ]
    assert [event.began for event in events] == [True, False]
    assert lines[0]["reasons"]
    assert lines[-1]["event"] == "end of input"
    assert lines[-1]["samples"] == 1000


def process(model: Path, *flags: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-m", "ffedge", "monitor", str(model), "-", "--window", "20", *flags],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=variables(),
    )


def test_stdin_is_watched_as_it_comes_and_a_signal_ends_it_with_the_averages(model: Path) -> None:
    with process(model) as child:
        assert child.stdin
        assert child.stdout
        for image in (*USUAL[:30], *DARK[:60]):
            child.stdin.write(json.dumps(image.tolist()).encode() + b"\n")
        child.stdin.write(b"nonsense\n")
        child.stdin.flush()
        assert b": drift: " in child.stdout.readline()
        assert child.stderr
        assert child.stderr.readline() == (b"ffedge: stdin, line 91: is no JSON (Expecting value at character 0)\n")
        os.kill(child.pid, signal.SIGTERM)
        assert child.wait(60) == 0
        assert child.stdout.read().startswith(b"90 samples, drift: ")


def test_a_model_without_a_calibration_is_refused_in_one_line(
    ffedge: Ffedge, tmp_path: Path, files: tuple[Path, Path]
) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(make_model(small_spec(), DATA["bytes"])[0])
    done = ffedge("monitor", path, files[0])
    assert done.code == 1
    assert done.line == f"ffedge: {path}: holds no calibration. Train with --holdout, or use ffedge.recalibrate"
