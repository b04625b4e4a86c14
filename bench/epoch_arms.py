"""The arms of `epoch_time`: each trains MNIST 784-500-500 for some epochs and tells their seconds and its accuracy.

All take minibatches of one positive and one negative row a sample, float32, Adam, and update both layers from each
minibatch; ffedge's greedy arms do not, and ``ffedge-as-shipped`` takes two negative rows. An epoch's seconds hold all
that it does: a new order, fetching rows, drawing wrong labels, writing labels into inputs, the steps. (ffedge's own
record begins after the new order and its wrong labels are drawn, which takes 1 ms.) Building networks, loading data and
measuring accuracy stand outside. Torch is imported inside the torch arms alone.
"""

import itertools
import json
import math
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ffedge.child import serve

WIDTHS = (500, 500)
CLASSES = 10

BRIEF = {"widths": WIDTHS, "variant": "ff", "negatives": "fresh", "n_negatives": 1, "holdout": 0.0}
SAME_RULE = {
    "preset": "paper",
    "scaling": "standard",
    "label_scale": "max",
    "theta": 2.0,
    "rate": (0.03,),
    "schedule": "interleaved",
}
FFEDGE: dict[str, dict[str, Any]] = {
    "ffedge-interleaved": BRIEF | {"schedule": "interleaved"},
    "ffedge-same-rule": BRIEF | SAME_RULE,
    "ffedge-greedy": BRIEF | {"schedule": "greedy"},
    "ffedge-as-shipped": {"widths": WIDTHS, "holdout": 0.0},
}


def train_ffedge(name: str, epochs: int, batch_size: int, threads: int, seed: int) -> dict[str, Any]:
    """Train by `ffedge.training.run.train` with the onnx engine, reading rows from the file as it always does.

    ``interleaved``: the tuned preset (contrastive loss, RMS norm, input dropout 0.2, weight decay) with variant ff and
    one fresh negative. ``same-rule``: the rule of mpezeshki's net. ``greedy``: as interleaved, one layer after the
    other; an epoch is the sum of one epoch of each. ``as-shipped``: what ``ffedge train`` does when nothing is asked:
    A-CFF, greedy, the label in every layer, two hard negatives.
    """
    from ffedge.spec import Spec
    from ffedge.training.run import train

    spec = Spec.make(**FFEDGE[name], epochs=epochs, batch_size=batch_size, threads=threads, seed=seed)
    with tempfile.TemporaryDirectory() as folder:
        run = train(spec, "mnist", Path(folder) / "run")
        lines = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    seconds = [sum(line["seconds"] for line in lines if line["epoch"] == epoch) for epoch in range(epochs)]
    return {"epoch_s": seconds, "test_accuracy": run.report.test_accuracy}


def mnist(*, standard: bool) -> tuple[Any, Any, Any, Any]:
    """Return MNIST in memory: x [N, 784] float32 (0 to 1, or standardised), y [N] of train, then of test."""
    import torch

    from ffedge.data import load

    data, result = load("mnist"), []
    for split in (data.train, data.test):
        pixels = torch.from_numpy(next(split.inputs.blocks(len(split.labels)))).reshape(len(split.labels), -1)
        x = pixels.float() / 255.0
        result += [(x - 0.1307) / 0.3081 if standard else x, torch.from_numpy(split.labels).long()]
    return tuple(result)


class Batches:
    """Minibatches of tensors that are in memory, in a new order each time: a DataLoader without its overhead."""

    def __init__(self, x: Any, y: Any, size: int) -> None:
        self.x, self.y, self.size = x, y, size

    def __len__(self) -> int:
        """Return their number."""
        return math.ceil(len(self.x) / self.size)

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        """Yield x [N, 784] and y [N]."""
        import torch

        for rows in torch.randperm(len(self.x)).split(self.size):
            yield self.x[rows], self.y[rows]


