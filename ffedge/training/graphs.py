"""Asks a short-lived child process for graphs, so that the training process never imports onnx."""

import base64
from dataclasses import astuple, replace
from pathlib import Path
from typing import Any

from ffedge.child import ask
from ffedge.network import InputFacts, layer_shapes
from ffedge.runtime.kernels import Build, KernelKey, trial_shape
from ffedge.spec import Spec


def _ask(spec: Spec, facts: InputFacts, **request: Any) -> Any:
    return ask("ffedge.graph", {"spec": spec.to_dict(), "input": facts.to_dict(), **request})


def training_graphs(spec: Spec, facts: InputFacts) -> Build:
    """Return a function that knows the bytes of every graph that this training needs."""
    known: dict[KernelKey, bytes] = {}

    def build(key: KernelKey) -> bytes:
        if key not in known:
            keys = [key] if known else sorted(needed_kernels(spec, facts) | {key}, key=repr)
            asked = [(k.kind, astuple(k.shape), k.flag) for k in keys]
            graphs = _ask(spec, facts, keys=asked)
            known.update({k: base64.b64decode(graph) for k, graph in zip(keys, graphs, strict=True)})
        return known[key]

    return build


def needed_kernels(spec: Spec, facts: InputFacts) -> set[KernelKey]:
    """Return the graphs that training and its evaluation will ask for."""
    shapes = [replace(shape, index=min(shape.index, 1)) for shape in layer_shapes(spec, facts)]
    first, last = shapes[0], len(shapes) - 1
    keys = {KernelKey("learn", trial_shape(shapes[-1]), True)}
    keys |= {KernelKey("product", first, dropout) for dropout in {False, spec.train.input_dropout > 0}}
    keys |= {KernelKey("forward", shape) for shape in shapes} | {KernelKey("forward", first, True)}
    for i, shape in enumerate(shapes):
        emit = spec.train.schedule == "interleaved" and i < last
        keys |= {KernelKey(kind, shape, emit) for kind in ("learn", "accumulate")} | {KernelKey("apply", shape)}
    return keys


def write_model(spec: Spec, facts: InputFacts, weights: Path, out: Path, about: dict[str, Any]) -> None:
    """Write a model file from the weights in a checkpoint."""
    _ask(spec, facts, weights=str(weights.resolve()), out=str(out.resolve()), about=about)
