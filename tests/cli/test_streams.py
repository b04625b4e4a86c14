"""Streams that are closed, or on a full disk, end in an exit code and at most one line."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ffedge.compare.child import variables


def shell(words: str, *shell: str) -> subprocess.CompletedProcess[str]:
    """Run the command line under a shell that redirects its streams."""
    line = f"{sys.executable} -m ffedge {words}"
    return subprocess.run(
        [*(shell or ["sh"]), "-c", line], capture_output=True, text=True, check=False, env=variables()
    )


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("words", ["--help", "data list", "train --widths 8,8 --plan"])
def test_a_closed_stream_is_no_error(words: str, closed: str) -> None:
    done = shell(f"{words} {closed}")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("words", ["data list", "train --widths 8,8 --plan --json"])
def test_output_on_a_full_disk_is_one_line(words: str) -> None:
    done = shell(f"{words} > /dev/full")
    text = "ffedge: standard output: cannot be written (No space left on device). Free space there\n"
    assert (done.returncode, done.stderr) == (1, text)


@pytest.mark.parametrize("log", ["2> /dev/full", "2>&1 >/dev/null | head -n 1", "2>&-"])
def test_training_goes_on_where_nobody_takes_its_words(data: Path, tmp_path: Path, log: str) -> None:
    run = tmp_path / "run"
    done = shell(f"train --data {data} --widths 8,8 --epochs 3 --out {run} {log}", "bash", "-o", "pipefail")
    assert done.returncode == 0
    assert json.loads((run / "report.json").read_text())["layers"][1]["epochs"] == 3


def test_standard_input_that_is_closed_is_an_empty_one(run_folder: Path) -> None:
    done = shell(f"predict {run_folder / 'model.onnx'} - <&-")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_no_file_of_ours_gets_the_number_of_a_closed_stream(tmp_path: Path) -> None:
    (tmp_path / "open.py").write_text(
        "from ffedge.cli.streams import guarded\n"
        "with guarded(), open('number', 'w') as file:\n"
        "    file.write(str(file.fileno()))\n"
    )
    line = f"exec {sys.executable} open.py <&- >&- 2>&-"
    subprocess.run(["sh", "-c", line], cwd=tmp_path, env=variables(), check=True)
    assert int((tmp_path / "number").read_text()) > 2
