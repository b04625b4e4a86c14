"""The work of an inference comparison's children: train a model; time all arms and compare their labels.

The arms are ways to predict with the same goodness network, exported forms of it, and a backprop MLP of its widths.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ffedge.data import Dataset, Split, load
from ffedge.errors import FfedgeError
from ffedge.export.clock import plain_session, take_turns
from ffedge.model.form import FORMS
from ffedge.predict.predictor import Predictor
from ffedge.spec import Spec
from ffedge.training.run import train

SAME_NETWORK = ("ffedge-session", "ffedge-predictor", "torch-passes", "torch-stacked")
BASELINE = "backprop-ort"
FORM_ARMS = {f"ffedge-{name}": name for name in FORMS}
ARMS = ("ffedge-session", *FORM_ARMS, *SAME_NETWORK[1:], BASELINE)
ANY_LOSS = 100.0  # points: what a form loses is told, not bounded
BATCHES_MOST = 100
ROWS = 100
Array = NDArray[Any]


@dataclass(frozen=True)
class Arm:
    """`prepare` turns raw samples [N, …] into what `predict` takes; it is not timed. Labels [N] come out."""

    prepare: Callable[[Array], Any]
    predict: Callable[[Any], Any]


def build_arms(
    model: str, names: list[str], threads: int, make: Callable[[str], bytes] | None = None
) -> dict[str, Arm]:
    """Return arms for a model file of ffedge, on so many threads.

    Parameters
    ----------
    make : returns the model in a form of `ffedge.export`; needed where `names` holds one.

    Raises
    ------
    FfedgeError
        An arm needs torch, which is not installed.
    """
    predictor, session = Predictor(model, threads=threads), plain_session(model, threads)
    known = {
        "ffedge-session": Arm(_raw, _labels_of(session)),
        "ffedge-predictor": Arm(_raw, lambda x: predictor.predict(x).label),
    }
    for name in (name for name in names if name in FORM_ARMS):
        assert make is not None
        known[name] = Arm(_raw, _labels_of(plain_session(make(FORM_ARMS[name]), threads)))
    if BASELINE in names:
        known[BASELINE] = Arm(_raw, _labels_of(plain_session(backprop_mlp(predictor), threads)))
    if any(name.startswith("torch") for name in names):
        network = _torch_network(model, predictor, threads)
        known["torch-passes"] = Arm(network.scaled, network.predict)
        known["torch-stacked"] = Arm(network.scaled, network.predict_stacked)
    return {name: known[name] for name in names}


def _raw(samples: Array) -> Array:
    return np.ascontiguousarray(samples)


def _labels_of(session: Any) -> Callable[[Array], Any]:
    return lambda x: session.run(["label"], {"input": x})[0]


def _torch_network(model: str, predictor: Predictor, threads: int) -> Any:
    try:
        import torch

        from ffedge.reference.passes import TorchNetwork
    except ModuleNotFoundError as error:
        raise FfedgeError(
            "the arms torch-passes and torch-stacked need torch, which is not installed. "
            "Run: pip install 'ffedge[torch]', or choose others with --arms"
        ) from error
    import onnx
    from onnx import numpy_helper

    torch.set_num_threads(threads)
    stored = {t.name: numpy_helper.to_array(t) for t in onnx.load(model).graph.initializer}
    return TorchNetwork(stored, predictor.recipe.network, predictor.facts)


def backprop_mlp(predictor: Predictor) -> bytes:
    """Return a plain MLP of a model's widths as ONNX: raw samples in, label out; its weights are random."""
    from ffedge.compare.backprop_graph import parameters
    from ffedge.onnx.graph import GraphBuilder, model_bytes

    facts, network = predictor.facts, predictor.recipe.network
    sizes, rng = (facts.size, *network.dense_units, facts.n_classes), np.random.default_rng(0)
    g = GraphBuilder("mlp")
    rows = g.op("Reshape", g.input("input", ("N", *facts.shape), facts.dtype), g.ints(-1, facts.size))
    z = g.op("Cast", rows, to=1) if facts.dtype == "uint8" else rows
    z = g.op("Mul", g.op("Sub", z, g.const(facts.offset)), g.const(facts.scale))
    for name, dims in parameters(sizes).items():
        g.const(rng.normal(0, sizes[int(name[1:])] ** -0.5, dims), name=name)
    for i in range(len(sizes) - 1):
        z = g.op("Gemm", g.op("Relu", z) if i else z, f"W{i}", f"b{i}")
    g.op("ArgMax", z, out="label", axis=1, keepdims=0)
    g.output("label", ("N",), "int64")
    return model_bytes(g.graph)


