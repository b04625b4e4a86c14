"""Asks a short-lived child process for graphs, so that the training process never imports onnx."""

import base64
from dataclasses import astuple, dataclass, field
from typing import Any

from ffedge.child import ask
from ffedge.network import InputFacts, layer_shapes
from ffedge.recipe import Recipe
from ffedge.runtime.kernels import KernelKey, kernel_key, trial_keys
from ffedge.spec import Spec


def _ask(recipe: Recipe, facts: InputFacts, **request: Any) -> Any:
    return ask("ffedge.graph", {"spec": recipe.to_dict(), "input": facts.to_dict(), **request})


@dataclass
class Graphs:
    """The graphs of a training by key, asked for all at once when the first is needed.

    Attributes
    ----------
    live : of each known graph, the memory it takes while it runs: lines (bytes, bytes for each sample), of which the
        greatest counts (see `ffedge.graph.live`).
    template : the model file without its weights.
    """

    recipe: Recipe
    facts: InputFacts
    live: dict[KernelKey, list[list[int]]] = field(default_factory=dict)
    template: bytes = b""
    _known: dict[KernelKey, bytes] = field(default_factory=dict)

    def fetch(self, *more: KernelKey) -> None:
        """Ask for all graphs that training needs, and for some more."""
        keys = sorted({*needed_kernels(self.recipe, self.facts), *more} - set(self._known), key=repr)
        asked = [(key.kind, astuple(key.shape), key.flag) for key in keys]
        answer = _ask(self.recipe, self.facts, keys=asked)
        self.template = base64.b64decode(answer["template"])
        for key, graph in zip(keys, answer["graphs"], strict=True):
            self._known[key], self.live[key] = base64.b64decode(graph["graph"]), graph["live"]

    def __call__(self, key: KernelKey) -> bytes:
        """Return a graph's bytes; what nobody foresaw is asked for alone."""
        if key not in self._known:
            self.fetch(key)
        return self._known[key]


def needed_kernels(recipe: Recipe, facts: InputFacts) -> set[KernelKey]:
    """Return the graphs that training and its evaluation will ask for."""
    shapes = layer_shapes(recipe, facts)
    first, last = shapes[0], len(shapes) - 1
    keys = {*trial_keys(shapes[-1]), kernel_key("goodness", first, True)}
    keys |= {kernel_key("forward", first, True)} if last else set()
    keys |= {kernel_key("product", first, dropout) for dropout in {False, recipe.train.input_dropout > 0}}
    chunked = recipe.train.batch_size > recipe.train.chunk_size
    learning = ("learn", "accumulate") if chunked else ("learn",)
    for i, shape in enumerate(shapes):
        emit = recipe.train.schedule == "interleaved" and i < last
        keys |= {kernel_key("forward", shape), kernel_key("tile", shape)}
        keys |= {kernel_key(kind, shape, emit) for kind in learning}
        if chunked:
            keys |= {kernel_key(kind, shape) for kind in ("apply", "tile-accumulate", "tile-apply")}
    return keys


def kernels_to_plan(spec: Spec, recipe: Recipe, facts: InputFacts) -> set[KernelKey]:
    """Return the graphs that training may ask for, whichever chunk a memory plan chooses."""
    free = recipe.train.memory_budget is not None and "chunk_size" in spec.left_open("plan")
    return needed_kernels(recipe.with_train(chunk_size=1) if free else recipe, facts)


def model_template(recipe: Recipe, facts: InputFacts) -> bytes:
    """Return the model file without its weights."""
    return base64.b64decode(_ask(recipe, facts, keys=[])["template"])
