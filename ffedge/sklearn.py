"""ffedge as a classifier of scikit-learn: ``from ffedge.sklearn import FFClassifier``.

Shape letters: n rows, I features, C classes.
"""

import hashlib
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from numbers import Real
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ffedge.columns import Column, Table
from ffedge.data import Dataset, RowSource, Split
from ffedge.data.rows import ArrayRows
from ffedge.data.weights import checked
from ffedge.errors import DataError, FfedgeError, one_line
from ffedge.files import atomic_file
from ffedge.learning.learner import Learner
from ffedge.model.file import Model
from ffedge.model.temperature import softened
from ffedge.predict.predictor import Prediction, Predictor
from ffedge.presets import PRESETS
from ffedge.spec import Spec
from ffedge.training.in_memory import trained_model, untrained_model
from ffedge.training.watch import Watcher

try:
    from sklearn.base import BaseEstimator, ClassifierMixin
    from sklearn.utils import check_random_state
    from sklearn.utils.multiclass import check_classification_targets, unique_labels
    from sklearn.utils.validation import check_is_fitted, column_or_1d, validate_data
except ImportError as error:
    raise FfedgeError(
        "ffedge.sklearn needs scikit-learn 1.6 or newer, which is not installed. Run: pip install 'ffedge[sklearn]'"
    ) from error

Array = NDArray[Any]
STREAM_BATCH = 256  # rows of a step of `partial_fit`


class FFClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A classifier that is trained layer by layer with Forward-Forward, without a backward pass.

    Parameters
    ----------
    variant : ``ff`` (layers alone), ``fcff`` (gamma fixed) or ``acff`` (gamma learnt).
    widths : units of each layer; a number is one layer.
    epochs, batch_size, rate : of training; ``auto`` goes by the data. `partial_fit` passes over its rows once.
    class_goodness : how a class is told, as in `ffedge.Spec`; ``auto`` is ``tried``.
    scaling : of the features; ``auto`` goes by the median and the quartiles of each, and cuts far out.
    class_weight : what a class's rows count in the loss: ``balanced``, or a number above 0 for some classes (others 1).
    preset : of settings, as of `ffedge.Spec.make`.
    options : more fields of `ffedge.Spec`, by name.
    n_jobs : threads; None is one, -1 all.
    random_state : of all that is drawn: an int gives the same weights each time.

    Attributes
    ----------
    classes_ : [C] as they came, in order.
    n_features_in_ : I.
    feature_names_in_ : [I] of a frame's columns.

    Notes
    -----
    Features are scaled in double precision inside the model, so that a time stamp keeps its signal, and then made
    float32. NaN is a missing value, and stands for the median of the training rows. Training rows that lie absurdly far
    from all others are left out, with a warning. A pickle holds the parameters and the bytes of a model file.
    """

    def __init__(
        self,
        variant: Literal["ff", "fcff", "acff"] = "acff",
        *,
        widths: int | Sequence[int] = (100, 100),
        epochs: int | Literal["auto"] = "auto",
        batch_size: int | Literal["auto"] = "auto",
        rate: float | Sequence[float] | Literal["auto"] = "auto",
        class_goodness: str = "auto",
        scaling: str = "auto",
        class_weight: Mapping[Any, float] | Literal["balanced"] | None = None,
        preset: str = "tuned",
        options: Mapping[str, Any] | None = None,
        n_jobs: int | None = None,
        random_state: Any = None,
    ) -> None:
        self.variant = variant
        self.widths = widths
        self.epochs = epochs
        self.batch_size = batch_size
        self.rate = rate
        self.class_goodness = class_goodness
        self.scaling = scaling
        self.class_weight = class_weight
        self.preset = preset
        self.options = options
        self.n_jobs = n_jobs
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Train anew.

        Parameters
        ----------
        X : [n, I] numbers; NaN where one is missing.
        y : [n] classes: numbers or names.
        sample_weight : [n], 0 or more: what each row counts in the loss, beside its class's weight; only their
            proportions matter. A row of weight 0 is as one that is not there.

        Raises
        ------
        ValueError
            The rows are no numbers, or of one class, or a parameter is outside its rule.
        TrainingError
            A loss is not a number. Use a smaller `rate`.

        Notes
        -----
        Where it fails, the classifier stays as it was.
        """
        before = dict(self.__dict__)
        try:
            self._fit(X, y, sample_weight)
        except BaseException:
            self.__dict__ = before
            raise
        return self

    def _fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None) -> None:
        rows, labels = self._checked(X, y, reset=True)
        weights = _weights(sample_weight, len(rows))
        if weights is not None and not weights.any():
            raise ValueError("sample_weight must be above 0 for some row, got zeros alone")
        if weights is not None:  # a row of weight 0 is as one that is not there
            rows, labels, weights = rows[weights > 0], labels[weights > 0], weights[weights > 0]
        self.classes_, codes = np.unique(labels, return_inverse=True)
        self._refuse_one_class()
        gaps = np.asarray(np.isnan(rows).any(axis=0)) if rows.dtype.kind == "f" else None
        dataset = self._dataset(rows, codes, gaps, weights)
        self._network = _Network(trained_model(self._spec(), dataset, _Warner()), self._threads())

    def partial_fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        classes: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> Self:
        """Learn from some rows, once each, beside examples of earlier ones that are kept; any number of times.

        Parameters
        ----------
        X, y : as of `fit`. The features of the first rows say how they are scaled from then on.
        classes : all that there will be; needed at the first call.
        sample_weight : [n], 0 or more: what each row counts in the loss, where 1 is a row without. `class_weight` goes
            by the rows so far.

        Raises
        ------
        ValueError
            `classes` are missing, or a row is of another class.
        """
        first = not hasattr(self, "_network")
        if first and classes is None:
            raise ValueError("`classes` must name all classes at the first call of partial_fit")
        rows, labels = self._checked(X, y, reset=first)
        if first:
            self.classes_ = unique_labels(classes)
            self._refuse_one_class()
        elif classes is not None and not np.array_equal(self.classes_, unique_labels(classes)):
            raise ValueError(f"`classes` must be those of the first call, {self.classes_}, got {classes}")
        codes = np.searchsorted(self.classes_, labels).clip(max=len(self.classes_) - 1)
        if (wrong := self.classes_[codes] != labels).any():
            known, got = self.classes_.tolist(), labels[wrong].tolist()[0]
            raise ValueError(f"y must hold classes of the first call, {known}, got {got!r}")
        weights = _weights(sample_weight, len(rows))
        if first:
            dataset = self._dataset(rows, codes, np.ones(rows.shape[1], np.bool_))
            spec = self._spec().with_train(holdout=0.0)
            model = untrained_model(spec, dataset, 10 * STREAM_BATCH)
            self._network = _Network(model, self._threads(), from_nothing=True)
        self._network.observe(rows, codes, weights, None if self.batch_size == "auto" else self.batch_size)
        return self

    def predict(self, X: ArrayLike) -> Array:
        """Return the class [n] of each row [n, I], as `y` had it."""
        answers = self._answers(X)
        return np.asarray(self.classes_[answers.place])

    def decision_function(self, X: ArrayLike) -> NDArray[np.float32]:
        """Return the scores [n, C]; of two classes the second one's lead [n]."""
        scores = self._answers(X).scores
        return scores[:, 1] - scores[:, 0] if len(self.classes_) == 2 else scores

    def predict_proba(self, X: ArrayLike) -> NDArray[np.float32]:
        """Return the probability [n, C] of each class, as of `ffedge.Prediction`.

        The temperature was fitted on rows that `fit` held out. It is 1 where there were none, as with `partial_fit`.
        """
        answers = self._answers(X)
        return softened(answers.scores, answers.temperature or 1.0)

    def to_onnx(self, path: str | Path | None = None) -> bytes:
        """Return the bytes of a model.onnx, and write them to a file where one is named.

        It is a model as `ffedge train` writes it: `ffedge predict`, `Predictor`, `Learner` and `ffedge export` take it.
        """
        check_is_fitted(self)
        model: bytes = self._network.model()
        if path is not None:
            with atomic_file(Path(path)) as temporary:
                temporary.write_bytes(model)
        return model

    def __sklearn_is_fitted__(self) -> bool:
        """Say whether there is a network."""
        return hasattr(self, "_network")

    def __sklearn_tags__(self) -> Any:
        """Say what is taken: NaN is."""
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags

    def _checked(self, X: ArrayLike, y: ArrayLike, *, reset: bool) -> tuple[Array, Array]:
        rows, labels = validate_data(
            self, X, y, reset=reset, dtype="numeric", ensure_all_finite="allow-nan", ensure_min_samples=1
        )
        labels = column_or_1d(labels, warn=True)
        check_classification_targets(labels)
        return rows, labels

    def _refuse_one_class(self) -> None:
        if len(self.classes_) < 2:
            raise ValueError(
                f"FFClassifier needs rows of 2 classes or more, got 1 class: {self.classes_.tolist()[0]!r}"
            )

    def _answers(self, X: ArrayLike) -> Prediction:
        check_is_fitted(self)
        rows = validate_data(self, X, reset=False, dtype="numeric", ensure_all_finite="allow-nan")
        return self._network.predict(rows)

    def _threads(self) -> int:
        return 1 if self.n_jobs is None else max(0, self.n_jobs)

    def _spec(self) -> Spec:
        """Return what is asked for; ValueError where it is for pictures, whose sides rows [n, I] do not tell."""
        if "widths" in PRESETS.get(self.preset, {}):
            raise ValueError(f"`preset` must be one for rows of numbers, got {self.preset!r}. Use `ffedge.train`")
        named = {"epochs": self.epochs, "batch_size": self.batch_size, "rate": _tuple(self.rate)}
        named |= {"class_goodness": self.class_goodness, "scaling": self.scaling}
        if self.class_weight is not None:
            named["class_weight"] = self._named_weights()
        asked = {name: value for name, value in named.items() if not (isinstance(value, str) and value == "auto")}
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        options = dict(self.options or {})
        fixed = {"variant": self.variant, "widths": _tuple(self.widths), "seed": seed}
        if self.n_jobs is not None or options.get("engine") != "torch":  # which goes by torch's own threads
            fixed["threads"] = self._threads()
        return Spec.make(self.preset, **(fixed | asked | options))

    def _named_weights(self) -> Any:
        """Return what a spec says of the classes' weights: by their names in the model."""
        if not isinstance(self.class_weight, Mapping):
            return self.class_weight
        places, names = {value: place for place, value in enumerate(self.classes_.tolist())}, self._class_names()
        if strange := [value for value in self.class_weight if value not in places]:
            raise ValueError(f"class_weight must name classes of y, {self.classes_.tolist()}, got {strange[0]!r}")
        return {names[places[value]]: weight for value, weight in self.class_weight.items()} or "none"

    def _class_names(self) -> tuple[str, ...]:
        """Return the names of the classes in the model: their texts, or their places where these are no names."""
        names = tuple(str(name) for name in self.classes_)
        if len(set(names)) < len(names) or any(not name.strip() or one_line(name) != name for name in names):
            names = tuple(map(str, range(len(names))))
        return names

    def _dataset(self, rows: Array, codes: Array, gaps: Array | None, weights: Array | None = None) -> Dataset:
        """Return rows [n, I] as a table, whose numbers are scaled in double precision."""
        named = list(getattr(self, "feature_names_in_", ()))
        if not named or len(set(named)) < len(named) or any(not name or one_line(name) != name for name in named):
            named = [f"x{place}" for place in range(rows.shape[1])]
        missing = np.zeros(len(named), np.bool_) if gaps is None else gaps
        columns = tuple(Column(str(name), gaps=bool(gap)) for name, gap in zip(named, missing, strict=True))
        digest = hashlib.sha256(np.ascontiguousarray(rows).data)
        digest.update(codes.astype(np.int64).data)
        split = Split(_Doubles(rows), codes.astype(np.int64), weights)
        return Dataset("rows", split, None, self._class_names(), digest.hexdigest(), table=Table(columns, "class"))


