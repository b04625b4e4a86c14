"""The kinds of layers and of goodness: a file each, and a line here. A kind is loaded when it is used."""

import functools
import importlib
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from ffedge.layers.base import Layer, Parameter
    from ffedge.rule.goodness import Goodness

LAYERS = {"dense": "ffedge.layers.dense.Dense", "conv": "ffedge.layers.conv.Conv"}
GOODNESS = {"mean": "ffedge.rule.goodness.Mean", "sum": "ffedge.rule.goodness.Sum"}  # of a label that is tried
CLASS_GOODNESS = {
    "groups": "ffedge.rule.groups.Groups",
    "top-groups": "ffedge.rule.top_groups.TopGroups",
    "readout": "ffedge.rule.readout.Readout",
}  # of all, by one pass


def kind_and_words(item: int | str) -> tuple[str, str]:
    """Return the kind of layer that an item of ``widths`` names, and what it says of it: 500 is dense, 80c3 conv."""
    kind, _, words = str(item).rpartition(":")
    return kind or ("dense" if words.isdecimal() else "conv"), words


def is_convolution(item: int | str) -> bool:
    """Say whether an item of ``widths`` names a convolution."""
    return kind_and_words(item)[0] == "conv"


def refuse_convolution(widths: Sequence[int | str], got: str, remedy: str) -> NoReturn:
    """Raise the ValueError for widths that are not all dense, where what is read is no picture."""
    item = next(filter(is_convolution, widths))
    if not re.match(r"\d+c\d", str(item)):
        raise ValueError(f"`widths` has {item!r}, which is no number of units. {remedy}")
    raise ValueError(f"`widths` names a convolution, which reads pictures, got {got}. {remedy}")


def repeats(item: int | str) -> bool:
    """Say whether an item of ``widths`` stands for as many layers as a picture's size asks for: 32c3p2+."""
    return str(item).endswith("+")


def layer_kind(name: str) -> "type[Layer]":
    """Return a kind of layer."""
    kind: type[Layer] = _loaded(LAYERS[name])
    return kind


def class_goodness_kind(name: str) -> "type[Goodness]":
    """Return a kind of goodness that gives all classes' by one pass."""
    kind: type[Goodness] = _loaded(CLASS_GOODNESS[name])
    return kind


def goodness_of(layer: "Layer") -> "Goodness":
    """Return a layer's goodness; ValueError where it cannot be."""
    goodness: Goodness = _loaded((GOODNESS | CLASS_GOODNESS)[layer.place.goodness])(layer)
    return goodness


def parameters_of(layer: "Layer") -> "dict[str, Parameter]":
    """Return all that a layer learns, its goodness's included, by name."""
    return layer.parameters() | goodness_of(layer).parameters()


@functools.cache
def _loaded(path: str) -> Any:
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)
