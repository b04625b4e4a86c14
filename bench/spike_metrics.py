"""NeuroBench's metrics (arXiv:2304.04640) by their names and definitions, counted in numpy.

- footprint: bytes of all parameters.
- connection sparsity: share of weights that are 0 (not biases).
- activation sparsity: share of the outputs of all neurons, timesteps and samples that are 0.
- synaptic operations of a sample: for each layer run, the pairs of an input that is not 0 and a weight that is not 0.
  They are effective MACs where the layer's inputs are numbers, effective ACs where these are 0, 1 or -1; dense counts
  all pairs. Biases count for nothing.
- neuron updates of a sample, which no metric of NeuroBench's counts: a spiking neuron adds its current and compares in
  every timestep, whether it spikes or not; 0 where there are no spiking neurons.

A prediction tries every class, so a sample's operations are those of all classes together. What classes share, the
first layer's product with the input, is counted once: a constant current is computed once and then held. (NeuroBench's
package runs a network as it is given: there the product counts in every timestep and for every class.) Neurons that
pass the label on, and their weights, count as all others.

Shape letters: N samples, C classes, R = N * C rows, D inputs of a layer, H outputs.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ffedge.network import InputFacts
from ffedge.recipe import Recipe
from ffedge.spikes.convert import Layers, forward
from ffedge.spikes.network import Floats, SpikingNetwork

Array = NDArray[Any]


@dataclass
class Operations:
    """Synaptic operations, summed over samples."""

    effective_macs: float = 0.0
    effective_acs: float = 0.0
    dense: float = 0.0

    def add(self, inputs: Array, W: Array) -> None:
        """Count one run of a layer with weights [H, D] on inputs [R, D]."""
        effective = float(np.count_nonzero(inputs, axis=0) @ np.count_nonzero(W, axis=0))
        if np.isin(inputs, (-1, 0, 1)).all():
            self.effective_acs += effective
        else:
            self.effective_macs += effective
        self.dense += float(len(inputs)) * W.size

    def add_spikes(self, counts: Array, W: Array, runs: int) -> None:
        """Count the runs of a layer with weights [H, D], by its inputs' spike counts [R, D] in all timesteps."""
        self.effective_acs += float(counts.sum(axis=0, dtype=np.float64) @ np.count_nonzero(W, axis=0))
        self.dense += float(W.size) * runs


@dataclass(frozen=True)
class Workload:
    """What a network costs; operations are those of a sample, activations all of it.

    Attributes
    ----------
    connection_sparsity, activation_sparsity : 0 to 1.
    active_share : share of units whose activity, or spike count, is not 0.
    """

    footprint_bytes: int
    connection_sparsity: float
    activation_sparsity: float
    active_share: float
    effective_macs: float
    effective_acs: float
    dense: float
    neuron_updates: float = 0.0


def footprint(arrays: Iterable[Array]) -> int:
    """Return the bytes of all parameters."""
    return sum(array.nbytes for array in arrays)


def connection_sparsity(weights: Sequence[Array]) -> float:
    """Return the share of weights that are 0."""
    return 1.0 - sum(np.count_nonzero(W) for W in weights) / sum(W.size for W in weights)


def workload_of_spikes(network: SpikingNetwork, raw: Array, counts: list[Floats], taken: NDArray[np.int64]) -> Workload:
    """Return what a run of samples [N, …] cost that spiked `counts` [R, H] in each layer, in `taken` [N] timesteps."""
    runs = int(taken.sum()) * network.rows_a_sample
    operations, first = Operations(), network.layers[0].W
    operations.add(network.scaled(raw), first[:, : network.inputs])
    if network.tries_labels:
        operations.add(_labels(network.facts.n_classes, len(raw)), first[:, network.inputs :])
    for spikes, layer in zip(counts, network.layers[1:], strict=False):
        operations.add_spikes(spikes, layer.W, runs)
    outputs = runs * sum(len(layer.b) for layer in network.layers)
    weights = [layer.W for layer in network.layers]
    return Workload(
        footprint([*weights, *(layer.b for layer in network.layers)]),
        connection_sparsity(weights),
        1.0 - sum(float(spikes.sum(dtype=np.float64)) for spikes in counts) / outputs,
        sum(np.count_nonzero(spikes) for spikes in counts) / sum(spikes.size for spikes in counts),
        *_of_a_sample(operations, len(raw)),
        neuron_updates=outputs / len(raw),
    )


def workload_of_model(recipe: Recipe, facts: InputFacts, layers: Layers, raw: Array, x: Floats) -> Workload:
    """Return what model.onnx does for some samples [N, …]: the same network, its activities numbers.

    Parameters
    ----------
    x : [N, D] the scaled inputs.
    """
    operations, classes = Operations(), facts.n_classes
    activities = forward(recipe, facts, layers, raw)
    for inputs, layer in zip([x, *activities[:-1]], layers, strict=True):
        operations.add(inputs, layer["W"].T)
        if "V" in layer:
            operations.add(_labels(classes, len(raw)), layer["V"].T)
    return _plain(
        [layer[n] for layer in layers for n in ("W", "V") if n in layer],
        [layer["b"] for layer in layers],
        activities,
        operations,
        len(raw),
    )


def workload_of_mlp(weights: list[Array], biases: list[Array], x: Floats) -> tuple[Workload, NDArray[np.int64]]:
    """Return what an MLP with ReLU does for scaled inputs [N, D], and the labels that it gives.

    Parameters
    ----------
    weights : [H, D] of each layer, the head last.
    """
    operations, activities, given = Operations(), list[Floats](), x
    for i, (W, b) in enumerate(zip(weights, biases, strict=True)):
        operations.add(given, W)
        given = given @ W.T + b
        if i + 1 < len(weights):
            given = np.maximum(given, 0.0)
            activities.append(given)
    return _plain(weights, biases, activities, operations, len(x)), given.argmax(axis=1)


def _plain(
    weights: list[Array], biases: list[Array], activities: list[Floats], operations: Operations, samples: int
) -> Workload:
    active = sum(np.count_nonzero(y) for y in activities) / sum(y.size for y in activities)
    return Workload(
        footprint([*weights, *biases]),
        connection_sparsity(weights),
        1.0 - active,
        active,
        *_of_a_sample(operations, samples),
    )


def _of_a_sample(operations: Operations, samples: int) -> tuple[float, float, float]:
    return operations.effective_macs / samples, operations.effective_acs / samples, operations.dense / samples


def _labels(classes: int, samples: int) -> Array:
    return np.tile(np.eye(classes, dtype=np.float32), (samples, 1))
