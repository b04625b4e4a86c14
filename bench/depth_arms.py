"""The arms of `depth_time`: each trains a network of one depth, and tells its seconds, its peak and its test accuracy.

ffedge's arms keep the activities of finished layers, as `ffedge train` does from 6 layers on, with noise or
(``-clean``) without; run the layers below again (``-again``); or train all layers at once (``-interleaved``).
Backprop's stand in `depth`: as it is, and ``-residual``, with batch norm and skips.

Seconds are those of the whole training: a new order, fetching rows, steps, checkpoints, kept activities. Loading the
data, building the network and measuring accuracy stand outside. An epoch of a greedy network is one of each layer.
"""

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from common import scaling_of
from depth import BATCH, BLOCK, backprop_net, backprop_rate, splits, train_backprop
from numpy.typing import NDArray

from ffedge.compare.child import serve
from ffedge.meter import PeakMeter, rss_bytes

KEPT: dict[str, Any] = {"cache": "activations"}
FFEDGE: dict[str, dict[str, Any]] = {
    f"{kind}{way}": {"class_goodness": kind} | changes
    for kind in ("groups", "readout", "tried")
    for way, changes in {
        "": KEPT,
        "-clean": KEPT | {"input_dropout": 0.0},
        "-again": {"cache": "none"},
        "-interleaved": {"schedule": "interleaved"},
    }.items()
}
BACKPROP = ("backprop", "backprop-residual")
Clock = tuple[float, float]
Work = dict[str, Any]
Array = NDArray[Any]


def rows_of(work: Work) -> tuple[Array, Array, Array, Array]:
    """Return the first training rows and their labels, and those to test on."""
    x, y, x_test, y_test = splits(work["data"], split=work["split"])
    count = work["rows"] or len(x)
    return x[:count], y[:count], x_test, y_test


def train_ffedge(work: Work) -> dict[str, Any]:
    """Train as `ffedge train` does, from a file."""
    from ffedge.spec import Spec
    from ffedge.training.loop import Loop
    from ffedge.training.train import train

    taken: list[Clock] = []

    class Timed(Loop):
        """Takes the time of the training alone."""

        def train(self, *where: Any) -> None:
            """Train."""
            before = clock()
            super().train(*where)
            taken.append(since(before))

    asked = FFEDGE[work["name"]] | {name: work[name] for name in ("threads", "seed", "epochs")}
    asked |= {"widths": (work["width"],) * work["depth"], "batch_size": BATCH, "holdout": 0.0}
    x, y, x_test, y_test = rows_of(work)
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "images.npz"
        np.savez(data, x_train=x, y_train=y, x_test=x_test, y_test=y_test)
        del x, y, x_test, y_test
        run = train(Spec.make(**asked), data, Path(folder) / "run", loop=Timed)
    return answer(taken[0], run.report.rss_peak_bytes, run.report.import_bytes, run.report.test_accuracy)


def train_torch(work: Work) -> dict[str, Any]:
    """Train by backprop, all rows in memory, scaled."""
    import torch

    import ffedge

    torch.set_num_threads(work["threads"])
    torch.manual_seed(work["seed"])
    x, y, x_test, y_test = rows_of(work)
    offset, scale = scaling_of(ffedge.load([(x, y)]))
    residual = work["name"] == "backprop-residual"
    sizes = (x[0].size, *[work["width"]] * work["depth"], int(y.max()) + 1)
    warm = backprop_net(sizes, residual=residual), torch.zeros(512, sizes[0]), torch.zeros(512, dtype=torch.int64)
    train_backprop(*warm, rate=0.0, epochs=1)
    imported, meter = rss_bytes(), PeakMeter()
    meter.start()
    inputs, tested = (torch.from_numpy((a.reshape(len(a), -1) - offset) * scale) for a in (x, x_test))
    labels, net = torch.from_numpy(y.astype(np.int64)), backprop_net(sizes, residual=residual)
    before = clock()
    train_backprop(net, inputs, labels, backprop_rate(work["depth"]), work["epochs"])
    taken, peak = since(before), meter.peak()
    net.eval()
    with torch.no_grad():
        found = torch.cat([net(part).argmax(1) for part in tested.split(BLOCK)]).numpy()
    return answer(taken, peak, imported, float((found == y_test).mean()))


def clock() -> Clock:
    """Return now, on the wall and of the processor."""
    return time.perf_counter(), time.process_time()


def since(before: Clock) -> Clock:
    """Return the seconds since, on the wall and of the processor."""
    now = clock()
    return now[0] - before[0], now[1] - before[1]


def answer(taken: Clock, peak: int, imported: int, accuracy: float | None) -> dict[str, Any]:
    """Return what an arm tells."""
    return {
        "seconds": taken[0],
        "processor_s": taken[1],
        "rss_peak_bytes": peak,
        "import_bytes": imported,
        "test_accuracy": accuracy,
    }


def run_arm(request: dict[str, Any]) -> dict[str, Any]:
    """Run one arm in this process; the request is its ``name``, and the work's numbers as `depth_time` has them."""
    return (train_torch if request["name"] in BACKPROP else train_ffedge)(request)


if __name__ == "__main__":
    serve(run_arm)
