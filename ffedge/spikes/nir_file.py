"""NIR files (arXiv:2311.14641): a spiking network is written with the package nir, and what ffedge wrote is read.

docs/nir.md is the format. Behind the HDF5 data, where its readers do not look, stands a checksum: HDF5 notices little
of what a disk does to a file. What a stranger does is tried in another process first (`ffedge.spikes.trial`).
"""

import hashlib
import io
import itertools
import json
import math
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from ffedge.errors import FfedgeError, ModelError
from ffedge.json_text import parse
from ffedge.network import InputFacts
from ffedge.onnx.read import HDF5
from ffedge.spikes.network import (
    FIELDS,
    FORMAT,
    STEP_S,
    WITH_CONVOLUTIONS,
    Convolution,
    Floats,
    SpikingLayer,
    SpikingNetwork,
    decay_of,
)
from ffedge.spikes.trial import try_to_read

KEY, CHECKSUM = "ffedge", b"ffedge sha256 "
BROKEN = (OSError, ValueError, LookupError, TypeError, AttributeError, RuntimeError)  # what h5py and a reader raise
MOST_BYTES = 1 << 30  # of an array
NEURONS = {
    "IF": {"r", "v_threshold"},
    "LIF": {"r", "v_threshold", "v_leak", "tau"},
    "CubaLIF": {"r", "v_threshold", "v_leak", "tau_mem", "tau_syn", "w_in"},
}
SYNAPSE_S = STEP_S / math.log(2)  # half of a synapse's current stays after a timestep


def is_nir(path: Path) -> bool:
    """Tell whether a file is HDF5, as NIR files are."""
    try:
        if not path.is_file():  # a pipe would be waited for
            return False
        with path.open("rb") as file:
            return file.read(len(HDF5)) == HDF5
    except OSError:
        return False


def check_installed() -> None:
    """Raise FfedgeError, with what to install, where NIR files can be neither written nor read."""
    for package in ("nir", "h5py"):
        if find_spec(package) is None:
            raise FfedgeError(f"NIR files need {package}, which is not installed. Run: pip install 'ffedge[nir]'")


def write(network: SpikingNetwork, path: Path) -> None:
    """Write a network as a chain input, affine0 (or conv0), neuron0, (pool0,) affine1, …, output.

    Raises
    ------
    FfedgeError
        The package nir is not installed.
    OSError
        The file cannot be written.
    """
    check_installed()
    import h5py
    import nir

    first = network.layers[0]
    given: tuple[int, ...] = (first.inputs,) if first.convolution is None else first.convolution.picture
    nodes: dict[str, Any] = {"input": nir.Input({"input": np.array(given)})}
    for about, layer in zip(network.about()["layers"], network.layers, strict=True):
        if "flatten" in about:
            nodes[about["flatten"]] = nir.Flatten({"input": np.array(given)}, -3, -1)  # so all readers' batches stay
        nodes[about["affine"]] = _map(layer, nir)
        nodes[about["neuron"]] = _neurons(layer, nir)
        given = layer.shape if layer.convolution is None else layer.convolution.passed(len(layer.b))
        if "pool" in about:
            assert layer.convolution is not None
            side = np.array([layer.convolution.pool] * 2)
            nodes[about["pool"]] = nir.SumPool2d(kernel_size=side, stride=side, padding=0 * side)
    nodes["output"] = nir.Output({"output": np.array(network.layers[-1].shape)})
    names = list(nodes)
    graph = nir.NIRGraph(nodes, list(itertools.pairwise(names)), metadata={KEY: json.dumps(network.about())})
    with path.open("w+b") as out:  # HDF5 would lock a file that it opens by its name
        nir.write(out, graph)
        with h5py.File(out, "r+") as file:  # NIR's reset is to 0 where none is named; nir before 1.0.6 knows no name
            for i in range(len(network.layers)):
                file[f"node/nodes/neuron{i}"].pop("v_reset", None)
        out.seek(0)
        digest = hashlib.sha256(out.read()).digest()
        out.write(CHECKSUM + digest)


