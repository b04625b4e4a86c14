"""The block of what a deployed model costs, from the document of bench/deploy.py."""

import statistics
from collections.abc import Sequence
from typing import Any

from results import COMMANDS
from wording import counted, rounded, spread, table, wrapped

ALONE = "import, load, one row"  # of bench/deploy_arms.py
QUIET_CORES = 0.25  # that other processes may keep busy


def deploy(documents: Sequence[Any]) -> str:
    """Tabulate forms of a model file: bytes, accuracy, times of the predictor, the whole process."""
    (document,) = documents
    settings, found = document["settings"], document["results"]
    rows = [
        [
            f"`{form}`",
            f"{facts['bytes'] / 1e6:.2f}",
            f"{100 * facts['accuracy']:.2f} %",
            _both(found, form, "1", lambda seconds: rounded(1e3 * seconds)),
            _both(found, form, "100", lambda seconds: f"{100 / seconds:,.0f}"),
            *_process(found, form),
        ]
        for form, facts in found["forms"].items()
    ]
    columns = ["form", "file, MB", "accuracy", "ms a row", "rows a second, batch 100", "process, s", "its peak, MB"]
    alone_s, alone_mb = _process(found, ALONE)
    said = (
        f"{settings['data']}, widths {settings['widths']}, {counted(settings['threads'], 'thread')}; in brackets "
        "onnxruntime without ffedge. The process is `ffedge predict MODEL digit.png` from start to end; one that "
        f"imports onnxruntime, loads the first model and runs a row takes {alone_s} s and {alone_mb} MB. "
        f"`{COMMANDS['deploy']}`."
    )
    busy = max(found["cores_elsewhere"], found["processes"]["cores_elsewhere"])
    if busy > QUIET_CORES:
        said += f" Other work kept {busy:.1f} cores busy meanwhile: take sizes from here, not times."
    return f"{table(columns, rows)}\n\n{wrapped(said)}"


def _both(found: Any, form: str, size: str, write: Any) -> str:
    """Write the predictor's median and, in brackets, that of onnxruntime without ffedge."""
    predictor, session = (statistics.median(found["call_s"][size][f"{form} {way}"]) for way in ("predictor", "session"))
    return f"{write(predictor)} ({write(session)})"


def _process(found: Any, name: str) -> list[str]:
    """Write the seconds and the peak of a process."""
    measured = found["processes"][name]
    return [spread(measured["seconds"]), spread(peak / 1e6 for peak in measured["rss_peak_bytes"])]
