"""docs/tutorials.md and the example of docs/events.md are executed, and what they promise comes true.

A section after another, each in an empty folder.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import ffedge

ROOT = Path(__file__).parents[1]
TEXTS = [(ROOT / "docs" / name).read_text() for name in ("tutorials.md", "events.md")]
SECTIONS = dict(re.findall(r"(?ms)^## (.*?)\n(.*?)(?=^## |\Z)", "\n## \n".join(TEXTS)))


@pytest.fixture
def follow(tmp_path, monkeypatch):
    """Return what runs a section's blocks in their order; it returns the names of the Python and what was printed."""
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "ffedge").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m ffedge "$@"\n')
    (programs / "ffedge").chmod(0o755)
    monkeypatch.setenv("PATH", str(programs), prepend=os.pathsep)
    monkeypatch.setenv("PYTHONPATH", str(ROOT), prepend=os.pathsep)
    monkeypatch.setenv("FFEDGE_CACHE", str(tmp_path / "cache"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")

    def run(section):
        names, printed = {}, ""
        for language, source in re.findall(r"(?ms)^```(\w+)\n(.*?)^```", SECTIONS[section]):
            if language == "python":
                exec(source, names)
                continue
            done = subprocess.run(["sh", "-ec", source], capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr[-2000:]
            printed += done.stdout
        return names, printed

    return run


def test_a_csv_becomes_a_model(follow, capsys):
    names, printed = follow("A CSV to a model on a Pi in three commands")
    assert float(re.search(r"test accuracy .*balanced ([\d.]+) %", printed)[1]) > 85
    assert re.search(r"^pump.csv +599 +(ok|worn)", printed, re.MULTILINE)
    assert (names["pump"].classes, names["answer"].known[0]) == (("ok", "worn"), True)
    assert capsys.readouterr().out.startswith("worn [")


def test_a_folder_of_pictures_becomes_a_model_and_a_page(follow):
    pytest.importorskip("PIL", reason="needs Pillow, which is not installed")
    _, printed = follow("A picture folder")
    assert float(re.search(r"test accuracy +([\d.]+) %", printed)[1]) > 85
    assert re.search(r"photos/bar/0.png .*bar", printed)
    assert "<svg" in Path("photos.html").read_text()


def test_recordings_of_events_become_a_model(follow):
    _, printed = follow("Example")
    assert float(re.search(r"test accuracy +([\d.]+) %", printed)[1]) > 90
    assert re.search(r"edges/left/0.npy .*left.*\n.*edges/right/0.npy .*right", printed)


def test_tonics_cache_becomes_recordings(follow):
    """Its files as `tonic.cached_dataset` writes them: data/0 and target/0, events compressed by lzf."""
    h5py = pytest.importorskip("h5py", reason="needs h5py, which is not installed")
    Path("cache").mkdir()
    rng, fields = np.random.default_rng(0), [("x", "i8"), ("y", "i8"), ("t", "i8"), ("p", "i8")]
    for number in range(6):
        events = np.zeros(50 + number, fields)
        events["x"], events["y"], events["p"] = (rng.integers(0, most, len(events)) for most in (9, 7, 2))
        events["t"] = np.sort(rng.integers(0, 1000, len(events)))
        with h5py.File(f"cache/{number}_0.hdf5", "w") as file:
            file.create_dataset("data/0", data=events, compression="lzf")
            file.create_dataset("target/0", data=number % 3)
    follow("From Tonic's cache")
    loaded = ffedge.load("recordings", reading=ffedge.Reading(size=(8, 9), bins=2))
    assert loaded.classes == ("0", "1", "2")
    rows = loaded.train.inputs.take(np.arange(6))
    assert rows.shape == (6, 4, 8, 9)
    assert sorted(rows.sum(axis=(1, 2, 3), dtype=int)) == [50, 51, 52, 53, 54, 55]


def test_a_model_is_personalised_and_forgets_little(follow):
    names, _ = follow("Personalise on the device")
    (mine, others), (mine_after, others_after) = names["before"], names["after"]
    assert mine_after > mine + 0.15
    assert others_after > others - 0.06
    assert Path("mine.onnx").is_file()


def test_the_comparison_is_a_draw(follow):
    pytest.importorskip("sklearn", reason="needs scikit-learn, which is not installed")
    names, _ = follow("Compare with backprop honestly")
    means = {name: sum(scores) / 3 for name, scores in names["found"].items()}
    assert abs(means["ffedge"] - means["backprop"]) < 0.04
