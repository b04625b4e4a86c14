"""A model file that is opened to learn from: its parameters as views of the file, and its learning step."""

import contextlib
import math
import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ffedge.errors import ModelError
from ffedge.network import InputFacts, check_state, layer_shapes
from ffedge.recipe import Recipe
from ffedge.runtime.cut import LearningStep
from ffedge.runtime.kernels import KernelKey
from ffedge.runtime.predictor import metadata_of
from ffedge.runtime.proto import FLOAT, Tensor, read_parts
from ffedge.runtime.verify import rows_at_once

Array = NDArray[Any]


class OpenModel:
    """A model file, mapped. A stranger's may be wrong, but what it holds is checked before any of it runs.

    Attributes
    ----------
    layers : the parameters of each layer, read-only views of the file: ``W``, ``b``, ``V``, ``gamma``.
    step : makes the graphs that its learning step is cut into.

    Raises
    ------
    ModelError
        It cannot be read, is not ffedge's, or carries no learning step that ffedge knows.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with path.open("rb") as file:
                self.data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            self.parts = read_parts(self.data)
        except OSError as error:
            raise ModelError(f"{path}: cannot be read ({error.strerror}). Train a model with `ffedge train`") from error
        except ValueError as error:
            raise ModelError(f"{path}: is no model that ffedge can run ({error}). Pass a model.onnx") from error
        self.metadata = metadata_of(self.parts.metadata, str(path))
        if self.parts.learning is None:
            raise ModelError(
                f"{path}: carries no learning step. Export it anew from its run with `ffedge export`, or train anew "
                "(a network of the preset spiking goes on from its run folder alone)"
            )
        try:
            self.recipe = Recipe.from_dict(self.metadata["spec"])
            self.facts = InputFacts.from_dict(self.metadata["input"])
            rows_at_once(self.parts, self.facts, len(self.recipe.network.widths))
            self.layers = self._parameters()
            check_state(self.recipe, self.facts, self.layers)
            self.step = LearningStep(self.parts, self.recipe, self.facts, lambda span: self.data[span[0] : span[1]])
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(f"{path}: cannot learn ({error}). Export the model anew") from error

    def build(self, key: KernelKey) -> bytes:
        """Return the graph that a key names; ModelError where the file's learning step is not one of ffedge's."""
        with self.used():
            return self.step(key)

    @contextlib.contextmanager
    def used(self) -> Iterator[None]:
        """Turn what is wrong with the learning step, or what onnxruntime refuses of it, into one line.

        Raises
        ------
        ModelError
            The file's learning step is not one of ffedge's.
        """
        try:
            yield
        except Exception as error:  # onnxruntime raises a class of its own for each cause
            if not isinstance(error, ValueError | IndexError) and not type(error).__module__.startswith("onnxruntime"):
                raise
            raise ModelError(
                f"{self.path}: its learning step cannot be used ({error}). Export the model anew"
            ) from error

    def _parameters(self) -> list[dict[str, Array]]:
        assert self.parts.learning is not None
        result = []
        for shape in layer_shapes(self.recipe, self.facts):
            names = {name: f"layers.{shape.index}.{name}" for name in shape.parameters()}
            layer = {name: self._array(name, self.parts.tensors.get(full)) for name, full in names.items()}
            if self.recipe.rule.variant != "ff":
                gamma = self.parts.learning.tensors.get(f"layers.{shape.index}.gamma")
                layer["gamma"] = self._array("gamma", gamma).copy()
            result.append(layer)
        return result

    def _array(self, name: str, tensor: Tensor | None) -> Array:
        if tensor is None or tensor.kind != FLOAT:
            raise ValueError(f"it holds no float32 {name}")
        return np.frombuffer(self.data, "<f4", math.prod(tensor.shape), tensor.span[0]).reshape(tensor.shape)
