"""Asks a short-lived child process for graphs, so that the training process never imports onnx."""

import base64
from dataclasses import astuple, dataclass, field
from typing import Any

from ffedge.child import ask
from ffedge.network import InputFacts, layer_shapes
from ffedge.runtime.kernels import KernelKey, kernel_key, trial_keys
from ffedge.spec import Spec


def _ask(spec: Spec, facts: InputFacts, **request: Any) -> Any:
    return ask("ffedge.graph", {"spec": spec.to_dict(), "input": facts.to_dict(), **request})


@dataclass
class Graphs:
    """The graphs of a training by key, asked for all at once when the first is needed.

    Attributes
    ----------
    live : of each known graph, the memory it takes while it runs: lines (bytes, bytes for each sample), of which the
        greatest counts (see `ffedge.graph.live`).
    template : the model file without its weights.
    """

    spec: Spec
    facts: InputFacts
    live: dict[KernelKey, list[list[int]]] = field(default_factory=dict)
    template: bytes = b""
    _known: dict[KernelKey, bytes] = field(default_factory=dict)

    def fetch(self, *more: KernelKey) -> None:
        """Ask for all graphs that training needs, and for some more."""
        keys = sorted({*needed_kernels(self.spec, self.facts), *more} - set(self._known), key=repr)
        asked = [(key.kind, astuple(key.shape), key.flag) for key in keys]
        answer = _ask(self.spec, self.facts, keys=asked)
        self.template = base64.b64decode(answer["template"])
        for key, graph in zip(keys, answer["graphs"], strict=True):
            self._known[key], self.live[key] = base64.b64decode(graph["graph"]), graph["live"]

    def __call__(self, key: KernelKey) -> bytes:
        """Return a graph's bytes; what nobody foresaw is asked for alone."""
        if key not in self._known:
            self.fetch(key)
        return self._known[key]


def needed_kernels(spec: Spec, facts: InputFacts) -> set[KernelKey]:
    """Return the graphs that training and its evaluation will ask for."""
    shapes = layer_shapes(spec, facts)
    first, last = shapes[0], len(shapes) - 1
    keys = {*trial_keys(shapes[-1]), kernel_key("goodness", first, True)}
    keys |= {kernel_key("forward", first, True)} if last else set()
    keys |= {kernel_key("product", first, dropout) for dropout in {False, spec.train.dropped > 0}}
    size, chunk = spec.train.batch_size, spec.train.chunk_size
    chunked = not isinstance(size, int) or not isinstance(chunk, int) or size > chunk
    learning = ("learn", "accumulate") if chunked else ("learn",)
    for i, shape in enumerate(shapes):
        emit = spec.train.schedule == "interleaved" and i < last
        keys |= {kernel_key("forward", shape), kernel_key("tile", shape)}
        keys |= {kernel_key(kind, shape, emit) for kind in learning}
        if chunked:
            keys |= {kernel_key(kind, shape) for kind in ("apply", "tile-accumulate", "tile-apply")}
    return keys


def model_template(spec: Spec, facts: InputFacts) -> bytes:
    """Return the model file without its weights."""
    return base64.b64decode(_ask(spec, facts, keys=[])["template"])
