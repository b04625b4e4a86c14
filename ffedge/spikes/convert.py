"""Turns a trained network into a spiking one: rates stand for activities, scaled by what calibration rows show.

A neuron's rate, 0 to 1, is its unit's activity over a threshold of activity theta: ``rate = y / theta``. So the weights
that lead from layer k to layer l become ``W theta_k / (norm_k theta_l)``, biases ``b / theta_l``, and goodness
``theta_l**2 mean(rate**2)``. Small thetas resolve more in few timesteps and cut more; a reset to 0 throws away what a
neuron has above its threshold, so that it needs large ones. So several are tried.

Where the classes are told by groups of units, one run tells them all (`ffedge.spikes.network`).

Shape letters: N calibration rows, C classes, R = N * C (or N, with groups), H units, L layers.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ffedge.engine.session import make_session, run
from ffedge.errors import FfedgeError
from ffedge.kinds import class_goodness_kind, goodness_of, is_convolution
from ffedge.layers.base import NORM_EPSILON, Layer
from ffedge.layers.conv import EPSILON, Conv
from ffedge.model.form import LARGEST_OFFSET
from ffedge.model.graph import activities_graph
from ffedge.network import InputFacts, layers_of
from ffedge.onnx.graph import model_bytes
from ffedge.recipe import Recipe
from ffedge.rule.goodness import Goodness
from ffedge.spikes.network import PASSING, Convolution, Floats, LabelPlace, Reset, SpikingLayer, SpikingNetwork
from ffedge.spikes.simulate import goodness_after, samples_at_once
from ffedge.version import __version__

ROWS = 64  # of calibration
FULL_RATE = 0.999  # share of active units whose activity is at most theta, before a factor
FACTORS: dict[Reset, tuple[float, ...]] = {"subtract": (0.5, 0.7, 1.0, 1.4, 2.0), "zero": (2.0, 4.0, 8.0, 16.0)}
Layers = list[dict[str, NDArray[Any]]]


def check_convertible(recipe: Recipe, name: str) -> None:
    """Raise FfedgeError for a network that spikes cannot carry."""
    network = recipe.network
    if len(network.widths) > 1 and network.norm != "fixed":
        what = f"`norm='{network.norm}'`, which divides each row by a number of its own"
    elif network.input_norm != "none":
        what = f"`input_norm='{network.input_norm}'`, which divides each input by a number of its own"
    elif not network.tries_labels and not _sums_squares(class_goodness_kind(network.class_goodness)):
        what = f"`class_goodness='{network.class_goodness}'`"
    elif any(is_convolution(item) and "p" in str(item) for item in network.widths):
        raise FfedgeError(
            f"{name}: was trained with max pooling; spikes are summed. Train another with average pooling, as in "
            "`widths=('32c3a2', …)`"
        )
    else:
        return
    raise FfedgeError(f"{name}: was trained with {what}; spikes cannot. Train another with `preset='spiking'`")


def _sums_squares(kind: type[Goodness]) -> bool:
    return kind.folds and not kind.linear


def convert(
    recipe: Recipe,
    facts: InputFacts,
    layers: Layers,
    raw: NDArray[Any],
    *,
    timesteps: int = 256,
    reset: Reset = "subtract",
    leak_steps: int | None = None,
    current_based: bool = False,
    data: str = "",
) -> SpikingNetwork:
    """Return a spiking network whose goodness is that of a trained one as nearly as may be.

    Parameters
    ----------
    layers : W, b, V (and power, gamma) of each layer.
    raw : [N, …] calibration rows of the training set.
    timesteps : for which it is calibrated.
    leak_steps : time constant of leaky neurons in timesteps; None makes integrate-and-fire neurons.
    current_based : whether a synapse smooths what drives each neuron (CubaLIF).
    data : name of the data set, for the file.
    """
    activities = forward(recipe, facts, layers, raw)
    pairs = zip(layers_of(recipe, facts), activities, strict=True)
    wanted = np.stack([_goodness(layer, y).reshape(len(raw), -1) for layer, y in pairs], axis=1)
    facts, layers = without_offset(recipe, facts, layers)
    thetas = [float(np.quantile(y[y > 0], FULL_RATE)) if (y > 0).any() else 1.0 for y in activities]
    mode: LabelPlace = recipe.network.label_mode
    decay = 1.0 if leak_steps is None else 1.0 - 1.0 / leak_steps

    def tried(factor: float) -> tuple[SpikingNetwork, float]:
        spiking = _layers(recipe, facts, layers, [factor * theta for theta in thetas], decay)
        spiking = tuple(dataclasses.replace(layer, current_based=current_based) for layer in spiking)
        about = (timesteps, reset, data, __version__, recipe.network.layout)
        return fitted(SpikingNetwork(spiking, facts, mode, *about), raw, wanted)

    return min(map(tried, FACTORS[reset]), key=lambda network_and_error: network_and_error[1])[0]


def without_offset(recipe: Recipe, facts: InputFacts, layers: Layers) -> tuple[InputFacts, Layers]:
    """Fold the offset of bytes into the first layer's bias: so a pixel that is 0, as the ground is, drives no synapse.

    A convolution pads with what stands for 0 after scaling, and keeps the offset.
    """
    offset, scale = (np.broadcast_to(np.array(v, np.float64), facts.size) for v in (facts.offset, facts.scale))
    place = layers_of(recipe, facts)[0].place
    if facts.dtype != "uint8" or place.picture is not None or np.abs(offset * scale).max() > LARGEST_OFFSET:
        return facts, layers
    first = layers[0]["b"] - (offset * scale)[facts.size - place.inputs :] @ layers[0]["W"].astype(np.float64)
    still = dataclasses.replace(facts, offset=(0.0,) * len(facts.offset))
    return still, [layers[0] | {"b": first.astype(np.float32)}, *layers[1:]]


def fitted(network: SpikingNetwork, raw: NDArray[Any], wanted: Floats) -> tuple[SpikingNetwork, float]:
    """Scale each layer's goodness to what is wanted [N, L, C], by least squares; return the error that is left.

    The error is that of the scores' distances from their sample's mean, as a share of these distances.
    """
    size = samples_at_once(network)
    parts = [goodness_after(network, raw[i : i + size], [network.timesteps]) for i in range(0, len(raw), size)]
    goodness = np.concatenate([next(part) for part in parts])
    squares = np.square(goodness, dtype=np.float64).sum(axis=(0, 2))
    factors = np.where(squares > 0, (goodness * wanted).sum(axis=(0, 2)) / np.where(squares > 0, squares, 1.0), 1.0)
    layers = tuple(
        dataclasses.replace(layer, goodness_scale=float(layer.goodness_scale * factor))
        for layer, factor in zip(network.layers, factors, strict=True)
    )
    weights = np.array([layer.weight for layer in layers])[:, None]
    scores, aims = ((values * weights).sum(axis=1) for values in (goodness * factors[:, None], wanted))
    left, whole = (np.square(v - v.mean(axis=1, keepdims=True)).mean() for v in (scores - aims, aims))
    return dataclasses.replace(network, layers=layers), float(left / whole) if whole else math.inf


def forward(recipe: Recipe, facts: InputFacts, layers: Layers, raw: NDArray[Any]) -> list[Floats]:
    """Return the activity [R, H] of each layer of the trained network, for every label that is tried of some rows."""
    graph = activities_graph(recipe, facts)
    weights = {name: np.asarray(layers[int(name.split(".")[1])][name.split(".")[2]]) for name in graph.weights}
    session = make_session(model_bytes(graph), threads=1, weights=weights)
    rows = np.ascontiguousarray(raw.reshape(len(raw), *facts.shape))
    result: list[Floats] = run(session, list(graph.outputs), {"input": rows})
    return result


def _goodness(layer: Layer, y: Floats) -> Floats:
    """Return the goodness [R], or of groups [R, C], of a layer's activity."""
    kind = goodness_of(layer)
    groups = kind.matrix({})
    found: Floats = np.einsum("rh,rh->r", y, y) if groups is None else np.square(y) @ groups
    return found if groups is not None else found / np.float32(kind.divisor() or 1.0)


