"""What a person sees while arms are measured, on stderr: which of how many, how long it took and will take."""

import os
import sys
import time
from pathlib import Path

from ffedge.compare.measurer import Named, Progress

MIB = 2**20


class Live(Progress):
    """Prints a line for each measurement; on a terminal it is kept up to date, with the child's resident memory."""

    def __init__(self) -> None:
        self._shows = sys.stderr.isatty()
        self._began, self._jobs, self._line = time.perf_counter(), 0, "at work"

    def begin(self, jobs: int, left_s: float, *, kept: bool) -> None:
        """Say how long it will take."""
        self._began, self._jobs = time.perf_counter(), jobs
        count = f"{jobs} measurements" if jobs > 1 else "1 measurement"
        stop = ". It can be stopped and begun again: what was measured is kept" if kept else ""
        self._print(f"{count}, about {minutes(left_s)}{stop}")

    def job(self, index: int, job: Named, left_s: float) -> None:
        """Name the measurement."""
        passed = time.perf_counter() - self._began
        times = f"{minutes(passed)} so far, about {minutes(left_s)} left"
        self._line = f"[{index + 1}/{self._jobs}] {job.text}  {times}"
        if not self._shows:
            self._print(self._line)

    def alive(self, pid: int) -> None:
        """Show the child's memory."""
        if self._shows:
            try:
                pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
            except OSError:  # it has ended meanwhile
                return
            resident = pages * os.sysconf("SC_PAGE_SIZE")
            print(f"\r\x1b[2K{self._line}  {resident / MIB:.0f} MiB", end="", file=sys.stderr, flush=True)

    def end(self) -> None:
        """Take the line away."""
        if self._shows:
            print("\r\x1b[2K", end="", file=sys.stderr, flush=True)

    @staticmethod
    def _print(text: str) -> None:
        print(text, file=sys.stderr, flush=True)


def minutes(seconds: float) -> str:
    """Write seconds as a person says them."""
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
