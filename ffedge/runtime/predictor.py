"""Predicts with a model file: numpy and onnxruntime only.

Shape letters: N samples, C classes, L layers.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ffedge.calibration import Calibration
from ffedge.errors import DataError, ModelError
from ffedge.json_text import parse
from ffedge.network import InputFacts
from ffedge.recipe import Recipe
from ffedge.runtime.proto import ModelParts, read_parts
from ffedge.runtime.session import make_session
from ffedge.runtime.verify import rows_at_once
from ffedge.spec import MODEL_FORMAT


@dataclass(frozen=True)
class Prediction:
    """What a model says of N samples.

    Attributes
    ----------
    label : [N] int64, the class with the largest score.
    margin : [N] float32, best minus second score.
    scores : [N, C] float32, the layers' goodness summed. Exported forms (`ffedge export --form`) say less: ``pruned``
        sums only the first layer's for labels that the others did not try, all of them below those that were tried;
        ``head`` gives logits.
    known : [N] bool, whether best score and margin are such as rows of the training data gave (`ffedge.calibration`);
        True for all where the model holds no calibration.
    goodness : [N, L, C] float32 of each layer; empty unless asked for.
    """

    label: NDArray[np.int64]
    margin: NDArray[np.float32]
    scores: NDArray[np.float32]
    known: NDArray[np.bool_]
    goodness: NDArray[np.float32] = field(default_factory=lambda: np.empty((0, 0, 0), np.float32))

    def __len__(self) -> int:
        """Return N."""
        return len(self.label)


class Predictor:
    """A model file, loaded. A stranger's may be wrong, but it runs no code, and takes no memory out of proportion.

    Parameters
    ----------
    model : the file's path, or its bytes.
    threads : 0 takes all cores.

    Raises
    ------
    ModelError
        There is no such file, it is no ONNX, it is not ffedge's, it comes from a newer format, or its graph is not one
        that ffedge makes.
    """

    def __init__(self, model: str | Path | bytes, threads: int = 0) -> None:
        name = "model" if isinstance(model, bytes) else str(model)
        if not isinstance(model, bytes) and not Path(model).is_file():
            raise ModelError(f"{name}: no such file. Train one with `ffedge train`")
        parts = _parts(model, name)
        self._name = name
        self.metadata = metadata_of(parts.metadata, name)
        try:
            self.recipe = Recipe.from_dict(self.metadata["spec"])
            self.facts = InputFacts.from_dict(self.metadata["input"])
            known = self.metadata.get("known")
            self.calibration = None if known is None else Calibration.from_dict(known)
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(f"{name}: its metadata cannot be used ({error}). Export the model anew") from error
        try:
            self._rows = rows_at_once(parts, self.facts, len(self.recipe.network.widths))
        except ValueError as error:
            raise ModelError(f"{name}: its graph cannot be used ({error}). Export the model anew") from error
        try:
            self._session = make_session(model if isinstance(model, bytes) else str(model), threads)
        except Exception as error:  # onnxruntime raises a class of its own for each cause
            raise ModelError(f"{name}: is no ONNX model that onnxruntime can load. Pass a model.onnx") from error
        self._check_graph(name)

    @property
    def has_layers(self) -> bool:
        """Whether the model tells each layer's goodness; exported forms do not."""
        return any(output.name == "goodness" for output in self._session.get_outputs())

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the label numbers."""
        return self.facts.classes

    def predict(self, inputs: ArrayLike, *, layers: bool = False) -> Prediction:
        """Predict one sample or N of them, in bounded memory.

        Parameters
        ----------
        inputs : [N, ...] or one sample [...], in the shape and type of the training data, or flattened.
        layers : also return each layer's goodness, where the model has it (`has_layers`).

        Raises
        ------
        DataError
            The inputs have another shape or type, or hold NaN or infinity.
        ModelError
            The model cannot be run, or does not give what a model must.
        """
        samples = samples_of(np.asarray(inputs), self.facts)
        names = ["label", "margin", "scores", "known", *(["goodness"] if layers else [])]
        parts = [
            self._run(names, samples[start : start + self._rows])
            for start in range(0, max(1, len(samples)), self._rows)
        ]
        if len(parts) == 1:
            return Prediction(*parts[0])
        return Prediction(*(np.concatenate(values) for values in zip(*parts, strict=True)))

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
            present = [name for name in names if name not in self._lacks]
            values: list[NDArray[Any]] = self._session.run(present, {"input": samples})
        except Exception as error:  # onnxruntime raises a class of its own for each cause
            raise ModelError(f"{self._name}: cannot be run ({error}). Export the model anew") from error
        if self._lacks:  # an older model
            values.insert(names.index("known"), np.ones(n, np.bool_))
        for name, value in zip(names, values, strict=True):
            dtype, shape = wanted[name]
            if value.dtype != dtype or value.shape != shape:
                raise ModelError(
                    f"{self._name}: gives {name} {_dims(value.shape)} of {value.dtype}. Export the model anew"
                )
        if n and not 0 <= values[0].min() <= values[0].max() < classes:
            raise ModelError(f"{self._name}: gives labels beyond its {classes} classes. Export the model anew")
        return values

    def _check_graph(self, name: str) -> None:
        """Hold the graph's input and outputs against the metadata."""
        inputs = self._session.get_inputs()
        outputs = {output.name: output for output in self._session.get_outputs()}
        self._lacks = {"known"} - set(outputs)
        if not {"scores", "label", "margin"} <= set(outputs):
            raise ModelError(f"{name}: lacks the outputs scores, label and margin. Export the model anew")
        kind = {"uint8": "tensor(uint8)", "float32": "tensor(float)"}[self.facts.dtype]
        given = (len(inputs), inputs[0].name, inputs[0].type, *inputs[0].shape[1:], *outputs["scores"].shape[1:])
        if given != (1, "input", kind, *self.facts.shape, self.facts.n_classes):
            raise ModelError(f"{name}: its graph is not the one that its metadata tell of. Export the model anew")


