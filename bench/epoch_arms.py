"""The arms of `epoch_time` and `peers_memory`: each trains MNIST 784-500-500 for some epochs.

An arm tells the seconds of each epoch, its memory and its accuracy. All take minibatches, float32, Adam, and update all
layers from each minibatch; ffedge's greedy arms do not. Forward-Forward arms take one positive and one negative row a
sample, ``ffedge-as-shipped`` two negative ones. An epoch's seconds hold all that it does: a new order, fetching rows,
drawing wrong labels, writing labels into inputs, the steps. (ffedge's own record begins after the new order and its
wrong labels are drawn, which takes 1 ms.) Building networks, loading data and measuring accuracy stand outside. Each
library is imported inside its own arms alone.

Memory is the process's resident memory: ``import_bytes`` once a tiny net has been trained, so that what libraries load
late is in it; ``data_bytes``, what loading the training rows adds; ``rss_peak_bytes``, the largest while training.
"""

import itertools
import json
import math
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from common import scaling_of

from ffedge.compare.child import serve
from ffedge.meter import PeakMeter, rss_bytes

WIDTHS = (500, 500)
CLASSES = 10
TINY_ROWS, TINY_WIDTHS, TINY_BATCH = 64, (8, 8), 16

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
    """Train by `ffedge.training.train.train` with the onnx engine, reading rows from the file as it always does.

    ``interleaved``: the tuned preset (contrastive loss, RMS norm, input dropout 0.2, weight decay) with variant ff and
    one fresh negative. ``same-rule``: the rule of mpezeshki's net. ``greedy``: as interleaved, one layer after the
    other; an epoch is the sum of one epoch of each. ``as-shipped``: what ``ffedge train`` does when nothing is asked:
    A-CFF, greedy, the label in every layer, two hard negatives. Its peak holds the evaluation at the end too.
    """
    from ffedge.data import ArrayRows, Dataset, Split
    from ffedge.spec import Spec
    from ffedge.training.train import train

    asked = FFEDGE[name] | {"threads": threads, "seed": seed}
    x, y = tiny()
    rows = ArrayRows((255 * x).astype(np.uint8).reshape(-1, 28, 28))
    dataset = Dataset("tiny", Split(rows, y), None, tuple(map(str, range(CLASSES))), "")
    with tempfile.TemporaryDirectory() as folder:
        small = Spec.make(**asked | {"widths": TINY_WIDTHS, "epochs": 1, "batch_size": TINY_BATCH})
        train(small, dataset, Path(folder) / "tiny")
        run = train(Spec.make(**asked, epochs=epochs, batch_size=batch_size), "mnist", Path(folder) / "run")
        lines = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    return {
        "epoch_s": [sum(line["seconds"] for line in lines if line["epoch"] == epoch) for epoch in range(epochs)],
        "import_bytes": run.report.import_bytes,
        "data_bytes": 0,  # rows stay in their file
        "rss_peak_bytes": run.report.rss_peak_bytes,
        "test_accuracy": run.report.test_accuracy,
    }


def images(data: str, part: str, *, standard: bool) -> tuple[Any, Any]:
    """Return ``train`` or ``test`` rows in memory: x [N, 784] float32 (0 to 1, or scaled as ffedge does), y [N]."""
    from ffedge.data import load

    whole = load(data)
    split = getattr(whole, part)
    x = next(split.inputs.blocks(len(split.labels))).reshape(len(split.labels), -1).astype(np.float32)
    if standard:
        offset, scale = scaling_of(whole)
        x -= offset
        x *= scale
    else:
        x /= 255.0
    return x, split.labels[np.arange(len(split.labels))].astype(np.int64)


def tiny() -> tuple[Any, Any]:
    """Return a few rows of noise, x [N, 784] float32 and y [N]."""
    return np.random.default_rng(0).random((TINY_ROWS, 784), np.float32), np.arange(TINY_ROWS) % CLASSES


class Batches:
    """Minibatches of arrays that are in memory, as tensors, in a new order each time: a lean DataLoader."""

    def __init__(self, x: Any, y: Any, size: int) -> None:
        import torch

        self.x, self.y, self.size = torch.from_numpy(x), torch.from_numpy(y), size

    def __len__(self) -> int:
        """Return their number."""
        return math.ceil(len(self.x) / self.size)

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        """Yield x [N, 784] and y [N]."""
        import torch

        for rows in torch.randperm(len(self.x)).split(self.size):
            yield self.x[rows], self.y[rows]


@dataclass(frozen=True)
class Learner:
    """A peer's network: `epoch` trains it for one, `labels` predicts the labels [N] of x [N, 784]."""

    epoch: Callable[[], Any]
    labels: Callable[[Any], Any]