def _map(layer: SpikingLayer, nir: Any) -> Any:
    """Return the node of a layer's map."""
    if layer.convolution is None:
        return nir.Affine(weight=layer.W, bias=layer.b)
    around, stride = (layer.W.shape[2] // 2,) * 2, (layer.convolution.stride,) * 2
    return nir.Conv2d(layer.convolution.picture[1:], layer.W, stride, around, (1, 1), 1, layer.b)


def _neurons(layer: SpikingLayer, nir: Any) -> Any:
    """Return the node of a layer's neurons."""
    each = np.ones(layer.shape, np.float32)
    common = {"v_threshold": each * np.float32(layer.threshold)}
    if layer.decay == 1.0:
        return nir.IF(r=each, **common)
    steps = 1.0 / (1.0 - layer.decay)  # dv/dt = (v_leak - v + r I) / tau; r makes I what it is for IF
    tau, common = each * np.float32(steps * STEP_S), common | {"r": each * np.float32(steps), "v_leak": 0 * each}
    if layer.current_based:
        return nir.CubaLIF(tau_syn=each * np.float32(SYNAPSE_S), tau_mem=tau, w_in=each, **common)
    return nir.LIF(tau=tau, **common)


def read(path: Path) -> SpikingNetwork:
    """Read a network that ffedge wrote.

    Raises
    ------
    ModelError
        There is no such file, it is no NIR file, not ffedge's, from a newer format, or damaged.
    FfedgeError
        The package h5py or nir is not installed.
    """
    check_installed()
    if not path.is_file():
        raise ModelError(f"{path}: no such file. Write one with `ffedge export --nir`")
    try:
        content = path.read_bytes()
        data, mark, digest = content.rpartition(CHECKSUM)
        if mark and hashlib.sha256(data).digest() != digest:
            raise ValueError("it is damaged: its checksum differs")
        try_to_read(content)
        return network_of(content)
    except BROKEN as error:
        why = str(error) or type(error).__name__
        raise ModelError(
            f"{path}: is no NIR file that ffedge can run ({why}). Pass one of `ffedge export --nir`"
        ) from error


def network_of(content: bytes) -> SpikingNetwork:
    """Read a network from a file's bytes; one of BROKEN where it holds none."""
    import h5py

    with h5py.File(io.BytesIO(content), "r") as file:
        return _network(file["node"])


def _network(graph: Any) -> SpikingNetwork:
    """Return the network of a graph, a group of h5py's."""
    if KEY not in graph.get("metadata", ()):
        raise ValueError("it lacks ffedge's metadata")
    about = parse(graph["metadata"][KEY].asstr()[()])
    if about.get("format") not in (FORMAT, WITH_CONVOLUTIONS):
        raise ValueError(f"it has format {about.get('format')}, not {FORMAT} or {WITH_CONVOLUTIONS}")
    fields = FIELDS | ({"layout"} if about["format"] == WITH_CONVOLUTIONS else set())
    if set(about) != fields or about["dt"] != STEP_S:
        raise ValueError(f"its metadata must have just the fields {', '.join(sorted(fields))}, and a dt of {STEP_S:g}")
    if strange := [name for name in ("data", "version", "label_mode", "reset") if not isinstance(about[name], str)]:
        raise ValueError(f"its {strange[0]} must be a text")
    chain = ("flatten", "affine", "neuron", "pool")
    names = ["input", *(layer[kind] for layer in about["layers"] for kind in chain if kind in layer), "output"]
    if sorted(map(tuple, graph["edges"].asstr()[()])) != sorted(itertools.pairwise(names)):
        raise ValueError("its edges must make a chain of the nodes that its metadata name")
    return SpikingNetwork(
        layers=tuple(_layer(graph["nodes"], layer) for layer in about["layers"]),
        facts=InputFacts.from_dict(about["input"]),
        label_mode=about["label_mode"],
        timesteps=about["timesteps"],
        reset=about["reset"],
        data=about["data"],
        version=about["version"],
        layout=about.get("layout", "none"),
    )


def _layer(nodes: Any, about: dict[str, Any]) -> SpikingLayer:
    affine, neuron = nodes[about["affine"]], nodes[about["neuron"]]
    kinds = [node["type"].asstr()[()] for node in (affine, neuron)]
    if kinds[0] not in ("Affine", "Conv2d") or kinds[1] not in NEURONS:
        raise ValueError(f"nodes must be Affine or Conv2d, and IF, LIF or CubaLIF, got {' and '.join(kinds)}")
    for kind, wanted in (("flatten", "Flatten"), ("pool", "SumPool2d")):
        if kind in about and (found := nodes[about[kind]]["type"].asstr()[()]) != wanted:
            raise ValueError(f"{about[kind]} must be {wanted}, got {found}")
    same = {name: _same(neuron, name) for name in NEURONS[kinds[1]] | ({"v_reset"} & set(neuron))}
    decay, r = 1.0, same["r"]
    if kinds[1] != "IF":
        tau = same.get("tau", same.get("tau_mem", 0.0))
        decay = decay_of(tau)
        r *= STEP_S / tau
    if abs(same.get("tau_syn", SYNAPSE_S) / SYNAPSE_S - 1) > 1e-4 or same.get("w_in", 1) != 1:
        raise ValueError(f"synapses must have tau_syn {SYNAPSE_S:.6g} s and w_in 1, got {same}")
    if same.get("v_reset", 0) != 0 or same.get("v_leak", 0) != 0 or abs(r - 1) > 1e-4:
        raise ValueError(f"neurons must reset and leak to 0, with an input factor of 1, got {same}")
    W, b = _numbers(affine, "weight"), _numbers(affine, "bias")
    pool = nodes[about["pool"]] if "pool" in about else None
    places = _convolution(affine, W, pool) if kinds[0] == "Conv2d" else None
    told = (about["units"], about["goodness_scale"], about["weight"])
    return SpikingLayer(W, b, same["v_threshold"], decay, *told, places, kinds[1] == "CubaLIF")


def _convolution(node: Any, W: Floats, pool: Any) -> Convolution:
    """Return where a Conv2d's kernel goes, and by how much a SumPool2d behind it sums."""
    around, (stride, pooled) = W.shape[2] // 2, (_side(node, "stride"), _side(pool, "kernel_size") if pool else 1)
    for holder, name, wanted in (
        (node, "padding", around),
        (node, "dilation", 1),
        (node, "groups", 1),
        (pool, "stride", pooled),
        (pool, "padding", 0),
    ):
        if holder is not None and (found := _side(holder, name)) != wanted:
            raise ValueError(f"{name} must be {wanted}, got {found}")
    height, width = (_whole(float(side)) for side in np.ravel(_numbers(node, "input_shape")))
    return Convolution((W.shape[1], height, width), stride, pooled)


def _side(node: Any, name: str) -> int:
    """Return the one whole number that a node has for both sides."""
    values = np.unique(_numbers(node, name))
    if len(values) != 1:
        raise ValueError(f"{name} must be one number for both sides, got {len(values)}")
    return _whole(float(values[0]))


def _whole(value: float) -> int:
    if not float(value).is_integer():
        raise ValueError(f"sizes of pictures must be whole numbers, got {value}")
    return int(value)


def _numbers(node: Any, name: str) -> Floats:
    """Return an array of a node's as float32."""
    data = node[name]
    if data.nbytes > MOST_BYTES:
        raise ValueError(f"{name} claims {data.nbytes} bytes, more than {MOST_BYTES}")
    values: Floats = data.astype("float32")[()]
    return values


def _same(node: Any, name: str) -> float:
    """Return the one number that an array holds for all of a node's neurons."""
    values = np.unique(_numbers(node, name))
    if len(values) != 1:
        raise ValueError(f"{name} must be one number for all neurons, got {len(values)}")
    return float(values[0])
