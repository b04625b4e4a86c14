"""Batches on an accelerator as the same work on tensors that stay: their launch costs next to nothing then.

What changes from batch to batch (rows, labels, masks, weights, noise of hard negatives, rates) is copied into tensors
of fixed places. Batches whose work is another one (the last of an epoch, with kept activities) run as elsewhere.

Shape letters: N samples, C classes, M labels tried for each.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ffedge.data.rows import RowSource
from ffedge.data.stream import Chunk
from ffedge.engine.base import summed
from ffedge.engine.repeated import Repeated
from ffedge.engine.torch import TorchEngine
from ffedge.labels import gumbel_noise, tried_labels
from ffedge.recipe import Recipe
from ffedge.training.device_rows import DeviceRows, fits
from ffedge.training.step import BatchLearner, LayerSums, Turn, Work


@dataclass
class _Batch:
    """What a batch is copied into, and the work on it.

    Attributes
    ----------
    given : of each chunk its tensors: ``raw``, ``labels`` [N, M] or ``true`` [N] and ``noise`` [N, C], ``mask``,
        ``weights``.
    rates : of each active layer, a number each.
    """

    given: list[dict[str, Tensor]]
    rates: dict[int, Tensor]
    step: Repeated


class RepeatedBatches(BatchLearner):
    """Runs whole batches as repeated work."""

    engine: TorchEngine

    def __init__(self, recipe: Recipe, engine: TorchEngine, n_classes: int) -> None:
        super().__init__(recipe, engine, n_classes)
        self.engine = engine
        self._batches: dict[tuple[Any, ...], _Batch] = {}
        self._places, self._steps = -1, 0
        self._made: dict[int, Tensor] | None = None

    def on_device(self, source: RowSource) -> Callable[[NDArray[np.int64]], Any] | None:
        """Return what takes rows of a source on the device, if they have room there."""
        return DeviceRows(source, self.engine.device).take if fits(source, self.engine.device) else None

    def batch(self, chunks: Iterable[Chunk], samples: int, turn: Turn) -> int | None:
        """Learn from one batch of `samples` samples; return a layer whose loss is not a number, as known by now."""
        if not self._repeats(samples, turn):
            return super().batch(chunks, samples, turn)
        if self._places != self.engine.places:  # tensors of parameters or moments are others since
            self._batches, self._places = {}, self.engine.places
        given, self._steps = [self._given(chunk, turn) for chunk in chunks], turn.step
        key = (*turn.active, *((name, array.shape) for part in given for name, array in part.items()))
        if key not in self._batches:
            self._batches[key] = self._batch(given, turn)
        batch = self._batches[key]
        for tensors, part in zip(batch.given, given, strict=True):
            for name, array in part.items():
                tensors[name].copy_(self.engine.staged(array), non_blocking=True)
        for layer, rate in batch.rates.items():
            rate.fill_(turn.rates[layer])
        for layer, sums in zip(turn.active, batch.step(), strict=True):
            self.sums.setdefault(layer, LayerSums()).add_sums(sums.clone(), samples)
        return self._diverged()

    def _repeats(self, samples: int, turn: Turn) -> bool:
        """Say whether a batch is like others, and nothing in it needs a number of the device."""
        train, rule = self.recipe.train, self.recipe.rule
        listens = rule.variant == "ff" or all(any(rule.alpha[layer]) for layer in turn.active)
        draws_by_all = self.recipe.network.tries_labels and train.negatives == "hard-sum"
        alike = samples == train.batch_size and self.cache is None and not draws_by_all
        return alike and listens and train.optimizer == "adam"

    def _given(self, chunk: Chunk, turn: Turn) -> dict[str, Any]:
        """Return what a chunk is, by name."""
        given: dict[str, Any] = {"raw": chunk.raw, "mask": chunk.mask, "weights": chunk.weights}
        if turn.wrong is None and self.recipe.network.tries_labels:
            given |= {"true": chunk.labels, "noise": gumbel_noise(turn.rng(), (len(chunk.labels), self.n_classes))}
        else:
            given["labels"] = tried_labels(chunk.labels, self._wrong(self.engine, chunk, None, turn))
        return {name: array for name, array in given.items() if array is not None}

    def _batch(self, given: list[dict[str, Any]], turn: Turn) -> _Batch:
        tensors = [{name: self.engine.uploaded(array) for name, array in part.items()} for part in given]
        rates = {layer: torch.zeros((), device=self.engine.device) for layer in turn.active}
        step = Repeated(self.engine.device, partial(self._step, tensors, rates), self.engine.forget_gradients)
        return _Batch(tensors, rates, step)

    def _step(self, given: list[dict[str, Any]], rates: dict[int, Any]) -> list[Tensor]:
        """Let the active layers learn; return each one's sums [3] over the batch."""
        turn = Turn(list(rates), None, np.random.default_rng, self._steps, rates)
        made = self._made = dict[int, Tensor]()
        try:
            for index, part in enumerate(given):
                self._learn(part, turn, applies=0 < index == len(given) - 1)
        finally:
            self._made = None
        return list(made.values())

    def _learn(self, given: dict[str, Any], turn: Turn, *, applies: bool) -> None:
        engine, samples, nowhere = self.engine, self.recipe.train.batch_size, np.empty(0, np.int64)
        chunk = Chunk(given["raw"], nowhere, nowhere, given.get("mask"), given.get("weights"))
        work = Work(chunk, samples, turn, applies, source=engine.product(chunk.raw, chunk.mask))
        if "noise" in given:
            true, scores = given["true"][:, None], engine.first_goodness(work.source) + given["noise"]
            wrong = scores.scatter(1, true, -torch.inf).topk(self.recipe.train.n_negatives, 1).indices
            work.labels = torch.cat([true, wrong], 1)
        else:
            work.labels = given["labels"]
        work.goodness = self._goodness_ahead(work.source, 0, work.labels, turn.active)
        for layer in self._layers(turn):
            self._pass(engine, layer, work)

    def _count(self, layer: int, loss: Any, goodness: Any) -> None:
        if self._made is None:
            super()._count(layer, loss, goodness)
        else:
            self._made[layer] = summed(loss, goodness) + self._made.get(layer, 0.0)
