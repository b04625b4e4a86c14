"""Resident memory of this process, with a peak that can be reset for each phase.

Linux only tells the peak since a reset (VmHWM in /proc/self/status, reset by writing 5 to /proc/self/clear_refs).
Elsewhere the peak is the process's whole life's, `PeakMeter.resets` says so, and it stands in for what is resident now.
"""

import contextlib
import sys
from pathlib import Path

STATUS = Path("/proc/self/status")
CLEAR_REFS = Path("/proc/self/clear_refs")


def _status_bytes(field: str) -> int:
    for line in STATUS.read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) * 1024
    raise OSError(f"{STATUS} has no {field}")


def rss_bytes() -> int:
    """Return the resident memory now."""
    try:
        return _status_bytes("VmRSS:")
    except OSError:
        return rss_peak_bytes()


def anonymous_bytes() -> int:
    """Return the resident memory now that no file backs (where the system does not tell: all of it)."""
    try:
        return _status_bytes("RssAnon:")
    except OSError:
        return rss_bytes()


def rss_peak_bytes() -> int:
    """Return the largest resident memory since the last reset."""
    try:
        return _status_bytes("VmHWM:")
    except OSError:
        import resource  # a process started by fork begins at its parent's peak here

        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


class PeakMeter:
    """Peaks of phases, and of the whole."""

    def __init__(self) -> None:
        self.resets = self._reset()
        self.whole_bytes = self._start_bytes = 0

    def start(self) -> int:
        """Begin a phase; return the resident memory at its start."""
        self.whole_bytes = max(self.whole_bytes, rss_peak_bytes())
        self._reset()
        self._start_bytes = rss_bytes()
        return self._start_bytes

    def peak(self) -> int:
        """Return the peak of this phase so far."""
        peak = max(rss_peak_bytes(), self._start_bytes)  # the kernel counts some pages late
        self.whole_bytes = max(self.whole_bytes, peak)
        return peak

    @staticmethod
    def _reset() -> bool:
        with contextlib.suppress(OSError):
            CLEAR_REFS.write_text("5")
            return True
        return False
