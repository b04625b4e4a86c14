"""What a person sees of a sweep: a line of progress on stderr, the rows of the closing table, a page of charts."""

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from ffedge.errors import one_line, plain
from ffedge.files import atomic_file
from ffedge.page.charts import Line, bar_chart, line_chart
from ffedge.page.document import document, section
from ffedge.page.tables import row_table
from ffedge.sweeps.log import Record
from ffedge.sweeps.points import Point, accuracy_of, ranked, text_of, varied

PAGE = "sweep.html"
MIB = 2**20
MOST_BARS, MOST_ROWS = 16, 50


class Progress:
    """Says on stderr how far a rung is: a line that changes on a terminal, else a line for each trial that ends."""

    def __init__(self, title: str, total: int, ended: int, *, shown: bool) -> None:
        self._title, self._total, self._ended, self._shown = title, total, ended, shown
        self._first, self._running, self._failed, self._best = ended, 0, 0, 0.0
        self._began, self._live = time.perf_counter(), sys.stderr.isatty()
        if shown and ended:
            print(f"{title}: {ended} of {total} trials had ended before", file=sys.stderr, flush=True)

    def started(self, running: int) -> None:
        """Hear that a trial's training begins, and how many run with it."""
        self._running = running
        self._line()

    def ended(self, record: Record, what: str) -> None:
        """Hear of a trial that ended, and what it was."""
        self._running, self._ended = max(0, self._running - 1), self._ended + 1
        accuracy, reason = record.get("accuracy"), record.get("reason")
        self._best = max(self._best, accuracy or 0.0)
        self._failed += record["status"] != "done"
        said = record["status"] if accuracy is None else f"{accuracy:.2%} held out, {record['seconds']:.1f} s"
        text = one_line(f"{record['trial']}  {said}  {what}" + (f": {reason}" if reason else ""))
        if self._shown and (reason or not self._live):
            self._print(text if self._live else f"{text}  ({self._state()})", end="\n")
        self._line()

    def __enter__(self) -> Self:
        """Show nothing yet."""
        return self

    def __exit__(self, *error: object) -> None:
        """Leave the line that changes as it stands."""
        if self._shown and self._live:
            print(file=sys.stderr, flush=True)

    def _line(self) -> None:
        if self._shown and self._live:
            self._print(f"{self._title}: {self._state()}", end="")

    def _state(self) -> str:
        ended, left = self._ended - self._first, self._total - self._ended
        seconds = (time.perf_counter() - self._began) / ended * left if ended else None
        parts = [f"{self._ended} of {self._total}", *([f"{self._running} running"] if self._running else [])]
        parts += [f"best {self._best:.2%}"] if self._best else []
        parts += [f"{self._failed} not done"] if self._failed else []
        parts += [f"about {seconds:.0f} s left"] if seconds is not None and left else []
        return ", ".join(parts)

    def _print(self, text: str, end: str) -> None:
        print(f"\r\x1b[K{plain(text)}" if self._live else text, end=end, file=sys.stderr, flush=True)


def table(points: Sequence[Point], most: int) -> tuple[list[str], list[list[str]]]:
    """Return heads and rows of the best points; the trial is the best seed's."""
    names, tested = varied(points), any(point.mean("test_accuracy") is not None for point in points)
    halved = len({point.rung for point in points}) > 1
    heads = ["held\nout %", "least", "most", "seeds", *(["test\n%"] if tested else []), "secs", "peak\nMiB"]
    heads += [*(["rung"] if halved else []), *(name.replace("_", "\n") for name in names), "trial"]
    rows = []
    for point in points[:most]:
        found = [accuracy_of(record) for record in point.records]
        peak = max((record["peak_bytes"] for record in point.done), default=0)
        row = [f"{100 * point.accuracy:.2f}", f"{100 * min(found):.2f}", f"{100 * max(found):.2f}"]
        test = point.mean("test_accuracy") if len(point.done) == len(point.records) else None
        row += [str(len(point.records)), *(["-" if test is None else f"{100 * test:.2f}"] if tested else [])]
        row += [f"{point.mean('seconds') or 0:.1f}", f"{peak / MIB:.0f}", *([str(point.rung)] if halved else [])]
        rows.append([*row, *(text_of(point.asked.get(name)) for name in names), point.records[0]["trial"]])
    return heads, rows


def write_page(folder: Path, records: Sequence[Record]) -> None:
    """Write sweep.html: the best points, each field's values, and the best so far; FfedgeError on a full disk."""
    points = ranked(records)
    if not points:
        return
    heads, rows = table(points, MOST_ROWS)
    last = [point for point in points if point.rung == points[0].rung]
    names = varied(last)
    best = [
        (" ".join(text_of(point.asked.get(name)) for name in names), point.accuracy, f"{point.accuracy:.2%}")
        for point in last[:MOST_BARS]
    ]
    charts = [
        bar_chart("The best, by held-out rows", best),
        line_chart("Trials in their order", _in_order(records), "trial", per_cent=True),
    ]
    charts += [bar_chart(f"Mean over all trials of each {name}", _means(last, name)) for name in names]
    parts = [
        f"<h1>{len(records)} trials</h1>",
        section("What was found", charts),
        f"<section><h2>The best</h2>{row_table([head.replace(chr(10), ' ') for head in heads], rows)}</section>",
    ]
    with atomic_file(folder / PAGE) as temporary:
        temporary.write_text(document(f"Sweep {one_line(folder.name)}", parts))


def _in_order(records: Sequence[Record]) -> list[Line]:
    found = [record.get("accuracy") for record in records]
    so_far, best = list[tuple[float, float | None]](), None
    for at, value in enumerate(found):
        best = value if best is None else max(best, value or 0.0)
        so_far.append((at, best))
    return [Line("each trial", list(enumerate(found)), 0), Line("the best so far", so_far, 1)]


def _means(points: Sequence[Point], name: str) -> list[tuple[str, float, str]]:
    """Return the mean accuracy of each value of a field; nothing where a value stands once each, as in draws."""
    groups = dict[str, list[float]]()
    for point in points:
        groups.setdefault(text_of(point.asked.get(name)), []).append(point.accuracy)
    if len(groups) == len(points) and len(points) > MOST_BARS:
        return []
    means = {value: sum(found) / len(found) for value, found in groups.items()}
    return [(value, mean, f"{mean:.2%}") for value, mean in list(means.items())[:MOST_BARS]]
