"""Memory and speed of training beside backpropagation: `ffedge bench` with all arms, sweeps and figures.

    python bench/backprop.py --memory                                # every arm, 4 layers of 500
    python bench/backprop.py --memory --sweep depth --widths 500     # or width, batch
    python bench/backprop.py --speed

Results stand in a folder; what stands there is not measured again. README.md says how to read them.
"""

import argparse
import dataclasses
import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from all_arms import SWEPT
from common import MIB, PATHS, pyplot, save_figure

from ffedge.cli.bench import print_memory, print_speed
from ffedge.compare import memory, speed
from ffedge.compare.arms import Work, chosen_arms
from ffedge.compare.runner import Runner, document
from ffedge.rule.optimizer import MOMENTS

SWEEPS = {"depth": (2, 4, 8, 16, 32), "width": (250, 500, 1000, 2000, 4000), "batch": (1, 8, 64, 256, 1024)}
LABELS = {"depth": "layers", "width": "units of a layer", "batch": "samples of a batch"}
BOUND = "one layer's state and one batch"
Point = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    measure = parser.add_mutually_exclusive_group(required=True)
    measure.add_argument("--memory", action="store_true")
    measure.add_argument("--speed", action="store_true")
    parser.add_argument("--sweep", choices=SWEEPS, help="of memory")
    parser.add_argument(
        "--arms", type=lambda text: text.split(","), default=[], help="(default: all; of a sweep a few)"
    )
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--targets", nargs="+", type=float, default=[], help="of speed: accuracies to reach")
    parser.add_argument("--widths", type=lambda text: tuple(map(int, text.split(","))))
    for name in ("batch-size", "rows", "epochs", "seed", "threads"):
        parser.add_argument(f"--{name}", type=int)
    parser.add_argument("--data")
    parser.add_argument("--out", type=Path, default=Path("bench-backprop"))
    options = parser.parse_args()
    names = [f.name for f in dataclasses.fields(Work) if f.name != "data_dir"]
    changes = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    runner = Runner(options.out / "measures.jsonl", "all_arms", PATHS)
    if options.speed:
        result = speed.compare(runner, changes, options.arms, options.repeat, options.targets)
        print_speed(result)
        draw_speed(result, options.out / "speed.svg")
    else:
        arms = chosen_arms(options.arms or (SWEPT if options.sweep else ()))
        points = sweep(runner, arms, Work(**changes), options.sweep, options.repeat)
        result = document("memory", sweep=options.sweep, points=points)
        for point in points:
            print(point["value"] or "")
            print_memory(point)
        draw_memory(points, options.sweep, options.out / f"{stem(options.sweep)}.svg")
    path = options.out / f"{'speed' if options.speed else stem(options.sweep)}.json"
    path.write_text(json.dumps(result, indent=1) + "\n")
    print(path)


def stem(sweep: str | None) -> str:
    return f"memory-{sweep}" if sweep else "memory"


def sweep(runner: Runner, arms: Sequence[str], work: Work, swept: str | None, repeat: int) -> list[Point]:
    """Measure the arms at every value of a sweep, or at the work as it is."""
    if swept is None:
        return [memory.point(runner, arms, work, repeat)]
    return [memory.point(runner, arms, at(work, swept, value), repeat, value) for value in SWEEPS[swept]]


def at(work: Work, swept: str, value: int) -> Work:
    """Return the work at a value: layers of the first width, units of all layers, or samples of a batch."""
    if swept == "batch":
        return dataclasses.replace(work, batch_size=value)
    widths = work.widths[:1] * value if swept == "depth" else (value,) * len(work.widths)
    return dataclasses.replace(work, widths=widths)


