"""What each exported form costs in accuracy, and its bytes: data sets x forms x seeds, by ``ffedge export --form``.

    python bench/forms.py --epochs 15 --seeds 0 1 2

A form is made by the held-out rows of training; the test set is read once a form, for this report. Latency is
`predict_latency.py`'s.
"""

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

from common import arguments, ffedge, table, write_results

from ffedge.model.form import FORMS

MODEL = "model"


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--data", nargs="+", default=["mnist", "fashion-mnist"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    runs = [run for data in options.data for seed in options.seeds for run in forms_of(data, seed, options)]
    print(table(["data", "form", "test accuracy %, each seed", "labels tried", "bytes"], summary(runs, options.seeds)))
    write_results("forms", options, runs, ["onnx"])


def forms_of(data: str, seed: int, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Train a model, and return what is known of each of its forms; any loss is allowed, as it is what is measured."""
    runs = []
    with tempfile.TemporaryDirectory() as folder:
        run, words = Path(folder) / "run", ["--seed", seed, "--epochs", options.epochs, "--threads", options.threads]
        ffedge("train", "--data", data, *words, "--out", run)
        for name in (MODEL, *FORMS):
            path = Path(folder) / f"{name}.onnx"
            form = [] if name == MODEL else ["--form", name, "--max-loss", 100, "--data", data]
            made = ffedge("export", run, "--out", path, *form)
            found = ffedge("eval", path, "--data", data, "--threads", options.threads)
            kept = {key: made.get(key) for key in ("bytes", "accuracy", "lost", "candidates")}
            runs.append({"data_name": data, "seed": seed, "form": name, "test_accuracy": found["accuracy"]} | kept)
            print(f"{data} seed {seed} {name}: {100 * found['accuracy']:.2f} %", file=sys.stderr, flush=True)
    return runs


def summary(runs: list[dict[str, Any]], seeds: list[int]) -> list[list[str]]:
    """Return the rows of the table."""
    rows = []
    for data in dict.fromkeys(run["data_name"] for run in runs):
        for form in (MODEL, *FORMS):
            own = [run for run in runs if (run["data_name"], run["form"]) == (data, form)]
            assert len(own) == len(seeds)
            tried = {run["candidates"] for run in own} - {None}
            each = " ".join(f"{100 * run['test_accuracy']:.2f}" for run in own)
            rows.append([data, form, each, " ".join(map(str, sorted(tried))) or "all", str(own[0]["bytes"])])
    return rows


if __name__ == "__main__":
    main()
