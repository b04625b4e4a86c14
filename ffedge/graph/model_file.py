"""The model file: the predictor's graph and, as metadata, everything that changes what is computed.

A model.onnx MUST have one input ``input`` and the outputs ``scores``, ``label`` and ``margin``; it MUST carry the
metadata ``ffedge.format``, ``ffedge.spec`` and ``ffedge.input``; it MAY carry more outputs and more metadata. A reader
MUST refuse a format that it does not know.
"""

import json
from typing import Any

import onnx

from ffedge.graph.predictor import Parameters, predictor_graph
from ffedge.network import InputFacts
from ffedge.spec import MODEL_FORMAT, Spec


def model_bytes(spec: Spec, facts: InputFacts, layers: list[Parameters], about: dict[str, Any]) -> bytes:
    """Return a whole model.onnx.

    Parameters
    ----------
    spec : resolved.
    about : further metadata: version, data.
    """
    model = predictor_graph(spec, facts, layers)
    metadata = {"format": MODEL_FORMAT, "spec": spec.to_dict(), "input": facts.to_dict(), **about}
    metadata["gamma"] = [float(layer["gamma"]) for layer in layers if "gamma" in layer]
    onnx.helper.set_model_props(model, {f"ffedge.{k}": json.dumps(v) for k, v in metadata.items()})
    model.doc_string = "Forward-Forward network: the label is the argmax of the summed goodness. Made by ffedge."
    return bytes(model.SerializeToString())