def bound_bytes(point: Point, optimizer: str = "adam") -> int:
    """Return what layer-by-layer training cannot go below: one layer's weights, gradients and moments, and a batch.

    The layer is the largest; the batch's rows are one true and one wrong label of each sample, into and out of it.
    """
    sizes = (point["runs"][0][0]["inputs"], *point["work"]["widths"])
    layers = [(i * o + o) * (2 + len(MOMENTS[optimizer])) for i, o in itertools.pairwise(sizes)]
    rows = max((i + o) * 2 * point["work"]["batch_size"] for i, o in itertools.pairwise(sizes))
    return 4 * (max(layers) + rows)


def over_imports(point: Point, arm: str) -> int:
    """Return an arm's median peak over its imports."""
    return next(m["peak_over_imports_bytes"] for m in point["measures"] if m["arm"] == arm)


def crossover(points: Sequence[Point], arm: str, other: str) -> float | None:
    """Return from which value on an arm's peak over imports stays below another's, between points on a straight line.

    None where it does not at the last value.
    """
    gaps = [(float(p["value"]), over_imports(p, arm) - over_imports(p, other)) for p in points]
    if gaps[-1][1] >= 0:
        return None
    for (left, above), (right, below) in reversed(list(itertools.pairwise(gaps))):
        if above >= 0:
            return left + (right - left) * above / (above - below)
    return gaps[0][0]


def draw_memory(points: Sequence[Point], swept: str | None, path: Path) -> None:
    """Draw the peak over imports of each arm, as bars or, for a sweep, as curves, with the lower bound beside them.

    The medians of the runs; a bar's line reaches from the least to the greatest.
    """
    figure, axes = pyplot().subplots(figsize=(8, 4.5 if swept else 6), layout="constrained")
    arms = [measure["arm"] for measure in points[0]["measures"]]
    if swept is None:
        runs = [[run["peak_over_imports_bytes"] / MIB for run in own] for own in points[0]["runs"]][::-1]
        peaks = [over_imports(points[0], arm) / MIB for arm in arms[::-1]]
        reach = zip(*([peak - min(own), max(own) - peak] for peak, own in zip(peaks, runs, strict=True)), strict=True)
        axes.barh(arms[::-1], peaks, xerr=tuple(reach))
        axes.axvline(bound_bytes(points[0]) / MIB, color="black", linestyle=":", label=BOUND)
        axes.set_xlabel("peak resident memory over imports, MiB")
    else:
        values = [point["value"] for point in points]
        for arm in arms:
            style = "-" if arm.startswith("ffedge") else "--"
            axes.plot(values, [over_imports(p, arm) / MIB for p in points], marker="o", linestyle=style, label=arm)
        axes.plot(values, [bound_bytes(p) / MIB for p in points], color="black", linestyle=":", label=BOUND)
        axes.set_xscale("log", base=2)
        axes.set_xticks(values, map(str, values))
        axes.set_xlabel(LABELS[swept])
        axes.set_ylabel("peak resident memory over imports, MiB")
    axes.legend()
    save_figure(figure, path)


def draw_speed(result: dict[str, Any], path: Path) -> None:
    """Draw each arm's accuracy over its seconds of training, its first run, with the targets."""
    figure, axes = pyplot().subplots(figsize=(9, 5.5), layout="constrained")
    for arm in result["arms"]:
        points = arm["runs"][0]["points"]
        style = "-" if arm["arm"].startswith("ffedge") else "--"
        seconds, accuracies = zip(*((p["seconds"], p["accuracy"]) for p in points), strict=True)
        axes.plot(seconds, accuracies, style, label=arm["arm"], linewidth=1)
    for target in result["targets"]:
        axes.axhline(target, color="black", linestyle=":", linewidth=1)
    axes.set_ylim(max(0.0, min(result["targets"]) - 0.15), 1.0)
    axes.set_xscale("log")
    axes.set_xlabel("seconds of training, evaluation left out")
    axes.set_ylabel("accuracy on the held-out rows")
    axes.legend(fontsize="x-small", loc="lower right")
    save_figure(figure, path)


if __name__ == "__main__":
    main()
