"""What a model forgets that learns without kept examples, and what would protect it.

    python bench/forgetting.py --seeds 0 1

Three days: rows of one class that the model knows (another one for each seed), rows of a class that it does not know,
and inverted rows of all classes. The first and the last learn from the committed models and half of the test rows, and
are measured on the other half; for the second a network learns nine classes, and is measured on all test rows
(2,000 of each kind at most).

Ways to learn, each by `ffedge.Learner` in batches of 32: plainly, at the stored rates, a tenth (as it comes) and
a hundredth; anchored, at a tenth: after each step each weight goes 5 % of the way back to where it stood; nothing but
the rows of V of the day's classes, at a third; with kept examples, at a tenth. Rates and shares were chosen on held-out
training rows of MNIST and other networks.
"""

import argparse
import json
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from common import ROOT, arguments, table, write_results
from numpy.typing import NDArray

import ffedge
from ffedge.data import load
from ffedge.learning.classes import opened
from ffedge.learning.learner import Learner
from ffedge.training.replay import KEPT_BYTES, keep, kept_file, no_examples

Array = NDArray[Any]
Pair = tuple[Array, Array]
MODELS = {"mnist": "mnist-acff", "fashion-mnist": "fashion-acff"}
BATCH, CLASSES = 32, 10
ACCURACIES = ("old_before", "old_after", "new_before", "new_after")


@dataclass(frozen=True)
class Way:
    """A way to learn.

    Attributes
    ----------
    rate : of the stored ones.
    anchor : share of the way back to where a weight stood, after each step.
    label_rows : whether nothing but V's rows of the day's classes learns.
    replay : share of kept examples.
    """

    rate: float = 0.1
    anchor: float = 0.0
    label_rows: bool = False
    replay: float = 0.0


WAYS = {
    "plain, stored rates": Way(rate=1.0),
    "plain, a tenth": Way(),
    "plain, a hundredth": Way(rate=0.01),
    "anchored": Way(anchor=0.05),
    "rows of V alone": Way(rate=0.33, label_rows=True),
    "with kept examples": Way(replay=0.5),
}


