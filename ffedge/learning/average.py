"""The average of several models' parameters, and which of the models lies far from the others.

Files and a fleet's messages are averaged by these functions alike, some values at a time.

Shape letters: K models, n values of a parameter.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ffedge.errors import ModelError
from ffedge.kinds import parameters_of
from ffedge.layers.base import Layer
from ffedge.network import InputFacts, Sizes, layers_of, stored
from ffedge.recipe import Recipe

Array = NDArray[Any]
Floats = NDArray[np.float64]
Method = Literal["mean", "median", "trimmed"]
METHODS = ("mean", "median", "trimmed")
MOST_NORM = 10.0
TRIMMED = 0.2  # of the values, at either end
BLOCK_VALUES = 2**18  # of all models together


@dataclass(frozen=True)
class Source:
    """A model to average.

    Attributes
    ----------
    name : for errors.
    read : returns some values of a layer's parameter, flat, float32.
    """

    name: str
    read: Callable[[int, str, slice], Array]


def source_of(name: str, layers: Sequence[dict[str, Array]]) -> Source:
    """Return a model whose parameters are in memory, those of each layer by name."""
    return Source(name, lambda layer, parameter, part: layers[layer][parameter].reshape(-1)[part])


def averaged_sizes(recipe: Recipe, facts: InputFacts) -> list[Sizes]:
    """Return the shape of everything that is averaged, of each layer by name: what a predictor needs, and gamma."""
    gamma: Sizes = {} if recipe.rule.variant == "ff" else {"gamma": ()}
    return [stored(recipe, layer) | gamma for layer in layers_of(recipe, facts)]


def shares_of(rows: Sequence[int]) -> Floats:
    """Return what share [K] each model has in the mean: by its rows; all alike where nobody learnt any."""
    counts = np.array(rows, np.float64)
    return counts / counts.sum() if counts.any() else np.full(len(counts), 1 / len(counts))


def average(
    layer: int, sizes: Sizes, sources: Sequence[Source], shares: Floats, method: Method = "mean"
) -> dict[str, Array]:
    """Return a layer's parameters, each the average of the models', float32.

    Where all K have the same value, it stays bit for bit. A variance is that of all rows together, by the law of total
    variance: ``mean(v_k + (m_k - m)^2)``, with the means m_k of the models and their average m.

    Parameters
    ----------
    shares : [K] of each model in the mean, their sum 1; the median and the trimmed mean count all alike.

    Raises
    ------
    ModelError
        A variance is beyond float32.
    """
    result = {name: np.empty(shape, np.float32) for name, shape in sizes.items()}
    for name, target in result.items():
        for part, values in _blocks(layer, name, target.size, sources):
            if name == "variance":
                means = _stacked(layer, "mean", part, sources)
                away = np.square(means - combined(means, shares, method))
                mixed = combined(values + away, shares, method)
            else:
                mixed = combined(values, shares, method)
            with np.errstate(over="ignore"):
                target.reshape(-1)[part] = mixed
        if not np.isfinite(target).all():
            raise ModelError(f"layer {layer}: the average of {name} is too large for float32. Leave out who made it so")
    return result


def combined(values: Floats, shares: Floats, method: Method) -> Floats:
    """Return the average [n] of values [K, n]."""
    if method == "median":
        mixed = np.median(values, axis=0)
    elif method == "trimmed":
        cut = max(1, int(TRIMMED * len(values)))
        mixed = np.sort(values, axis=0)[cut:-cut].mean(axis=0)
    else:
        mixed = shares @ values
    result: Floats = np.where((values == values[0]).all(axis=0), values[0], mixed)
    return result


def judged(
    recipe: Recipe, facts: InputFacts, sources: Sequence[Source], most_norm: float, base: Source | None = None
) -> tuple[list[float], dict[int, str]]:
    """Return how far each of K models has moved beside the others, and what is wrong with some, by their places.

    Of each layer's weights, and of its statistics, two lengths are compared with the median of the others' that are not
    0: their own, and their distance from `base`, or else from the middle of all (the median of each value; of two
    models it lies as far from both, and tells nothing). The first number is the largest such ratio of distances. It is
    a fault beyond `most_norm` where the distance is also more than the others' own length: one may learn from many rows
    while others learn from few.

    Parameters
    ----------
    most_norm : what either may be times the others'.
    base : what all began from, where it is known.
    """
    moved, faults = np.zeros(len(sources)), dict[int, str]()
    for index, layer in enumerate(layers_of(recipe, facts)):
        for names in _groups(layer, averaged_sizes(recipe, facts)[index]):
            lengths, distances, finite = _lengths(index, names, sources, base)
            for place in np.flatnonzero(~finite):
                faults.setdefault(int(place), f"layer {index} holds numbers that are not finite, or a variance below 0")
            long, far = lengths / _of_others(lengths), distances / _of_others(distances)
            moved = np.maximum(moved, far)
            far[distances <= _of_others(lengths)] = 0.0
            for ratios, how in ((far, "moved {:.3g} times as far"), (long, "is {:.3g} times as long")):
                for place in np.flatnonzero(ratios > most_norm):
                    text = f"layer {index} {how.format(ratios[place])} as the others', beyond `most_norm` {most_norm:g}"
                    faults.setdefault(int(place), text)
    return moved.tolist(), faults


def _groups(layer: Layer, sizes: Sizes) -> list[Sizes]:
    """Return a layer's parameters that learn, and those that follow what batches measure, by name."""
    following = {name for name, parameter in parameters_of(layer).items() if parameter.follows} | {"power"}
    groups = [{n: s for n, s in sizes.items() if (n in following) is follows} for follows in (False, True)]
    return [group for group in groups if group]


def _lengths(
    layer: int, sizes: Sizes, sources: Sequence[Source], base: Source | None
) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """Return the length [K] of some parameters together, their distance from the middle, and whether all are sound."""
    own, away, sound = np.zeros(len(sources)), np.zeros(len(sources)), np.ones(len(sources), np.bool_)
    for name, shape in sizes.items():
        for part, found in _blocks(layer, name, int(np.prod(shape)), sources):
            finite = np.isfinite(found)
            sound &= (finite & ((found >= 0) | (name != "variance"))).all(axis=1)
            values = np.where(finite, found, 0.0)
            middle = np.median(values, axis=0) if base is None else base.read(layer, name, part)
            own += np.square(values).sum(axis=1)
            away += np.square(values - middle).sum(axis=1)
    return np.sqrt(own), np.sqrt(away), sound


def _of_others(lengths: Floats) -> Floats:
    """Return the median of the others' lengths [K], of those that are not 0; without any the own one, or 1."""
    result = np.where(lengths > 0, lengths, 1.0)
    for place in range(len(lengths)):
        others = np.delete(lengths, place)
        if others.any():
            result[place] = np.median(others[others > 0])
    return result


def _blocks(layer: int, name: str, count: int, sources: Sequence[Source]) -> Iterator[tuple[slice, Floats]]:
    """Yield the values [K, n] of a parameter, some at a time."""
    step = max(1, BLOCK_VALUES // len(sources))
    for start in range(0, count, step):
        part = slice(start, min(count, start + step))
        yield part, _stacked(layer, name, part, sources)


def _stacked(layer: int, name: str, part: slice, sources: Sequence[Source]) -> Floats:
    return np.stack([source.read(layer, name, part) for source in sources]).astype(np.float64)
