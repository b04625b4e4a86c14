"""Has arms measured, each in a clean child; what is known is not measured again, and how long it takes is foretold."""

import dataclasses
import functools
import importlib.metadata
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from ffedge.child import ask
from ffedge.compare.arms import ARMS, Work
from ffedge.training.records import versions

START_S = {"onnx": 2.0, "torch": 4.0, "backprop": 4.0, "backprop-ort": 3.0}
MULTIPLY_ADDS_A_SECOND = 1e10
BATCH_S = 3e-4


@dataclass(frozen=True)
class Job:
    """One measurement: an arm doing some work for the n-th time."""

    task: Literal["memory", "speed"]
    arm: str
    work: Work
    run: int

    @property
    def text(self) -> str:
        """The job in a few words."""
        return f"{self.arm}, {self.work.text}, run {self.run + 1}"

    @property
    def key(self) -> str:
        """What tells its result from others, versions included."""
        return json.dumps([dataclasses.asdict(self), all_versions()])

    @property
    def rough_s(self) -> float:
        """Roughly the seconds that it takes: right within a few times, to be scaled by what was measured."""
        arm, work = ARMS[self.arm], self.work
        layers = [i * o for i, o in zip((784, *work.widths), work.widths, strict=False)]
        taken = 3 * sum(layers)
        if not arm.is_backprop:  # the layers below run again for each layer; three labels a sample
            taken = sum(6 * own + 3 * sum(layers[:at]) for at, own in enumerate(layers))
        batches = work.rows * work.epochs / work.batch_size * len(layers)
        seconds = taken * work.rows * work.epochs / MULTIPLY_ADDS_A_SECOND + batches * BATCH_S
        return START_S[arm.trainer] + seconds


class Named(Protocol):
    """What is measured next."""

    @property
    def text(self) -> str: ...  # noqa: D102


class Progress:
    """Hears how the measuring goes; does nothing."""

    def begin(self, jobs: int, left_s: float, *, kept: bool) -> None:
        """Hear how many jobs are to be done, roughly how long they take, and whether each one's result is kept."""

    def job(self, index: int, job: Named, left_s: float) -> None:
        """Hear which job comes next, and roughly how long it and the others take."""

    def alive(self, pid: int) -> None:
        """Hear, a few times a second, that a child is at work."""

    def end(self) -> None:
        """Hear that all are done, or that one failed."""


class Measurer:
    """Takes measurements, one child process after the other.

    Parameters
    ----------
    file : JSON lines, a result a line; what stands there is not measured again. None keeps nothing.
    """

    def __init__(self, file: Path | None, progress: Progress) -> None:
        self._file, self._progress = file, progress
        self._known: dict[str, dict[str, Any]] = {}
        if file is not None and file.exists():
            whole, end, torn = file.read_text().rpartition("\n")
            if torn:  # whoever wrote it was stopped
                file.write_text(whole + end)
            self._known = {entry["key"]: entry for entry in map(json.loads, whole.splitlines())}

    def take(self, jobs: Sequence[Job]) -> list[Any]:
        """Return the result of each job, in their order."""
        missing = [job for job in jobs if job.key not in self._known]
        if missing:
            self._progress.begin(len(missing), self._left_s(jobs), kept=self._file is not None)
        try:
            for index, job in enumerate(missing):
                self._progress.job(index, job, self._left_s(jobs))
                self._measure(job)
        finally:
            self._progress.end()
        return [self._known[job.key]["measure"] for job in jobs]

    def _measure(self, job: Job) -> None:
        threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(job.work.threads))
        request = {"task": job.task, "arm": job.arm, "work": dataclasses.asdict(job.work)}
        began = time.perf_counter()
        measure = ask("ffedge.compare", request, threads, self._progress.alive)
        entry = {"key": job.key, "measure": measure, "wall_s": time.perf_counter() - began}
        self._known[job.key] = entry
        if self._file is not None:
            with self._file.open("a") as file:
                file.write(json.dumps(entry) + "\n")

    def _left_s(self, jobs: Sequence[Job]) -> float:
        """Scale the rough seconds of what is missing by how right they were for what is there."""
        known = [(self._known[job.key]["wall_s"], job.rough_s) for job in jobs if job.key in self._known]
        factor = sum(wall for wall, _ in known) / sum(rough for _, rough in known) if known else 1.0
        return factor * sum(job.rough_s for job in jobs if job.key not in self._known)


@functools.cache
def all_versions() -> dict[str, str]:
    """Return the versions of all that computes here, those of packages that are not installed left out."""
    found = versions()
    for package in ("torch", "onnxsim"):
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
