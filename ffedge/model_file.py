"""Writes a model.onnx: its graph, built beforehand without weights, then the weights, block by block, and metadata.

So the process that trains writes its model within its memory budget and without the onnx package, which would hold the
whole model, and a copy. An ONNX file is a protobuf message; of it this module knows the fields named below, and that a
field is a tag, a length and its bytes.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ffedge.calibration import Calibration, no_bias
from ffedge.errors import FfedgeError
from ffedge.network import InputFacts, layer_shapes, stored
from ffedge.pages import BLOCK_BYTES, release
from ffedge.recipe import Recipe
from ffedge.spec import MODEL_FORMAT
from ffedge.wire import BYTES, field, head, read_varint, text, whole

Array = NDArray[Any]
MODEL_GRAPH, MODEL_METADATA, MODEL_TRAINING = 7, 14, 20  # of ModelProto
TRAINING_ALGORITHM = 2  # of TrainingInfoProto
GRAPH_INITIALIZER = 5  # of GraphProto
DIMS, DATA_TYPE, NAME, RAW_DATA = 1, 2, 8, 9  # of TensorProto
KEY, VALUE = 1, 2  # of StringStringEntryProto
FLOAT = 1
MOST_BYTES = 2**31 - 1


def write_model(
    path: Path,
    template: bytes,
    weights: dict[str, Array],
    metadata: dict[str, str],
    state: dict[str, Array] | None = None,
) -> None:
    """Write a model file.

    Parameters
    ----------
    template : the model without weights (`ffedge.graph.template`).
    weights : of each of its initializers by name, float32; their pages are given back where a file backs them.
    state : what its learning step keeps beside the weights: gammas; ignored where the template has no learning step.

    Raises
    ------
    FfedgeError
        The model would exceed 2 GiB, which no ONNX file may.
    OSError
        The disk is full or the folder cannot be written.
    """
    before, graph, after = _split(template, MODEL_GRAPH)
    after = _with_state(after, state or {})
    heads = [(_tensor_head(name, array), array) for name, array in weights.items()]
    size = len(graph) + sum(len(own) + array.nbytes for own, array in heads)
    if size > MOST_BYTES:
        raise FfedgeError(
            f"{path}: would take {size / 1e9:.1f} GB, but an ONNX file ends at 2 GiB. Use narrower layers"
        )
    with path.open("wb") as file:
        file.write(before + head(MODEL_GRAPH, size) + graph)
        for own, array in heads:
            file.write(own)
            for block in _blocks(array):
                file.write(block.data)
        file.write(after)
        for key, value in metadata.items():
            file.write(field(MODEL_METADATA, text(KEY, key) + text(VALUE, value)))


def model_content(
    recipe: Recipe,
    facts: InputFacts,
    layers: list[dict[str, Array]],
    more: dict[str, Any],
    calibration: Calibration | None = None,
) -> tuple[dict[str, Array], dict[str, str]]:
    """Return the weights and the metadata of a model file.

    Parameters
    ----------
    layers : W, b and, where the layer sees the label, V of each layer; gamma where layers collaborate; power of a
        fixed norm.
    more : further metadata: version, data.
    calibration : of what counts as known; None lets every answer count.
    """
    shapes = layer_shapes(recipe, facts)
    weights = {f"layers.{s.index}.{name}": layers[s.index][name] for s in shapes for name in stored(recipe, s)}
    gammas = [float(layer["gamma"]) for layer in layers if "gamma" in layer]
    weights["prediction_weights"] = np.array(recipe.score_weights(layers), np.float32)[:, None]
    weights["known.bias"] = calibration.bias() if calibration else no_bias()
    known = calibration.to_dict() if calibration else None
    metadata = {"format": MODEL_FORMAT, "spec": recipe.to_dict(), "input": facts.to_dict(), **more}
    metadata |= {"gamma": gammas, "known": known}
    return weights, {f"ffedge.{key}": json.dumps(value) for key, value in metadata.items()}


def learning_state(layers: list[dict[str, Array]]) -> dict[str, Array]:
    """Return what a model file's learning step keeps beside the weights."""
    return {f"layers.{i}.gamma": np.asarray(layer["gamma"]) for i, layer in enumerate(layers) if "gamma" in layer}


def _tensor_head(name: str, array: Array) -> bytes:
    """Return an initializer's bytes up to its data."""
    dims = b"".join(whole(DIMS, dim) for dim in array.shape)
    own = dims + whole(DATA_TYPE, FLOAT) + text(NAME, name) + head(RAW_DATA, array.nbytes)
    return head(GRAPH_INITIALIZER, len(own) + array.nbytes) + own


def _blocks(array: Array) -> Iterator[Array]:
    flat = np.ascontiguousarray(array, "<f4").reshape(-1)
    for start in range(0, flat.size, BLOCK_BYTES // 4):
        yield flat[start : start + BLOCK_BYTES // 4]
        release(array)


def _with_state(message: bytes, state: dict[str, Array]) -> bytes:
    """Add the state to the algorithm in the fields of a model that follow its graph."""
    try:
        before, training, after = _split(message, MODEL_TRAINING)
    except ValueError:
        return message
    first, algorithm, last = _split(training, TRAINING_ALGORITHM)
    algorithm += b"".join(_tensor_head(name, array) + array.tobytes() for name, array in state.items())
    return before + field(MODEL_TRAINING, first + field(TRAINING_ALGORITHM, algorithm) + last) + after


def _split(message: bytes, number: int) -> tuple[bytes, bytes, bytes]:
    """Return what stands before a message's first field of a number, the field's content, and what stands after it."""
    at = 0
    while at < len(message):
        start = at
        tag, at = read_varint(message, at)
        length, at = read_varint(message, at)  # a number's value, or the length of what follows
        stop = at + length if tag & 7 == BYTES else at
        if tag == number << 3 | BYTES:
            return message[:start], message[at:stop], message[stop:]
        at = stop
    raise ValueError(f"template has no field {number}")
