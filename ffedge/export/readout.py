"""A linear readout of the activities that a sample makes without a label: softmax regression on frozen activities.

Its gradient needs the readout's own input and output alone, so that it is as local as the layers' learning. Rows are
read a batch at a time, in a new order each epoch.

Shape letters: N samples, A activities (all layers' units), C classes.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ffedge.engine.session import make_session, run
from ffedge.export.fold import fold, missing
from ffedge.export.source import HeldOut, Trained
from ffedge.model.form import Folded, activities_graph
from ffedge.network import Layers
from ffedge.onnx.graph import model_bytes
from ffedge.rule.optimizer import ADAM_DECAYS, ADAM_EPSILON
from ffedge.seeds import Draw, Permutation

Array = NDArray[Any]
EPOCHS = 4  # or more, of a small data set
STEPS_LEAST = 1000
BATCH = 128
RATE = 1e-3


def train_head(trained: Trained, rows: HeldOut, network: Folded) -> dict[str, Array]:
    """Train a readout on the rows that the layers learnt from; return its ``head.U`` [A, C] and ``head.c`` [C]."""
    weights = fold(network, trained.layers, tried=False)
    session = make_session(model_bytes(activities_graph(network)), threads=1, weights=weights)
    factor = inputs_factor(network, trained.layers)
    learner = Softmax(len(factor), trained.facts.n_classes)
    count, batch = len(rows.learnt), min(BATCH, len(rows.learnt))
    steps = max(EPOCHS * (count // batch), STEPS_LEAST)
    for step in range(steps):
        epoch, place = divmod(step, count // batch)
        order = Permutation(count, trained.recipe.train.seed, Draw.READOUT, epoch)
        part = rows.learnt[order.at(np.arange(place * batch, (place + 1) * batch))]
        raw = np.ascontiguousarray(rows.split.inputs.take(part))
        (activities,) = run(session, ["activities"], {"input": raw})
        learner.learn(activities * factor, np.asarray(rows.split.labels[part]), RATE * (1 - step / steps))
    return {"head.U": learner.U * factor[:, None], "head.c": learner.c}


def inputs_factor(network: Folded, layers: Layers) -> Array:
    """Return what brings each activity [A] to a mean square of about 1: Adam's steps have one size."""
    unit = network.recipe.network.norm == "unit"
    each = [
        np.full(layer.layer.units, layer.layer.units**0.5 if unit else missing(network, layer, arrays))
        for layer, arrays in zip(network.layers, layers, strict=True)
    ]
    return np.concatenate(each).astype(np.float32)


class Softmax:
    """Softmax regression by Adam: ``softmax(a U + c)``, U [A, C], c [C], from zeros."""

    def __init__(self, units: int, classes: int) -> None:
        self.U, self.c = np.zeros((units, classes), np.float32), np.zeros(classes, np.float32)
        self._moments = [[np.zeros_like(p), np.zeros_like(p)] for p in (self.U, self.c)]
        self._steps = 0

    def learn(self, activities: Array, true: NDArray[np.integer], rate: float) -> None:
        """Take one step of the mean cross-entropy over a batch [N, A] with labels [N]."""
        logits = activities @ self.U + self.c
        error = np.exp(logits - logits.max(axis=1, keepdims=True))
        error /= error.sum(axis=1, keepdims=True)
        error[np.arange(len(true)), true] -= 1.0
        error /= len(true)
        self._steps += 1
        self._adam(self.U, activities.T @ error, self._moments[0], rate)
        self._adam(self.c, error.sum(axis=0), self._moments[1], rate)

    def _adam(self, parameter: Array, gradient: Array, moments: list[Array], rate: float) -> None:
        first, second = moments
        for moment, value, decay in ((first, gradient, ADAM_DECAYS[0]), (second, gradient**2, ADAM_DECAYS[1])):
            np.multiply(moment, decay, out=moment)
            np.add(moment, (1 - decay) * value, out=moment)
        mean, square = (m / (1 - decay**self._steps) for m, decay in zip(moments, ADAM_DECAYS, strict=True))
        parameter -= rate * mean / (np.sqrt(square) + ADAM_EPSILON)
