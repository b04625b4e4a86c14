"""What a person sees of training on stderr: a line that changes on a terminal, a bar in a notebook, else lines."""

import functools
import importlib.util
import math
import shutil
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ParamSpec, TypeVar

from ffedge.errors import one_line
from ffedge.training.records import EpochRecord
from ffedge.training.watch import Progress, Watcher

MIB = 2**20
LINE_S, LOG_S = 0.25, 10.0  # between two states of a line, and two lines of a log
P = ParamSpec("P")
T = TypeVar("T")


def shows_progress(work: Callable[P, T]) -> Callable[P, T]:
    """Let a function that takes `watcher` and `progress` show how it goes, where no watcher is passed."""

    @functools.wraps(work)
    def shown(*args: P.args, **kwargs: P.kwargs) -> T:
        if kwargs.get("watcher") is not None or not kwargs.get("progress", True):
            return work(*args, **kwargs)
        with progress() as kwargs["watcher"]:
            return work(*args, **kwargs)

    return shown


@contextmanager
def progress() -> Iterator[Watcher]:
    """Yield what shows a person how a run goes: a line that changes on a terminal, a bar in a notebook, else lines."""
    shown: EpochLines | LiveLine | Bar = EpochLines()
    if sys.stderr.isatty():
        shown = LiveLine()
    elif _in_notebook() and importlib.util.find_spec("tqdm"):
        shown = Bar()
    try:
        yield shown
    finally:
        shown.end()


def _in_notebook() -> bool:
    """Say whether what is printed goes to the cell of a notebook."""
    return type(sys.stderr).__module__.startswith("ipykernel.")


class _Pace:
    """Foretells how long a run takes: each further stage is slower by as much as this one is than the one before."""

    def __init__(self) -> None:
        self._at = self._began = time.perf_counter()
        self._stage, self._first = -1, 0
        self._seconds, self._before = 0.0, math.inf  # of a batch of this stage, and of the one before

    def left(self, now: Progress) -> tuple[float, float]:
        """Return the share of all batches that is done, and the seconds left."""
        each, done = now.epochs * now.batches, now.epoch * now.batches + now.batch
        if now.stage != self._stage:
            self._before = math.inf if self._stage < 0 else self._seconds
            self._stage, self._began, self._first = now.stage, self._at, done - 1  # a resumed run begins within a stage
        self._at = time.perf_counter()
        self._seconds = (self._at - self._began) / (done - self._first)
        slower, stages = max(0.0, self._seconds - self._before), now.stages - 1 - now.stage
        further = stages * self._seconds + slower * stages * (stages + 1) / 2
        return (now.stage * each + done) / (now.stages * each), self._seconds * (each - done) + each * further


class _Reading:
    """Says how far the reading of a data set is, from time to time."""

    def __init__(self) -> None:
        self._rows, self._began, self._said = 0, 0.0, 0.0

    def text(self, rows: int, total: int | None, every_s: float) -> str:
        """Return what there is to say now; empty where it is too soon."""
        now = time.perf_counter()
        if not self._began or rows < self._rows:  # of another split
            self._began = self._said = now
        self._rows = rows
        if now - self._said < every_s and not (rows == total and now - self._began >= LOG_S):
            return ""
        self._said = now
        pace = rows / max(now - self._began, 1e-3)
        if total is None:
            return f"{rows:,} rows read  {pace:,.0f} rows/s"
        return f"{rows:,} of {total:,} rows read  {pace:,.0f} rows/s  {(total - rows) / max(pace, 1e-3):.0f} s left"


class EpochLines(Watcher):
    """Prints a line for each layer and epoch; for logs."""

    def __init__(self) -> None:
        self._pace, self._left, self._reading = _Pace(), 0.0, _Reading()
        self._now: Progress | None = None

    def end(self) -> None:
        """Do nothing: all has been printed."""

    def batch(self, progress: Progress) -> None:
        """Remember where the run is."""
        self._now = progress
        self._left = self._pace.left(progress)[1]

    def note(self, text: str) -> None:
        """Print it."""
        _say(text)

    def read(self, rows: int, total: int | None) -> None:
        """Print how far it is, every ten seconds and at the end of what took longer."""
        text = self._reading.text(rows, total, LOG_S)
        if text:
            _say(text)

    def epoch(self, records: list[EpochRecord]) -> None:
        """Print the epoch."""
        if (now := self._now) is None:
            return
        pace = now.samples / max(sum(r.seconds for r in records), 1e-9)
        for r in records:
            print(
                f"layer {r.layer}  epoch {r.epoch + 1}/{now.epochs}  loss {r.loss:.4f}  accuracy {_percent(r.accuracy)}"
                f" (sum {_percent(r.accuracy_sum)})  {pace:,.0f} rows/s  {r.rss_peak_bytes / MIB:.0f} MiB"
                f"  {self._left:.0f} s left",
                file=sys.stderr,
                flush=True,
            )


