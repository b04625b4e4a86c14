"""Figures of comparisons, by matplotlib: PNG and SVG."""

from collections.abc import Sequence
from pathlib import Path

from ffedge.compare.memory import Point
from ffedge.errors import FfedgeError

MIB = 2**20
LABELS = {"depth": "layers", "width": "units of a layer", "batch": "samples of a batch"}


def draw(found: Sequence[Point], sweep: str | None, bounds: Sequence[int], out: Path) -> list[Path]:
    """Draw the peak over imports of each arm, as bars or, for a sweep, as curves with the lower bound beside them.

    Parameters
    ----------
    bounds : lower bound of each point, bytes.
    out : path without ending.

    Raises
    ------
    FfedgeError
        matplotlib is not installed.
    """
    try:
        import matplotlib as mpl
    except ModuleNotFoundError as error:
        raise FfedgeError(
            "figures need matplotlib, which is not installed. Run: pip install 'ffedge[bench]'"
        ) from error
    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(8, 4.5), layout="constrained")
    arms = [measure.arm for measure in found[0].measures]
    peaks = {arm: [p.measures[i].peak_over_imports_bytes / MIB for p in found] for i, arm in enumerate(arms)}
    if sweep is None:
        axes.barh(arms[::-1], [peaks[arm][0] for arm in arms[::-1]])
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
    paths = [out.with_suffix(ending) for ending in (".png", ".svg")]
    for path in paths:
        figure.savefig(path, dpi=120)
    plt.close(figure)
    return paths