def samples_of(array: NDArray[Any], facts: InputFacts) -> NDArray[Any]:
    """Return inputs, one sample or N of them, as [N, ...] in the shape and type of the training data.

    Raises
    ------
    DataError
        They have another shape or type, or hold NaN or infinity.
    """
    shape, size = facts.shape, facts.size
    if array.shape[1:] == shape or (array.ndim == 2 and array.shape[1] == size):
        samples = array.reshape(len(array), *shape)
    elif array.shape in (shape, (size,)):
        samples = array.reshape(1, *shape)
    else:
        raise DataError(f"inputs must have shape {_dims(shape)} or [N, …], got {_dims(array.shape)}")
    kind = np.dtype(facts.dtype)
    if kind == np.uint8 and array.dtype != np.uint8:
        raise DataError(f"inputs must be uint8 from 0 to 255 as in training, got {array.dtype}")
    if not (np.issubdtype(array.dtype, np.floating) or np.issubdtype(array.dtype, np.integer)):
        raise DataError(f"inputs must be numbers, got {array.dtype}")
    with np.errstate(over="ignore"):  # a number beyond float32 becomes infinity, and is refused
        samples = np.ascontiguousarray(samples, dtype=kind)
    if kind == np.float32 and not np.isfinite(samples).all():
        raise DataError("inputs must be finite, got NaN or infinity")
    return samples


def _parts(model: str | Path | bytes, name: str) -> ModelParts:
    try:
        return read_parts(model if isinstance(model, bytes) else Path(model))
    except OSError as error:
        raise ModelError(f"{name}: cannot be read ({error.strerror}). Check its permissions") from error
    except ValueError as error:
        raise ModelError(f"{name}: is no model that ffedge can run ({error}). Pass a model.onnx") from error


def _dims(shape: tuple[int, ...]) -> str:
    return f"[{', '.join(map(str, shape))}]"


def metadata_of(stored: dict[str, str], name: str) -> dict[str, Any]:
    """Read the metadata whose keys begin with ``ffedge.``."""
    if "ffedge.format" not in stored:
        raise ModelError(f"{name}: is an ONNX model without ffedge's metadata. Export it with `ffedge export`")
    try:
        metadata = {k.removeprefix("ffedge."): parse(v) for k, v in stored.items() if k.startswith("ffedge.")}
    except ValueError as error:
        raise ModelError(f"{name}: its metadata is damaged ({error}). Export the model anew") from error
    if metadata["format"] != MODEL_FORMAT:
        raise ModelError(
            f"{name}: has model format {metadata['format']}, but this ffedge reads {MODEL_FORMAT}. Upgrade ffedge"
        )
    return metadata
