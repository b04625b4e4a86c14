"""Recordings of events, from the command line: train, evaluate, predict, learn, and what cannot be read."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.cli.conftest import Ffedge

SIDE, EVENTS = 12, 300


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FFEDGE_CACHE", str(tmp_path / "cache"))


def record(folder: Path, count: int, seed: int) -> Path:
    """Write edges that move to the left or to the right: one picture of them all shows no difference."""
    rng = np.random.default_rng(seed)
    for name, way in (("left", -1), ("right", 1)):
        (folder / name).mkdir(parents=True)
        for i in range(count):
            t = np.sort(rng.integers(0, 100_000, EVENTS))
            x = (way * t * SIDE // 100_000 + rng.integers(-1, 2, EVENTS)) % SIDE
            y, p = rng.integers(0, SIDE, EVENTS), rng.integers(0, 2, EVENTS)
            parts = [x, y, p << 7 | t >> 16, t >> 8 & 255, t & 255]
            (folder / name / f"{i}.bin").write_bytes(np.stack(parts, axis=1).astype(np.uint8).tobytes())
    return folder


def test_a_direction_is_learnt_from_events_and_told_by_every_command(tmp_path: Path, ffedge: Ffedge) -> None:
    train, test = record(tmp_path / "events" / "train", 60, 0), record(tmp_path / "events" / "test", 10, 1)
    run = tmp_path / "run"
    data = ("--data", tmp_path / "events")
    done = ffedge("train", *data, "--bins", 3, "--widths", 32, "--epochs", 6, "--out", run, "--keep-examples", 0)
    assert done.code == 0, done.err
    assert f"{train}: reads 120 recordings of 2 classes as 3 time bins of 2 polarities of 12x12\n" in done.err
    report = json.loads((run / "report.json").read_text())
    assert report["input"]["shape"] == [6, SIDE, SIDE]
    assert report["test_accuracy"] == 1.0
    done = ffedge("eval", run / "model.onnx", "--data", test, "--json")
    assert json.loads(done.out)["accuracy"] == 1.0
    done = ffedge("predict", run / "model.onnx", test, "--json")
    samples = json.loads(done.out)["samples"]
    assert len(samples) == 20
    assert all(Path(sample["file"]).parent.name == sample["label"] for sample in samples)
    assert ffedge("report", run, "--html", tmp_path / "page.html").code == 0
    (test / "left" / "0.bin").write_bytes(b"1234567")
    torn = f"ffedge: {test}/left/0.bin: has 7 bytes, no multiple of 5, which an event takes. Copy it again"
    assert ffedge("predict", run / "model.onnx", test / "left" / "0.bin").line == torn
    assert ffedge("learn", run / "model.onnx", "--data", test, "--force").err.splitlines()[-1] == (
        f"{torn}. Or leave such recordings out: --skip-broken"
    )
    done = ffedge("learn", run / "model.onnx", "--data", test, "--force", "--epochs", 1, "--skip-broken")
    assert done.code == 0, done.err
    assert "learnt from 19 new rows" in done.out
    assert ffedge("train", *data, "--colour", "--out", tmp_path / "b").err.splitlines()[-1] == (
        f"ffedge: --colour plays no part for {tmp_path}/events, a folder of recordings. Leave it out"
    )


def test_a_convolution_reads_events(tmp_path: Path, ffedge: Ffedge) -> None:
    data = record(tmp_path / "events", 20, 0)
    words = ("--widths", "8c3p2", "--layout", "chw", "--bins", 4, "--epochs", 3, "--test", 0.2)
    done = ffedge("train", "--data", data, *words, "--out", tmp_path / "run")
    assert done.code == 0, done.err
    assert ffedge("report", tmp_path / "run", "--html", tmp_path / "page.html").code == 0
    assert ffedge("train", "--resume", "--out", tmp_path / "run").code == 0