def _layers(
    recipe: Recipe, facts: InputFacts, layers: Layers, thetas: list[float], decay: float
) -> tuple[SpikingLayer, ...]:
    """Return the spiking layers of given thetas, their goodness not fitted."""
    last, result = len(layers) - 1, list[SpikingLayer]()
    before = 1.0  # activity, as the next layer sees it, that a rate of 1 stands for
    shares = recipe.score_weights(layers)
    for layer, arrays, theta, share in zip(layers_of(recipe, facts), layers, thetas, shares, strict=True):
        scale = theta**2 * layer.units / (goodness_of(layer).divisor() or layer.units)
        if isinstance(layer, Conv):
            W, b, places = _convolution(layer, arrays, theta, before)
        else:
            W, b, places = _dense(recipe, layer, arrays, theta, before)
        result.append(SpikingLayer(W, b, 1.0, decay, layer.units, scale, share, places))
        if layer.place.index < last:
            pooled = 1 if places is None else places.pool**2  # spikes are summed, and activities averaged
            before = theta / (math.sqrt(float(arrays["power"])) + NORM_EPSILON) / pooled
    return tuple(result)


Driven = tuple[Floats, Floats, Convolution | None]


def _dense(recipe: Recipe, layer: Layer, arrays: Mapping[str, NDArray[Any]], theta: float, before: float) -> Driven:
    """Return W [H + P, D + C] and b of a dense layer, those that pass the label on included."""
    place, units, network = layer.place, layer.units, recipe.network
    passes = network.tries_labels and network.label_layers == "all" and place.index < len(network.widths) - 1
    passing, labelled = place.classes if passes else 0, place.classes if place.sees_label else 0
    W = np.zeros((units + passing, place.inputs + labelled), np.float32)
    W[:units, : place.inputs] = arrays["W"].T * (before / theta)
    if labelled:
        W[:units, place.inputs :] = arrays["V"].T * (network.label_scale / theta)
    W[units:, place.inputs :] = PASSING * np.eye(passing, labelled)
    return W, np.concatenate([arrays["b"] / theta, np.zeros(passing)]).astype(np.float32), None


def _convolution(layer: Conv, arrays: Mapping[str, NDArray[Any]], theta: float, before: float) -> Driven:
    """Return W [O, I, k, k] and b of a convolution, its running statistics folded in."""
    assert layer.place.picture is not None
    factor = arrays["scale"] / np.sqrt(arrays["variance"] + EPSILON)
    W = arrays["W"] * factor[:, None, None, None] * (before / theta)
    b = (arrays["b"] - arrays["mean"] * factor) / theta
    return W.astype(np.float32), b.astype(np.float32), Convolution(layer.place.picture, layer.stride, layer.pool)
