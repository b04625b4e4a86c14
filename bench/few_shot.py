"""New classes from five examples each, session by session, in the protocol of NeuroBench's keyword task.

    python bench/few_shot.py --seeds 0

A network learns 100 words. Then come ten sessions, each of ten words of another language, five shots a word, learnt by
`ffedge.learn(..., add_new=True)` from the file that the session before left. After each session all classes so far are
tested, among all of them. NeuroBench's recordings cannot be had here: the words are synthetic (`keywords`).

Ways to learn a session. The protocol lets a way store one mean of each class (a prototype), but no rows of before:

    plain                           the shots, nothing else
    class means, the known still    the shots and the mean row of each class so far; only what is new learns
    kept examples                   the shots, and rows that ffedge keeps beside the model, which the protocol forbids
    kept examples, the known still  the same, and only what is new learns

Beside them the nearest class mean, of the inputs and of the first layer's activity, which learns nothing in a session.
Epochs and batch were chosen on other words (seed 1000).
"""

import argparse
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from common import arguments, table, write_results
from keywords import Part, keywords
from learn import accuracy
from numpy.typing import NDArray

import ffedge
from ffedge.learning.classes import opened
from ffedge.training.replay import kept_file

Array = NDArray[Any]
KINDS = ("tried", "groups", "readout")
WAYS: dict[str, dict[str, Any]] = {
    "plain": {"kept_bytes": 0, "replay_share": 0.0},
    "class means, the known still": {"kept_bytes": 0, "replay_share": 0.0, "anchor": 1.0},
    "kept examples": {},
    "kept examples, the known still": {"anchor": 1.0},
}


def main() -> None:
    """Learn all sessions in each way, and write the result."""
    parser = arguments(__doc__)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--ways", nargs="+", choices=list(WAYS), default=list(WAYS))
    parser.add_argument("--sessions", type=int, default=10)
    parser.add_argument("--width", type=int, default=400, help="of both layers")
    parser.add_argument("--base-rows", type=int, default=100, help="of each base class")
    parser.add_argument("--base-epochs", type=int, default=6, help="of each layer")
    parser.add_argument("--test-rows", type=int, default=10, help="of each class")
    parser.add_argument("--epochs", type=int, default=30, help="of each layer, in a session")
    parser.add_argument("--batch-size", type=int, default=32, help="in a session")
    options = parser.parse_args()
    runs = [run for seed in options.seeds for run in arms(seed, options)]
    columns = ["network", "way", "seed", *map(str, range(options.sessions + 1)), "mean"]
    rows = []
    for run in runs:
        each = [*run["accuracy"], np.mean(run["accuracy"])]
        rows.append([run["kind"], run["way"], run["seed"], *(f"{100 * one:.1f}" for one in each)])
    print(table(columns, rows))
    write_results("few-shot", options, runs, ["onnxruntime"])


def arms(seed: int, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Return what every way reaches on a seed's words."""
    parts = keywords(seed, options.base_rows, options.test_rows)[: options.sessions + 1]
    runs = [nearest("-", lambda rows: rows, "nearest mean of inputs", seed, parts)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        order = np.random.default_rng(seed).permutation(len(parts[0].labels))
        np.savez(folder / "base.npz", x=parts[0].rows[order], y=parts[0].labels[order])
        for kind in options.kinds:
            widths, epochs = (options.width, options.width), options.base_epochs
            spec = ffedge.Spec.make(class_goodness=kind, widths=widths, epochs=epochs, seed=seed, threads=1)
            base = Path(ffedge.train(spec, folder / "base.npz", folder / kind, progress=False).model)
            for way in options.ways:
                runs.append(sessions(kind, base, way, seed, parts, options))
                print(json.dumps(runs[-1]), file=sys.stderr, flush=True)
            if kind != "tried":  # whose layers see the label that is tried
                runs.append(nearest(kind, activity(base), "nearest mean of the first layer", seed, parts))
    return runs


def sessions(
    kind: str, base: Path, way: str, seed: int, parts: list[Part], options: argparse.Namespace
) -> dict[str, Any]:
    """Let a copy of a model learn session by session; return its accuracy after each."""
    model, settings = base.with_name("grown.onnx"), WAYS[way]
    shutil.copy(base, model)
    kept_file(model).unlink(missing_ok=True)
    if settings.get("kept_bytes") != 0:
        shutil.copy(kept_file(base), kept_file(model))
    reached, learnt_s, kept_rows = [accuracy(model, _tests(parts[:1]))], 0.0, 0
    means = way.startswith("class means")
    for number in range(1, len(parts)):
        rows = [parts[number].rows, *(_means(parts[:number]) if means else ())]
        labels = [parts[number].labels, *([np.arange(parts[number].labels[0])] if means else ())]
        np.savez(base.with_name("shots.npz"), x=np.concatenate(rows), y=np.concatenate(labels))
        began = time.process_time()
        found = ffedge.learn(
            model,
            base.with_name("shots.npz"),
            add_new=True,
            force=True,
            max_drop=1.0,
            holdout=0.0,
            epochs=options.epochs,
            batch_size=options.batch_size,
            seed=seed,
            threads=1,
            progress=False,
            **settings,
        )
        learnt_s += time.process_time() - began
        kept_rows = found.kept_rows
        reached.append(accuracy(model, _tests(parts[: number + 1])))
    apart = [accuracy(model, _tests(some)) for some in (parts[:1], parts[1:])]
    return _run(kind, way, seed, reached, apart) | {"kept_rows": kept_rows, "learn_cpu_s": learnt_s}


def nearest(kind: str, features: Any, way: str, seed: int, parts: list[Part]) -> dict[str, Any]:
    """Return what the nearest class mean reaches, of some features of the rows."""
    reached = []
    for number in range(1, len(parts) + 1):
        means = np.concatenate(_means(parts[:number], features))
        right = [_nearest(features(part.test_rows), means) == part.test_labels for part in parts[:number]]
        reached.append(float(np.concatenate(right).mean()))
    return _run(kind, way, seed, reached, [float(np.concatenate(some).mean()) for some in (right[:1], right[1:])])


def activity(model: Path) -> Any:
    """Return what gives the first layer's activity of rows, each row with a mean square of 1."""
    start = opened(model)
    layer, offset, scale = start.layer(0), np.array(start.facts.offset), np.array(start.facts.scale)

    def features(rows: Array) -> Array:
        y = np.maximum((rows - offset) * scale @ layer["W"] + layer["b"], 0)
        return y / np.sqrt(np.square(y).mean(axis=1, keepdims=True) + 1e-9)

    return features


def _run(kind: str, way: str, seed: int, reached: list[float], apart: list[float]) -> dict[str, Any]:
    """Sum up an arm; `apart` is its accuracy in the end, on base classes and on those that came."""
    about = {"kind": kind, "way": way, "seed": seed, "accuracy": reached}
    return about | dict(zip(("base_after", "new_after"), apart, strict=True))


def _nearest(rows: Array, means: Array) -> Array:
    return (2 * rows @ means.T - np.square(means).sum(axis=1)).argmax(axis=1)


def _means(parts: list[Part], features: Any = lambda rows: rows) -> list[Array]:
    """Return each part's class means; classes stand side by side, with as many rows each."""
    each = [(features(part.rows), len(np.unique(part.labels))) for part in parts]
    return [rows.reshape(classes, -1, rows.shape[1]).mean(axis=1).astype(np.float32) for rows, classes in each]


def _tests(parts: list[Part]) -> tuple[Array, Array]:
    return np.concatenate([part.test_rows for part in parts]), np.concatenate([part.test_labels for part in parts])


if __name__ == "__main__":
    main()
