"""Builds the ONNX graphs: training's, the predictor's, the model file."""

from ffedge.graph.step import training_graph
from ffedge.graph.template import template

__all__ = ["template", "training_graph"]
