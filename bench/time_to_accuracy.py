"""Seconds of training until a test accuracy is reached: ffedge beside Forward-Forward peers and backprop.

Each run is a new process on one thread; the arms take turns, once for each seed. An arm whose rate falls to zero over
its epochs is trained for several numbers of epochs, and its time to an accuracy is that of the one that gets there
first, in the median of the seeds. Inputs are scaled alike, but for peers that scale their own. The test set serves to
read the curves alone: nothing is chosen by it.
"""

import argparse
import itertools
import statistics
from functools import partial
from pathlib import Path
from typing import Any

from common import PATHS, Lines, arguments, table, write_results

from ffedge.compare.child import ask
from ffedge.compare.runner import thread_variables

FALLING, CONSTANT = (1, 3, 6, 15), (15,)
ARMS = {  # and the numbers of epochs that each is trained for
    "ffedge": FALLING,
    "ffedge-interleaved": FALLING,
    "ffedge-groups": FALLING,
    "ffedge-readout": FALLING,
    "backprop-tuned": FALLING,
    "backprop": CONSTANT,
    "backprop-ort": FALLING,
    "sklearn": CONSTANT,
    "fflib": CONSTANT,
    "mpezeshki": CONSTANT,
}
TARGETS = {"mnist": (0.95, 0.97, 0.98, 0.985), "fashion-mnist": (0.85, 0.88, 0.89, 0.90)}
PACKAGES = ("torch", "fflib", "scikit-learn", "onnxruntime")


def seconds_to(points: list[list[float]], target: float) -> float | None:
    """Return the seconds of the first point at or above a target."""
    return next((seconds for seconds, accuracy in points if accuracy >= target), None)


def best(runs: list[dict[str, Any]], target: float) -> tuple[float, int] | None:
    """Return the least median of seconds over the seeds, and its number of epochs; every seed must get there."""
    found = []
    for epochs in sorted({run["epochs"] for run in runs}):
        times = [seconds_to(run["points"], target) for run in runs if run["epochs"] == epochs]
        reached = [time for time in times if time is not None]
        if len(reached) == len(times):
            found.append((statistics.median(reached), epochs))
    return min(found, default=None)


def measure(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Run everything; what a call before this one has run stands in the file of runs and is taken from there."""
    lines, runs = Lines(options.runs), []
    for seed, data, name in itertools.product(options.seeds, options.data, options.arms):
        for epochs in (count for count in ARMS[name] if count <= options.most_epochs):
            request = {"name": name, "data": data, "epochs": epochs, "seed": seed}
            runs.append(lines.take(request, partial(ask, "time_arms", request, thread_variables(1) | PATHS)))
    return runs


def summary(runs: list[dict[str, Any]], data: str) -> str:
    """Tabulate the seconds to each target."""
    rows = []
    for name in dict.fromkeys(run["name"] for run in runs):
        own = [run for run in runs if run["name"] == name and run["data"] == data]
        times = [best(own, target) for target in TARGETS[data]]
        rows.append([name, *("never" if time is None else f"{time[0]:.1f} ({time[1]})" for time in times)])
    return f"{data}\n" + table(["s (epochs)", *(f"{100 * target:g} %" for target in TARGETS[data])], rows)


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--data", nargs="+", choices=TARGETS, default=list(TARGETS))
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--most-epochs", type=int, default=max(FALLING), help="leave longer trainings out")
    parser.add_argument("--name", default="time-to-accuracy", help="of the result file")
    parser.add_argument("--runs", type=Path, default=Path("time-to-accuracy.jsonl"), help="kept, to go on from")
    options = parser.parse_args()
    runs = measure(options)
    print("\n\n".join(summary(runs, data) for data in options.data))
    write_results(options.name, options, runs, PACKAGES)


if __name__ == "__main__":
    main()
