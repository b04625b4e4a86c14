"""Draws what bench/time_to_accuracy.py measured: ``python bench/time_figures.py RESULT`` writes
bench/figures/time-to-accuracy.svg.
"""

import itertools
import json
import statistics
import sys
from pathlib import Path
from typing import Any

from common import HERE, pyplot, save_figure
from time_to_accuracy import TARGETS

ERRORS = (1, 2, 3, 5, 10, 20, 50)  # percents that the axis names


def draw(document: dict[str, Any], path: Path) -> None:
    """Draw the least test error by seconds, a panel for each data set and a line for each arm."""
    settings, runs = document["settings"], document["results"]
    figure, panels = pyplot().subplots(1, len(settings["data"]), figsize=(11, 4.5), layout="constrained", squeeze=False)
    for axes, data in zip(panels[0], settings["data"], strict=True):
        for arm in settings["arms"]:
            own = [run for run in runs if (run["data"], run["name"]) == (data, arm)]
            seconds, accuracies = zip(*best_so_far(own), strict=True)
            line = "-" if arm.startswith("ffedge") else "--"
            axes.step(seconds, [100 * (1 - a) for a in accuracies], line, where="post", label=arm, marker=".")
        for target in TARGETS[data]:
            axes.axhline(100 * (1 - target), color="lightgrey", linewidth=0.8, zorder=0)
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_yticks(ERRORS, map(str, ERRORS))
        axes.yaxis.set_minor_formatter("")
        axes.set_title(data)
        axes.set_xlabel("seconds of training, one thread")
        axes.set_ylabel("test error, %")
    figure.legend(*panels[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=len(settings["arms"]))
    save_figure(figure, path)


def best_so_far(runs: list[dict[str, Any]]) -> list[tuple[float, float]]:
    """Return the best accuracy by seconds, over all numbers of epochs: medians of the seeds, epoch by epoch."""
    points = list[tuple[float, float]]()
    for epochs in {run["epochs"] for run in runs}:
        each = [run["points"] for run in runs if run["epochs"] == epochs]
        for at in zip(*each, strict=True):
            seconds, accuracies = zip(*at, strict=True)
            points.append((statistics.median(seconds), statistics.median(accuracies)))
    points.sort()
    best = itertools.accumulate((accuracy for _, accuracy in points), max)
    return [(seconds, accuracy) for (seconds, _), accuracy in zip(points, best, strict=True)]


if __name__ == "__main__":
    draw(json.loads(Path(sys.argv[1]).read_text()), HERE / "figures" / "time-to-accuracy.svg")
