"""A model that learns from a stream, one minibatch at a time, in memory that does not grow with the rows.

Shape letters: n rows of a minibatch, I inputs of a sample, C classes, L layers.
"""

import math
import warnings
from collections.abc import Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any, NoReturn, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ffedge.data import Split
from ffedge.data.stream import Chunk, kept_inputs
from ffedge.data.weights import StreamWeights, checked
from ffedge.engine.onnx import OnnxEngine
from ffedge.errors import DataError, TrainingError, refuse_text
from ffedge.files import atomic_file, behind_links, in_turn, writing
from ffedge.labels import wrong_labels
from ffedge.learning.anchor import Anchor
from ffedge.learning.classes import opened, with_classes
from ffedge.learning.files import check_stands, standing
from ffedge.learning.guard import MAX_DROP, Measured, to_check, unchecked_classes
from ffedge.learning.session import stream_recipe
from ffedge.model.calibration import Calibration, best_and_margin
from ffedge.model.readings import Readings, left_out
from ffedge.model.write import write_model
from ffedge.network import InputFacts, label_numbers, places_are_labels
from ffedge.pages import release_libraries, return_large_blocks
from ffedge.predict.predictor import Prediction
from ffedge.seeds import Draw, generator, key
from ffedge.training.evaluator import Evaluator
from ffedge.training.replay import KEPT_BYTES, MOST_KEPT, Reservoir, kept_file, read_kept, write_kept
from ffedge.training.step import BatchLearner, Turn
from ffedge.turns import Turns, not_pickled

