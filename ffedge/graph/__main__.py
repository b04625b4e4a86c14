"""Builds graphs in a process of its own: ``python -m ffedge.graph`` answers one request.

So the onnx package, and its 17 MB, stay out of the process that trains (see `ffedge.training.graphs`).
"""

import base64
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file

from ffedge.child import serve
from ffedge.graph.model_file import model_bytes
from ffedge.graph.step import training_graph
from ffedge.network import InputFacts, LayerShape
from ffedge.spec import Spec


def answer(request: dict[str, Any]) -> Any:
    """Build training graphs (``keys``: kind, layer shape, flag), or write a model file (``weights`` -> ``out``)."""
    spec, facts = Spec.from_dict(request["spec"]), InputFacts.from_dict(request["input"])
    if "keys" in request:
        graphs = (training_graph(spec, facts, kind, LayerShape(*shape), flag) for kind, shape, flag in request["keys"])
        return [base64.b64encode(graph).decode() for graph in graphs]
    layers: list[dict[str, np.ndarray]] = [{} for _ in spec.network.widths]
    for name, value in load_file(request["weights"]).items():
        index, _, parameter = name.removeprefix("layers.").partition(".")
        layers[int(index)][parameter] = value
    Path(request["out"]).write_bytes(model_bytes(spec, facts, layers, request["about"]))
    return None


if __name__ == "__main__":
    serve(answer)
