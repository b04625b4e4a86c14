"""How much quicker layers that learn at once are on several threads: each on its own, or each operation cut among them.

    python bench/threads.py

Rows a second of a training in steps of the same batches, in one process; each round takes every way in turn, and the
ratio to one thread is the median over rounds.
"""

import statistics
import time
from typing import Any

from common import arguments, table, write_results
from loops import loop_of

from ffedge.data import load
from ffedge.recipe import convolves
from ffedge.training.checkpoint import Place
from ffedge.training.loop import Interrupted
from ffedge.training.step import BatchLearner
from ffedge.training.watch import Progress, Watcher

WARM = 4  # batches before the clock runs: graphs are loaded, and layers cut into parts
NETWORKS: dict[str, dict[str, Any]] = {
    "500,500": {"widths": (500, 500)},
    "6 of 500": {"widths": (500,) * 6},
    "32c3p2,64c3p2,128c3p2": {"preset": "pictures", "widths": ("32c3p2", "64c3p2", "128c3p2"), "shift": 0},
}


class Clock(Watcher):
    """Counts batches and takes the time of those after the first few."""

    def __init__(self, batches: int) -> None:
        self.last, self.began, self.done = WARM + batches, 0.0, 0

    def batch(self, progress: Progress) -> None:
        """Look at the clock."""
        if progress.batch == WARM:
            self.began = time.perf_counter()
        self.done = progress.batch


def rows_per_s(words: dict[str, Any], data: str, threads: int, batches: int, *, apart: bool) -> float:
    """Train for some batches; `apart` leaves each layer to a thread of its own."""
    asked = {"preset": "tuned", "schedule": "interleaved", "holdout": 0.0, "batch_size": 256, "threads": threads}
    dataset, clock = load(data), Clock(batches)
    loop = loop_of(asked | words, dataset, watcher=clock)
    if not apart:
        loop.learner = BatchLearner(loop.recipe, loop.engine, dataset.n_classes)
    try:
        loop.train(Place(), lambda: clock.done == clock.last)
    except Interrupted:  # after every layer has learnt from the last batch
        return loop.recipe.train.batch_size * batches / (time.perf_counter() - clock.began)
    raise RuntimeError(f"{data}: has fewer than {clock.last} batches")


def main() -> None:
    """Run every network in every way and write the result."""
    parser = arguments(__doc__)
    parser.add_argument("--data", default="mnist")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batches", type=int, default=24, help="of dense layers; a quarter of convolutions")
    options = parser.parse_args()
    runs, rows = [], []
    kinds = [
        (name, kind)
        for name, words in NETWORKS.items()
        for kind in (("readout",) if convolves(words["widths"]) else ("groups", "tried"))
    ]
    for name, kind in kinds:
        words, ways = NETWORKS[name] | {"class_goodness": kind}, dict[str, list[float]]()
        batches = options.batches // 4 if kind == "readout" else options.batches
        for _ in range(options.rounds):
            for way, threads, apart in (
                ("one", 1, False),
                ("cut", options.threads, False),
                ("apart", options.threads, True),
            ):
                speed = rows_per_s(words, options.data, threads, batches, apart=apart)
                ways.setdefault(way, []).append(speed)
        ratios = {
            way: statistics.median(speed / one for speed, one in zip(ways[way], ways["one"], strict=True))
            for way in ways
        }
        runs.append({"network": name, "class_goodness": kind, "rows_per_s": ways, "times_one_thread": ratios})
        rows.append([name, kind, *(f"{ratios[way]:.2f}" for way in ("cut", "apart"))])
        print(rows[-1], flush=True)
    print(table(["layers", "class goodness", "each operation cut", "each layer its own"], rows))
    write_results("threads", options, runs, ["onnxruntime"])


if __name__ == "__main__":
    main()
