"""Memory and time of arms: medians of several runs, and how far these lie apart.

What is measured is never blended: the import share, the resident peak of each layer's phase, bytes that are counted by
name, seconds, accuracy on the held-out rows. What an arm cannot tell is None, and `unknown` says why.
"""

import dataclasses
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from ffedge.compare.arms import Arm, Work, chosen_arms
from ffedge.compare.load import doubts, spread
from ffedge.compare.runner import Runner, document, median_of, repeats
from ffedge.compare.train import Watch, some_rows, train, warm_up
from ffedge.data import load
from ffedge.meter import PeakMeter, rss_bytes
from ffedge.pages import release_libraries, return_large_blocks

SPREAD = ("import_bytes", "rss_peak_bytes", "peak_over_imports_bytes", "seconds", "accuracy")
NO_RESETS = "this system does not tell the peak of a phase: it has no /proc/self/clear_refs"


class _Start(Watch):
    """Remembers when the first batch came."""

    def begin(self, dataset: Any, held_out: Any, rows: int) -> None:
        self.at = time.perf_counter()


def measure(arm: Arm, work: Work) -> dict[str, Any]:
    """Train an arm in this process, which must have started for it alone; return what it took and reached.

    - ``import_bytes``: resident once everything is imported and a tiny net has been trained twice, the libraries' code
      given back between: so what they load late is in it, and what only their start needs is not.
    - ``rss_peak_bytes``: most resident memory from then on; of the process's whole life where a peak cannot be reset.
    - ``seconds``: from opening the data set to the last accuracy; ``setup_s`` of them passed before the first batch
      (graphs are built, sessions loaded).
    - and the fields of `train.Trained`.
    """
    return_large_blocks()
    warm_up(arm)
    release_libraries()  # for every arm, as ffedge does: what only a library's start needed does not count
    warm_up(arm)
    imported, meter, start, began = rss_bytes(), PeakMeter(), _Start(), time.perf_counter()
    dataset = some_rows(load(work.data, work.data_dir), work.rows)
    trained = train(arm, work, dataset, meter, start)
    peak, seconds = max(meter.peak(), meter.whole_bytes), time.perf_counter() - began
    if not meter.resets:
        trained.unknown["layers.rss_peak_bytes"] = NO_RESETS
        for layer in trained.layers:
            layer["rss_peak_bytes"] = None
    return {
        "arm": arm.name,
        "import_bytes": imported,
        "rss_peak_bytes": peak,
        "peak_over_imports_bytes": peak - imported,
        "seconds": seconds,
        "setup_s": start.at - began,
        "rows": len(dataset.train.labels),
        "inputs": int(np.prod(dataset.input_shape)),
        **vars(trained),
    }


def point(runner: Runner, arms: Sequence[str], work: Work, repeat: int, value: int | None = None) -> dict[str, Any]:
    """Measure every arm `repeat` times; return medians, what was measured of each run, and how far runs lie apart.

    Parameters
    ----------
    value : of what is varied, where work is one of several.
    """
    runs = runner.take("memory", arms, work, repeat)
    apart = [
        {"arm": arm} | {name: spread([run[name] for run in of_arm]) for name in SPREAD} for arm, of_arm in runs.items()
    ]
    of_arms = list(runs.values())
    others = [run.get("others_cores") for of_arm in of_arms for run in of_arm]
    seconds = {arm: [run["seconds"] for run in of_arm] for arm, of_arm in runs.items()}
    facts = {"value": value, "work": dataclasses.asdict(work), "doubts": doubts(others, seconds)}
    return facts | {"measures": [median_of(of_arm) for of_arm in of_arms], "spread": apart, "runs": of_arms}


def compare(
    runner: Runner, changes: dict[str, Any], arms: Sequence[str] = (), repeat: int = 0, *, quick: bool = False
) -> dict[str, Any]:
    """Measure arms at one work; return the result's document.

    Parameters
    ----------
    changes : fields of the `Work` that all do.
    arms, repeat : empty and 0: all arms that can run here and 3 runs of each; when `quick`, a few and one.
    """
    names = chosen_arms(arms, quick=quick)
    return document("memory", sweep=None, points=[point(runner, names, Work(**changes), repeats(repeat, quick=quick))])
