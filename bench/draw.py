"""Draws what was measured into bench/figures/: ``python bench/draw.py RESULT...``, of budget.py, depth.py and
time_to_accuracy.py.
"""

import itertools
import json
import statistics
import sys
from pathlib import Path
from typing import Any

from common import HERE, MIB, pyplot, save_figure
from time_to_accuracy import TARGETS

ERRORS = (1, 2, 3, 5, 10, 20, 50)  # percents that an axis names
Runs = list[dict[str, Any]]


def budget(document: Any, path: Path) -> None:
    """Draw measured against planned peaks, and the budgets above them."""
    runs: Runs = document["results"]["runs"]
    axes = _axes("planned peak, MiB", "MiB")
    planned = [run["planned_bytes"] / MIB for run in runs]
    axes.plot(planned, [run["budget_bytes"] / MIB for run in runs], "_", color="tab:red", label="budget")
    axes.plot(planned, [run["measured_bytes"] / MIB for run in runs], ".", color="tab:blue", label="measured peak")
    axes.plot(sorted(planned), sorted(planned), color="black", linewidth=0.5, label="as planned")
    _save(axes, path)


def budget_speed(document: Any, path: Path) -> None:
    """Draw the seconds of an epoch against the budget, as a share of those without one."""
    runs: Runs = document["results"]
    axes = _axes("budget, MiB", "seconds, as a share of those with the largest budget")
    for name in dict.fromkeys(run["network"] for run in runs):
        own = [run for run in runs if run["network"] == name]
        seconds = [run["training_seconds"] / own[0]["training_seconds"] for run in own]
        axes.plot([run["budget_bytes"] / MIB for run in own], seconds, marker="o", label=name)
    axes.set_ylim(bottom=0)
    _save(axes, path)


def _axes(x: str, y: str) -> Any:
    _, axes = pyplot().subplots(figsize=(7, 4), layout="constrained")
    axes.set_xscale("log", base=2)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    return axes


def _save(axes: Any, path: Path) -> None:
    axes.legend()
    save_figure(axes.figure, path)


def depth(document: Any, path: Path) -> None:
    """Draw accuracy by depth, a panel for each data set: the mean, and each seed."""
    settings, runs = document["settings"], document["results"]
    figure, panels = pyplot().subplots(1, len(settings["data"]), figsize=(9, 4), layout="constrained", squeeze=False)
    for axes, data in zip(panels[0], settings["data"], strict=True):
        for arm, colour in zip(settings["arms"], ("tab:blue", "tab:red"), strict=False):
            own = [run for run in runs if (run["data"], run["arm"]) == (data, arm)]
            each = {
                d: [100 * run["accuracy"][str(d)] for run in own if str(d) in run["accuracy"]]
                for d in settings["depths"]
            }
            axes.plot(list(each), [statistics.mean(values) for values in each.values()], color=colour, label=arm)
            for depth, values in each.items():
                axes.plot([depth] * len(values), values, ".", color=colour)
        axes.set_xscale("log", base=2)
        axes.set_title(data)
        axes.set_xlabel(f"layers of {settings['width']}")
        axes.set_ylabel("test accuracy, %")
    panels[0][0].legend()
    save_figure(figure, path)


def time_to_accuracy(document: Any, path: Path) -> None:
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


def best_so_far(runs: Runs) -> list[tuple[float, float]]:
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


DRAWN = {draw.__name__.replace("_", "-"): draw for draw in (budget, budget_speed, depth, time_to_accuracy)}


if __name__ == "__main__":
    for result in map(Path, sys.argv[1:]):
        document = json.loads(result.read_text())
        DRAWN[document["benchmark"]](document, HERE / "figures" / f"{document['benchmark']}.svg")
