"""A stream of ten million samples through ``ffedge.Learner``: seconds, and whether memory stays flat.

    python bench/stream.py --samples 10000000

A small network (64 inputs, 2 layers of 64, 10 classes) is trained on a stream's first rows, then learns on from its own
file, minibatches of 1,000 rows and kept examples beside them. Resident memory is read along the way.
"""

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from common import arguments, table, write_results
from numpy.typing import NDArray

from ffedge import Learner, Spec, load, train
from ffedge.meter import rss_bytes

INPUTS, CLASSES, BATCH = 64, 10, 1000
READINGS = 20


def main() -> None:
    """Run the stream and write the result."""
    parser = arguments(__doc__)
    parser.add_argument("--samples", type=int, default=10_000_000)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    result = stream(options.samples, options.threads, options.seed)
    rows = [[f"{at:,}", f"{rss / 2**20:.1f}"] for at, rss in zip(result["rows"], result["rss_bytes"], strict=True)]
    print(table(["samples", "resident MiB"], rows))
    print(f"{result['seconds']:.0f} s, accuracy {result['accuracy_before']:.4f} -> {result['accuracy_after']:.4f}")
    write_results("stream", options, result, ["onnxruntime"])


def stream(samples: int, threads: int, seed: int) -> dict[str, Any]:
    """Learn from a stream whose clouds drift; return seconds, and the resident memory along the way."""
    rng = np.random.default_rng(seed)
    centres, drift = (0.4 * rng.normal(size=(2, CLASSES, INPUTS))).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        spec = Spec.make(widths=(64, 64), epochs=3, threads=threads, seed=seed)
        first = load([batch(centres, rng) for _ in range(10)])
        learner = Learner(train(spec, first, Path(folder) / "run").model, threads=threads, batch_size=2 * BATCH)
    later = batch(centres + drift, rng)
    before = float((learner.predict(later[0]).label == later[1]).mean())
    steps = samples // BATCH
    rows, memory, began = [], [], time.perf_counter()
    for step in range(steps):
        learner.observe(*batch(centres + np.float32(step / steps) * drift, rng))
        if step % max(1, steps // READINGS) == 0 or step == steps - 1:
            rows.append(learner.rows)
            memory.append(rss_bytes())
    return {
        "rows": rows,
        "rss_bytes": memory,
        "seconds": time.perf_counter() - began,
        "accuracy_before": before,
        "accuracy_after": float((learner.predict(later[0]).label == later[1]).mean()),
    }


def batch(centres: NDArray[np.float32], rng: np.random.Generator) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Draw a minibatch of clouds about the centres."""
    labels = rng.integers(0, CLASSES, BATCH)
    return centres[labels] + rng.standard_normal((BATCH, INPUTS), dtype=np.float32), labels


if __name__ == "__main__":
    main()
