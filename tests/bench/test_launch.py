"""bench/launch.py measures a process: the peak is its own, not that of the one that starts it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

LAUNCH = Path(__file__).parents[2] / "bench" / "launch.py"
MB = 10**6


def launch(folder, script):
    """Run a script by launch.py; return what it measured and what the script printed."""
    output = folder / "output"
    words = [sys.executable, "-I", "-S", str(LAUNCH), str(output), sys.executable, "-c", script]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    return json.loads(done.stdout), output.read_text()


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
def test_the_peak_is_the_processs_own(tmp_path):
    ballast = bytearray(300 * MB)  # of this process, which must not count
    script = """
        import time
        held = bytearray(80_000_000)
        del held
        time.sleep(0.3)
        print(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1])
    """
    measured, printed = launch(tmp_path, "\n".join(line.strip() for line in script.splitlines()))
    assert measured["rss_peak_bytes"] == pytest.approx(1024 * int(printed), abs=MB)
    assert 80 * MB < measured["rss_peak_bytes"] < 120 * MB
    assert measured["own_peak_bytes"] < 30 * MB
    assert measured["seconds"] > 0.3
    assert measured["code"] == 0
    assert len(ballast) == 300 * MB


def test_a_process_that_fails_says_so(tmp_path):
    assert launch(tmp_path, "raise SystemExit(3)")[0]["code"] == 3
