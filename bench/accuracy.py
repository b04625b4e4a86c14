"""Test accuracy, time and peak memory of ``ffedge train``: data sets x variants x seeds, each run its own process.

    python bench/accuracy.py --data mnist fashion-mnist --epochs 15 --seeds 0 1 2
    python bench/accuracy.py --data mnist --variants fcff --epochs 100 --name accuracy-shifts -- --widths 2000 --shift 1

What follows ``--`` goes to every ``ffedge train`` as it is.
The preset was chosen on a split of the training set; the test set is read once a run, by the report.
"""

import argparse
import statistics
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from common import MIB, Lines, arguments, ffedge, table, write_results

VARIANTS = ("ff", "fcff", "acff")


def main() -> None:
    """Run every combination and write the result."""
    parser = arguments(__doc__)
    parser.add_argument("--data", nargs="+", default=["mnist", "fashion-mnist"])
    parser.add_argument("--variants", nargs="+", default=VARIANTS)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--preset", default="tuned")
    parser.add_argument("--name", default="accuracy", help="of the result file")
    parser.add_argument("--kept", type=Path, default=Path("accuracy.jsonl"), help="results so far, a line each")
    parser.add_argument("flags", nargs="*", help="after --: further flags of ffedge train")
    options = parser.parse_args()
    lines = Lines(options.kept)
    runs = [
        lines.take(
            {"data_name": data, "variant": variant, "seed": seed, "words": words(options)},
            partial(train, data, variant, seed, options),
        )
        for data in options.data
        for variant in options.variants
        for seed in options.seeds
    ]
    rows = [summary(data, variant, runs) for data in options.data for variant in options.variants]
    print(table(["data", "variant", "test accuracy %, mean (each seed)", "seconds", "peak MiB"], rows))
    write_results(options.name, options, runs, ["onnxruntime"])


def words(chosen: argparse.Namespace) -> list[str]:
    """Return what every ``ffedge train`` is told."""
    return [*f"--epochs {chosen.epochs} --threads {chosen.threads} --preset {chosen.preset}".split(), *chosen.flags]


def train(data: str, variant: str, seed: int, chosen: argparse.Namespace) -> dict[str, Any]:
    """Run ``ffedge train`` with the preset and further flags, and return what counts of its report."""
    with tempfile.TemporaryDirectory() as folder:
        own = ["--data", data, "--variant", variant, "--seed", seed, "--out", f"{folder}/run"]
        report = ffedge("train", *own, *words(chosen))
    kept = ("test_accuracy", "train_accuracy", "seconds", "rss_peak_bytes", "import_bytes", "layers", "data", "spec")
    return {key: report[key] for key in kept}


def summary(data: str, variant: str, runs: list[dict[str, Any]]) -> list[str]:
    """Return a row of the table."""
    own = [run for run in runs if run["data_name"] == data and run["variant"] == variant]
    each = [100 * run["test_accuracy"] for run in own]
    return [
        data,
        variant,
        f"{statistics.mean(each):.2f} ({' '.join(f'{value:.2f}' for value in each)})",
        f"{statistics.median(run['seconds'] for run in own):.1f}",
        f"{max(run['rss_peak_bytes'] for run in own) / MIB:.0f}",
    ]


if __name__ == "__main__":
    main()
