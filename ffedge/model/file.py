"""Opens a model file: what is run is built anew from its metadata and weights, never the graph that stands in it.

A model.onnx MUST have one input ``input`` and the outputs ``scores``, ``label`` and ``margin``; it MUST carry the
metadata ``ffedge.format``, ``ffedge.spec`` and ``ffedge.input``; it MAY carry more outputs, more metadata and a
``training_info`` (`ffedge.model.training_info`). A reader MUST refuse a format that it does not know.
"""

import os
import weakref
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ffedge.errors import ModelError
from ffedge.fields import is_finite
from ffedge.json_text import parse
from ffedge.model.calibration import Calibration
from ffedge.model.graph import predictor_graph
from ffedge.network import InputFacts, Layers, check_state, layers_of, stored
from ffedge.onnx.graph import TYPES
from ffedge.onnx.read import Tensor, read_parts
from ffedge.onnx.wire import Source
from ffedge.recipe import Recipe
from ffedge.version import MODEL_FORMAT

Array = NDArray[Any]
DTYPES = {
    TYPES[name]: np.dtype(name).newbyteorder("<") for name in ("float32", "uint8", "int8", "int32", "int64", "float64")
}
BLOCK = 2**16


class Model:
    """A model file. A stranger's may be wrong, but it runs no code, and takes no memory out of proportion.

    Parameters
    ----------
    source : the file's path, which stays open, or its bytes.
    name : for errors; None takes the path.

    Attributes
    ----------
    metadata : those whose keys begin with ``ffedge.``, without that.
    graph : what is run: it leaves out `weights`, and the output ``proba``, which follows from ``scores``.
    calibration : of what counts as known; None where the model has none.
    form : what it tells of how it was exported, or None as training wrote it.

    Raises
    ------
    ModelError
        There is no such file, it is no ONNX, it is not ffedge's, it comes from a newer format, or its metadata and
        weights do not fit each other.
    """

    def __init__(self, source: str | Path | bytes, name: str | None = None) -> None:
        self.name = name or ("model" if isinstance(source, bytes) else str(source))
        self._data, size = self._opened(source)
        try:
            self.parts = read_parts(self._data, size)
        except ValueError as error:
            raise ModelError(f"{self.name}: is no model that ffedge can run ({error}). Pass a model.onnx") from error
        self.metadata = metadata_of(self.parts.metadata, self.name)
        try:
            self.recipe = Recipe.from_dict(self.metadata["spec"])
            self.facts = InputFacts.from_dict(self.metadata["input"])
            form = self.metadata.get("form")
            self.form = form if form is None or isinstance(form, dict) else {"name": form}
            self.calibration = Calibration.from_dict(self.metadata)
            self.gammas = self._gammas()
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(f"{self.name}: its metadata cannot be used ({error}). Export the model anew") from error
        try:
            if self.form is None:
                self.graph = predictor_graph(self.recipe, self.facts, known="known.bias" in self.parts.tensors)
            else:
                from ffedge.model.form import form_graph  # which a model as trained does without

                self.graph = form_graph(self.form, self.recipe, self.facts, self.gammas, self._data, self.parts)
            self._check_weights()
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(f"{self.name}: its graph cannot be used ({error}). Export the model anew") from error

    def weights(self) -> dict[str, Array]:
        """Return the arrays that the graph leaves out."""
        return {name: array_of(self._data, self.parts.tensors[name]) for name in self.graph.weights}

    def layer(self, index: int) -> dict[str, Array]:
        """Return the parameters of a layer; gamma where layers collaborate."""
        names = stored(self.recipe, layers_of(self.recipe, self.facts)[index])
        arrays = {name: array_of(self._data, self.parts.tensors[f"layers.{index}.{name}"]) for name in names}
        return arrays | ({"gamma": np.array(self.gammas[index], np.float32)} if self.gammas else {})

    def values(self, index: int, name: str, part: slice) -> Array:
        """Return some values of a layer's parameter, flat, float32; ValueError where the file ends early."""
        if name == "gamma":
            return np.array([self.gammas[index]], np.float32)
        start, stop = self.parts.tensors[f"layers.{index}.{name}"].span
        first, last = start + 4 * part.start, min(stop, start + 4 * part.stop)
        return np.frombuffer(self._data[first:last], "<f4")

    def fingerprint(self) -> str:
        """Return what tells the weights of this model as trained from others: 128 bits of their sha256, in hex."""
        from hashlib import sha256  # which a device that predicts needs not

        digest = sha256(repr(self.gammas).encode())
        for layer in layers_of(self.recipe, self.facts):
            for name in stored(self.recipe, layer):
                start, stop = self.parts.tensors[f"layers.{layer.place.index}.{name}"].span
                for at in range(start, stop, BLOCK):
                    digest.update(self._data[at : min(stop, at + BLOCK)])
        return digest.hexdigest()[:32]

    def check_trained(self) -> None:
        """Raise ModelError where it is an exported form, which has no weights as trained."""
        if self.form is not None:
            form = self.form.get("name")
            raise ModelError(f"{self.name}: is the exported form {form}. Pass the model it was made from")

    def layers(self) -> Layers:
        """Return the parameters of every layer as trained; ModelError as of `check_trained`."""
        self.check_trained()
        layers = [self.layer(index) for index in range(len(self.recipe.network.widths))]
        if self.recipe.network.norm == "fixed":
            layers[-1]["power"] = np.ones((), np.float32)  # nobody reads what the last layer passes on
        check_state(self.recipe, self.facts, layers)
        return layers

    def check_learns(self) -> None:
        """Raise ModelError where the file does not hold all that its network needs to learn on."""
        if self.form is not None or self.recipe.measures_batches:
            raise ModelError(
                f"{self.name}: carries no learning step. Export it anew from its run with `ffedge export`, or train "
                "anew (a network of the preset spiking goes on from its run folder alone)"
            )

    def _opened(self, source: str | Path | bytes) -> tuple[Source, int]:
        if isinstance(source, bytes):
            return source, len(source)
        if not Path(source).is_file():
            raise ModelError(f"{self.name}: {missing(source)}")
        try:
            file = _File(Path(source))
        except OSError as error:
            raise ModelError(f"{self.name}: cannot be read ({error.strerror}). Check its permissions") from error
        return file, file.size

    def _gammas(self) -> list[float]:
        gammas = self.metadata.get("gamma") or []
        if self.recipe.rule.variant == "ff":
            return []
        if not isinstance(gammas, list) or len(gammas) != len(self.recipe.network.widths):
            raise ValueError(f"gamma must be {len(self.recipe.network.widths)} numbers, got {gammas!r}")
        if not all(map(is_finite, gammas)):
            raise ValueError(f"gamma must be finite numbers, got {gammas!r}")
        return [float(gamma) for gamma in gammas]

    def _check_weights(self) -> None:
        for name, port in self.graph.weights.items():
            tensor = self.parts.tensors.get(name)
            if tensor is None:
                raise ValueError(f"it lacks {name}")
            if tensor.shape != port.dims or tensor.kind != TYPES[port.dtype]:
                raise ValueError(f"it has {name} of shape {list(tensor.shape)}, but its metadata {list(port.dims)}")


