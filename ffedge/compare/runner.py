"""Has jobs measured, each in a clean child; what stands in a file is not measured again. What the results share."""

import dataclasses
import functools
import importlib.metadata
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ffedge import json_text
from ffedge.compare.arms import Work
from ffedge.compare.child import ask
from ffedge.compare.load import busy, others_now
from ffedge.data import load
from ffedge.errors import FfedgeError
from ffedge.files import regular_file, writing
from ffedge.training.records import machine, versions

MODULE = "ffedge.compare"  # answers a job's request (`ffedge.compare.__main__`)
PACKAGES = ("torch", "onnxsim")
REPEAT = 3
Values = Mapping[str, Sequence[float]]


class Runner:
    """Takes measurements, one child process after the other, and says on stderr which.

    Parameters
    ----------
    file : JSON lines, a result a line; what stands there is not measured again where work, data, versions and machine
        are the same.
    module, variables : of the child; and what is set in its environment.

    Raises
    ------
    FfedgeError
        The file cannot be read, or a line is none that ffedge writes.
    """

    def __init__(self, file: Path, module: str = MODULE, variables: dict[str, str] | None = None) -> None:
        self._file, self._module, self._variables = file, module, variables or {}
        self._results = _results(file) if file.exists() else dict[str, Any]()

    def take(self, task: str, arms: Sequence[str], work: Work, repeat: int) -> dict[str, list[Any]]:
        """Return the results of a task, ``memory`` or ``speed``, of each arm, run by run; the arms take turns."""

        given = conditions(work)

        def key(arm: str, run: int) -> str:
            """Return what tells a result from others."""
            return json.dumps([task, arm, dataclasses.asdict(work), run, *given])

        jobs = [(arm, run) for run in range(repeat) for arm in arms]
        missing = [job for job in jobs if key(*job) not in self._results]
        others, began = others_now() if missing else None, time.perf_counter()
        for index, (arm, run) in enumerate(missing):
            left_s = (time.perf_counter() - began) / max(1, index) * (len(missing) - index)
            left = f", about {minutes(left_s)} left" * (index > 0)
            left += f"; other work keeps {others:.1f} cores busy" if busy(others) else ""
            print(f"[{index + 1}/{len(missing)}] {arm}, {work.text}, run {run + 1}{left}", file=sys.stderr, flush=True)
            request = {"task": task, "arm": arm, "work": dataclasses.asdict(work)}
            result = ask(self._module, request, thread_variables(work.threads) | self._variables)
            self._keep(key(arm, run), result)
            others = result.get("others_cores")
        return {arm: [self._results[key(arm, run)] for run in range(repeat)] for arm in arms}

    def once(self, task: str, choice: dict[str, Any], work: Work, measure: Callable[[], Any]) -> Any:
        """Return the result of a task that is one run of all arms; `choice` says all that was chosen of it."""
        key = json.dumps([task, choice, *conditions(work)])
        if key not in self._results:
            self._keep(key, measure())
        return self._results[key]

    def _keep(self, key: str, result: Any) -> None:
        """Add a result to the file."""
        self._results[key] = result
        with writing(self._file):
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with self._file.open("a") as file:
                file.write(json.dumps({"key": key, "measure": result}) + "\n")


def _results(file: Path) -> dict[str, Any]:
    """Return the results of a file by their keys; what stands behind the last line's end is taken off."""
    try:
        with regular_file(file) as opened:
            content = opened.read()
    except OSError as error:
        raise FfedgeError(f"{file}: cannot be read ({error.strerror}). Choose another `out`") from error
    end = content.rfind(b"\n") + 1
    if end < len(content):  # whoever wrote it was stopped
        with writing(file):
            os.truncate(file, end)
    return dict(_result(line, f"{file}, line {n}") for n, line in enumerate(content[:end].split(b"\n")[:-1], 1))


def _result(line: bytes, where: str) -> tuple[str, Any]:
    try:
        entry = json_text.parse(line.decode())
        if not (
            isinstance(entry, dict) and isinstance(entry.get("key"), str) and isinstance(entry.get("measure"), dict)
        ):
            raise ValueError("it is no measure")
    except ValueError as error:
        raise FfedgeError(f"{where}: is damaged ({error}). Remove it: what it held is measured again") from error
    return entry["key"], entry["measure"]


def conditions(work: Work) -> list[Any]:
    """Return what a result depends on beside the work: the data's sha256, the machine, the versions."""
    return [load(work.data, work.data_dir).sha256, machine(), all_versions()]


def repeats(repeat: int, *, quick: bool) -> int:
    """Return how often each arm is measured where nobody says."""
    return repeat or (1 if quick else REPEAT)


def thread_variables(threads: int) -> dict[str, str]:
    """Return the environment of a child whose libraries take so many threads."""
    return dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(threads))


def minutes(seconds: float) -> str:
    """Write seconds as a person says them."""
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


@functools.cache
def all_versions() -> dict[str, str]:
    """Return the versions of all that computes here, those of packages that are not installed left out."""
    installed = versions()
    for package in PACKAGES:
        try:
            installed[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return installed


def document(benchmark: str, **facts: Any) -> dict[str, Any]:
    """Return a result as one JSON document; units stand in the names."""
    return {"benchmark": benchmark, "machine": machine(), "versions": all_versions()} | facts


def ratios(values: Values, pairs: Iterable[tuple[str, str]]) -> dict[str, list[float]]:
    """Divide the first arm's value by the second's, round by round."""
    return {f"{a} / {b}": [x / y for x, y in zip(values[a], values[b], strict=True)] for a, b in pairs}


def medians(values: Values) -> dict[str, float]:
    """Return the median over the rounds of each entry."""
    return {name: statistics.median(rounds) for name, rounds in values.items()}


def spread_text(rounds: Sequence[float], digits: int = 2) -> str:
    """Write a median and, in brackets, the least and the greatest round."""
    low, high = min(rounds), max(rounds)
    return f"{statistics.median(rounds):.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def median_of(runs: Sequence[Any]) -> Any:
    """Return the median of equally built dicts and lists, number by number; whole numbers stay whole.

    What is no number in every run is the first run's.
    """
    first = runs[0]
    if isinstance(first, dict):
        return {key: median_of([run[key] for run in runs]) for key in first}
    if isinstance(first, list):
        return [median_of(items) for items in zip(*runs, strict=False)]
    if any(isinstance(run, bool) or not isinstance(run, int | float) for run in runs):
        return first
    middle = statistics.median(runs)
    return round(middle) if all(isinstance(run, int) for run in runs) else middle


Ask = Callable[[dict[str, Any]], Any]
