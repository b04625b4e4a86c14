"""Memory as the kernel counts it: now, and the peak of a phase."""

import mmap
import os
from pathlib import Path

import numpy as np
import pytest

from ffedge import meter
from ffedge.meter import PeakMeter, rss_bytes, rss_peak_bytes

MIB = 2**20
linux = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")


def touched(size):
    """Take memory from the kernel itself: malloc may give what another test has freed, which is resident already."""
    held = np.frombuffer(mmap.mmap(-1, size), np.uint8)
    held[:] = 1
    return held


@linux
def test_resident_memory_is_what_the_kernel_maps():
    pages = int(Path("/proc/self/statm").read_text().split()[1])  # its counter may lag by some pages a thread
    assert rss_bytes() == pytest.approx(pages * os.sysconf("SC_PAGE_SIZE"), abs=4 * MIB)


@linux
def test_memory_that_is_touched_counts_and_memory_that_is_freed_does_not():
    before = rss_bytes()
    held = touched(48 * MIB)
    assert rss_bytes() - before == pytest.approx(48 * MIB, abs=6 * MIB)
    del held
    assert rss_bytes() - before == pytest.approx(0, abs=6 * MIB)


@linux
def test_a_phase_has_its_own_peak_and_the_whole_keeps_the_largest():
    watch = PeakMeter()
    if not watch.resets:
        pytest.skip("this kernel does not let a process reset its peak")
    start = watch.start()
    held = touched(64 * MIB)
    del held
    first = watch.peak()
    assert first - start == pytest.approx(64 * MIB, abs=8 * MIB)
    start = watch.start()
    held = touched(16 * MIB)
    del held
    second = watch.peak()
    assert second - start == pytest.approx(16 * MIB, abs=8 * MIB)
    assert watch.whole_bytes >= first > second + 32 * MIB


@linux
def test_a_peak_between_two_phases_counts_in_the_whole():
    watch = PeakMeter()
    if not watch.resets:
        pytest.skip("this kernel does not let a process reset its peak")
    watch.start()
    before = rss_bytes()
    held = touched(64 * MIB)
    del held
    watch.start()
    assert watch.whole_bytes - before > 56 * MIB


def test_without_proc_the_figures_come_from_elsewhere(monkeypatch, tmp_path):
    monkeypatch.setattr(meter, "STATUS", tmp_path / "none")
    monkeypatch.setattr(meter, "CLEAR_REFS", tmp_path / "none" / "clear_refs")
    assert 10 * MIB < rss_bytes() < rss_peak_bytes() + 4 * MIB < 2**40
    assert not PeakMeter().resets
    assert PeakMeter().start() > 10 * MIB


def test_a_status_without_the_field_is_no_status(monkeypatch, tmp_path):
    status = tmp_path / "status"
    status.write_text("Name:\tpython\n")
    monkeypatch.setattr(meter, "STATUS", status)
    assert rss_bytes() > 10 * MIB
