"""Figures of comparisons, by matplotlib: PNG and SVG."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ffedge.compare.memory import Point
from ffedge.compare.speed import ArmCurves
from ffedge.errors import FfedgeError

MIB = 2**20
LABELS = {"depth": "layers", "width": "units of a layer", "batch": "samples of a batch"}


def draw_memory(found: Sequence[Point], sweep: str | None, bounds: Sequence[int], out: Path) -> list[Path]:
    """Draw the peak over imports of each arm, as bars or, for a sweep, as curves with the lower bound beside them.

    The medians of the runs; a bar's line reaches from the least to the greatest.

    Parameters
    ----------
    bounds : lower bound of each point, bytes.
    out : path without ending.

    Raises
    ------
    FfedgeError
        matplotlib is not installed.
    """
    plt = pyplot()
    figure, axes = plt.subplots(figsize=(8, 4.5 if sweep else 6), layout="constrained")
    arms = [measure.arm for measure in found[0].measures]
    peaks = {arm: [p.measures[i].peak_over_imports_bytes / MIB for p in found] for i, arm in enumerate(arms)}
    if sweep is None:
        runs = [[run.peak_over_imports_bytes / MIB for run in found[0].runs[i]] for i in range(len(arms))]
        reach = [[peaks[arm][0] - min(own), max(own) - peaks[arm][0]] for arm, own in zip(arms, runs, strict=True)]
        below, above = zip(*reach[::-1], strict=True)
        axes.barh(arms[::-1], [peaks[arm][0] for arm in arms[::-1]], xerr=(below, above))
        axes.axvline(bounds[0] / MIB, color="black", linestyle=":", label="one layer's state and one batch")
        axes.set_xlabel("peak resident memory over imports, MiB")
    else:
        values = [point.value or 0 for point in found]
        for arm, line in peaks.items():
            axes.plot(values, line, marker="o", linestyle="-" if arm.startswith("ffedge") else "--", label=arm)
        axes.plot(
            values, [b / MIB for b in bounds], color="black", linestyle=":", label="one layer's state and one batch"
        )
        axes.set_xscale("log", base=2)
        axes.set_xticks(values, [str(value) for value in values])
        axes.set_xlabel(LABELS[sweep])
        axes.set_ylabel("peak resident memory over imports, MiB")
    axes.legend()
    return saved(figure, out)


def draw_speed(found: Sequence[ArmCurves], targets: Sequence[float], out: Path) -> list[Path]:
    """Draw each arm's accuracy over its seconds of training, its first run, with the targets.

    Raises
    ------
    FfedgeError
        matplotlib is not installed.
    """
    figure, axes = pyplot().subplots(figsize=(9, 5.5), layout="constrained")
    for arm in found:
        points = arm.runs[0].points
        style = "-" if arm.arm.startswith("ffedge") else "--"
        axes.plot([p.seconds for p in points], [p.accuracy for p in points], style, label=arm.arm, linewidth=1)
    for target in targets:
        axes.axhline(target, color="black", linestyle=":", linewidth=1)
    best = max(point.accuracy for arm in found for point in arm.runs[0].points)
    axes.set_ylim(max(0.0, min(targets) - 0.15), min(1.0, max(best, *targets) + 0.01))
    axes.set_xscale("log")
    axes.set_xlabel("seconds of training, evaluation left out")
    axes.set_ylabel("accuracy on the held-out rows")
    axes.legend(fontsize="x-small", loc="lower right")
    return saved(figure, out)


def pyplot() -> Any:
    """Return matplotlib's, without a screen; FfedgeError where it is not installed."""
    try:
        import matplotlib as mpl
    except ModuleNotFoundError as error:
        raise FfedgeError(
            "figures need matplotlib, which is not installed. Run: pip install 'ffedge[bench]'"
        ) from error
    mpl.use("Agg")
    import matplotlib.pyplot as plt

    return plt


def saved(figure: Any, out: Path) -> list[Path]:
    """Write a figure as PNG and SVG, close it, and return the files."""
    paths = [out.with_suffix(ending) for ending in (".png", ".svg")]
    for path in paths:
        figure.savefig(path, dpi=120)
    pyplot().close(figure)
    return paths
