"""The kinds of layers and of goodness: a file each, and a line here. A kind is loaded when it is used."""

import functools
import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ffedge.layers.base import Layer
    from ffedge.rule.goodness import Goodness

LAYERS = {"dense": "ffedge.layers.dense.Dense"}
GOODNESS = {"mean": "ffedge.rule.goodness.Mean", "sum": "ffedge.rule.goodness.Sum"}


def kind_and_words(item: int | str) -> tuple[str, str]:
    """Return the kind of layer that an item of a spec's ``widths`` names, and what it says of it: 500 is dense."""
    kind, _, words = str(item).rpartition(":")
    return kind or "dense", words


@functools.cache
def layer_kind(name: str) -> "type[Layer]":
    """Return a kind of layer."""
    kind: type[Layer] = _loaded(LAYERS[name])
    return kind


@functools.cache
def goodness_kind(name: str) -> "Goodness":
    """Return a kind of goodness."""
    kind: Goodness = _loaded(GOODNESS[name])()
    return kind


def _loaded(path: str) -> Any:
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)
