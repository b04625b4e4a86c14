"""Builds graphs in a process of its own: ``python -m ffedge.graph`` answers one request.

So the onnx package, and its 17 MB, stay out of the process that trains (see `ffedge.training.graphs`).
"""

import base64
from pathlib import Path
from typing import Any

import numpy as np

from ffedge.child import serve
from ffedge.graph.model_file import model_bytes
from ffedge.graph.step import training_graph
from ffedge.network import InputFacts, LayerShape, initial_layer, layer_shapes
from ffedge.spec import Spec
from ffedge.tensors import TensorFile


def answer(request: dict[str, Any]) -> Any:
    """Build training graphs (``keys``: kind, layer shape, flag), or write a model file (``layers`` -> ``out``).

    A layer is a file and the prefix of its names there, or None where it has not begun to learn.
    """
    spec, facts = Spec.from_dict(request["spec"]), InputFacts.from_dict(request["input"])
    if "keys" in request:
        graphs = (training_graph(spec, facts, kind, LayerShape(*shape), flag) for kind, shape, flag in request["keys"])
        return [base64.b64encode(graph).decode() for graph in graphs]
    layers = [
        _stored(Path(source[0]), source[1]) if source else initial_layer(spec, shape)
        for source, shape in zip(request["layers"], layer_shapes(spec, facts), strict=True)
    ]
    Path(request["out"]).write_bytes(model_bytes(spec, facts, layers, request["about"]))
    return None


def _stored(path: Path, prefix: str) -> dict[str, np.ndarray]:
    """Return a layer's parameters, without moments."""
    named = {name.removeprefix(prefix): v for name, v in TensorFile(path).arrays.items() if name.startswith(prefix)}
    return {name: value for name, value in named.items() if "." not in name}


if __name__ == "__main__":
    serve(answer)