def fflib(x: Any, y: Any, widths: tuple[int, ...], batch_size: int, name: str, seed: int) -> Learner:
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

    layers = [FFLinear(i, o, loss_threshold=2.0, lr=0.02) for i, o in itertools.pairwise((x.shape[1], *widths))]
    data, net = FflibData(Batches(x, y, batch_size)), FFNet(layers, None)
    probe = TryAllClasses(lambda a, b: net(data.combine_to_input(a, b)), CLASSES)
    suite = FFSuite(net, probe, data)
    return Learner(lambda: suite.run_train_epoch(validate=False), probe.predict)


def mpezeshki(x: Any, y: Any, widths: tuple[int, ...], batch_size: int, name: str, seed: int) -> Learner:
    """Train the net of github.com/mpezeshki/pytorch_forward_forward, written anew in `peers`, on minibatches."""
    from peers import PezeshkiNet, shuffled_labels

    net, batches = PezeshkiNet((x.shape[1], *widths), float(x.max())), Batches(x, y, batch_size)

    def epoch() -> None:
        for rows, labels in batches:
            net.train_step(net.overlay(rows, labels), net.overlay(rows, shuffled_labels(labels)))

    return Learner(epoch, net.predict)


def mlp(sizes: Sequence[int]) -> Any:
    """Return linear layers of these sizes, in torch, with ReLU between them."""
    import torch

    layers: list[torch.nn.Module] = []
    for inputs, units in itertools.pairwise(sizes):
        layers += [torch.nn.Linear(inputs, units), torch.nn.ReLU()]
    return torch.nn.Sequential(*layers[:-1])


def backprop(x: Any, y: Any, widths: tuple[int, ...], batch_size: int, name: str, seed: int) -> Learner:
    """Train 784-500-500-10 with cross-entropy and Adam 1e-3; ``-fused``: with Adam's fused kernel, torch's fastest."""
    import torch

    net, batches = mlp((x.shape[1], *widths, CLASSES)), Batches(x, y, batch_size)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3, fused=name.endswith("fused") or None)

    def epoch() -> None:
        for rows, labels in batches:
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(net(rows), labels).backward()
            optimizer.step()

    return Learner(epoch, lambda rows: net(rows).argmax(1))


def sklearn(x: Any, y: Any, widths: tuple[int, ...], batch_size: int, name: str, seed: int) -> Learner:
    """Train scikit-learn's ``MLPClassifier``: backprop in numpy and scipy, its own defaults (Adam 1e-3, alpha 1e-4)."""
    from sklearn.neural_network import MLPClassifier

    net = MLPClassifier(widths, batch_size=batch_size, random_state=seed)
    return Learner(lambda: net.partial_fit(x, y, classes=range(CLASSES)), net.predict)


@dataclass(frozen=True)
class Peer:
    """How a peer is built from x, y, widths, batch size, the arm's name and the seed; what it wants of the data."""

    build: Callable[[Any, Any, tuple[int, ...], int, str, int], Learner]
    standard: bool = True
    torch: bool = True


PEERS = {
    "fflib": Peer(fflib, standard=False),
    "mpezeshki": Peer(mpezeshki),
    "backprop": Peer(backprop),
    "backprop-fused": Peer(backprop),
    "sklearn": Peer(sklearn, torch=False),
}


def train_peer(name: str, epochs: int, batch_size: int, threads: int, seed: int) -> dict[str, Any]:
    """Train a peer, first on a few rows of noise."""
    peer = PEERS[name]
    if peer.torch:
        import torch

        torch.set_num_threads(threads)
    peer.build(*tiny(), TINY_WIDTHS, TINY_BATCH, name, seed).epoch()
    import_bytes, meter = rss_bytes(), PeakMeter()
    x, y = images("mnist", "train", standard=peer.standard)
    start = meter.start()
    if peer.torch:
        torch.manual_seed(seed)
    learner, seconds = peer.build(x, y, WIDTHS, batch_size, name, seed), []
    for _ in range(epochs):
        began = time.perf_counter()
        learner.epoch()
        seconds.append(time.perf_counter() - began)
    return {
        "epoch_s": seconds,
        "import_bytes": import_bytes,
        "data_bytes": start - import_bytes,
        "rss_peak_bytes": meter.peak(),
        "test_accuracy": test_accuracy(peer, learner),
    }


def test_accuracy(peer: Peer, learner: Learner) -> float:
    """Return the share of MNIST's test labels that a peer predicts."""
    x, y = images("mnist", "test", standard=peer.standard)
    return float((labels_of(peer, learner, x) == y).mean())


def labels_of(peer: Peer, learner: Learner, x: Any) -> Any:
    """Return the labels [N] that a peer predicts for x [N, 784]."""
    if not peer.torch:
        return learner.labels(x)
    import torch

    with torch.no_grad():
        return learner.labels(torch.from_numpy(x)).numpy()


def run_arm(request: dict[str, Any]) -> dict[str, Any]:
    """Run one arm in this process: ``name``, ``epochs``, ``batch_size``, ``threads``, ``seed``."""
    return (train_ffedge if request["name"] in FFEDGE else train_peer)(**request)


if __name__ == "__main__":
    serve(run_arm)
