"""Builds graphs in a process of its own: ``python -m ffedge.graph`` answers one request.

So the onnx package, and its 17 MB, stay out of the process that trains (see `ffedge.training.graphs`).
"""

import base64
from typing import Any

import onnx

from ffedge.child import serve
from ffedge.graph.live import live_lines
from ffedge.graph.step import training_graph
from ffedge.graph.template import template
from ffedge.network import InputFacts, LayerShape
from ffedge.recipe import Recipe


def answer(request: dict[str, Any]) -> Any:
    """Build training graphs (``keys``: kind, layer shape, flag) and the model file without its weights."""
    recipe, facts = Recipe.from_dict(request["spec"]), InputFacts.from_dict(request["input"])
    return {
        "graphs": [_graph(recipe, facts, kind, LayerShape(*shape), flag) for kind, shape, flag in request["keys"]],
        "template": base64.b64encode(template(recipe, facts)).decode(),
    }


def _graph(recipe: Recipe, facts: InputFacts, kind: str, shape: LayerShape, flag: bool) -> dict[str, Any]:
    """Return a graph, and how much memory it takes while it runs: lines over samples, or over rows of W or of x."""
    model = training_graph(recipe, facts, kind, shape, flag)
    labels = 1 + recipe.train.n_negatives if kind in ("learn", "accumulate") else shape.classes if flag else 1
    lines = live_lines(onnx.load_from_string(model), labels)
    return {"graph": base64.b64encode(model).decode(), "live": lines}


if __name__ == "__main__":
    serve(answer)
