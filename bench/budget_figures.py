"""Draws what bench/budget.py measured: ``python bench/budget_figures.py RESULT...`` writes into bench/figures/."""

import json
import sys
from pathlib import Path
from typing import Any

from common import HERE, pyplot, save_figure

MIB = 2**20


def draw_specs(runs: list[dict[str, Any]], path: Path) -> None:
    """Draw measured against planned peaks, and the budgets above them."""
    axes = _axes("planned peak, MiB", "MiB")
    planned = [run["planned_bytes"] / MIB for run in runs]
    axes.plot(planned, [run["budget_bytes"] / MIB for run in runs], "_", color="tab:red", label="budget")
    axes.plot(planned, [run["measured_bytes"] / MIB for run in runs], ".", color="tab:blue", label="measured peak")
    axes.plot(sorted(planned), sorted(planned), color="black", linewidth=0.5, label="as planned")
    _save(axes, path)


def draw_speed(runs: list[dict[str, Any]], path: Path) -> None:
    """Draw the seconds of an epoch against the budget, as a share of those without one."""
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


def main() -> None:
    for file in map(Path, sys.argv[1:]):
        document = json.loads(file.read_text())
        name, results = document["benchmark"], document["results"]
        if name == "budget":
            draw_specs(results["runs"], HERE / "figures" / "budget.svg")
        else:
            draw_speed(results, HERE / "figures" / "budget-speed.svg")


if __name__ == "__main__":
    main()
