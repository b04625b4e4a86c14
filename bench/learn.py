"""Learning on the spot: models that go on learning from their own file, on rows that they have not been made for.

    python bench/learn.py --seeds 0 1 2

(a) A model of MNIST's classes 0 to 7 learns 8 and 9 from a few thousand rows, with and without kept examples.
(b) A model of MNIST learns shifted (by up to 3 pixels), inverted and noisy digits.

Each `ffedge learn` is a process of its own; test accuracy before and after is that of the model file, on the old test
rows and on the new ones. Settings were chosen on held-out training rows; the test set is read once a run, here.
"""

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from common import arguments, ffedge, table, write_results
from numpy.typing import NDArray

from ffedge import Predictor
from ffedge.data import load
from ffedge.data.augment import shifted

Array = NDArray[Any]
Pair = tuple[Array, Array]
NEW_ROWS = 4000
EPOCHS = 5
REPLAY = ["--max-drop", "0.03"]  # more classes, or more kinds of pictures, cost some accuracy on the old ones
NO_REPLAY = ["--replay-share", "0", "--max-drop", "1"]


def noisy(images: Array, rng: np.random.Generator) -> Array:
    """Add Gaussian noise of a deviation of 80 of 255."""
    return np.clip(images + 80.0 * rng.standard_normal(images.shape), 0, 255).astype(np.uint8)


CHANGES: dict[str, Callable[[Array, np.random.Generator], Array]] = {
    "shifted": lambda images, rng: shifted(images, 3, rng),
    "inverted": lambda images, _: 255 - images,
    "noisy": noisy,
}


def main() -> None:
    """Run every case and write the result."""
    parser = arguments(__doc__)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=15, help="of each layer, of the model before")
    parser.add_argument("--learn-epochs", type=int, default=EPOCHS)
    parser.add_argument("--new-rows", type=int, default=NEW_ROWS)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    runs = [run for seed in options.seeds for run in cases(seed, options)]
    rows = [
        [run["case"], run["seed"], *(f"{100 * run[key]:.2f}" for key in ACCURACIES), f"{run['seconds']:.1f}"]
        for run in runs
    ]
    print(table(["case", "seed", "old before", "after", "new before", "after", "seconds"], rows))
    write_results("learn", options, runs, ["onnxruntime"])


ACCURACIES = ("old_before", "old_after", "new_before", "new_after")


def cases(seed: int, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Train two models and let copies of them learn."""
    mnist = load("mnist")
    assert mnist.test is not None
    train, test = (
        (split.inputs.take(np.arange(len(split.labels))), np.asarray(split.labels[np.arange(len(split.labels))], int))
        for split in (mnist.train, mnist.test)
    )
    runs = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        few, rest = train[1] < 8, test[1] < 8
        model = trained(folder / "few", (train[0][few], train[1][few]), seed, options)
        new = some((train[0][~few], train[1][~few]), seed, options.new_rows)
        tests = (test[0][rest], test[1][rest]), (test[0][~rest], test[1][~rest])
        added = ["--add-class", "8", "--add-class", "9"]
        for case, words in (
            ("8 and 9, replay", [*added, *REPLAY]),
            ("8 and 9, no replay", [*added, *NO_REPLAY]),
        ):
            runs.append(learnt(case, model, new, tests, seed, words, options))
        model = trained(folder / "all", train, seed, options)
        for case, change in CHANGES.items():
            rng = np.random.default_rng([seed, 1])
            images, labels = some(train, seed, options.new_rows)
            tests = test, (change(test[0], rng), test[1])
            for kind, words in (("replay", REPLAY), ("no replay", NO_REPLAY)):
                runs.append(
                    learnt(f"{case}, {kind}", model, (change(images, rng), labels), tests, seed, words, options)
                )
    return runs


def some(rows: Pair, seed: int, count: int) -> Pair:
    """Draw some rows."""
    chosen = np.random.default_rng(seed).permutation(len(rows[1]))[:count]
    return rows[0][chosen], rows[1][chosen]


def trained(folder: Path, rows: Pair, seed: int, options: argparse.Namespace) -> Path:
    """Train a model with the preset; return its file."""
    folder.mkdir()
    np.savez(folder / "rows.npz", x=rows[0], y=rows[1])
    words = ["--seed", seed, "--epochs", options.epochs, "--threads", options.threads]
    ffedge("train", "--data", folder / "rows.npz", *words, "--out", folder / "run")
    return folder / "run" / "model.onnx"


def learnt(
    case: str, model: Path, rows: Pair, tests: tuple[Pair, Pair], seed: int, words: list[str], options: Any
) -> dict[str, Any]:
    """Let a copy of a model learn; return accuracy before and after on the old test rows and on the new ones."""
    with tempfile.TemporaryDirectory() as name:
        copy = Path(name) / "model.onnx"
        shutil.copy(model, copy)
        shutil.copy(model.with_name("model.kept.safetensors"), copy.with_name("model.kept.safetensors"))
        np.savez(copy.with_name("rows.npz"), x=rows[0], y=rows[1])
        before = [accuracy(copy, rows) for rows in tests]
        own = ["--seed", seed, "--epochs", options.learn_epochs, "--threads", options.threads]
        found = ffedge("learn", copy, "--data", copy.with_name("rows.npz"), *words, *own)
        after = [accuracy(copy, rows) for rows in tests]
    result = {"case": case, "seed": seed, "new_rows": len(rows[1])}
    result |= dict(zip(ACCURACIES, (before[0], after[0], before[1], after[1]), strict=True))
    kept = ("seconds", "rss_peak_bytes", "import_bytes", "kept_rows", "accepted", "refused")
    result |= {key: found[key] for key in kept}
    print(json.dumps(result), file=sys.stderr, flush=True)
    return result


def accuracy(model: Path, rows: Pair) -> float:
    """Return a model file's accuracy on some rows."""
    return float((Predictor(model, 1).predict(rows[0]).label == rows[1]).mean())


if __name__ == "__main__":
    main()
