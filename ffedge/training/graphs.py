"""Asks a short-lived child process for graphs, so that the training process never imports onnx."""

import base64
from dataclasses import astuple
from pathlib import Path
from typing import Any

from ffedge.child import ask
from ffedge.network import InputFacts, layer_shapes
from ffedge.runtime.kernels import Build, KernelKey, kernel_key, trial_keys
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
    shapes = layer_shapes(spec, facts)
    first, last = shapes[0], len(shapes) - 1
    keys = {*trial_keys(shapes[-1])} | {kernel_key("forward", first, True)}
    keys |= {kernel_key("product", first, dropout) for dropout in {False, spec.train.input_dropout > 0}}
    size = spec.train.batch_size
    chunked = not isinstance(size, int) or size > spec.train.chunk_size
    learning = ("learn", "accumulate") if chunked else ("learn",)
    for i, shape in enumerate(shapes):
        emit = spec.train.schedule == "interleaved" and i < last
        keys |= {kernel_key("forward", shape), kernel_key("tile", shape)}
        keys |= {kernel_key(kind, shape, emit) for kind in learning}
        if chunked:
            keys |= {kernel_key(kind, shape) for kind in ("apply", "tile-accumulate", "tile-apply")}
    return keys


def write_model(
    spec: Spec, facts: InputFacts, sources: list[tuple[Path, str] | None], out: Path, about: dict[str, Any]
) -> None:
    """Write a model file; each layer's weights are read from a file, from under a prefix, or drawn where None."""
    layers = [None if source is None else (str(source[0].resolve()), source[1]) for source in sources]
    _ask(spec, facts, layers=layers, out=str(out.resolve()), about=about)