class LiveLine(Watcher):
    """Shows one line that changes; for terminals. Plain, as a library's bar would cost the training process 6 MiB."""

    def __init__(self) -> None:
        self._pace, self._accuracy, self._memory, self._reading = _Pace(), "", "", _Reading()
        self._epoch_began = self._shown = 0.0

    def end(self) -> None:
        """Take the line away."""
        self._show("")

    def batch(self, progress: Progress) -> None:
        """Change the line, four times a second."""
        now = time.perf_counter()
        if progress.rss_bytes:
            self._memory = f"  {progress.rss_bytes / MIB:.0f} MiB"
        if progress.batch == 1:
            self._epoch_began = now
        done, left = self._pace.left(progress)
        if now - self._shown < LINE_S:
            return
        self._shown = now
        pace = progress.samples / max(now - self._epoch_began, 1e-3)
        layers = ",".join(map(str, progress.layers)) if len(progress.layers) < 5 else f"0-{progress.layers[-1]}"
        bar = "#" * round(8 * done)
        self._show(
            f"layer {layers} epoch {progress.epoch + 1}/{progress.epochs} {bar:8s} {100 * done:3.0f} %"
            f"  loss {progress.loss:.3f}{self._accuracy}  {pace / 1000:,.1f}k/s{self._memory}  {left:.0f} s left"
        )

    def epoch(self, records: list[EpochRecord]) -> None:
        """Take the accuracy up."""
        if records[-1].accuracy_sum is not None:
            self._accuracy = f"  {_percent(records[-1].accuracy_sum)}"

    def note(self, text: str) -> None:
        """Print a line that stays."""
        self._show("")
        _say(text)

    def read(self, rows: int, total: int | None) -> None:
        """Change the line, four times a second; take it away at the end."""
        text = self._reading.text(rows, total, LINE_S)
        if text or rows == total:
            self._show("" if rows == total else text)

    @staticmethod
    def _show(text: str) -> None:
        width = shutil.get_terminal_size().columns
        print(f"\r\x1b[K{text[: width - 1]}", end="", file=sys.stderr, flush=True)


class Bar(Watcher):
    """Shows tqdm's bar; for notebooks."""

    def __init__(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it tells where the bar is one of characters
            from tqdm.auto import tqdm
        self._make, self._unit, self._accuracy = tqdm, "", ""
        self._bar: Any = None

    def end(self) -> None:
        """Leave the bar as it stands."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def batch(self, progress: Progress) -> None:
        """Move the bar."""
        each = progress.epochs * progress.batches
        done = progress.stage * each + progress.epoch * progress.batches + progress.batch
        bar = self._at(done, progress.stages * each, "batch")
        layers = ",".join(map(str, progress.layers)) if len(progress.layers) < 5 else f"0-{progress.layers[-1]}"
        bar.set_description_str(f"layer {layers} epoch {progress.epoch + 1}/{progress.epochs}", refresh=False)
        bar.set_postfix_str(f"loss {progress.loss:.3f}{self._accuracy}", refresh=done == bar.total)

    def epoch(self, records: list[EpochRecord]) -> None:
        """Take the accuracy up."""
        if records[-1].accuracy_sum is not None:
            self._accuracy = f", {_percent(records[-1].accuracy_sum)}"

    def note(self, text: str) -> None:
        """Print a line that stays."""
        _say(text)

    def read(self, rows: int, total: int | None) -> None:
        """Move a bar of its own; end it once all is read."""
        self._at(rows, total, "row")
        if rows == total:
            self.end()

    def _at(self, done: int, total: int | None, unit: str) -> Any:
        if self._bar is None or self._unit != unit or done < self._bar.n:
            self.end()
            self._bar, self._unit = self._make(total=total, unit=f" {unit}s", initial=done - 1, file=sys.stderr), unit
        self._bar.update(done - self._bar.n)
        return self._bar


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.2f} %"


def _say(text: str) -> None:
    print(f"ffedge: {one_line(text)}", file=sys.stderr, flush=True)