def missing(path: str | Path) -> str:
    """Return what is wrong with a path that is no file, and what to do."""
    folder = "is a folder. Pass the model.onnx in it"
    return folder if Path(path).is_dir() else "no such file. Train one with `ffedge train`"


def array_of(data: Source, tensor: Tensor) -> Array:
    """Return a stored array, read-only."""
    content = data[tensor.span[0] : tensor.span[1]]
    return np.frombuffer(content, DTYPES[tensor.kind]).reshape(tensor.shape)


class _File:
    """A file's bytes, read where they are asked for; what is read often is read in blocks."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDONLY)
        weakref.finalize(self, os.close, self._descriptor)
        self.size = os.fstat(self._descriptor).st_size
        self._start, self._block = 0, b""

    def __getitem__(self, part: slice) -> bytes:
        start, stop = int(part.start or 0), min(int(part.stop), self.size)
        if stop - start > BLOCK:
            return self._read(start, stop - start)
        if not self._start <= start <= stop <= self._start + len(self._block):
            self._start, self._block = start, self._read(start, min(BLOCK, self.size - start))
        return self._block[start - self._start : stop - self._start]

    def _read(self, start: int, count: int) -> bytes:
        parts = []
        while count > 0:
            parts.append(os.pread(self._descriptor, count, start))
            if not parts[-1]:
                raise ValueError("the file ends early")
            start, count = start + len(parts[-1]), count - len(parts[-1])
        return parts[0] if len(parts) == 1 else b"".join(parts)


def metadata_of(stored_texts: dict[str, str], name: str) -> dict[str, Any]:
    """Read the metadata whose keys begin with ``ffedge.``.

    Raises
    ------
    ModelError
        They are not ffedge's, damaged, or of another format.
    """
    if "ffedge.format" not in stored_texts:
        raise ModelError(f"{name}: is an ONNX model without ffedge's metadata. Export it with `ffedge export`")
    try:
        metadata = {k.removeprefix("ffedge."): parse(v) for k, v in stored_texts.items() if k.startswith("ffedge.")}
    except ValueError as error:
        raise ModelError(f"{name}: its metadata is damaged ({error}). Export the model anew") from error
    if metadata["format"] != MODEL_FORMAT:
        raise ModelError(
            f"{name}: has model format {metadata['format']}, but this ffedge reads {MODEL_FORMAT}. Upgrade ffedge"
        )
    return metadata
