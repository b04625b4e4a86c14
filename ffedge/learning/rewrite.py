"""Writes a model file anew from itself: other weights, more classes; graphs stay as they are, byte for byte.

A model's graphs depend on the number of classes by a few constants, which have names (`ffedge.stages`), and by the
sizes that their outputs declare.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ffedge.calibration import Calibration
from ffedge.errors import ModelError
from ffedge.model_file import (
    GRAPH_INITIALIZER,
    MODEL_GRAPH,
    MODEL_METADATA,
    MODEL_TRAINING,
    TRAINING_ALGORITHM,
    learning_state,
    model_content,
    write_model,
)
from ffedge.network import MAX_SIZE, InputFacts, layer_shapes
from ffedge.runtime.cut import port
from ffedge.runtime.model import OpenModel
from ffedge.runtime.proto import BYTES, FLOAT, INT64, Span, fields
from ffedge.seeds import Draw, generator
from ffedge.spec import MAX_CLASSES
from ffedge.stages import DEPTH, NORM, SCORES, START, Dims, bindings, state
from ffedge.wire import field, text, whole

Array = NDArray[Any]
Layers = list[dict[str, Array]]
INPUT, OUTPUT = 11, 12  # of GraphProto
UINT8 = 2
PREFIX = "ffedge."
OWN = ("format", "spec", "input", "gamma", "known")  # metadata that `model_content` writes


def rewrite(
    model: OpenModel,
    path: Path,
    layers: Layers,
    facts: InputFacts,
    more: dict[str, Any],
    known: Calibration | None = None,
) -> None:
    """Write a model with other parameters.

    Parameters
    ----------
    layers : W, b and, where the layer sees the label, V; gamma where layers collaborate.
    facts : the model's, or with more classes.
    more : metadata to add or replace.
    known : what counts as known among the answers that the parameters give; None lets every answer count.
    """
    about = {key: value for key, value in model.metadata.items() if key not in OWN} | more
    weights, metadata = model_content(model.recipe, facts, layers, about, known)
    gammas = learning_state(layers)
    template = _template(model, {*weights, *gammas}, facts)
    write_model(path, template, weights, metadata, gammas)


def with_classes(model: OpenModel, names: list[str], path: Path) -> None:
    """Write a model that knows more classes: a new row of V for each, and, with an overlay, an input less.

    Raises
    ------
    ValueError
        A name is known already, or there is no room for the label.
    """
    facts = model.facts
    if known := [name for name in names if name in facts.classes]:
        raise ValueError(f"--add-class must name a new class, but the model knows {known[0]!r}")
    classes = (*facts.classes, *names)
    overlay = model.recipe.network.label_mode == "overlay"
    if len(classes) > MAX_CLASSES or (overlay and len(classes) >= facts.size) or facts.size > MAX_SIZE:
        most = min(MAX_CLASSES, facts.size - 1) if overlay else MAX_CLASSES
        raise ValueError(
            f"--add-class would make {len(classes)} classes, but this model has room for {most}"
            f"{', as the label takes the place of inputs' if overlay else ''}. Train anew with --label-mode concat"
        )
    grown = replace(facts, classes=classes)
    layers = []
    for old, shape in zip(model.layers, layer_shapes(model.recipe, grown), strict=True):
        layer = dict(old)
        if shape.first and overlay:  # the inputs under the new label are gone
            layer["W"] = old["W"][len(names) :]
        if shape.sees_label:
            rng = generator(model.recipe.train.seed, Draw.WEIGHTS, shape.index, facts.n_classes)
            layer["V"] = np.concatenate([old["V"], _new_rows(old["V"], len(names), rng)])
        layers.append(layer)
    rewrite(model, path, layers, grown, {})
    try:
        OpenModel(path)
    except ModelError as error:
        raise ModelError(f"{model.path}: its graph takes no other class. Export it in its plain form") from error


def _new_rows(V: Array, count: int, rng: np.random.Generator) -> Array:
    """Draw rows for labels that nothing is known of: the others' mean, and each unit's spread about it."""
    mean, deviation = V.mean(axis=0), V.std(axis=0)
    drawn: Array = (mean + deviation * rng.standard_normal((count, V.shape[1]))).astype(np.float32)
    return drawn


def _template(model: OpenModel, gone: set[str], facts: InputFacts) -> bytes:
    """Return a model's bytes without some of its initializers and without ffedge's metadata."""
    result, constants = b"", _constants(model, facts)
    for number, kind, value in fields(model.data, 0, len(model.data)):
        if not isinstance(value, tuple):
            result += whole(number, int(value))
        elif number == MODEL_GRAPH:
            dims: dict[str, Dims] = {
                "scores": ("N", facts.n_classes),
                "goodness": ("N", len(model.recipe.network.widths), facts.n_classes),
            }
            result += field(MODEL_GRAPH, _graph(model, value, gone, constants, dims))
        elif number == MODEL_TRAINING:
            training = b""
            for part, _, span in fields(model.data, *value):
                assert isinstance(span, tuple)
                content = model.data[slice(*span)]
                if part == TRAINING_ALGORITHM:
                    content = _graph(model, span, gone, constants, _sizes(model, facts))
                training += field(part, content)
            result += field(MODEL_TRAINING, training)
        elif number != MODEL_METADATA or not _text(model, value, 1).startswith(PREFIX):
            assert kind == BYTES
            result += field(number, model.data[slice(*value)])
    return result


def _graph(model: OpenModel, span: Span, gone: set[str], constants: dict[str, Array], sizes: dict[str, Dims]) -> bytes:
    """Return a graph without some initializers, with other constants, and other sizes of inputs and outputs."""
    result = b""
    for number, _, value in fields(model.data, *span):
        assert isinstance(value, tuple)
        content = model.data[slice(*value)]
        if number == GRAPH_INITIALIZER:
            name = _text(model, value, 8)
            if name in gone:
                continue
            new = constants.get(name.removeprefix("learning/"))
            content = content if new is None else _tensor(name, new)
        elif number in (INPUT, OUTPUT):
            name = _text(model, value, 1)
            if name in sizes:
                content = port(name, sizes[name], UINT8 if name == "mask" else FLOAT)
        result += field(number, content)
    return result


def _constants(model: OpenModel, facts: InputFacts) -> dict[str, Array]:
    """Return the constants that change with the count of classes; none where it stays."""
    if facts.n_classes == model.facts.n_classes:
        return {}
    result: dict[str, Array] = {
        SCORES: np.array([-1, 1, facts.n_classes], np.int64),
        DEPTH: np.array(facts.n_classes, np.int64),
        START: np.array([facts.n_classes], np.int64),
    }
    if model.recipe.network.label_mode == "overlay":
        for name, values in (("input.offset", facts.offset), ("input.scale", facts.scale)):
            if len(values) > 1:
                result[name] = np.array(values[facts.n_classes :], np.float32)
    else:
        result[NORM] = np.array(1.0 / (facts.size + facts.n_classes), np.float32)
    return result


def _sizes(model: OpenModel, facts: InputFacts) -> dict[str, Dims]:
    """Return the sizes of a learning step's ports that change with the count of classes."""
    shapes = layer_shapes(model.recipe, facts)
    known: dict[str, Dims] = dict(state(model.recipe, shapes))
    for shape in shapes:
        known |= {f"layers.{shape.index}.{name}": dims for name, dims in shape.parameters().items()}
    result = {value: known[key] for key, value in bindings(model.recipe, shapes).items() if key in known}
    return result | {"mask": ("N", shapes[0].inputs)}


def _text(model: OpenModel, span: Span, number: int) -> str:
    """Return a text field of a message."""
    spans = [value for own, _, value in fields(model.data, *span) if own == number and isinstance(value, tuple)]
    return model.data[slice(*spans[0])].decode() if spans else ""


def _tensor(name: str, array: Array) -> bytes:
    dims = b"".join(whole(1, size) for size in array.shape)
    kind = INT64 if array.dtype == np.int64 else FLOAT
    return dims + whole(2, kind) + text(8, name) + field(9, array.tobytes())
