"""Seconds, memory and accuracy by depth: ffedge's ways through a deep network beside backpropagation.

    python bench/depth_time.py
    python bench/depth_time.py --depths 16 --rows 0 --epochs 5 --rounds 1 --name depth-time-whole

Each arm is a new process; the arms take turns, and ratios are taken within a round. A layer of a greedy network learns
as many epochs as the whole network of the others. What the seconds hold, and the settings, stand in `depth_arms`.
Results are kept as they come, so that a run can be stopped and begun again.
"""

import argparse
import statistics
from functools import partial
from pathlib import Path
from typing import Any

from common import MIB, PATHS, Lines, arguments, table, write_results
from depth_arms import BACKPROP, FFEDGE

from ffedge.compare.child import ask
from ffedge.compare.runner import ratios, spread_text, thread_variables


def main() -> None:
    """Measure what is not there yet, and write the result."""
    parser = arguments(__doc__)
    parser.add_argument("--depths", nargs="+", type=int, default=[4, 8, 16, 32])
    parser.add_argument("--arms", nargs="+", default=["groups", "groups-interleaved", *BACKPROP])
    parser.add_argument("--data", default="mnist")
    parser.add_argument("--split", action="store_true", help="measure on rows of the training set")
    parser.add_argument("--width", type=int, default=500)
    parser.add_argument("--rows", type=int, default=12_000, help="to train on, the first ones; 0: all")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--name", default="depth-time", help="of the result file")
    parser.add_argument("--kept", type=Path, default=Path("depth-time.jsonl"), help="results so far, a line each")
    options = parser.parse_args()
    if unknown := set(options.arms) - {*FFEDGE, *BACKPROP}:
        parser.error(f"--arms must be of {', '.join([*FFEDGE, *BACKPROP])}, got {min(unknown)}")
    lines = Lines(options.kept)
    work = {name: getattr(options, name) for name in ("data", "split", "width", "rows", "epochs", "threads")}
    runs = [
        lines.take(request, partial(measure, request))
        for turn in range(options.rounds)
        for depth in options.depths
        for request in ({"name": arm, "depth": depth, "seed": turn} | work for arm in options.arms)
    ]
    for depth in options.depths:
        print(report(depth, [run for run in runs if run["depth"] == depth], options), end="\n\n")
    write_results(
        options.name,
        options,
        runs,
        ["onnxruntime", "torch"],
        ffedge={arm: FFEDGE[arm] for arm in options.arms if arm in FFEDGE},
    )


def measure(request: dict[str, Any]) -> dict[str, Any]:
    """Run one arm in a process of its own."""
    return dict(ask("depth_arms", request, thread_variables(request["threads"]) | PATHS))


def report(depth: int, runs: list[dict[str, Any]], options: argparse.Namespace) -> str:
    """Lay out the arms of a depth: seconds, their ratio to backprop's within a round, memory, accuracy."""
    own = {arm: [run for run in runs if run["name"] == arm] for arm in options.arms}
    seconds = {arm: [run["processor_s"] / options.epochs for run in each] for arm, each in own.items()}
    beside = ratios(seconds, [(arm, BACKPROP[0]) for arm in options.arms]) if BACKPROP[0] in own else {}
    rows = [
        [
            arm,
            spread_text(seconds[arm]),
            spread_text(beside.get(f"{arm} / {BACKPROP[0]}", [0.0])),
            f"{statistics.median(run['rss_peak_bytes'] for run in each) / MIB:.0f}",
            f"{100 * statistics.mean(run['test_accuracy'] for run in each):.2f}",
        ]
        for arm, each in own.items()
    ]
    head = (f"{depth} layers", "processor s an epoch", "times backprop's", "peak MiB", "test accuracy, %")
    return table(head, rows)


if __name__ == "__main__":
    main()