def timed(epochs: int, epoch: Callable[[], None]) -> list[float]:
    """Run an epoch so many times; return the seconds of each."""
    seconds = []
    for _ in range(epochs):
        began = time.perf_counter()
        epoch()
        seconds.append(time.perf_counter() - began)
    return seconds


def train_fflib(name: str, epochs: int, batch_size: int) -> dict[str, Any]:
    """Train fflib's own way: ``FFSuite(FFNet([FFLinear, FFLinear])).run_train_epoch()``, a step of each layer a batch.

    Settings of its example for MNIST: rate 0.02, pixels 0 to 1, negatives as its ``RANDOM`` generator draws them;
    prediction by its `TryAllClasses`. Changed here: 500 units instead of 2000; loss threshold 2 instead of 20, with
    which 500 units learn little in two epochs; the label over the first 10 pixels instead of beside the image, so that
    the network has 784 inputs too; batches from memory instead of a DataLoader, and no progress bar.
    """
    from fflib.nn.ff_linear import FFLinear
    from fflib.nn.ff_net import FFNet
    from fflib.probes.one_hot import TryAllClasses
    from fflib.utils.ff_suite import FFSuite
    from peers import FflibData

    x, y, x_test, y_test = mnist(standard=False)
    sizes = (x.shape[1], *WIDTHS)
    layers = [FFLinear(i, o, loss_threshold=2.0, lr=0.02) for i, o in itertools.pairwise(sizes)]
    data = FflibData(Batches(x, y, batch_size), Batches(x_test, y_test, 1000))
    net = FFNet(layers, None)
    suite = FFSuite(net, TryAllClasses(lambda a, b: net(data.combine_to_input(a, b)), CLASSES), data)
    return {"epoch_s": timed(epochs, lambda: suite.run_train_epoch(validate=False)), "test_accuracy": suite.test()}


def train_mpezeshki(name: str, epochs: int, batch_size: int) -> dict[str, Any]:
    """Train the net of github.com/mpezeshki/pytorch_forward_forward, written anew in `peers`, on minibatches."""
    from peers import PezeshkiNet, shuffled_labels

    x, y, x_test, y_test = mnist(standard=True)
    net, batches = PezeshkiNet((x.shape[1], *WIDTHS), float(x.max())), Batches(x, y, batch_size)

    def epoch() -> None:
        for rows, labels in batches:
            net.train_step(net.overlay(rows, labels), net.overlay(rows, shuffled_labels(labels)))

    return {"epoch_s": timed(epochs, epoch), "test_accuracy": float((net.predict(x_test) == y_test).float().mean())}


def train_backprop(name: str, epochs: int, batch_size: int) -> dict[str, Any]:
    """Train 784-500-500-10 with cross-entropy and Adam 1e-3; ``-fused``: with Adam's fused kernel, torch's fastest."""
    import torch
    from peers import mlp

    x, y, x_test, y_test = mnist(standard=True)
    net, batches = mlp((x.shape[1], *WIDTHS, CLASSES)), Batches(x, y, batch_size)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3, fused=name.endswith("fused") or None)

    def epoch() -> None:
        for rows, labels in batches:
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(net(rows), labels).backward()
            optimizer.step()

    seconds = timed(epochs, epoch)
    with torch.no_grad():
        return {"epoch_s": seconds, "test_accuracy": float((net(x_test).argmax(1) == y_test).float().mean())}


PEERS: dict[str, Callable[[str, int, int], dict[str, Any]]] = {
    "fflib": train_fflib,
    "mpezeshki": train_mpezeshki,
    "backprop": train_backprop,
    "backprop-fused": train_backprop,
}


def run_arm(request: dict[str, Any]) -> dict[str, Any]:
    """Run one arm in this process: ``name``, ``epochs``, ``batch_size``, ``threads``, ``seed``."""
    name = request["name"]
    if name in FFEDGE:
        return train_ffedge(**request)
    import torch

    torch.set_num_threads(request["threads"])
    torch.manual_seed(request["seed"])
    return PEERS[name](name, request["epochs"], request["batch_size"])


if __name__ == "__main__":
    serve(run_arm)
