"""ffedge bench: its table, its files, its errors; with ffedge's own arms, which need no torch."""

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Ffedge

SMALL = ["--widths", "16,16", "--rows", "300", "--arms", "ffedge-ff-adam,ffedge-acff-adam"]


def test_memory_prints_a_row_an_arm_and_writes_what_it_measured(ffedge: Ffedge, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "bench"
    done = ffedge("bench", "--memory", "--data", data, "--out", out, *SMALL)
    assert done.code == 0, done.err
    result = json.loads((out / "memory.json").read_text())
    assert [m["arm"] for m in result["points"][0]["measures"]] == ["ffedge-ff-adam", "ffedge-acff-adam"]
    for m in result["points"][0]["measures"]:
        assert f"{m['peak_over_imports_bytes'] / 2**20:.1f}" in done.out
    again = ffedge("bench", "--memory", "--data", data, "--out", out, "--json", *SMALL)
    assert json.loads(again.out)["points"] == result["points"]
    assert "batch" not in again.err  # nothing was measured again


def test_a_sweep_has_a_point_a_value(ffedge: Ffedge, data: Path, tmp_path: Path) -> None:
    words = ["--sweep", "depth", "--quick", "--data", data, "--out", tmp_path, *SMALL[:4], "--arms", "ffedge-ff-adam"]
    done = ffedge("bench", "--memory", *words)
    assert done.code == 0, done.err
    points = json.loads((tmp_path / "memory-depth.json").read_text())["points"]
    assert [(point["value"], len(point["work"]["widths"])) for point in points] == [(2, 2), (4, 4), (8, 8)]


def test_what_an_arm_cannot_do_is_one_line(
    ffedge: Ffedge, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["bench", "--memory", "--out", tmp_path / "bench", "--widths", "8"]
    absent = ffedge(*words, "--arms", "ffedge-ff-adam", "--data", "nowhere.npz")
    assert absent.code == 1
    assert "nowhere.npz: is neither a known data set" in absent.err.splitlines()[-1]
    wide = ffedge(*words, "--arms", "ffedge-ff-adam", "--data", data, "--rows", 64, "--batch-size", 100)
    assert wide.code == 2
    assert "--batch-size must be at most the 61 rows that are trained on, got 100" in wide.err.splitlines()[-1]
    monkeypatch.setattr("ffedge.compare.arms.find_spec", lambda _: None)
    for arm, package, extra in (("backprop-sgd", "torch", "torch"), ("backprop-sgd-ort", "onnxsim", "bench")):
        done = ffedge(*words, "--arms", arm, "--data", data)
        assert done.code == 1
        needs = f"the arm {arm} needs {package}, which is not installed. Run: pip install 'ffedge[{extra}]'"
        assert needs in done.line


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "bench needs --memory"),
        (["--memory", "--sweep", "time"], "--sweep must be one of depth, width, batch, got 'time'"),
        (["--memory", "--arms", "magic"], "got 'magic'"),
    ],
)
def test_wrong_usage_is_one_line(
    ffedge: Ffedge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    done = ffedge("bench", *words)
    assert done.code == 2
    assert message in done.line
    assert not list(tmp_path.iterdir())