def main() -> None:
    """Let each model learn each day in each way, and write the result."""
    parser = arguments(__doc__)
    parser.add_argument("--data", nargs="+", default=list(MODELS), choices=list(MODELS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--rows", type=int, default=150, help="of a day")
    parser.add_argument("--epochs", type=int, default=5, help="over a day's rows")
    parser.add_argument("--test-rows", type=int, default=2000, help="that accuracy is measured on, at most")
    parser.add_argument("--base-epochs", type=int, default=2, help="of each layer, of the network of nine classes")
    options = parser.parse_args()
    runs = [run for data in options.data for seed in options.seeds for run in days(data, seed, options)]
    rows = [
        [run["data"], run["day"], run["way"], run["seed"], *(f"{100 * run[key]:.2f}" for key in ACCURACIES)]
        for run in runs
    ]
    print(table(["data", "day", "way", "seed", *ACCURACIES], rows))
    write_results("forgetting", options, runs, ["onnxruntime"])


def days(data: str, seed: int, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Learn three days in all ways."""
    dataset, rng, runs = load(data), np.random.default_rng(seed), list[dict[str, Any]]()
    assert dataset.test is not None
    train, test = (
        (split.inputs.take(np.arange(len(split.labels))), np.asarray(split.labels[np.arange(len(split.labels))], int))
        for split in (dataset.train, dataset.test)
    )
    order = rng.permutation(len(test[1]))
    first, rest = chosen(test, order[: len(order) // 2]), chosen(test, order[len(order) // 2 :])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copy(ROOT / "models" / MODELS[data] / "model.onnx", folder / "ten.onnx")
        one = chosen(first, first[1] == seed % CLASSES)
        inverted = chosen((255 - first[0], first[1]), slice(options.rows))
        new = CLASSES - 1
        nine = chosen(train, train[1] != new)
        ninth = nine_classes(folder, nine, seed, options)
        added = chosen(chosen(train, train[1] == new), rng.permutation((train[1] == new).sum())[: options.rows])
        for model, day, rows, old, others in (
            (folder / "ten.onnx", "one class", chosen(one, slice(options.rows)), rest, chosen(rest, rest[1] == seed)),
            (ninth, "new class", added, chosen(test, test[1] != new), chosen(test, test[1] == new)),
            (folder / "ten.onnx", "inverted", inverted, rest, (255 - rest[0], rest[1])),
        ):
            before = nine if model == ninth else train
            write_kept(model, dataset.train, np.flatnonzero(train[1] != new) if before is nine else None, seed)
            tests = tuple(chosen(part, slice(options.test_rows)) for part in (old, others))
            with Learner(model, kept_bytes=0, force=True, threads=1) as learner:
                was = [accuracy(learner, part) for part in tests]
            for named, way in WAYS.items():
                now = learnt(model, rows, way, seed, options.epochs, tests)
                told = dict(zip(ACCURACIES, (was[0], now[0], was[1], now[1]), strict=True))
                runs.append({"data": data, "day": day, "way": named, "seed": seed, "rows": len(rows[1]), **told})
                print(json.dumps(runs[-1]), file=sys.stderr, flush=True)
    return runs


def chosen(rows: Pair, which: Any) -> Pair:
    """Return some rows."""
    return rows[0][which], rows[1][which]


def nine_classes(folder: Path, rows: Pair, seed: int, options: argparse.Namespace) -> Path:
    """Train a network of the classes before the last; return its file, to which the last one is added."""
    from ffedge.learning import classes
    from ffedge.model.write import write_model

    np.savez(folder / "nine.npz", x=rows[0], y=rows[1])
    spec = ffedge.Spec.make(epochs=options.base_epochs, widths=(500, 500), seed=seed, threads=1)
    start = opened(ffedge.train(spec, folder / "nine.npz", folder / "nine", kept_bytes=0).model)
    grown = classes.with_classes(start, [str(CLASSES - 1)])
    layers = [grown.layer(index) for index in range(2)]
    write_model(folder / "grown.onnx", grown.recipe, grown.facts, layers, start.metadata, None)
    return folder / "grown.onnx"


def write_kept(model: Path, split: Any, which: Array | None, seed: int) -> None:
    """Put kept examples beside a model, as `ffedge train` does: a fifth of the room to check by."""
    facts = opened(model).facts
    order = np.random.default_rng(seed).permutation(len(split.labels) if which is None else which)
    cut, none = len(order) // 5, no_examples(facts)
    keep(kept_file(model), facts, (none, none), ((split, order[cut:]), (split, order[:cut])), KEPT_BYTES, seed)


def learnt(model: Path, rows: Pair, way: Way, seed: int, epochs: int, tests: tuple[Pair, ...]) -> list[float]:
    """Return accuracy on old and new test rows after a model has learnt some rows in a way."""
    stored = opened(model).recipe.train.rate
    learner = Learner(
        model,
        rate=[way.rate * rate for rate in stored],
        kept_bytes=KEPT_BYTES if way.replay else 0,
        replay_share=way.replay,
        force=True,
        threads=1,
        seed=seed,
    )
    state = learner._engine.state()
    stood = [{name: layer[name].copy() for name in layer if "." not in name} for layer in state]
    rng = np.random.default_rng(seed)
    for _ in range(epochs):
        order = rng.permutation(len(rows[1]))
        for at in range(0, len(order), BATCH):
            learner.observe(*chosen(rows, order[at : at + BATCH]))
            for layer, old in zip(learner._engine.state(), stood, strict=True):
                protect(layer, old, way, np.unique(rows[1]))
    return [accuracy(learner, test) for test in tests]


def protect(layer: dict[str, Array], stood: dict[str, Array], way: Way, day: Array) -> None:
    """Move a layer's parameters towards where they stood, or all but some rows of V back there."""
    for name, old in stood.items():
        if way.anchor:
            layer[name] += np.float32(way.anchor) * (old - layer[name])
        if way.label_rows:
            learnt_rows = layer[name][day] if name == "V" else None
            layer[name][...] = old
            if learnt_rows is not None:
                layer[name][day] = learnt_rows


def accuracy(learner: Learner, rows: Pair) -> float:
    """Return a learner's accuracy."""
    return float((learner.predict(rows[0]).label == rows[1]).mean())


if __name__ == "__main__":
    main()
