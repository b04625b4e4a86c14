"""Writes a model.onnx: the graphs, then the weights, block by block, and metadata.

So the process that trains writes its model within its memory budget, and never holds it whole.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ffedge import json_text
from ffedge.errors import FfedgeError
from ffedge.model.calibration import Calibration, no_bias
from ffedge.model.graph import predictor_graph, with_proba
from ffedge.model.training_info import training_info
from ffedge.network import InputFacts, Layers, layers_of, stored
from ffedge.onnx import wire
from ffedge.onnx.graph import TYPES, Graph, graph_bytes, model_head, tensor_head
from ffedge.pages import BLOCK_BYTES, release
from ffedge.recipe import Recipe
from ffedge.version import MODEL_FORMAT

Array = NDArray[Any]
MOST_BYTES = 2**31 - 1
ABOUT = "Forward-Forward network: the label is the argmax of the summed goodness. Made by ffedge."
OWN = ("format", "spec", "input", "gamma", "known", "proba")  # metadata that `write_model` makes


def write_model(
    path: Path,
    recipe: Recipe,
    facts: InputFacts,
    layers: Layers,
    about: Mapping[str, Any],
    calibration: Calibration | None = None,
) -> None:
    """Write a trained network as a model file.

    Parameters
    ----------
    layers : W, b and, where the layer sees the label, V of each layer; gamma where layers collaborate; power of a
        fixed norm. Their pages are given back where a file backs them.
    about : further metadata: version, data.
    calibration : of what counts as known; None lets every answer count.

    Raises
    ------
    FfedgeError
        The model would exceed 2 GiB, which no ONNX file may.
    OSError
        The disk is full or the folder cannot be written.
    """
    graph = predictor_graph(recipe, facts)
    gammas = [float(layer["gamma"]) for layer in layers if "gamma" in layer]
    weights = {
        f"layers.{layer.place.index}.{name}": layers[layer.place.index][name]
        for layer in layers_of(recipe, facts)
        for name in stored(recipe, layer)
    }
    weights["prediction_weights"] = np.array(recipe.score_weights(layers), np.float32)[:, None]
    weights |= calibration.weights() if calibration else {"known.bias": no_bias()}
    metadata = {"format": MODEL_FORMAT, "spec": recipe.to_dict(), "input": facts.to_dict()}
    metadata |= {key: value for key, value in about.items() if key not in OWN}
    metadata |= {"gamma": gammas} | (calibration.to_dict() if calibration else {"known": None})
    learning = (
        None if recipe.measures_batches else training_info(recipe.with_train(statistics="stored"), facts, graph, gammas)
    )
    write_file(path, with_proba(graph) if "proba.scale" in weights else graph, weights, metadata, learning)


def write_file(
    path: Path, graph: Graph, weights: Mapping[str, Array], metadata: Mapping[str, Any], learning: bytes | None = None
) -> None:
    """Write a graph with its weights and metadata, and a learning step's message beside it; errors as `write_model`."""
    size = sum(array.nbytes for array in weights.values()) + len(graph_bytes(graph))
    if size > MOST_BYTES:
        raise FfedgeError(
            f"{path}: would take {size / 1e9:.1f} GB, but an ONNX file ends at 2 GiB. Use narrower layers"
        )
    with path.open("wb") as file:
        for block in _file(graph, weights, metadata, learning):
            file.write(block)


def file_bytes(graph: Graph, weights: Mapping[str, Array], metadata: Mapping[str, Any]) -> bytes:
    """Return what `write_file` writes."""
    return b"".join(_file(graph, weights, metadata, None))


def _file(
    graph: Graph, weights: Mapping[str, Array], metadata: Mapping[str, Any], learning: bytes | None
) -> Iterator[bytes | memoryview]:
    content, heads = graph_bytes(graph), {name: _head(name, array) for name, array in weights.items()}
    size = len(content) + sum(len(heads[name]) + array.nbytes for name, array in weights.items())
    yield model_head() + wire.text(6, ABOUT) + wire.head(7, size) + content
    for name, array in weights.items():
        yield heads[name]
        for block in _blocks(array):
            yield block.data.cast("B")
    if learning is not None:
        yield wire.field(20, learning)
    for key, value in metadata.items():
        yield wire.field(14, wire.text(1, f"ffedge.{key}") + wire.text(2, json_text.text(value)))


def _head(name: str, array: Array) -> bytes:
    """Return a stored array's bytes up to its data."""
    head = tensor_head(name, array.shape, TYPES[array.dtype.name]) + wire.head(9, array.nbytes)
    return wire.head(5, len(head) + array.nbytes) + head


def _blocks(array: Array) -> Iterator[Array]:
    flat = np.ascontiguousarray(array, array.dtype.newbyteorder("<")).reshape(-1)
    count = BLOCK_BYTES // array.dtype.itemsize
    for start in range(0, flat.size, count):
        yield flat[start : start + count]
        release(array)
