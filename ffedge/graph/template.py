"""The model file without its weights: the predictor's graph.

A model.onnx MUST have one input ``input`` and the outputs ``scores``, ``label`` and ``margin``; it MUST carry the
metadata ``ffedge.format``, ``ffedge.spec`` and ``ffedge.input``; it MAY carry more outputs and more metadata. A reader
MUST refuse a format that it does not know. `ffedge.model_file` adds weights and metadata.
"""

from ffedge.graph.predictor import predictor_graph
from ffedge.network import InputFacts
from ffedge.spec import Spec


def template(spec: Spec, facts: InputFacts) -> bytes:
    """Return a model.onnx of a resolved spec, without weights and metadata."""
    model = predictor_graph(spec, facts)
    model.doc_string = "Forward-Forward network: the label is the argmax of the summed goodness. Made by ffedge."
    return bytes(model.SerializeToString())