def train_model(request: dict[str, Any]) -> dict[str, Any]:
    """Train what `ffedge train` trains (A-CFF, tuned) for some epochs, and write the model file."""
    spec = Spec.make(widths=tuple(request["widths"]), epochs=request["epochs"], seed=request["seed"])
    run = train(spec, request["data"], Path(request["run"]), data_dir=request["data_dir"], force=True)
    return {"test_accuracy": run.report.test_accuracy, "model_bytes": run.report.model_bytes}


def time_arms(request: dict[str, Any]) -> dict[str, Any]:
    """Time arms in this process; compare the labels that they give to all test samples."""
    made: dict[str, bytes] = {}
    split = _shown(load(request["data"], request["data_dir"]))
    samples = next(split.inputs.blocks(len(split.labels)))
    make = _maker(request, made) if set(request["arms"]) & set(FORM_ARMS) else None
    arms = build_arms(request["model"], request["arms"], request["threads"], make)
    labels = {name: _labels(arm, samples) for name, arm in arms.items()}
    alike = [name for name in arms if name != BASELINE]
    return {
        "samples": len(samples),
        "accuracy": {name: float((labels[name] == split.labels).mean()) for name in alike},
        "labels_unlike_the_first": {name: int((labels[name] != labels[alike[0]]).sum()) for name in alike},
        "form_bytes": {name: len(made[form]) for name, form in FORM_ARMS.items() if form in made},
        "call_s": {str(size): rounds(arms, samples, size, request) for size in request["batch_sizes"]},
    }


def _maker(request: dict[str, Any], made: dict[str, bytes]) -> Callable[[str], bytes]:
    """Return what makes the model's forms, from the rows that training held out; it keeps them in `made`."""
    from ffedge.export.forms import Forms
    from ffedge.export.source import open_rows, read_trained

    trained = read_trained(Path(request["model"]))
    data_dir = request["data_dir"]
    forms = Forms(trained, open_rows(trained, request["data"], Path(data_dir) if data_dir else None), ANY_LOSS)

    def make(name: str) -> bytes:
        made[name] = forms.make(name).model
        return made[name]

    return make


def _shown(dataset: Dataset) -> Split:
    return dataset.test or dataset.train


def _labels(arm: Arm, samples: Array) -> Array:
    parts = (samples[at : at + ROWS] for at in range(0, len(samples), ROWS))
    return np.concatenate([np.asarray(arm.predict(arm.prepare(part))) for part in parts])


def rounds(arms: dict[str, Arm], samples: Array, size: int, request: dict[str, Any]) -> dict[str, list[float]]:
    """Return the seconds of a call, each round's mean over its block; the arms take turns."""
    if size > len(samples):
        samples = np.concatenate([samples] * -(-size // len(samples)))
    count = min(BATCHES_MOST, len(samples) // size)
    batches = [samples[at * size : (at + 1) * size] for at in range(count)]
    calls = {
        name: [functools.partial(arm.predict, arm.prepare(batch)) for batch in batches] for name, arm in arms.items()
    }
    return take_turns(calls, request["rounds"], request["block_s"])


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Do a child's work: train to the folder ``run``, or time."""
    return train_model(request) if "run" in request else time_arms(request)
