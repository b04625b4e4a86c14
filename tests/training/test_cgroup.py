"""The whole command under a hard limit of the kernel: a memory cgroup, of version 1 or 2."""

import contextlib
import json
import os
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest

from ffedge.compare.child import variables
from ffedge.data import load
from ffedge.errors import FfedgeError

MIB = 2**20
ROOTS = {"memory.limit_in_bytes": Path("/sys/fs/cgroup/memory"), "memory.max": Path("/sys/fs/cgroup")}
FLAGS = ["--data", "mnist", "--epochs", "2"]
BACKPROP = """
import sys
from ffedge.compare.arms import ARMS, Work
from ffedge.compare.memory import measure
measure(ARMS["backprop-adam"], Work("mnist", None, (500, 500), 256, 2000, 1, 0, 2))
"""


@pytest.fixture
def group():
    """Make a memory cgroup, and say why where none can be made."""
    for limit, root in ROOTS.items():
        place = root / f"ffedge-{uuid.uuid4().hex[:8]}"
        try:
            place.mkdir()
        except OSError:
            continue
        if (place / limit).exists():
            yield place / limit
            place.rmdir()
            return
        place.rmdir()
    pytest.skip("no memory cgroup can be made here: that needs root, and cgroups that are mounted writable")


@pytest.fixture
def mnist():
    """Skip where MNIST is not at hand; no test downloads it."""
    try:
        load("mnist", None) if os.environ.get("FFEDGE_DATA") else pytest.skip("FFEDGE_DATA is not set")
    except FfedgeError as error:
        pytest.skip(f"MNIST is not at hand: {error}")


def run_within(limit: Path, count: int, *words: str, most_s: float = 900) -> subprocess.CompletedProcess:
    """Run Python in the cgroup, limited to so many bytes and seconds."""
    limit.write_text(str(count))
    script = f'echo $$ > {limit.parent}/cgroup.procs && exec "$0" "$@"'
    return subprocess.run(
        ["sh", "-c", script, sys.executable, *words],
        capture_output=True,
        text=True,
        check=False,
        env=variables(),
        timeout=most_s,
    )


@pytest.mark.slow
def test_mnist_is_learnt_within_72_mib(group, mnist, tmp_path):
    began = time.perf_counter()
    outside = subprocess.run(
        [sys.executable, "-m", "ffedge", "train", *FLAGS, "--out", tmp_path / "outside"],
        capture_output=True,
        text=True,
        check=False,
        env=variables(),
    )
    free_s = time.perf_counter() - began
    assert outside.returncode == 0, outside.stderr
    floor = json.loads(
        subprocess.run(
            [sys.executable, "-m", "ffedge", "train", *FLAGS, "--plan", "--json", "--memory-budget", "1GB"],
            capture_output=True,
            text=True,
            check=True,
            env=variables(),
        ).stdout
    )["floor_bytes"]
    for name, budget in (("free", []), ("tight", ["--memory-budget", str(int(1.02 * floor))])):
        began = time.perf_counter()
        done = run_within(group, 72 * MIB, "-m", "ffedge", "train", *FLAGS, *budget, "--out", str(tmp_path / name))
        assert done.returncode == 0, done.stderr
        report = json.loads((tmp_path / name / "report.json").read_text())
        assert report["test_accuracy"] >= 0.975
        if name == "free":
            assert time.perf_counter() - began <= 1.5 * free_s + 2
        else:
            assert report["rss_peak_bytes"] <= 1.02 * floor


@pytest.mark.torch
@pytest.mark.slow
def test_backprop_in_torch_is_killed_within_128_mib(group, mnist):
    pytest.importorskip("torch")
    """Or is still reading its libraries' pages again and again after a time in which it ends many times outside."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        assert run_within(group, 128 * MIB, "-c", BACKPROP, most_s=40).returncode in (-9, 137)
