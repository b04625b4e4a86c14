"""How soon ffedge.Monitor sees that MNIST's test images changed, and how often it is wrong while they do not.

    python bench/drift.py --seeds 0 1 2       # about ten minutes on one core

Each stream draws test images in a random order, as they are and then changed in one way; the monitor has its defaults.
"""

import argparse
import statistics
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from common import arguments, table, write_results
from numpy.typing import NDArray

import ffedge
from ffedge.predict.predictor import Prediction

Array = NDArray[Any]
STREAMS = 30  # of each change and seed
BEFORE, AFTER = 5000, 5000  # samples of a stream
STEP = 50


def changed(images: Array, other: Array, seed: int) -> dict[str, Array]:
    """Return images [N, 28, 28] changed in several ways."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(0, 1, images.shape)
    return {
        "moved 1 pixel": np.roll(images, 1, axis=2),
        "moved 2 pixels": np.roll(images, 2, axis=2),
        "moved 4 pixels": np.roll(images, 4, axis=2),
        "noise of 20": np.clip(images + 20 * noise, 0, 255).astype(np.uint8),
        "noise of 60": np.clip(images + 60 * noise, 0, 255).astype(np.uint8),
        "half as bright": images // 2,
        "inverted": 255 - images,
        "Fashion-MNIST": other,
    }


def streams(clean: Prediction, strange: Prediction, window: int, calibration: Any, seed: list[int]) -> Iterator[Any]:
    """Yield of each stream: the false alarms before the change, and the samples from the change to the alarm."""
    for stream in range(STREAMS):
        rng = np.random.default_rng([*seed, stream])
        monitor = ffedge.Monitor(calibration, window=window)
        before = [e for part in drawn(clean, BEFORE, rng) for e in monitor.update(part) if e.began]
        if monitor.drifting:
            yield len(before), None
            continue
        events = (e.sample for part in drawn(strange, AFTER, rng) for e in monitor.update(part) if e.began)
        at = next(events, None)
        yield len(before), None if at is None else at - BEFORE


def drawn(found: Prediction, count: int, rng: np.random.Generator) -> Iterator[Prediction]:
    order = rng.permutation(len(found))[:count]
    for start in range(0, count, STEP):
        rows = order[start : start + STEP]
        yield Prediction(found.label[rows], found.margin[rows], found.scores[rows], found.known[rows])


def measure(seed: int, options: argparse.Namespace) -> dict[str, Any]:
    """Train a network and watch streams of its predictions."""
    data, other = (ffedge.load(name, options.data_dir) for name in ("mnist", "fashion-mnist"))
    assert data.test
    assert other.test
    spec = ffedge.Spec.make(epochs=options.epochs, seed=seed, threads=1)
    with tempfile.TemporaryDirectory() as folder:
        predictor = ffedge.Predictor(ffedge.train(spec, data, Path(folder) / "run").model, threads=1)
    images, strangers = (d.test.inputs.take(np.arange(len(d.test.labels))) for d in (data, other))
    true = data.test.labels[np.arange(len(images))]
    clean, results = predictor.predict(images), {}
    for index, (name, each) in enumerate(changed(images, strangers, seed).items()):
        found = predictor.predict(each)
        watched = list(streams(clean, found, options.window, predictor.calibration, [seed, index]))
        results[name] = {
            "accuracy": None if name == "Fashion-MNIST" else float((found.label == true).mean()),
            "known": float(found.known.mean()),
            "false_alarms": sum(alarms for alarms, _ in watched),
            "delays": [delay for _, delay in watched],
        }
        print(f"seed {seed} {name}: {results[name]['delays'][:5]} …", file=sys.stderr, flush=True)
    return {"seed": seed, "accuracy": float((clean.label == true).mean()), "changes": results}


def main() -> None:
    """Measure every seed and write the result."""
    parser = arguments(__doc__)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--window", type=int, default=500)
    parser.add_argument("--data-dir", type=Path, help="where MNIST and Fashion-MNIST are looked for first")
    options = parser.parse_args()
    runs = [measure(seed, options) for seed in options.seeds]
    rows = []
    for name in runs[0]["changes"]:
        own = [run["changes"][name] for run in runs]
        delays = sorted(delay for each in own for delay in each["delays"] if delay is not None)
        count = sum(len(each["delays"]) for each in own)
        median = f"{statistics.median(delays):.0f} [{delays[0]}, {delays[-1]}]" if delays else "never"
        rows.append([name, median, f"{len(delays)} of {count}", sum(each["false_alarms"] for each in own)])
    print(table(["change", "samples to the alarm", "seen", "false alarms before"], rows))
    write_results("drift", options, runs, ["onnxruntime"], streams=STREAMS, before=BEFORE, after=AFTER)


if __name__ == "__main__":
    main()
