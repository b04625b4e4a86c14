"""Builds the ONNX graphs: training's, the predictor's, the model file."""

from ffedge.graph.model_file import model_bytes
from ffedge.graph.step import training_graph

__all__ = ["model_bytes", "training_graph"]
