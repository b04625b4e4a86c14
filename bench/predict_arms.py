"""The work of `predict_latency`'s children: train a model; time all arms and compare their labels.

The arms are ways to predict with the same goodness network, and a backprop MLP of its widths.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import torch
from predict_peers import TorchNetwork, backprop_mlp

from ffedge.child import serve
from ffedge.data import load
from ffedge.runtime import Predictor
from ffedge.spec import Spec
from ffedge.training.run import train

BATCHES_MOST = 100


@dataclass(frozen=True)
class Arm:
    """`prepare` turns raw images [N, 28, 28] uint8 into what `predict` takes; it is not timed. Labels [N] come out."""

    prepare: Callable[[Any], Any]
    predict: Callable[[Any], Any]


def build_arms(model: str, threads: int) -> dict[str, Arm]:
    """Return all arms for a model file of ffedge, on so many threads."""
    torch.set_num_threads(threads)
    predictor = Predictor(model, threads=threads)
    network = TorchNetwork(model, predictor)
    session, backprop = _session(model, threads), _session(backprop_mlp(network), threads)
    return {
        "ffedge, session": Arm(_raw, lambda x: session.run(["label"], {"input": x})[0]),
        "ffedge, Predictor": Arm(_raw, lambda x: predictor.predict(x).label),
        "torch, C passes": Arm(network.scaled, network.predict),
        "torch, one stacked pass": Arm(network.scaled, network.predict_stacked),
        "backprop, ort": Arm(_raw, lambda x: backprop.run(["label"], {"input": x})[0]),
    }


def _raw(images: Any) -> Any:
    return np.ascontiguousarray(images)


def _session(model: str | bytes, threads: int) -> ort.InferenceSession:
    """Load a model as its user would, with onnxruntime's defaults but for the threads."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def train_model(request: dict[str, Any]) -> dict[str, Any]:
    """Train what `ffedge train` trains (A-CFF, tuned) for one epoch."""
    run = train(Spec.make(widths=(500, 500), epochs=1), "mnist", Path(request["run"]), force=True)
    return {"test_accuracy": run.report.test_accuracy}


def time_arms(request: dict[str, Any]) -> dict[str, Any]:
    """Time every arm in this process; compare the labels that they give to all test images."""
    test = load("mnist").test
    images = next(test.inputs.blocks(len(test.labels))).reshape(len(test.labels), 28, 28)
    arms = build_arms(request["model"], request["threads"])
    labels = {name: _labels(arm.prepare, arm.predict, images) for name, arm in arms.items()}
    shared = labels["torch, C passes"]
    return {
        "accuracy": {name: float((found == test.labels).mean()) for name, found in labels.items()},
        "labels_unlike_torch": {name: int((labels[name] != shared).sum()) for name in arms if name != "backprop, ort"},
        "call_s": {str(size): _rounds(arms, images, size, request) for size in request["batch_sizes"]},
    }


def _labels(prepare: Callable[[Any], Any], predict: Callable[[Any], Any], images: Any) -> Any:
    parts = (images[at : at + 100] for at in range(0, len(images), 100))
    return np.concatenate([np.asarray(predict(prepare(part))) for part in parts])


def _rounds(arms: dict[str, Arm], images: Any, size: int, request: dict[str, Any]) -> dict[str, list[float]]:
    """Return the seconds of a call, each round's mean over its block."""
    count = min(BATCHES_MOST, len(images) // size)
    batches = [images[at * size : (at + 1) * size] for at in range(count)]
    ready = {name: [arm.prepare(batch) for batch in batches] for name, arm in arms.items()}
    seconds: dict[str, list[float]] = {name: [] for name in arms}
    for turn in range(request["rounds"] + 1):
        for name, arm in arms.items():
            value = _block(arm.predict, ready[name], request["block_s"])
            if turn:  # the first turn warms up
                seconds[name].append(value)
    return seconds


def _block(predict: Callable[[Any], Any], batches: list[Any], least: float) -> float:
    calls, began = 0, time.perf_counter()
    while (passed := time.perf_counter() - began) < least or calls < 3:
        predict(batches[calls % len(batches)])
        calls += 1
    return passed / calls


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Do a child's work."""
    return train_model(request) if "run" in request else time_arms(request)


if __name__ == "__main__":
    serve(answer)