Array = NDArray[Any]
REMEDY = "Use a smaller `rate`"
MOST_NAMED = 10


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
    max_drop : how far accuracy on the kept examples may fall; `save` refuses a model that lost more.
    force : learn although there are classes of which no examples are kept, so that nothing shows what is forgotten.
    anchor : share of the way back to where it stood in the file that each weight goes after each step, against
        forgetting where no examples are kept; 0.05 was measured (docs/measurements.md). It takes another copy of them.
        Those of added classes are free; 1 lets nothing else learn.
    add_classes : names of classes that the model is to know beside its own.
    changes : ``batch_size``, ``class_weight`` (balanced: by the rows so far), ``memory_budget`` (of the whole
        process), ``negatives``, ``seed``, ``threads`` and ``tile_bytes`` of `ffedge.spec_parts.TrainSpec`. A tight
        budget takes fewer rows in a step, where none are asked for.

    Attributes
    ----------
    plan : of memory, where there is a budget (`ffedge.training.memory.Plan`).
    steps, rows : taken, and learnt from, so far.
    odd_rows : left out so far (`observe`).

    Raises
    ------
    ModelError
        The file cannot be read or carries no learning step, or no examples of a class that it knows are kept.
    FfedgeError
        The budget is below what learning needs.
    ValueError
        An argument is outside its rule.

    Notes
    -----
    Threads may share a learner. They take turns: each answer is that of the model before an `observe` or after it, and
    so is what `save` writes. Where an answer must not wait long, learn from fewer rows at a time. A forked child goes
    on with a copy of its own. A learner is not pickled: another process opens the file.
    """

    def __init__(
        self,
        model: str | Path,
        *,
        rate: float | Sequence[float] | None = None,
        layers: Sequence[int] | None = None,
        kept_bytes: int = KEPT_BYTES,
        replay_share: float = 0.5,
        max_drop: float = MAX_DROP,
        force: bool = False,
        anchor: float = 0.0,
        add_classes: Sequence[str] = (),
        **changes: Any,
    ) -> None:
        if not 0 <= replay_share < 1:
            raise ValueError(f"`replay_share` must be in [0, 1), got {replay_share}")
        if kept_bytes < 0:
            raise ValueError(f"`kept_bytes` must not be negative, got {kept_bytes}")
        refuse_text(add_classes, "add_classes")
        if "memory_budget" in changes:
            release_libraries()
            return_large_blocks()
        self._learning, self._turns = Turns(), Turns()  # who changes the weights or needs them still; who computes
        self._stood = standing(Path(model))
        before = opened(Path(model))
        self._start = start = with_classes(before, list(add_classes)) if add_classes else before
        self.facts, count = start.facts, len(start.recipe.network.widths)
        self._readings = Readings(self.facts)
        self._active = sorted(set(range(count) if layers is None else layers))
        if not self._active or not 0 <= self._active[0] <= self._active[-1] < count:
            raise ValueError(f"`layers` must be numbers from 0 to {count - 1}, got {layers}")
        row_bytes = self.facts.size * np.dtype(self.facts.dtype).itemsize + 8  # and its label
        capacity = min(MOST_KEPT, kept_bytes // row_bytes)
        replays = capacity > 0 and replay_share > 0
        beside = capacity * row_bytes + (start.n_bytes if anchor else 0)
        self.recipe, self.plan = stream_recipe(start, rate, changes, beside, replays=replays)
        self._anchor = Anchor(anchor, before, start, self._active)
        arrays = [{name: np.array(array) for name, array in start.layer(index).items()} for index in range(count)]
        self._engine = OnnxEngine(self.recipe, self.facts, arrays)
        self._engine.begin(self._active, chunked=False)
        self._batches = BatchLearner(self.recipe, self._engine, self.facts.n_classes)
        self._read_examples(capacity, replay_share, before.facts, force=force)
        self._before, self._max_drop = self._accuracy(), max_drop
        self._wrong_key = key(2, self.recipe.train.seed, Draw.NEGATIVES, 0, 0)
        self.steps = self.rows = self.odd_rows = 0

    def __repr__(self) -> str:
        """Say what it has learnt so far, in a line."""
        learnt = f"{self.rows:,} rows learnt in {self.steps:,} steps"
        return f"<Learner {self._start.path}: {learnt}, {self.odd_rows:,} odd, {len(self.classes)} classes>"

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the label numbers."""
        return self.facts.classes

    def observe(self, x: ArrayLike, y: ArrayLike, weights: ArrayLike | None = None) -> float:
        """Learn from a minibatch; more rows than `batch_size` are taken in several steps.

        Odd rows (`ffedge.model.readings`) are left out, counted in `odd_rows`, and told in a RuntimeWarning.

        Parameters
        ----------
        x : [n, ...] in the shape and type of the training data, or flattened; or one sample. Of a table as for
            `Predictor.predict`.
        y : [n] or one: the classes' names, or their numbers as in `Prediction.label`. Names alone, where some that are
            no numbers stand beside others, or some look like numbers, as 01: a number may be a name or a place there.
        weights : [n], 0 or more: what each row counts in the loss; None: 1, as a kept example does. A row of weight 0
            is not kept.

        Returns
        -------
        float
            The loss before the last step, mean over the layers that learn; NaN where no row was learnt from.

        Raises
        ------
        DataError
            The rows do not fit the model; nothing was learnt from them.
        TrainingError
            The loss is no number any more. Go on from the file with a smaller rate.
        """
        raw, odd = self._rows(x)
        labels, size, loss = self._numbers(y, len(raw)), self._step_rows, math.nan
        own = None if weights is None else checked(weights, "the minibatch", len(raw))
        if odd:
            first, why = next(iter(odd.items()))
            warnings.warn(left_out(len(odd), len(raw), first, why), RuntimeWarning, stacklevel=2)
            raw, labels = np.delete(raw, list(odd), axis=0), np.delete(labels, list(odd))
            own = None if own is None else np.delete(own, list(odd))
        with self._learning, self._turns:
            self.odd_rows += len(odd)
            for start in range(0, len(raw), size):
                part = slice(start, start + size)
                loss = self._step(raw[part], labels[part], None if own is None else own[part])
        return loss

    def predict(self, x: ArrayLike) -> Prediction:
        """Predict one sample or n of them by what has been learnt so far; what counts as known is chosen by `save`.

        Raises
        ------
        DataError
            The rows do not fit the model.
        """
        (raw, odd), layers = self._rows(x), len(self.recipe.network.widths)
        scores, goodness = (np.empty((len(raw), *dims, len(self.classes)), np.float32) for dims in ((), (layers,)))
        with self._turns:
            for at in range(0, len(raw), self.recipe.train.chunk_size):
                part = slice(at, at + self.recipe.train.chunk_size)
                goodness[part], scores[part] = self._batches.scored(raw[part], layers)
        known = np.isfinite(scores.sum(axis=1))
        known[list(odd)] = False
        place, margin = scores.argmax(axis=1), best_and_margin(scores)[1]
        unknown = self._readings.unknown(raw, odd)
        return Prediction(place, margin, scores, known, goodness, odd=odd, unknown=unknown, classes=self.classes)

    def save(self, path: str | Path) -> None:
        """Write the model as it is now, and its kept examples beside it; the files take their places whole.

        Raises
        ------
        FfedgeError
            The disk is full or the folder cannot be written. Or this learner read or wrote the file last, and another
            process has put another model there since, which stays: save this one elsewhere.
        TrainingError
            Accuracy on the kept examples fell by more than `max_drop`, or weights are not finite; nothing is written.
        """
        with self._learning:
            self._save(Path(path))

    def _save(self, path: Path) -> None:
        if not all(np.isfinite(array).all() for layer in self._engine.state() for array in layer.values()):
            raise TrainingError(f"{path}: stands as it was: the weights are not finite. Go on from the file. {REMEDY}")
        if lost := Measured(len(self._measured), self._before, self._accuracy()).lost("kept examples", self._max_drop):
            raise TrainingError(f"{path}: stands as it was: {lost}. Go on from the file with a smaller `rate`")
        odd = {"odd_rows": self.odd_rows} if self.odd_rows else {}
        metadata = self._start.learnt_from(name="stream", rows=self.rows, **odd)
        count, check = self._reservoir.count, self._check
        with writing(path), in_turn(behind_links(path)), atomic_file(path) as temporary:
            for place in standing(path).keys() & self._stood.keys():
                check_stands(path, self._stood[place])
            write_model(temporary, self._start.recipe, self.facts, self._engine.state(), metadata, self._calibration())
            if count:  # before the model, which stands as it was where there is no room for them
                learnt = self._kept[:count], self._reservoir.labels[:count], self._reservoir.seen
                write_kept(
                    kept_file(path), self.facts, learnt, (self._check_rows(), check.labels, check.seen), temporary
                )
        self._stood |= standing(path)

    def _calibration(self) -> Calibration | None:
        """Choose what counts as known, on kept examples that are never learnt from; without, it stays as it was."""
        if self._check.rows is None or self._unchecked:
            return self._start.calibration
        split = Split(self._check.rows, self._check.labels)
        with self._turns:
            return Evaluator(self._batches).calibration([(split, np.arange(len(self._check)))])

    def _accuracy(self) -> float | None:
        """Return the share of the kept examples that tell what is forgotten which is right now; None without any."""
        if self._measured.rows is None:
            return None
        split = Split(self._measured.rows, self._measured.labels)
        with self._turns:
            return Evaluator(self._batches).accuracy(split, np.arange(len(self._measured)))

    def _check_rows(self) -> Array:
        if not len(self._check):
            return np.empty((0, self.facts.size), self.facts.dtype)
        return self._check.take(np.arange(len(self._check)))

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Do nothing."""

    def __reduce__(self) -> NoReturn:
        """Refuse."""
        not_pickled(self, "Save it, and open the file there")

    def _read_examples(self, capacity: int, share: float, known: InputFacts, *, force: bool) -> None:
        """Make room for some kept examples, and read those that stand beside the model."""
        facts, size = self.facts, self.recipe.train.batch_size
        old, self._check = read_kept(kept_file(self._start.path), facts)
        self._measured = to_check(old, self._check)
        self._unchecked = unchecked_classes(self._start.path, known, self._measured, force=force)
        self._rng, self._share = generator(self.recipe.train.seed, Draw.KEPT, int(old.seen.sum())), share
        first = self._rng.permutation(len(old))[:capacity]
        self._kept = np.empty((capacity, facts.size), facts.dtype)
        if len(first):
            self._kept[: len(first)] = self._rows(old.take(first))[0]
        self._reservoir = Reservoir(capacity, old.labels[first], old.seen, self._rng)
        self._weights = StreamWeights(self.recipe.train.class_weight, facts.classes, old.labels[first])
        self._step_rows = max(1, size - round(size * share)) if capacity and share else size

    def _step(self, raw: Array, labels: NDArray[np.int64], own: NDArray[np.float32] | None) -> float:
        """Take a step from some rows and from kept examples, then keep some of the rows."""
        train, count = self.recipe.train, len(raw)
        batch, true = self._with_kept(raw, labels)
        mask, own = None, own if own is None else np.append(own, np.ones(len(batch) - count, np.float32))
        if train.input_dropout:
            rng = generator(train.seed, Draw.DROPOUT, self.steps)
            mask = kept_inputs(len(batch), self._engine.layers[0].place.inputs, train.input_dropout, rng)
        chunk = Chunk(batch, true, self.rows + np.arange(len(batch)), mask, self._weights(true, own))
        rates = {i: train.layer_rate(i) for i in self._active}
        wrong = None if train.negatives.startswith("hard") else self._wrong
        negatives = cache(partial(generator, train.seed, Draw.NEGATIVES, self.steps))
        turn = Turn(self._active, wrong, negatives, self.steps, rates)
        self._batches.sums.clear()
        diverged = self._batches.batch([chunk], len(batch), turn)
        if diverged is not None:
            rate = f"at rate {rates[diverged]:g}"
            raise TrainingError(f"layer {diverged}: the loss is not a number {rate}. Go on from the file. {REMEDY}")
        self._anchor.draw_back(self._engine.state(), self._active)
        self.steps, self.rows = self.steps + 1, self.rows + count
        if len(self._kept):
            if own is not None:  # a kept example counts as others do
                raw, labels = raw[own[:count] > 0], labels[own[:count] > 0]
            places = self._reservoir.offer(labels)
            self._kept[places[places >= 0]] = raw[places >= 0]
        return sum(sums.loss for sums in self._batches.sums.values()) / len(self._active) / len(batch)

    def _with_kept(self, raw: Array, labels: NDArray[np.int64]) -> tuple[Array, NDArray[np.int64]]:
        """Return some rows and their labels, and after them the kept examples' share."""
        wanted = round(len(raw) * self._share / (1.0 - self._share)) if self._reservoir.count else 0
        again = min(wanted, self.recipe.train.batch_size - len(raw))
        if not again:
            return np.ascontiguousarray(raw), labels
        drawn = self._rng.integers(0, self._reservoir.count, again)
        return np.concatenate([raw, self._kept[drawn]]), np.concatenate([labels, self._reservoir.labels[drawn]])

    def _wrong(self, chunk: Chunk) -> NDArray[np.int64]:
        count = self.recipe.train.n_negatives
        return wrong_labels(chunk.labels, chunk.positions, count, self.facts.n_classes, self._wrong_key)

    def _rows(self, x: ArrayLike) -> tuple[Array, dict[int, str]]:
        """Return inputs as rows [n, I], and which are odd, and why."""
        samples, odd = self._readings.read(x)
        return samples.reshape(len(samples), self.facts.size), odd

    def _numbers(self, y: ArrayLike, count: int) -> NDArray[np.int64]:
        """Return labels as numbers of classes."""
        try:
            labels = np.atleast_1d(np.asarray(y))
        except ValueError as error:
            raise DataError(f"labels must number {count}, one a row, got lists of several lengths") from error
        if not count and not len(labels):
            return np.zeros(0, np.int64)
        if labels.dtype == object and all(isinstance(name, str) for name in labels.tolist()):
            labels = labels.astype(str)
        named = labels.dtype.kind == "U"
        if named:
            numbers = {name: number for number, name in enumerate(self.classes)}
            if unknown := [name for name in labels.tolist() if name not in numbers]:
                raise DataError(
                    f"labels must name the model's classes, got {unknown[0]!r}. Open the file with `add_classes`"
                )
            labels = np.array([numbers[name] for name in labels.tolist()])
        if labels.shape != (count,):
            raise DataError(f"labels must number {count}, one a row, got shape {list(labels.shape)}")
        names, known = None if named else label_numbers(self.classes), np.arange(len(self.classes))
        if not named and names is None and not places_are_labels(self.classes):
            some = ", ".join(self.classes[:MOST_NAMED])
            raise DataError(
                f"labels must be names as texts, got {labels.dtype}: some of {some} look like numbers, "
                "so that a number may be a name or a place"
            )
        if labels.dtype.kind not in "iu" or not np.isin(labels, known if names is None else names).all():
            allowed = f"numbers from 0 to {known[-1]}" if names is None else ", ".join(self.classes[:MOST_NAMED])
            raise DataError(f"labels must be {allowed}, or names of classes")
        if names is not None:
            order = np.argsort(names)
            labels = order[np.searchsorted(names, labels, sorter=order)]
        return labels.astype(np.int64)
