"""What a spiking network does with a few samples, beside its NIR file: so that others can check how they run it.

NIR 1.0.8's data of a graph (`nir.NIRGraphData`): for the node ``input`` the ``current`` and for each layer's neurons
the ``spikes``, on a grid of timesteps. docs/nir.md is the format.

Shapes: R rows (samples, or samples times labels tried), T timesteps, D + C inputs of the first map, H + P neurons.
"""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ffedge.errors import FfedgeError, ModelError
from ffedge.spikes.network import STEP_S, Floats, SpikingNetwork
from ffedge.spikes.nir_file import BROKEN, check_installed
from ffedge.spikes.simulate import Run
from ffedge.spikes.trial import try_to_read

MOST_BYTES = 1 << 28  # of all arrays
TOLERANCE = 0.01  # of a layer's spikes: float32 sums differ in their last bit, and so a spike now and then


@dataclass(frozen=True)
class Traces:
    """Inputs [R, D + C], the same in each timestep, and by node's name the spikes [R, T, H + P] that they led to."""

    inputs: Floats
    spikes: dict[str, NDArray[np.bool_]]


@dataclass(frozen=True)
class LayerCheck:
    """How a layer's spikes compare.

    Attributes
    ----------
    told, found : spikes of all rows, in the file and in ffedge's simulator.
    neurons, differ : all of them, in all rows; those whose count is another.
    """

    node: str
    told: int
    found: int
    neurons: int
    differ: int

    @property
    def agrees(self) -> bool:
        """Whether the sums of spikes differ by at most a hundredth."""
        return abs(self.found - self.told) <= TOLERANCE * max(self.told, 1)


def traced(network: SpikingNetwork, raw: NDArray[Any], timesteps: int) -> Traces:
    """Run samples [N, …] for as many timesteps, with every label that is tried; ValueError if it is too much."""
    classes, values = network.facts.n_classes, sum(layer.neurons for layer in network.layers)
    inputs = network.scaled(raw)
    if network.tries_labels:
        inputs = np.concatenate(
            [np.repeat(inputs, classes, axis=0), np.tile(np.eye(classes, dtype=np.float32), (len(raw), 1))], axis=1
        )
    n_bytes = len(inputs) * timesteps * (4 * inputs.shape[1] + values)
    if n_bytes > MOST_BYTES:
        raise ValueError(f"`traces` of {len(raw)} samples take {n_bytes >> 20} MiB, more than {MOST_BYTES >> 20}")
    return Traces(inputs, _spikes(network, inputs, timesteps))


def write_traces(traces: Traces, path: Path) -> None:
    """Write them as NIR's data; FfedgeError where the package nir is older than 1.0.8."""
    check_installed()
    import nir

    if not hasattr(nir, "write_data"):
        raise FfedgeError("traces need nir 1.0.8 or newer. Run: pip install 'nir>=1.0.8'")
    (timesteps,) = {spikes.shape[1] for spikes in traces.spikes.values()}
    current = np.repeat(traces.inputs[:, None], timesteps, axis=1)
    kinds = {"input": ("current", current)} | {name: ("spikes", spikes) for name, spikes in traces.spikes.items()}
    nodes = {
        node: nir.NIRNodeData({kind: nir.TimeGriddedData(values, STEP_S)}) for node, (kind, values) in kinds.items()
    }
    with path.open("w+b") as out:  # HDF5 would lock a file that it opens by its name
        nir.write_data(out, nir.NIRGraphData(nodes))


def read_traces(path: Path) -> Traces:
    """Read what `write_traces`, or another program, wrote.

    Raises
    ------
    ModelError
        There is no such file, or it is none of NIR's data with these observables.
    """
    check_installed()
    try:
        content = path.read_bytes()
        try_to_read(content, "traces")
        return traces_of(content)
    except BROKEN as error:
        why = str(error) or type(error).__name__
        raise ModelError(f"{path}: holds no traces ({why}). Pass a file of `ffedge export --nir --traces`") from error


def traces_of(content: bytes) -> Traces:
    """Read traces from a file's bytes; one of BROKEN where it holds none."""
    import h5py

    with h5py.File(io.BytesIO(content), "r") as file:
        if file.attrs.get("__type__") != "NIRGraphData":
            raise ValueError("it is no NIRGraphData")
        nodes = dict(file["nodes"].items())
        current = _grid(nodes.pop("input"), "current").astype(np.float32)
        spikes = {name: _grid(node, "spikes").astype(np.bool_) for name, node in nodes.items()}
    for name, values in spikes.items():
        if values.shape[:2] != current.shape[:2]:
            raise ValueError(f"{name} must have as many rows and timesteps as input, got {values.shape}")
    if not np.array_equal(current, np.broadcast_to(current[:, :1], current.shape)):
        raise ValueError("the current of input must be the same in all timesteps")
    return Traces(np.ascontiguousarray(current[:, 0]), spikes)


def _grid(node: Any, kind: str) -> NDArray[Any]:
    """Return an observable [R, T, values] of a node."""
    found = node["observables"][kind]
    if found.attrs["__type__"] != "TimeGriddedData":
        raise ValueError(f"{kind} must be TimeGriddedData, got {found.attrs['__type__']}")
    data = found["data"]
    if data.ndim != 3 or 0 in data.shape or data.nbytes > MOST_BYTES:
        raise ValueError(f"{kind} must be rows, timesteps, values, at most {MOST_BYTES >> 20} MiB, got {data.shape}")
    values: NDArray[Any] = data[()]
    return values


def check_traces(network: SpikingNetwork, traces: Traces) -> list[LayerCheck]:
    """Run what traces tell in ffedge's simulator, and compare; ValueError where they are not of this network."""
    names = [layer["neuron"] for layer in network.about()["layers"]]
    if missing := [name for name in names if name not in traces.spikes]:
        raise ValueError(f"the traces lack the node {missing[0]}. Pass those of this network")
    wanted = network.layers[0].inputs
    if traces.inputs.shape[1] != wanted:
        raise ValueError(f"the traces have {traces.inputs.shape[1]} inputs, but the network {wanted}")
    timesteps, checks = next(iter(traces.spikes.values())).shape[1], []
    found = _spikes(network, traces.inputs, timesteps)
    for name in names:
        told, ours = traces.spikes[name].sum(axis=1), found[name].sum(axis=1)
        if told.shape != ours.shape:
            raise ValueError(f"the traces have {told.shape[1]} neurons of {name}, but the network {ours.shape[1]}")
        checks.append(LayerCheck(name, int(told.sum()), int(ours.sum()), told.size, int((told != ours).sum())))
    return checks


def _spikes(network: SpikingNetwork, inputs: Floats, timesteps: int) -> dict[str, NDArray[np.bool_]]:
    run, names = Run(network, inputs=inputs), [layer["neuron"] for layer in network.about()["layers"]]
    kept = {
        name: np.zeros((len(inputs), timesteps, layer.neurons), np.bool_)
        for name, layer in zip(names, network.layers, strict=True)
    }
    for t in range(timesteps):
        run.step()
        for name, spikes in zip(names, run.spikes, strict=True):
            kept[name][:, t] = spikes > 0
    return kept
