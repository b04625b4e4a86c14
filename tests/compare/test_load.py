"""How busy the machine is with other work, and what is said then."""

import os
import subprocess
import sys
import time

import pytest

from ffedge.compare import load
from ffedge.compare.load import Others, doubts

CORES = os.cpu_count()


@pytest.fixture
def system(monkeypatch, tmp_path):
    """Let the processor's counts be what a test says: seconds of work, of idling, and of this process."""
    monkeypatch.setattr(load, "STAT", tmp_path / "stat")

    def set_counts(busy: float, idle: float, own: float) -> None:
        user, ticks = int(busy * 100), int(idle * 100)
        (tmp_path / "stat").write_text(f"cpu  {user} 0 0 {ticks} 0 0 0 0 {user} 0\ncpu0 1 2 3 4\n")
        monkeypatch.setattr(os, "times", lambda: (own, 0.0, 0.0, 0.0, 0.0))

    monkeypatch.setattr(os, "sysconf", lambda _: 100)
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    return set_counts


def test_what_others_take_is_all_work_but_ones_own(system):
    system(1000, 5000, 7)
    others = Others()
    assert others.cores() is None  # no time has passed
    system(1000 + 15, 5000 + 25, 7 + 10)  # 40 s on 4 cores are 10 s; others worked 5 of them
    assert others.cores() == pytest.approx(0.5)
    system(1000 + 15, 5000 + 25, 7 + 16)  # the two clocks differ a little
    assert others.cores() == 0


def test_where_the_system_does_not_tell_nothing_is_said(monkeypatch, tmp_path):
    monkeypatch.setattr(load, "STAT", tmp_path / "absent")
    assert Others().cores() is None
    assert load.others_now() is None
    assert doubts([None], {"a": [1.0]}) == []


@pytest.mark.skipif(not load.STAT.exists(), reason="this system has no /proc/stat")
def test_another_process_is_seen_and_this_one_is_not():
    endless = [sys.executable, "-c", "print(flush=True)\nwhile True: pass"]
    with subprocess.Popen(endless, stdout=subprocess.PIPE) as other:
        other.stdout.readline()
        others, began, own = Others(), time.perf_counter(), time.process_time()
        while time.perf_counter() - began < 1:
            pass
        share = (time.process_time() - own) / (time.perf_counter() - began)
        found = others.cores()
        other.kill()
    assert 0.3 < found <= CORES - share + 0.1  # at least its half of a core that both want


def test_the_spread_is_a_share_of_the_median():
    assert load.spread([10, 12, 30]) == pytest.approx(20 / 12)


def test_busy_and_uneven_runs_are_doubted(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    assert doubts([0.1, None, 0.19], {"a": [1.0, 1.2, 1.4]}) == []
    assert doubts([0.1, 1.26], {"a": [1.0, 1.1], "b": [1.0, 2.0, 3.0], "c": [2.0, 4.0]}) == [
        "other work kept 1.3 of this machine's 2 cores busy",
        "the seconds of b lie 100 % apart from run to run",
    ]
