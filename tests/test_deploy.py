"""What bench/deploy.py says: the peak of a process is its own, and the block follows from the rounds."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from deploy_block import ALONE, deploy

LAUNCH = Path(__file__).parents[1] / "bench" / "launch.py"
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


def document(busy):
    ways = {"a predictor": 2e-4, "a session": 1e-4, "b predictor": 4e-4, "b session": 3e-4}
    peaks = {ALONE: 50, "a": 60, "b": 70}
    return {
        "settings": {"data": "mnist", "widths": "30,20", "threads": 1},
        "results": {
            "forms": {"a": {"bytes": 2_500_000, "accuracy": 0.985}, "b": {"bytes": 600_000, "accuracy": 0.98}},
            "call_s": {
                "1": {arm: [seconds, 9 * seconds, seconds] for arm, seconds in ways.items()},
                "100": {arm: [50 * seconds] * 3 for arm, seconds in ways.items()},
            },
            "processes": {n: {"seconds": [0.2, 0.3, 0.4], "rss_peak_bytes": [p * MB] * 3} for n, p in peaks.items()}
            | {"cores_elsewhere": busy},
            "cores_elsewhere": 0.1,
        },
    }


def test_a_form_has_the_medians_of_its_rounds():
    text = deploy([document(busy=0.2)])
    assert "| `a` | 2.50 | 98.50 % | 0.20 (0.10) | 10,000 (20,000) | 0.30 [0.20, 0.40] | 60.0 |" in text
    assert "| `b` | 0.60 | 98.00 % | 0.40 (0.30) | 5,000 (6,667) | 0.30 [0.20, 0.40] | 70.0 |" in text
    assert "mnist, widths 30,20, 1 thread" in text
    assert "takes 0.30 [0.20, 0.40] s and 50.0 MB" in " ".join(text.split())
    assert "Other work" not in text


def test_times_beside_other_work_are_told_as_such():
    assert "Other work kept 1.5 cores busy meanwhile" in " ".join(deploy([document(busy=1.5)]).split())
