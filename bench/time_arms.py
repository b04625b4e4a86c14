"""The arms of `time_to_accuracy`: each trains 784-500-500 for some epochs and is tested after every one of them.

Seconds are those that the processor worked on training (`time.process_time`), on one thread: on a machine that does
nothing else they are the seconds that pass. Evaluation stands outside, and so does building networks and reading rows
into memory. ffedge's rows stay in their file, and reading them is in its seconds.
"""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from all_arms import ARMS
from epoch_arms import CLASSES, PEERS, WIDTHS, Batches, Learner, Peer, images, labels_of, mlp
from numpy.typing import NDArray

from ffedge.compare.arms import Work
from ffedge.compare.child import serve
from ffedge.compare.train import Predict, Watch
from ffedge.compare.train import train as train_arm
from ffedge.data import Dataset, load
from ffedge.meter import PeakMeter
from ffedge.spec_parts import TrainSpec

BATCH = 256
BACKPROP_RATE, BACKPROP_DECAY, BACKPROP_DROPOUT, BACKPROP_SMOOTHING = 1e-3, 0.05, 0.2, 0.05
AS_SHIPPED = {"rate": "auto", "input_dropout": "auto", "weight_decay": TrainSpec.weight_decay, "holdout": 0.0}
LOOP: dict[str, tuple[str, dict[str, Any]]] = {  # what trains on ffedge's own batches: an arm, and changes of its spec
    "ffedge": ("ffedge-acff-adam", {}),
    "ffedge-interleaved": ("ffedge-ff-adam", {"schedule": "interleaved", "negatives": "fresh", "n_negatives": 1}),
    "ffedge-groups": ("ffedge-acff-adam", {"schedule": "interleaved", "class_goodness": "groups"}),
    "ffedge-readout": ("ffedge-acff-adam", {"schedule": "interleaved", "class_goodness": "readout"}),
    "backprop-ort": ("backprop-adam-ort-inplace", {"input_dropout": 0.0}),
}


class Tests(Watch):
    """Tests an arm after each epoch; the clock stands still meanwhile."""

    def __init__(self, data: str, clock: Callable[[], float] = time.process_time) -> None:
        test = load(data).test
        if test is None:
            raise ValueError(f"{data} has no test split")
        self._x = np.concatenate(list(test.inputs.blocks(len(test.labels)))).reshape(len(test.labels), -1)
        self._y = test.labels[np.arange(len(test.labels))]
        self._clock, self.seconds = clock, 0.0
        self.points: list[tuple[float, float]] = []

    def begin(self, dataset: Dataset, held_out: NDArray[np.int64], rows: int) -> None:
        """Start the clock."""
        self._since = self._clock()

    def batch(self, samples: int, *, ends_epoch: bool, predict: Predict) -> None:
        """Stop the clock at the end of an epoch, and test."""
        if not ends_epoch:
            return
        self.seconds += self._clock() - self._since
        found = np.concatenate([predict(rows) for rows in np.array_split(self._x, len(self._x) // BATCH)])
        self.points.append((self.seconds, float((found == self._y).mean())))

    def epoch(self) -> None:
        """Start the clock again."""
        self._since = self._clock()


def loop_points(name: str, data: str, epochs: int, seed: int) -> list[tuple[float, float]]:
    """Train as `ffedge train` does, or backprop on its batches; layer by layer an epoch is one of a layer."""
    arm, changes = LOOP[name]
    tests = Tests(data)
    work = Work(data=data, widths=WIDTHS, batch_size=BATCH, epochs=epochs, seed=seed, threads=1)
    train_arm(ARMS[arm], work, load(data), PeakMeter(), tests, **AS_SHIPPED | changes)
    return tests.points


def backprop_tuned(x: Any, y: Any, epochs: int) -> Learner:
    """Train by backprop with AdamW, input dropout, label smoothing and a linear cooldown over all epochs."""
    import torch

    net, batches = mlp((x.shape[1], *WIDTHS, CLASSES)), Batches(x, y, BATCH)
    optimizer = torch.optim.AdamW(net.parameters(), lr=BACKPROP_RATE, weight_decay=BACKPROP_DECAY, fused=True)
    cooldown = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, epochs * len(batches))
    loss = torch.nn.CrossEntropyLoss(label_smoothing=BACKPROP_SMOOTHING)

    def epoch() -> None:
        for rows, labels in batches:
            optimizer.zero_grad()
            loss(net(torch.nn.functional.dropout(rows, BACKPROP_DROPOUT)), labels).backward()
            optimizer.step()
            cooldown.step()

    return Learner(epoch, lambda rows: net(rows).argmax(1))


def peer_points(name: str, data: str, epochs: int, seed: int) -> list[tuple[float, float]]:
    """Train a peer of `epoch_arms`, or backprop tuned as ffedge is."""
    peer = PEERS.get(name, Peer(backprop_tuned))
    if peer.torch:
        import torch

        torch.set_num_threads(1)
        torch.manual_seed(seed)
    x, y = images(data, "train", standard=peer.standard)
    test_x, test_y = images(data, "test", standard=peer.standard)
    learner = peer.build(x, y, WIDTHS, BATCH, name, seed) if name in PEERS else backprop_tuned(x, y, epochs)
    seconds, points = 0.0, []
    for _ in range(epochs):
        began = time.process_time()
        learner.epoch()
        seconds += time.process_time() - began
        points.append((seconds, float((labels_of(peer, learner, test_x) == test_y).mean())))
    return points


def run_arm(request: dict[str, Any]) -> dict[str, Any]:
    """Run one arm in this process: ``name``, ``data``, ``epochs``, ``seed``; return its points (seconds, accuracy)."""
    return {"points": (loop_points if request["name"] in LOOP else peer_points)(**request)}


if __name__ == "__main__":
    serve(run_arm)
