"""Streams that are closed, or on a full disk, end in an exit code and at most one line."""

import subprocess
import sys

import pytest

from ffedge.compare.child import variables


def shell(words: str) -> subprocess.CompletedProcess[str]:
    """Run the command line under a shell that redirects its streams."""
    line = f"exec {sys.executable} -m ffedge {words}"
    return subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=False, env=variables())


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