def _tuple(value: Any) -> Any:
    """Return numbers as a tuple, one alone too; a word as it is."""
    return value if isinstance(value, str) else (value,) if isinstance(value, Real) else tuple(value)


def _weights(given: ArrayLike | None, rows: int) -> Array | None:
    """Return the weights of rows [n]; ValueError where they are none."""
    try:
        return None if given is None else checked(given, "sample_weight", rows)
    except DataError as error:
        raise ValueError(str(error)) from error


class _Doubles(RowSource):
    """Rows of numbers in memory, taken as float64."""

    def __init__(self, array: Array) -> None:
        super().__init__(array.shape, np.dtype(np.float64))
        self._rows = ArrayRows(array)

    def take(self, indices: NDArray[np.integer]) -> NDArray[np.float64]:
        return self._rows.take(indices).astype(np.float64)


class _Warner(Watcher):
    """Says in Python's way what is left out."""

    def note(self, text: str) -> None:
        warnings.warn(text, RuntimeWarning, stacklevel=5)


class _Network:
    """A model file's bytes; while it learns, the learner that holds what comes after them. Pickled as bytes."""

    def __init__(self, model: bytes, threads: int, *, from_nothing: bool = False) -> None:
        self._model, self._threads, self._from_nothing = model, threads, from_nothing
        self._predictor: Predictor | None = None
        self._learner: Learner | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (self.model(), self._threads, self._from_nothing)

    def model(self) -> bytes:
        """Return the model file as it is now."""
        if self._learner is not None and not self._model:
            with tempfile.TemporaryDirectory() as folder:
                self._learner.save(path := Path(folder) / "model.onnx")
                self._model = path.read_bytes()
        return self._model

    def predict(self, rows: Array) -> Prediction:
        """Return answers to rows [n, I]."""
        if self._predictor is None:
            self._predictor = Predictor(self.model(), self._threads)
        return self._predictor.predict(rows)

    def observe(self, rows: Array, codes: Array, weights: Array | None, batch_size: Any) -> None:
        """Learn from rows [n, I] of the classes at these places [n], and of these weights [n]."""
        if self._learner is None:
            self._learner = self._opened(batch_size or STREAM_BATCH)
        self._learner.observe(rows, np.array(self._learner.classes)[codes], weights)
        self._model, self._predictor = b"", None

    def _opened(self, batch_size: int) -> Learner:
        rate = Model(self._model).recipe.train.rate if self._from_nothing else None
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.onnx"
            path.write_bytes(self._model)
            return Learner(path, rate=rate, max_drop=1.0, force=True, batch_size=batch_size, threads=self._threads or 0)


def _restored(model: bytes, threads: int, from_nothing: bool) -> _Network:
    return _Network(model, threads, from_nothing=from_nothing)
