"""Figures as the NetworkFF paper has them, from our trials, beside the paper's numbers."""

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from common import pyplot, save_figure
from paper_tables import DATA_NAMES, NAMES, PUBLISHED, Group
from paper_trials import ARMS

COLOURS = {"ff": "tab:blue", "fcff": "tab:orange", "acff": "tab:green"}


def draw(found: Sequence[Group], out: Path) -> None:
    """Draw ``paper-progress`` (its Fig. 2 and 3), ``paper-bars`` (Fig. 1 and 4) and ``paper-gamma`` into a folder.

    Of each data set the group with the most trials is drawn.

    Raises
    ------
    FfedgeError
        matplotlib is not installed.
    """
    every = shown(found)
    learnt = [group for group in every if "acff" in group.found]
    pictures = {"progress": (_progress, 4.5, every), "bars": (_bars, 4.5, every), "gamma": (_gamma, 3.5, learnt)}
    for name, (paint, height, main) in pictures.items():
        if not main:
            continue
        figure, axes = pyplot().subplots(
            1, len(main), figsize=(6 * len(main), height), layout="constrained", squeeze=False
        )
        for ax, group in zip(axes[0], main, strict=True):
            paint(ax, group)
            seeds = f"{group.seeds} seeds" if group.seeds != 1 else "1 seed"
            ax.set_title(
                f"{DATA_NAMES.get(group.data, group.data)}: {group.rows:,} rows, {group.epochs} epochs a layer, {seeds}"
            )
        save_figure(figure, out / f"paper-{name}.svg")


def shown(found: Sequence[Group]) -> list[Group]:
    """Return of each data set the group of the preset with the most trials."""
    best: dict[str, Group] = {}
    for group in found:
        if group.point == "paper" and (group.data not in best or group.size > best[group.data].size):
            best[group.data] = group
    return list(best.values())


def curve(group: Group, arm: str, name: str) -> tuple[list[int], list[list[float]]]:
    """Return the epochs at which all seeds have a value, counted on over the layers, and each seed's values."""
    traces = [each.trace for _, each in sorted(group.found[arm].items())]
    epochs, values = [], []
    for layer in range(len(traces[0])):
        for epoch, each in enumerate(zip(*(trace[layer][name] for trace in traces), strict=True)):
            numbers = [value for value in each if value is not None]
            if len(numbers) == len(each):
                epochs.append(layer * group.epochs + epoch + 1)
                values.append(numbers)
    return epochs, [list(seed) for seed in zip(*values, strict=True)]


def log_scale(accuracy: Any) -> Any:
    """Return ln(1 + accuracy in percent): the scale on which the paper's last values are its training accuracies."""
    return np.log1p(100 * accuracy)


def _progress(ax: Any, group: Group) -> None:
    """Plot the training accuracy, layer after layer: mean and range of seeds."""
    for arm in (arm for arm in ARMS if arm in group.found):
        epochs, seeds = curve(group, arm, "accuracy_sum")
        logs = log_scale(np.array(seeds))
        ax.plot(epochs, logs.mean(axis=0), color=COLOURS[arm], label=NAMES[arm])
        ax.fill_between(epochs, logs.min(axis=0), logs.max(axis=0), color=COLOURS[arm], alpha=0.2, linewidth=0)
        if group.data in PUBLISHED:
            ax.axhline(log_scale(PUBLISHED[group.data][arm][0] / 100), color=COLOURS[arm], linestyle=":", linewidth=1)
    for layer in range(1, len(next(iter(group.found[group.arms[0]].values())).trace)):
        ax.axvline(layer * group.epochs + 0.5, color="black", linewidth=0.5)
    ax.set_xlabel("epochs, layer after layer; dotted: the paper's last training accuracy")
    ax.set_ylabel("ln(1 + training accuracy in %)")
    ax.legend(loc="lower right")


def _bars(ax: Any, group: Group) -> None:
    """Plot the last training and test accuracy of each arm, the paper's beside ours."""
    arms = [arm for arm in ARMS if arm in group.found]
    places, width = np.arange(len(arms)), 0.2
    ours = [[group.percents(arm, name) for arm in arms] for name in ("train_accuracy", "test_accuracy")]
    for side, (name, colour) in enumerate((("train", "tab:blue"), ("test", "tab:orange"))):
        means = [statistics.mean(each) for each in ours[side]]
        reach = np.array([[m - min(e), max(e) - m] for m, e in zip(means, ours[side], strict=True)]).T
        ax.bar(places + (side - 1) * width, means, width, yerr=reach, color=colour, label=f"{name}, here")
        if group.data in PUBLISHED:
            theirs = [PUBLISHED[group.data][arm][side] for arm in arms]
            ax.bar(
                places + (side + 1) * width, theirs, width, color=colour, alpha=0.4, hatch="//", label=f"{name}, paper"
            )
    least = min(min(each) for one in ours for each in one)
    ax.set_ylim(max(0.0, min(75.0, least - 5)), 100)
    ax.set_xticks(places, [NAMES[arm] for arm in arms])
    ax.set_ylabel("accuracy in %; lines: range of the seeds")
    ax.legend(loc="upper left", ncols=2, fontsize="small")


def _gamma(ax: Any, group: Group) -> None:
    """Plot each layer's gamma of A-CFF over its own epochs, a line a seed."""
    for layer, colour in enumerate(("tab:blue", "tab:orange", "tab:green", "tab:red")):
        for place, each in enumerate(group.found["acff"].values()):
            if layer < len(each.trace):
                line = each.trace[layer]["gamma"]
                label = f"layer {layer}" if place == 0 else None
                ax.plot(range(1, len(line) + 1), line, color=colour, linewidth=1, label=label)
    ax.axhline(1.0, color="black", linestyle=":", linewidth=1)
    ax.set_xscale("log")
    ax.set_xlabel("epochs of the layer; dotted: where gamma begins")
    ax.set_ylabel("gamma of A-CFF")
    ax.legend()
