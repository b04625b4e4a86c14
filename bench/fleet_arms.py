"""The arms of `fleet`: networks of 784-500-500 whose boards learn in turn in this process, ffedge's or by backprop.

Both take the same rows, batches of 32 rows, one epoch of local learning a round, moments that begin at zero each round,
and a rate that falls to zero over all rounds. Backprop is tuned as in `time_arms`.
"""

import dataclasses
import itertools
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from time_arms import BACKPROP_DECAY, BACKPROP_DROPOUT, BACKPROP_RATE, BACKPROP_SMOOTHING

from ffedge import Spec
from ffedge.data import Dataset, Split
from ffedge.data.dataset import chosen
from ffedge.data.rows import ArrayRows
from ffedge.engine.onnx import OnnxEngine
from ffedge.fleet.rounds import Update, layer_bytes, merged_round
from ffedge.learning.average import combined, shares_of
from ffedge.meter import PeakMeter
from ffedge.network import initial_state
from ffedge.resolve import resolve
from ffedge.training.checkpoint import Place
from ffedge.training.evaluator import Evaluator
from ffedge.training.facts import measure
from ffedge.training.loop import Loop
from ffedge.training.step import BatchLearner
from ffedge.training.watch import Journal, Watcher

WIDTHS, BATCH = (500, 500), 32
Layers = list[dict[str, Any]]
Rows = NDArray[np.int64]


class Arm(Protocol):
    """What a fleet asks of a network."""

    layers: Layers

    def learnt(self, rows: Rows, which: list[int], share: float, seed: int) -> Layers:
        """Return the layers once some of them have learnt from rows, at a share of the rate; `layers` stay."""
        ...

    def take(self, sent: dict[str, tuple[Layers, int]], which: list[int]) -> dict[str, float]:
        """Average what boards sent: their layers and rows; return how far each has moved beside the others."""
        ...

    def accuracy(self, split: Split) -> float:
        """Return the share of a split's rows that `layers` get right."""
        ...


def in_memory(split: Split, count: int) -> Split:
    """Return the first rows of a split, in memory."""
    rows = np.arange(count)
    return Split(ArrayRows(split.inputs.take(rows)), np.asarray(split.labels[rows]))


class Ours:
    """ffedge's network, as its defaults have it."""

    def __init__(self, dataset: Dataset, seed: int, **changes: Any) -> None:
        self._dataset, self._facts = dataset, measure(dataset)
        fixed = {"widths": WIDTHS, "batch_size": BATCH, "epochs": 1, "holdout": 0.0, "cooldown": "none", "threads": 1}
        self._recipe = resolve(Spec.make(**fixed | changes, seed=seed), self._facts, len(dataset.train.labels))
        self.layers: Layers = initial_state(self._recipe, self._facts)
        self._engine = OnnxEngine(self._recipe, self._facts, self.layers)

    def learnt(self, rows: Rows, which: list[int], share: float, seed: int) -> Layers:  # noqa: D102
        rates = tuple(share * rate for rate in self._recipe.train.rate)
        part = dataclasses.replace(self._dataset, train=chosen(self._dataset.train, rows))
        recipe = self._recipe.with_train(rate=rates, seed=seed)
        self._place()
        watch = Journal(), Watcher(), PeakMeter()
        Loop(recipe, part, self._facts, self._engine, *watch, layers=which).train(Place(), lambda: False)
        return [{n: np.array(a) for n, a in layer.items()} for layer in self._engine.state()]

    def take(self, sent: dict[str, tuple[Layers, int]], which: list[int]) -> dict[str, float]:  # noqa: D102
        updates = [Update(name, {i: layers[i] for i in which}, rows) for name, (layers, rows) in sent.items()]
        done = merged_round(self._recipe, self._facts, self.layers, updates)
        assert not done.left_out, done.left_out
        self.layers = done.layers
        return done.moved

    def accuracy(self, split: Split) -> float:  # noqa: D102
        self._place()
        evaluator = Evaluator(BatchLearner(self._recipe, self._engine, self._facts.n_classes))
        return evaluator.accuracy(split, np.arange(len(split.labels)))

    def _place(self) -> None:
        for index, layer in enumerate(self.layers):
            self._engine.place(index, {name: np.array(array) for name, array in layer.items()})


class Backprop:
    """A plain MLP in torch, whose arrays are averaged by the same function."""

    def __init__(self, dataset: Dataset, seed: int) -> None:
        import torch

        torch.set_num_threads(1)
        torch.manual_seed(seed)
        facts = measure(dataset)
        self._offset, self._scale = (torch.tensor(value) for value in (facts.offset, facts.scale))
        self._dataset, sizes = dataset, (facts.size, *WIDTHS, facts.n_classes)
        hidden = [(torch.nn.Linear(i, o), torch.nn.ReLU()) for i, o in itertools.pairwise(sizes)]
        self._net = torch.nn.Sequential(*[module for pair in hidden for module in pair][:-1])
        self.layers: Layers = self._arrays()

    def learnt(self, rows: Rows, which: list[int], share: float, seed: int) -> Layers:  # noqa: D102
        import torch

        torch.manual_seed(seed)
        self._place()
        optimizer = torch.optim.AdamW(self._net.parameters(), lr=share * BACKPROP_RATE, weight_decay=BACKPROP_DECAY)
        loss = torch.nn.CrossEntropyLoss(label_smoothing=BACKPROP_SMOOTHING)
        for part in torch.randperm(len(rows)).split(BATCH):
            taken = rows[part.numpy()]
            x = torch.nn.functional.dropout(self._read(self._dataset.train, taken), BACKPROP_DROPOUT)
            optimizer.zero_grad()
            loss(self._net(x), torch.from_numpy(np.asarray(self._dataset.train.labels[taken]))).backward()
            optimizer.step()
        return self._arrays()

    def take(self, sent: dict[str, tuple[Layers, int]], which: list[int]) -> dict[str, float]:  # noqa: D102
        shares = shares_of([rows for _, rows in sent.values()])
        for index, layer in enumerate(self.layers):
            for name in layer:
                values = np.stack([layers[index][name] for layers, _ in sent.values()]).astype(np.float64)
                flat = combined(values.reshape(len(values), -1), shares, "mean").astype(np.float32)
                layer[name] = flat.reshape(values.shape[1:])
        return {}

    def accuracy(self, split: Split) -> float:  # noqa: D102
        import torch

        self._place()
        rows = np.arange(len(split.labels))
        with torch.no_grad():
            found = np.concatenate([self._net(self._read(split, p)).argmax(1) for p in np.array_split(rows, 10)])
        return float((found == np.asarray(split.labels)).mean())

    def _read(self, split: Split, rows: Rows) -> Any:
        import torch

        raw = torch.from_numpy(split.inputs.take(rows)).reshape(len(rows), -1)
        return (raw.float() - self._offset) * self._scale

    def _arrays(self) -> Layers:
        state = {name: np.array(value) for name, value in self._net.state_dict().items()}
        return [{n: state[f"{at}.{n}"] for n in ("weight", "bias")} for at in range(0, len(self._net), 2)]

    def _place(self) -> None:
        import torch

        state = {
            f"{2 * at}.{n}": torch.from_numpy(a.copy())
            for at, layer in enumerate(self.layers)
            for n, a in layer.items()
        }
        self._net.load_state_dict(state)


def bytes_of(layers: Layers, which: list[int]) -> int:
    """Return the bytes of some layers, as they travel."""
    return sum(layer_bytes(layers[index]) for index in which)
