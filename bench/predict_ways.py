"""The child of `predict_latency.py`: ways to predict beside those of `ffedge bench --inference`.

They are exported forms of the model, which may give other labels, and the same network in torch, whose inputs are
ready as scaled float32: that is kind to it.
"""

from pathlib import Path
from typing import Any

from ffedge.compare.child import serve
from ffedge.compare.inference import ARMS, Way, answer, session_way, ways
from ffedge.export.clock import plain_session
from ffedge.model.form import FORMS
from ffedge.predict.predictor import Predictor

FORM_ARMS = {f"ffedge-{name}": name for name in FORMS}
TORCH = ("torch-passes", "torch-stacked")
ALL = (*ARMS[:1], *FORM_ARMS, ARMS[1], *TORCH, ARMS[2])
ANY_LOSS = 100.0  # points: what a form loses is told, not bounded


def all_ways(request: dict[str, Any]) -> dict[str, Way]:
    """Return the ways to predict with a model file of ffedge, by arm."""
    asked = set(request["arms"])
    found = ways(request)
    if asked & set(FORM_ARMS):
        found |= {name: way for name, way in form_ways(request).items() if name in asked}
    return found | (torch_ways(request) if asked & set(TORCH) else {})


def form_ways(request: dict[str, Any]) -> dict[str, Way]:
    """Make each form from the rows that training held out."""
    from ffedge.export.forms import Forms
    from ffedge.export.source import open_rows, read_trained

    trained = read_trained(Path(request["model"]))
    folder = Path(request["data_dir"]) if request["data_dir"] else None
    forms = Forms(trained, open_rows(trained, request["data"], folder), ANY_LOSS)
    made = {name: forms.make(FORM_ARMS[name]).model for name in FORM_ARMS if name in request["arms"]}
    return {name: session_way(plain_session(model, request["threads"])) for name, model in made.items()}


def torch_ways(request: dict[str, Any]) -> dict[str, Way]:
    """Load the model's weights into torch."""
    import onnx
    import torch
    from onnx import numpy_helper
    from torch_passes import TorchNetwork

    torch.set_num_threads(request["threads"])
    predictor = Predictor(request["model"], threads=1)
    stored = {t.name: numpy_helper.to_array(t) for t in onnx.load(request["model"]).graph.initializer}
    network = TorchNetwork(stored, predictor.recipe.network, predictor.facts)
    predicts = (network.predict, network.predict_stacked)
    return {name: Way(predict, network.scaled) for name, predict in zip(TORCH, predicts, strict=True)}


if __name__ == "__main__":
    serve(lambda request: answer(request, all_ways))
