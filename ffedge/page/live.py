"""The page of a run while it trains, served on this machine alone: what its folder holds so far, and where it is."""

from html import escape
from pathlib import Path

from ffedge.errors import FfedgeError, one_line
from ffedge.page.charts import bar_chart
from ffedge.page.document import document, lacking_lines, section
from ffedge.page.epochs import epochs, metrics
from ffedge.page.serve import POLICY, Site, script
from ffedge.training.records import EpochRecord
from ffedge.training.watch import Progress, Watcher

MIB = 2**20
MOST_LAYERS = 1 << 16


class Live(Watcher):
    """Hears of a run, tells another watcher, and serves the page while it is entered.

    Parameters
    ----------
    watcher : is told all that this one hears.
    port : of 127.0.0.1; 0 takes a free one. FfedgeError where it cannot be had.
    """

    def __init__(self, watcher: Watcher, port: int) -> None:
        self._watcher, self._state = watcher, "Reading the data."
        self._run: Path | None = None
        self._now: Progress | None = None
        self._site = Site(port, {"/": self.page, "/live.js": lambda: script("live.js")})
        self.url = self._site.url

    def __enter__(self) -> "Live":
        """Begin to serve."""
        self._site.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        """Serve no more."""
        self._site.__exit__(*error)

    def note(self, text: str) -> None:
        """Tell it."""
        self._watcher.note(text)

    def read(self, rows: int, total: int | None) -> None:
        """Remember how far the reading is, and tell it."""
        self._state = f"{rows:,} rows read" + (f" of {total:,}." if total else ".")
        self._watcher.read(rows, total)

    def begun(self, run: Path) -> None:
        """Remember where the run is, and tell it."""
        self._run = run
        self._watcher.begun(run)

    def batch(self, progress: Progress) -> None:
        """Remember where the run is, and tell it."""
        self._now = progress
        self._watcher.batch(progress)

    def epoch(self, records: list[EpochRecord]) -> None:
        """Tell it."""
        self._watcher.epoch(records)

    def page(self) -> str:
        """Return the page as it is now."""
        run, now, lacking, records = self._run, self._now, [], list[EpochRecord]()
        if run is not None and (run / "metrics.jsonl").exists():
            try:
                records = metrics(run, MOST_LAYERS)
            except FfedgeError as error:
                lacking.append(str(error))
        where = f"<p>{escape(one_line(str(run)))}</p>" if run else ""
        summary = f"<h1>Training</h1>{where}{self._told(now)}"
        parts = [summary, lacking_lines(lacking), epochs(records), _cost(records)]
        return document("ffedge trains", parts, "/live.js", POLICY)

    def _told(self, now: Progress | None) -> str:
        if now is None:
            return f"<p>{escape(self._state)}</p>"
        facts = [
            ("layer", ", ".join(map(str, now.layers))),
            ("epoch", f"{now.epoch + 1} of {now.epochs}"),
            ("batch", f"{now.batch:,} of {now.batches:,}"),
            ("loss", f"{now.loss:.4g}"),
            *([("memory", f"{now.rss_bytes / MIB:.0f} MiB")] if now.rss_bytes else []),
        ]
        told = "".join(f"<div><dt>{name}</dt><dd>{escape(value)}</dd></div>" for name, value in facts)
        return f"<dl>{told}</dl>"


def _cost(records: list[EpochRecord]) -> str:
    of: dict[int, list[EpochRecord]] = {}
    for record in records:
        of.setdefault(record.layer, []).append(record)
    seconds = {layer: sum(r.seconds for r in mine) for layer, mine in of.items()}
    peaks = {layer: max(r.rss_peak_bytes for r in mine) / MIB for layer, mine in of.items()}
    charts = [
        bar_chart("Seconds of each layer", [(f"layer {i}", s, f"{s:.1f} s") for i, s in seconds.items()]),
        bar_chart("Peak memory of the process", [(f"layer {i}", m, f"{m:.0f} MiB") for i, m in peaks.items()]),
    ]
    return section("What it took", charts)
