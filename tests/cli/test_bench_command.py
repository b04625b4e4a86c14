"""ffedge bench: its table, its files, its errors; with ffedge's own arms, which need no torch."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from ffedge.compare.child import variables
from tests.cli.conftest import Ffedge

SMALL = ["--widths", "16,16", "--rows", "300", "--arms", "ffedge-ff-adam,ffedge-acff-adam"]
ONCE = ["--repeat", "1"]


def test_memory_prints_a_row_an_arm_and_writes_what_it_measured(ffedge: Ffedge, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "bench"
    done = ffedge("bench", "--memory", "--data", data, "--out", out, *ONCE, *SMALL)
    assert done.code == 0, done.err
    result = json.loads((out / "memory.json").read_text())
    assert [m["arm"] for m in result["points"][0]["measures"]] == ["ffedge-ff-adam", "ffedge-acff-adam"]
    for m in result["points"][0]["measures"]:
        assert f"{m['peak_over_imports_bytes'] / 2**20:.1f}" in done.out
    for doubt in result["points"][0]["doubts"]:  # beside other work
        assert f"The seconds compare nothing: {doubt}. Measure again" in done.out
    again = ffedge("bench", "--memory", "--data", data, "--out", out, "--json", *ONCE, *SMALL)
    assert json.loads(again.out)["points"] == result["points"]
    assert not again.err


def test_each_arm_is_measured_so_often_and_the_median_stands_in_the_table(
    ffedge: Ffedge, data: Path, tmp_path: Path
) -> None:
    words = [*SMALL[:4], "--arms", "ffedge-ff-adam", "--repeat", 2, "--data", data, "--out", tmp_path]
    done = ffedge("bench", "--memory", *words)
    assert done.code == 0, done.err
    (point,) = json.loads((tmp_path / "memory.json").read_text())["points"]
    first, second = (run["peak_over_imports_bytes"] for run in point["runs"][0])
    assert abs(point["measures"][0]["peak_over_imports_bytes"] - (first + second) / 2) <= 1
    assert point["spread"][0]["arm"] == "ffedge-ff-adam"
    said = [line.partition(",")[0] for line in done.err.splitlines()]
    assert said == ["[1/2] ffedge-ff-adam", "[2/2] ffedge-ff-adam"]
    assert done.out.splitlines()[-1].endswith(str(tmp_path / "memory.json"))
    assert "Energy is not measured" in done.out


def test_speed_tells_when_each_target_was_reached(ffedge: Ffedge, data: Path, tmp_path: Path) -> None:
    words = [*SMALL, "--targets", "0.5,1.0", "--epochs", 2, "--repeat", 1, "--data", data, "--out", tmp_path]
    wrong = ffedge("bench", "--speed", *words)
    assert wrong.code == 2
    assert "targets must be fractions between 0 and 1" in wrong.line
    words[words.index("0.5,1.0")] = "0.5,0.9999"
    done = ffedge("bench", "--speed", *words)
    assert done.code == 0, done.err
    result = json.loads((tmp_path / "speed.json").read_text())
    assert result["targets"] == [0.5, 0.9999]
    for arm in result["arms"]:
        easy, hard = arm["time_to"]
        assert 0 < easy["seconds"] < arm["seconds"]
        assert hard["seconds"] is None or hard["seconds"] <= arm["seconds"]
        assert f"{easy['seconds']:.2f}" in done.out
    assert "the clock stands still while accuracy is measured" in done.out
    again = ffedge("bench", "--speed", "--json", *words)
    assert json.loads(again.out)["arms"] == result["arms"]
    assert not again.err


def test_inference_times_arms_in_turns(ffedge: Ffedge, data: Path, tmp_path: Path) -> None:
    arms = ["--arms", "ffedge-session,backprop-ort"]
    words = ["--inference", "--quick", "--data", data, "--widths", "8,8", "--out", tmp_path, *arms]
    done = ffedge("bench", *words)
    assert done.code == 0, done.err
    result = json.loads((tmp_path / "inference.json").read_text())
    assert list(result["batch_size"]) == ["1", "100", "1000"]
    assert "backprop-ort" in done.out
    assert json.loads(ffedge("bench", *words, "--json").out) == result  # as it was timed before
    unknown = ffedge("bench", "--inference", "--arms", "backprop-adam", "--out", tmp_path)
    assert unknown.code == 2
    assert "arms must be of ffedge-session, " in unknown.line


def test_inference_on_data_without_test_rows_takes_some_aside_and_says_so(
    ffedge: Ffedge, data: Path, tmp_path: Path
) -> None:
    with np.load(data) as arrays:
        np.savez(tmp_path / "untested.npz", x_train=arrays["x_train"], y_train=arrays["y_train"])
    words = ["--inference", "--quick", "--widths", "8,8", "--arms", "ffedge-session", "--out", tmp_path]
    told = ", of rows that were taken aside, as the data have none to test on"
    for name, aside, rows in ((data, False, (600, 200)), (tmp_path / "untested.npz", True, (540, 60))):
        done = ffedge("bench", *words, "--data", name)
        result = json.loads((tmp_path / "inference.json").read_text())
        assert result["test_rows_taken_aside"] == aside
        assert (result["train_rows"], result["samples"]) == rows
        assert result["accuracy"]["ffedge-session"] == result["test_accuracy"]
        assert f"test accuracy {100 * result['test_accuracy']:.2f} %{told * aside}\n" in done.out
        assert not {"rows", "batch_size"} & set(result["choice"]["work"])
        assert 0 < result["train_batch_size"] <= rows[0]


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
    done = ffedge(*words, "--arms", "backprop-sgd", "--data", data)
    assert done.code == 1
    assert "the arm backprop-sgd needs torch, which is not installed. Run: pip install 'ffedge[torch]'" in done.line


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc, to see the child")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_child_too_and_is_told_in_a_line(data: Path, tmp_path: Path, number: int, code: int) -> None:
    out, temporary, waited = tmp_path / "bench", tmp_path / "temporary", time.monotonic() + 60
    temporary.mkdir()
    words = ["--speed", *SMALL, *ONCE, "--epochs", "100000", "--data", str(data), "--out", str(out)]
    command, given = [sys.executable, "-m", "ffedge", "bench", *words], variables() | {"TMPDIR": str(temporary)}
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=given) as bench:
        while not list(temporary.glob("*/*")) and time.monotonic() < waited:  # an arm trains
            time.sleep(0.01)
        (child,) = Path(f"/proc/{bench.pid}/task/{bench.pid}/children").read_text().split()
        bench.send_signal(number)
        printed, said = bench.communicate(timeout=60)
    assert (bench.returncode, printed) == (code, "")
    told = "stopped; what is measured so far stands there. Go on with the same command"
    assert said.splitlines()[-1] == f"ffedge: {out}: {told}"
    assert not Path(f"/proc/{child}").exists()
    assert not list(temporary.iterdir())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "bench needs one of --memory, --speed and --inference"),
        (["--memory", "--speed"], "bench needs one of --memory, --speed and --inference"),
        (["--memory", "--targets", "0.9"], "--targets plays no part without --speed. Add that, or leave it out"),
        (["--inference", "--repeat", "2"], "--repeat plays no part without --memory or --speed"),
        (["--inference", "--rows", "64"], "--rows plays no part without --memory or --speed"),
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
