"""What `ffedge bench` measured of ffedge and of backpropagation, as a section of the page."""

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from ffedge.errors import DataError, one_line
from ffedge.files import regular_file
from ffedge.json_text import parse
from ffedge.page.charts import Line, bar_chart, line_chart

MIB = 2**20
MOST_BYTES, MOST_ARMS = 1 << 23, 24
NAMES = ("memory.json", "speed.json")
WRITTEN_BY = "`ffedge bench --memory` or `ffedge bench --speed`"


def beside(path: Path) -> str:
    """Return a section of what `ffedge.compare` measured of each arm: memory or speed.

    Parameters
    ----------
    path : the result, or the folder that it stands in.

    Raises
    ------
    DataError
        It cannot be read, or is something else.
    """
    if path.is_dir():
        path = next((path / name for name in NAMES if (path / name).is_file()), path / NAMES[0])
    try:
        with regular_file(path) as file:
            found = parse(file.read(MOST_BYTES).decode())
        measured = found["points"][0] if found["benchmark"] == "memory" else found
        arms = measured["measures"] if found["benchmark"] == "memory" else measured["arms"]
        return _section(measured["work"], arms[:MOST_ARMS], found["machine"], measured.get("doubts", []))
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}). Pass what {WRITTEN_BY} wrote") from error
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise DataError(f"{path}: is no result of {WRITTEN_BY}") from error


def _section(
    work: dict[str, Any], arms: Sequence[dict[str, Any]], machine: dict[str, Any], doubts: Sequence[str]
) -> str:
    widths = ", ".join(map(str, work["widths"]))
    what = f"{work['data']}, layers of {widths}, batch {work['batch_size']}, at most {work['rows']:,} rows, "
    what += f"{work['epochs']} epochs, {work['threads']} threads; {machine['processor']}"
    what += "".join(f". The seconds compare nothing: {doubt}" for doubt in doubts)
    charts = [
        bar_chart("Peak memory of the process", _bars(arms, "rss_peak_bytes", lambda n: f"{n / MIB:.0f} MiB")),
        bar_chart("Seconds", _bars(arms, "seconds", lambda s: f"{s:.1f} s")),
        bar_chart("Accuracy on rows held out", _bars(arms, "accuracy", lambda share: f"{share:.2%}")),
        line_chart("Peak memory as each layer learns, MiB", _by_layer(arms, "rss_peak_bytes", MIB), "layer"),
        line_chart("Seconds of each layer", _by_layer(arms, "seconds", 1), "layer"),
    ]
    return (
        "<section><h2>Beside backpropagation</h2><p>As <code>ffedge bench</code> measured it: "
        f'{escape(one_line(what))}.</p><div class="grid">{"".join(charts)}</div></section>'
    )


def _bars(arms: Sequence[dict[str, Any]], field: str, text: Any) -> list[tuple[str, float, str]]:
    known = [arm for arm in arms if arm.get(field) is not None]  # not every system tells a peak, nor every measure
    return [(one_line(str(arm["arm"])), float(arm[field]), text(arm[field])) for arm in known]


def _by_layer(arms: Sequence[dict[str, Any]], field: str, unit: int) -> list[Line]:
    """Return a line of one arm of ffedge and of one baseline, those that come first."""
    first: dict[bool, dict[str, Any]] = {}
    for arm in arms:
        first.setdefault(str(arm["arm"]).startswith("backprop"), arm)
    return [
        Line(one_line(str(arm["arm"])), [(float(x["index"]), x[field] / unit) for x in layers], colour)
        for colour, arm in enumerate(first.values())
        if (layers := [x for x in arm.get("layers", []) if x[field] is not None])
    ]
