"""Draws what bench/depth.py measured: ``python bench/depth_figures.py RESULT`` writes bench/figures/depth.svg."""

import json
import statistics
import sys
from pathlib import Path
from typing import Any

from common import HERE, pyplot, save_figure


def draw(document: dict[str, Any], path: Path) -> None:
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


if __name__ == "__main__":
    draw(json.loads(Path(sys.argv[1]).read_text()), HERE / "figures" / "depth.svg")
