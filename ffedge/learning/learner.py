"""A model that learns from a stream, one minibatch at a time, in memory that does not grow with the rows.

Shape letters: n rows of a minibatch, I inputs of a sample, C classes, L layers.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ffedge.data.stream import Chunk, kept_inputs
from ffedge.engine.onnx import OnnxEngine
from ffedge.errors import DataError, TrainingError
from ffedge.files import atomic_file
from ffedge.labels import wrong_labels
from ffedge.learning.classes import opened
from ffedge.learning.session import affordable_rows, learning_spec
from ffedge.model.calibration import Calibration, best_and_margin, calibrate
from ffedge.model.write import write_model
from ffedge.predict.predictor import Prediction, samples_of
from ffedge.resolve import TUNED_CHUNK, resolve
from ffedge.seeds import Draw, generator, key
from ffedge.training.chooser import Chooser
from ffedge.training.kept import KEPT_BYTES, MOST_KEPT, kept_file, read_kept, write_kept
from ffedge.training.step import Learner as Batches
from ffedge.training.step import Turn, weighted_sum
from ffedge.version import __version__

Array = NDArray[Any]
ROWS = 256
RATE_SHARE = 0.1


class Learner:
    """A model file that goes on learning: every layer takes a step from each minibatch (the interleaved schedule).

    Parameters
    ----------
    model : a model.onnx that carries its learning step.
    rate : learning rate of each layer, or of all; it stays as it is. None takes a tenth of the stored rates, which
        training lowered to zero at its end.
    layers : those that learn; None takes all.
    kept_bytes : room in memory for kept examples, against forgetting; 0 keeps none. Those beside the model are read.
    replay_share : share of kept examples beside the new rows in each step.
    changes : fields of `ffedge.spec.TrainSpec` that the file's learning step leaves open, ``batch_size``, ``threads``,
        ``negatives``, ``seed`` among them.

    Raises
    ------
    ModelError
        The file cannot be read or carries no learning step.
    ValueError
        An argument is outside its rule.
    """

    def __init__(
        self,
        model: str | Path,
        *,
        rate: float | Sequence[float] | None = None,
        layers: Sequence[int] | None = None,
        kept_bytes: int = KEPT_BYTES,
        replay_share: float = 0.5,
        **changes: Any,
    ) -> None:
        if not 0 <= replay_share < 1:
            raise ValueError(f"`replay_share` must be in [0, 1), got {replay_share}")
        self._start = start = opened(Path(model))
        self.facts = start.facts
        stored = start.recipe.train.rate
        given = [RATE_SHARE * r for r in stored] if rate is None else [rate] if isinstance(rate, int | float) else rate
        fixed = {"rate": tuple(given), "cooldown": "none", "schedule": "interleaved", "holdout": 0.0, "shift": 0}
        size = changes.pop("batch_size", start.recipe.train.batch_size)
        size = size if isinstance(size, int) and size <= TUNED_CHUNK else ROWS
        spec = learning_spec(start, {**changes, **fixed, "batch_size": size}, 10 * size)
        recipe = resolve(spec, self.facts, 10 * size)
        rows = affordable_rows(start, recipe, size)
        self.recipe = recipe = recipe.with_train(batch_size=rows, chunk_size=rows)
        self._active = list(range(len(recipe.network.widths))) if layers is None else sorted(set(layers))
        if not self._active or not 0 <= self._active[0] <= self._active[-1] < len(recipe.network.widths):
            raise ValueError(f"`layers` must be numbers from 0 to {len(recipe.network.widths) - 1}, got {layers}")
        layers_read = (start.layer(index) for index in range(len(recipe.network.widths)))
        parameters = [{name: np.array(array) for name, array in layer.items()} for layer in layers_read]
        self._engine = OnnxEngine(self.recipe, self.facts, parameters)
        self._engine.begin(self._active, chunked=False)
        self._batches = Batches(self.recipe, self._engine, self.facts.n_classes)
        self._keep(kept_bytes, replay_share)
        self._wrong_key = key(2, self.recipe.train.seed, Draw.NEGATIVES, 0, 0)
        self.steps = self.rows = 0

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the label numbers."""
        return self.facts.classes

    def observe(self, x: ArrayLike, y: ArrayLike) -> float:
        """Learn from a minibatch; more rows than `batch_size` are taken in several steps.

        Parameters
        ----------
        x : [n, ...] in the shape and type of the training data, or flattened; or one sample.
        y : [n] or one: numbers of classes, or their names.

        Returns
        -------
        float
            The loss before the last step, mean over the layers that learn.

        Raises
        ------
        DataError
            The rows do not fit the model; nothing was learnt from them.
        TrainingError
            The loss is no number any more. Go on from the file with a smaller rate.
        """
        raw = samples_of(np.asarray(x), self.facts)
        raw, labels = raw.reshape(len(raw), self.facts.size), self._numbers(y, len(raw))
        size, loss = self._step_rows, math.nan
        for start in range(0, len(raw), size):
            loss = self._step(raw[start : start + size], labels[start : start + size])
        return loss

    def predict(self, x: ArrayLike) -> Prediction:
        """Predict one sample or n of them by what has been learnt so far; what counts as known is chosen by `save`.

        Raises
        ------
        DataError
            The rows do not fit the model.
        """
        raw = samples_of(np.asarray(x), self.facts)
        raw, layers = raw.reshape(len(raw), self.facts.size), len(self.recipe.network.widths)
        weights = np.array(self.recipe.score_weights(self._engine.state()), np.float32)
        scores, goodness = (np.empty((len(raw), *dims, len(self.classes)), np.float32) for dims in ((), (layers,)))
        size = self.recipe.train.chunk_size
        for start in range(0, len(raw), size):
            part = slice(start, start + size)
            source = self._engine.product(np.ascontiguousarray(raw[part]), None)
            goodness[part] = self._batches.class_goodness(source, layers)
            scores[part] = weighted_sum(goodness[part], weights)
        known = np.ones(len(raw), np.bool_)
        return Prediction(scores.argmax(axis=1), best_and_margin(scores)[1], scores, known, goodness)

    def save(self, path: str | Path) -> None:
        """Write the model as it is now, and its kept examples beside it; the files take their places whole.

        Raises
        ------
        FfedgeError
            The disk is full or the folder cannot be written.
        """
        path, about = Path(path), self._start.metadata | {"version": __version__, "learnt": self._learnt()}
        with atomic_file(path) as temporary:
            write_model(temporary, self._start.recipe, self.facts, self._engine.state(), about, self._known())
        if self._chooser.count:
            count = self._chooser.count
            check, kept = self._check, self._chooser
            rows = np.empty((0, self.facts.size), self.facts.dtype)
            if check.rows is not None:
                rows = check.rows.take(np.arange(len(check))).reshape(len(check), -1)
            learnt = self._kept[:count], kept.labels[:count], kept.seen
            write_kept(kept_file(path), self.facts, learnt, (rows, check.labels, check.seen), path)

    def _known(self) -> Calibration | None:
        """Choose what counts as known, on kept examples that are never learnt from."""
        rows = self._check.rows
        if rows is None or not len(self._check):
            return None
        scores = self.predict(rows.take(np.arange(len(self._check)))).scores
        return calibrate(*best_and_margin(scores), self.recipe.train.coverage)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Let go of the model file."""

    def _keep(self, most_bytes: int, share: float) -> None:
        """Make room for kept examples, and read those that stand beside the model."""
        facts, seed = self.facts, self.recipe.train.seed
        capacity = min(MOST_KEPT, most_bytes // (facts.size * np.dtype(facts.dtype).itemsize + 8))
        old, self._check = read_kept(kept_file(self._start.path), facts)
        rng = generator(seed, Draw.KEPT, 0)
        first = rng.permutation(len(old))[:capacity]
        self._kept = np.empty((capacity, facts.size), facts.dtype)
        if old.rows is not None:
            self._kept[: len(first)] = old.rows.take(first).reshape(len(first), -1)
        self._chooser, self._rng, self._share = Chooser(capacity, old.labels[first], old.seen, rng), rng, share
        size = self.recipe.train.batch_size
        self._step_rows = max(1, size - round(size * share)) if capacity and share else size

    def _step(self, raw: Array, labels: NDArray[np.int64]) -> float:
        """Take a step from some rows and from kept examples, then keep some of the rows."""
        train, count = self.recipe.train, len(raw)
        again = round(count * self._share / (1.0 - self._share)) if self._chooser.count else 0
        if again:
            drawn = self._rng.integers(0, self._chooser.count, again)
            every = np.concatenate([raw, self._kept[drawn]])
            true = np.concatenate([labels, self._chooser.labels[drawn]])
        else:
            every, true = np.ascontiguousarray(raw), labels
        mask = None
        if train.input_dropout:
            rng = generator(train.seed, Draw.DROPOUT, self.steps)
            mask = kept_inputs(len(every), self._engine.layers[0].place.inputs, train.input_dropout, rng)
        places = self.rows + np.arange(len(every))
        chunk = Chunk(every, true, places, mask)
        rates = {i: train.layer_rate(i) for i in self._active}
        wrong = None if train.negatives.startswith("hard") else self._wrong
        rng = generator(train.seed, Draw.NEGATIVES, self.steps)
        self._batches.sums.clear()
        bad = self._batches.batch([chunk], len(every), Turn(self._active, wrong, rng, self.steps, rates))
        if bad is not None:
            raise TrainingError(f"layer {bad}: the loss is not a number at rate {rates[bad]:g}. Use a smaller rate")
        self.steps, self.rows = self.steps + 1, self.rows + count
        if len(self._kept):
            taken = self._chooser.offer(labels)
            self._kept[taken[taken >= 0]] = raw[taken >= 0]
        return sum(sums.loss for sums in self._batches.sums.values()) / len(self._active) / len(every)

    def _wrong(self, chunk: Chunk) -> NDArray[np.int64]:
        count = self.recipe.train.n_negatives
        return wrong_labels(chunk.labels, chunk.positions, count, self.facts.n_classes, self._wrong_key)

    def _numbers(self, y: ArrayLike, count: int) -> NDArray[np.int64]:
        """Return labels as numbers of classes."""
        labels = np.atleast_1d(np.asarray(y))
        if not count and not len(labels):
            return np.zeros(0, np.int64)
        if labels.dtype.kind == "U":
            known = {name: number for number, name in enumerate(self.classes)}
            if unknown := [name for name in labels.tolist() if name not in known]:
                raise DataError(
                    f"labels must name the model's classes, got {unknown[0]!r}. `ffedge.learn` adds classes"
                )
            labels = np.array([known[name] for name in labels.tolist()])
        if labels.shape != (count,):
            raise DataError(f"labels must number {count}, one a row, got shape {list(labels.shape)}")
        if labels.dtype.kind not in "iu" or (count and not 0 <= labels.min() <= labels.max() < len(self.classes)):
            raise DataError(f"labels must be numbers from 0 to {len(self.classes) - 1}, or names of classes")
        return labels.astype(np.int64)

    def _learnt(self) -> list[Any]:
        learnt = self._start.metadata.get("learnt")
        now = {"name": "stream", "rows": self.rows}
        return [*(learnt if isinstance(learnt, list) else []), now][-20:]
