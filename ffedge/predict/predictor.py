"""Predicts with a model file: numpy and onnxruntime only.

Shape letters: N samples, C classes, L layers.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ffedge.engine.session import make_session, provider_named, run
from ffedge.errors import FfedgeError, ModelError
from ffedge.model.file import Model
from ffedge.model.readings import Readings, dims
from ffedge.network import label_numbers
from ffedge.onnx.graph import model_bytes
from ffedge.onnx.shapes import walk
from ffedge.turns import not_pickled

MOST_ROWS = 640
SPARE_BYTES = 1 << 26
SPARE_WORK = 1 << 31


@dataclass(frozen=True)
class Prediction:
    """What a model says of N samples.

    Attributes
    ----------
    place : [N] int64, of the class with the largest score among the model's `classes`.
    margin : [N] float32, best minus second score.
    scores : [N, C] float32, the layers' goodness summed. Exported forms (`ffedge export --form`) say less: ``pruned``
        sums only the first layer's for labels that the others did not try, all of them below those that were tried;
        ``head`` gives logits.
    known : [N] bool, whether best score and margin are such as rows of the training data gave
        (`ffedge.model.calibration`); True for all where the model holds no calibration. Never True for an odd row.
    goodness : [N, L, C] float32 of each layer; empty unless asked for.
    odd : of each row that is odd (`ffedge.model.readings`): its number and why, such as "input 2 is not a number".
        Its other fields are the answer to the nearest row that is not.
    unknown : of each further row of a table with a category that the model does not know: its number and the column.
        It counts as none of the categories, and the row as one like others.
    classes : [C] names, in the order of the places.
    temperature : that makes probabilities of the scores (`proba`); None where none was fitted.
    """

    place: NDArray[np.int64]
    margin: NDArray[np.float32]
    scores: NDArray[np.float32]
    known: NDArray[np.bool_]
    goodness: NDArray[np.float32] = field(default_factory=lambda: np.empty((0, 0, 0), np.float32))
    odd: dict[int, str] = field(default_factory=dict, kw_only=True)
    unknown: dict[int, str] = field(default_factory=dict, kw_only=True)
    classes: tuple[str, ...] = field(default=(), kw_only=True)
    temperature: float | None = field(default=None, kw_only=True)

    @property
    def label(self) -> NDArray[np.int64]:
        """[N] the label, as the training data had it where labels are numbers, as 10, 20 and 30; else the place."""
        numbers = label_numbers(self.classes)
        return self.place if numbers is None else numbers[self.place]

    @property
    def proba(self) -> NDArray[np.float32]:
        """[N, C] float32, the classes' probabilities, ``softmax(scores / temperature)``; of a row their sum is 1.

        Raises
        ------
        ModelError
            No temperature was fitted: the model is older, or no rows were held out when it was trained.
        """
        from ffedge.model.temperature import softened  # which an answer does without

        if self.temperature is None:
            raise ModelError(
                "the model has no probabilities: none were fitted on rows held out. Use `ffedge.recalibrate` with rows "
                "that it has not learnt from, or train anew"
            )
        return softened(self.scores, self.temperature)

    def __len__(self) -> int:
        """Return N."""
        return len(self.place)

    def __repr__(self) -> str:
        """Say how many samples got which labels, in a line."""
        first = ", ".join(self.classes[c][:40] if self.classes else str(c) for c in self.place[:8].tolist())
        more = ", …" if len(self) > 8 else ""
        samples = f"{len(self):,} sample{'' if len(self) == 1 else 's'}"
        return f"<Prediction of {samples}: {first}{more}; {int(self.known.sum()):,} known, {len(self.odd):,} odd>"


class Predictor:
    """A model file, loaded: its graph is built anew from what was read of it (`ffedge.model.file`).

    Parameters
    ----------
    model : the file's path, or its bytes.
    threads : 0 takes all cores.
    provider : what runs it: cpu, or another one of the installed onnxruntime, as cuda, coreml or openvino, in its own
        precision.

    Raises
    ------
    FfedgeError
        The provider is not there, or cannot run the model.
    ModelError
        There is no such file, it is no ONNX, it is not ffedge's, it comes from a newer format, or its metadata and
        weights do not fit each other.

    Notes
    -----
    Threads may share a predictor, and predict at once. A forked child may use it. It is not pickled: another process
    opens the file.
    """

    def __init__(self, model: str | Path | bytes, threads: int = 0, provider: str = "cpu") -> None:
        chosen = provider_named(provider)
        opened = Model(model)
        self._name, self._graph = opened.name, opened.graph
        self.metadata, self.recipe, self.facts = opened.metadata, opened.recipe, opened.facts
        self.calibration, self._readings = opened.calibration, Readings(opened.facts)
        try:
            self._rows = rows_at_once(opened)
        except ValueError as error:
            raise ModelError(f"{self._name}: its graph cannot be used ({error}). Export the model anew") from error
        try:
            self._session = make_session(model_bytes(self._graph), threads, opened.weights(), provider=chosen)
        except Exception as error:  # onnxruntime raises a class of its own for each cause
            raise ModelError(f"{self._name}: is no ONNX model that onnxruntime can load. Pass a model.onnx") from error
        if self._session.get_providers()[0] != chosen:
            raise FfedgeError(f"`provider='{provider}'`: cannot be used on this machine. Use `provider='cpu'`")

    def __repr__(self) -> str:
        """Say what it is of, in a line."""
        widths = ", ".join(map(str, self.recipe.network.widths[:8]))
        inputs = f"{self.facts.dtype} {dims(self.facts.shape)}"
        return f"<Predictor {self._name}: {self.recipe.rule.variant} ({widths}), {inputs}, {len(self.classes)} classes>"

    @property
    def has_layers(self) -> bool:
        """Whether the model tells each layer's goodness; exported forms do not."""
        return "goodness" in self._graph.outputs

    @property
    def temperature(self) -> float | None:
        """What scores are divided by before a softmax makes probabilities of them; None where none was fitted."""
        return self.calibration.temperature if self.calibration else None

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the label numbers."""
        return self.facts.classes

    def predict(self, inputs: ArrayLike, *, layers: bool = False) -> Prediction:
        """Predict one sample or N of them, in bounded memory.

        Parameters
        ----------
        inputs : [N, ...] or one sample [...], in the shape and type of the training data, or flattened. Of a table
            also a frame, a dict of columns, or dicts by column, one a row.
        layers : also return each layer's goodness, where the model has it (`has_layers`).

        Raises
        ------
        DataError
            The inputs have another shape or type.
        ModelError
            The model cannot be run, or does not give what a model must.
        """
        samples, odd = self._readings.read(inputs)
        names = ["label", "margin", "scores", "known", *(["goodness"] if layers else [])]
        parts = [
            self._run(names, samples[start : start + self._rows])
            for start in range(0, max(1, len(samples)), self._rows)
        ]
        values = parts[0] if len(parts) == 1 else [np.concatenate(each) for each in zip(*parts, strict=True)]
        values[names.index("known")][list(odd)] = False
        unknown = self._readings.unknown(samples, odd)
        return Prediction(*values, odd=odd, unknown=unknown, classes=self.classes, temperature=self.temperature)

    def __reduce__(self) -> NoReturn:
        """Refuse."""
        not_pickled(self, "Open the model's file there")

    def _run(self, names: list[str], samples: NDArray[Any]) -> list[NDArray[Any]]:
        """Run some samples, and hold the values against what a prediction is: a stranger's graph may give anything."""
        n, classes = len(samples), self.facts.n_classes
        wanted = {
            "label": (np.int64, (n,)),
            "margin": (np.float32, (n,)),
            "scores": (np.float32, (n, classes)),
            "known": (np.bool_, (n,)),
            "goodness": (np.float32, (n, len(self.recipe.network.widths), classes)),
        }
        try:
            present = [name for name in names if name in self._graph.outputs]
            values: list[NDArray[Any]] = run(self._session, present, {"input": samples})
        except Exception as error:  # onnxruntime raises a class of its own for each cause
            raise ModelError(f"{self._name}: cannot be run ({error}). Export the model anew") from error
        if "known" not in self._graph.outputs:  # an older model
            values.insert(names.index("known"), np.ones(n, np.bool_))
        for name, value in zip(names, values, strict=True):
            dtype, shape = wanted[name]
            if value.dtype != dtype or value.shape != shape:
                raise ModelError(
                    f"{self._name}: gives {name} {dims(value.shape)} of {value.dtype}. Export the model anew"
                )
        if n and not 0 <= values[0].min() <= values[0].max() < classes:
            raise ModelError(f"{self._name}: gives labels beyond its {classes} classes. Export the model anew")
        return values


def rows_at_once(model: Model) -> int:
    """Return how many samples go through the graph together: 640 rows (samples times classes), or less of large ones.

    A small file's run stays within 64 MiB; beyond that, each byte of the file allows 8.

    Raises
    ------
    ValueError
        One sample is too large.
    """
    rows, size = max(1, MOST_ROWS // model.facts.n_classes), model.parts.n_bytes
    while True:
        cost = walk(model.graph, {"N": rows}).cost
        if cost.n_bytes <= SPARE_BYTES + 8 * size and cost.work <= SPARE_WORK + 1024 * size:
            return rows
        if rows == 1:
            raise ValueError(f"one sample makes {cost.n_bytes >> 20} MiB and {cost.work / 1e9:.1f} G multiply-adds")
        rows //= 2
