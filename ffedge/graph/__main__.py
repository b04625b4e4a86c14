"""Builds graphs in a process of its own: ``python -m ffedge.graph`` answers one request.

So the onnx package, and its 17 MB, stay out of the process that trains (see `ffedge.training.graphs`).
"""

import base64
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from ffedge.child import serve
from ffedge.errors import ModelError
from ffedge.graph.model_file import model_bytes
from ffedge.graph.step import training_graph
from ffedge.network import InputFacts, LayerShape, layer_shapes
from ffedge.spec import Spec


def answer(request: dict[str, Any]) -> Any:
    """Build training graphs (``keys``: kind, layer shape, flag), or write a model file (``weights`` -> ``out``)."""
    spec, facts = Spec.from_dict(request["spec"]), InputFacts.from_dict(request["input"])
    if "keys" in request:
        graphs = (training_graph(spec, facts, kind, LayerShape(*shape), flag) for kind, shape, flag in request["keys"])
        return [base64.b64encode(graph).decode() for graph in graphs]
    layers = _layers(Path(request["weights"]), spec, facts)
    Path(request["out"]).write_bytes(model_bytes(spec, facts, layers, request["about"]))
    return None


def _layers(path: Path, spec: Spec, facts: InputFacts) -> list[dict[str, np.ndarray]]:
    """Read the parameters of every layer; ModelError where the file does not hold them."""
    try:
        stored = load_file(path)
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{path}: cannot be read ({error}). Start anew without --resume") from error
    layers: list[dict[str, np.ndarray]] = []
    for shape in layer_shapes(spec, facts):
        gamma: dict[str, tuple[int, ...]] = {} if spec.rule.variant == "ff" else {"gamma": ()}
        layers.append({})
        for parameter, size in (shape.parameters() | gamma).items():
            value = stored.get(name := f"layers.{shape.index}.{parameter}")
            if value is None or value.shape != size or value.dtype != np.float32:
                raise ModelError(f"{path}: holds no {name} of float32 {list(size)}. Start anew without --resume")
            layers[-1][parameter] = value
    return layers


if __name__ == "__main__":
    serve(answer)
