"""NIR files (arXiv:2311.14641): a spiking network is written with the package nir, and read with h5py, field by field.

A stranger's file may claim sizes that no file bears out, point to other files, or name filters that run code; so
nothing is read before its kind, shape and type are what a network of ffedge has. docs/nir.md is the format.
"""

import itertools
import json
import math
import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ffedge.errors import FfedgeError, ModelError
from ffedge.json_text import MOST_CHARACTERS, parse
from ffedge.network import InputFacts
from ffedge.runtime.proto import HDF5
from ffedge.spec import MAX_LAYERS
from ffedge.spikes import heap
from ffedge.spikes.network import FIELDS, FORMAT, LAYER_FIELDS, STEP_S, Floats, SpikingLayer, SpikingNetwork, decay_of

KEY = "ffedge"
FILTERS = {1, 2, 3}  # deflate, shuffle, checksum: built into HDF5
SPARE_BYTES = 1 << 26
SPARE_WORK = 1 << 28
STATE_BYTES = 12  # of a neuron in a run: potential, spikes, count; a timestep takes as much again, of one layer
SPARE_CHUNKS = 1 << 12  # of an array: HDF5 makes a list of all that are read, of some KB each
CHUNK_BYTES = 1 << 20  # that a chunk of a smaller array may have: HDF5 unpacks it whole
MOST_NODES = 2 * MAX_LAYERS + 2
NEURONS = {"IF": {"r", "v_threshold"}, "LIF": {"r", "v_threshold", "v_leak"}}


def is_nir(path: Path) -> bool:
    """Tell whether a file is HDF5, as NIR files are."""
    try:
        with path.open("rb") as file:
            return file.read(len(HDF5)) == HDF5
    except OSError:
        return False


def check_installed() -> None:
    """Raise FfedgeError, with what to install, where NIR files cannot be written."""
    try:
        import h5py  # noqa: F401
        import nir  # noqa: F401
    except ModuleNotFoundError as error:
        raise FfedgeError("NIR files need nir, which is not installed. Run: pip install 'ffedge[nir]'") from error


def write(network: SpikingNetwork, path: Path) -> None:
    """Write a network as a chain input, affine0, neuron0, affine1, …, output.

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

    nodes: dict[str, Any] = {"input": nir.Input({"input": np.array([network.layers[0].W.shape[1]])})}
    for i, layer in enumerate(network.layers):
        each = np.ones(len(layer.b), np.float32)
        common = {"v_threshold": each * np.float32(layer.threshold)}
        nodes[f"affine{i}"] = nir.Affine(weight=layer.W, bias=layer.b)
        if layer.decay == 1.0:
            nodes[f"neuron{i}"] = nir.IF(r=each, **common)
        else:  # dv/dt = (v_leak - v + r I) / tau; r makes I what it is for IF
            steps = 1.0 / (1.0 - layer.decay)
            leak = {"tau": each * np.float32(steps * STEP_S), "r": each * np.float32(steps), "v_leak": 0 * each}
            nodes[f"neuron{i}"] = nir.LIF(**leak, **common)
    nodes["output"] = nir.Output({"output": np.array([len(network.layers[-1].b)])})
    names = list(nodes)
    graph = nir.NIRGraph(nodes, list(itertools.pairwise(names)), metadata={KEY: json.dumps(network.about())})
    with path.open("w+b") as out:  # HDF5 would lock a file that it opens by its name
        nir.write(out, graph)
        with h5py.File(out, "r+") as file:  # NIR's reset is to 0 where none is named; nir before 1.0.6 knows no name
            for i in range(len(network.layers)):
                file[f"node/nodes/neuron{i}"].pop("v_reset", None)


def read(path: Path) -> SpikingNetwork:
    """Read a network that ffedge wrote.

    Raises
    ------
    ModelError
        There is no such file, it is no NIR file, not ffedge's, from a newer format, or damaged.
    FfedgeError
        The package h5py is not installed.
    """
    try:
        import h5py
    except ModuleNotFoundError as error:
        raise FfedgeError("NIR files need h5py, which is not installed. Run: pip install 'ffedge[nir]'") from error
    if not path.is_file():
        raise ModelError(f"{path}: no such file. Write one with `ffedge export --nir`")
    try:
        with (
            path.open("rb") as raw,
            mmap.mmap(raw.fileno(), 0, access=mmap.ACCESS_READ) as data,
            h5py.File(path, "r") as file,
        ):
            return _network(_Reader(file, data))
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, OverflowError, RecursionError) as error:
        why = str(error) or type(error).__name__
        raise ModelError(
            f"{path}: is no NIR file that ffedge can run ({why}). Pass one of `ffedge export --nir`"
        ) from error


class _Reader:
    """Reads groups and arrays of an open file, each after a look at what it claims to be."""

    def __init__(self, file: Any, data: mmap.mmap) -> None:
        self._data, n_bytes = data, len(data)
        self._file, self._left, self._work = file, SPARE_BYTES + 8 * n_bytes, SPARE_WORK + 1024 * n_bytes
        self._n_bytes, self._chunks = n_bytes, SPARE_CHUNKS + n_bytes // 4096

    def names(self, group: str) -> set[str]:
        """Return the names in a group; ValueError where there are too many."""
        found = self._at(group, "Group")
        if len(found) > MOST_NODES:
            raise ValueError(f"{group!r} holds {len(found)} items, more than {MOST_NODES}")
        return set(found)

    def text(self, name: str) -> str:
        """Return a string."""
        (found,) = self._texts(name, ())
        return found

    def pairs(self, name: str) -> Iterator[tuple[str, str]]:
        """Yield the edges, one by one: in a file, many may have the same long name."""
        shape = self._dataset(name).shape
        if len(shape) != 2 or shape[1] != 2 or shape[0] > MOST_NODES:
            raise ValueError(f"{name!r} must be pairs of names")
        found = self._texts(name, shape)
        yield from zip(found, found, strict=True)

    def _texts(self, name: str, shape: tuple[int, ...]) -> Iterator[str]:
        """Yield the texts of a dataset, one by one."""
        import h5py

        dataset = self._dataset(name)
        kind = h5py.check_string_dtype(dataset.dtype)
        if dataset.shape != shape or kind is None or (kind.length or 0) > MOST_CHARACTERS:
            raise ValueError(f"{name!r} must be a string of at most {MOST_CHARACTERS} bytes")
        if kind.length is None:
            yield from (text.decode() for text in heap.texts(self._data, dataset))
        else:
            yield from (bytes(dataset[at]).decode() for at in np.ndindex(shape))

    def numbers(self, name: str, axes: int) -> Floats:
        """Return an array of numbers that are finite in float32, which it has."""
        dataset = self._dataset(name)
        if len(dataset.shape) != axes or dataset.dtype.kind not in "fiu" or dataset.dtype.itemsize > 8:
            raise ValueError(f"{name!r} must be numbers on {axes} axes, got {dataset.dtype} {list(dataset.shape)}")
        self._take(f"{name!r}", dataset.size * max(4, dataset.dtype.itemsize))
        with np.errstate(over="ignore"):
            values = np.ascontiguousarray(dataset[()], np.float32)
        if not np.isfinite(values).all():
            raise ValueError(f"{name!r} must be finite")
        return values

    def same(self, name: str, count: int) -> float:
        """Return the one number that all entries [count] of an array are."""
        values = self.numbers(name, 1)
        if not len(values) == count > 0 or (values != values[0]).any():
            raise ValueError(f"{name!r} must be one number for all {count} neurons")
        return float(values[0])

    def check_cost(self, network: SpikingNetwork) -> None:
        """Raise ValueError where one sample takes memory or work out of proportion to the file."""
        classes, neurons = network.facts.n_classes, [len(layer.b) for layer in network.layers]
        self._take("one sample", STATE_BYTES * classes * (sum(neurons) + max(neurons)))
        if (work := classes * sum(layer.W.size for layer in network.layers)) > self._work:
            raise ValueError(f"a timestep of one sample takes {work / 1e9:.1f} G multiply-adds, too many for the file")

    def _take(self, what: str, n_bytes: int) -> None:
        self._left -= n_bytes
        if self._left < 0:
            raise ValueError(f"{what} is larger than the file bears out")

    def _dataset(self, name: str) -> Any:
        dataset = self._at(name, "Dataset")
        plist = dataset.id.get_create_plist()
        filters = {plist.get_filter(i)[0] for i in range(plist.get_nfilters())}
        if dataset.is_virtual or dataset.external or not filters <= FILTERS:
            raise ValueError(f"{name!r} must stand in the file, plain or compressed by deflate")
        if (stored := dataset.id.get_storage_size()) > self._n_bytes:
            raise ValueError(f"{name!r} claims {stored} bytes of a file of {self._n_bytes}")
        if dataset.chunks is not None:
            size = math.prod(dataset.chunks) * dataset.dtype.itemsize
            count = math.prod(-(-n // part) for n, part in zip(dataset.shape, dataset.chunks, strict=True))
            if count > self._chunks or size > max(CHUNK_BYTES, dataset.size * dataset.dtype.itemsize):
                raise ValueError(f"{name!r} must stand in few chunks, of few bytes, got {count} of {size} bytes")
        return dataset

    def _at(self, name: str, kind: str) -> Any:
        """Return an item, every part of whose path is a plain link."""
        at = self._file
        for part in name.split("/"):
            link = at.get(part, getlink=True) if type(at).__name__ in ("Group", "File") else None
            if type(link).__name__ != "HardLink":
                raise ValueError(f"{name!r} is missing")
            at = at[part]
        if type(at).__name__ != kind:
            raise ValueError(f"{name!r} must be a {kind.lower()}")
        return at


def _network(reader: _Reader) -> SpikingNetwork:
    if "metadata" not in reader.names("node") or KEY not in reader.names("node/metadata"):
        raise ValueError("it lacks ffedge's metadata")
    about = parse(reader.text(f"node/metadata/{KEY}"))
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        raise ValueError(f"it has format {about.get('format') if isinstance(about, dict) else None}, not {FORMAT}")
    if set(about) != FIELDS or about["dt"] != STEP_S or not isinstance(about["layers"], list):
        raise ValueError(f"its metadata must have just the fields {', '.join(sorted(FIELDS))}, and a dt of {STEP_S:g}")
    names = ["input"]
    for layer in about["layers"]:
        if not isinstance(layer, dict) or set(layer) != LAYER_FIELDS:
            raise ValueError(f"a layer must have just the fields {', '.join(sorted(LAYER_FIELDS))}")
        names += [layer["affine"], layer["neuron"]]
    names.append("output")
    if not all(isinstance(name, str) and name and "/" not in name for name in names) or len(set(names)) < len(names):
        raise ValueError("its nodes must have names that differ")
    if set(names) != reader.names("node/nodes"):
        raise ValueError("its nodes must be those that its metadata name")
    edges = set(itertools.pairwise(names))
    for edge in reader.pairs("node/edges"):
        if edge not in edges:
            raise ValueError("its edges must make a chain of its nodes")
        edges.remove(edge)
    if edges:
        raise ValueError("its edges must make a chain of its nodes")
    for name, kind in (("input", "Input"), ("output", "Output")):
        if reader.text(f"node/nodes/{name}/type") != kind:
            raise ValueError(f"node {name!r} must be {kind}")
    network = SpikingNetwork(
        layers=tuple(_layer(reader, layer) for layer in about["layers"]),
        facts=InputFacts.from_dict(about["input"]),
        label_mode=about["label_mode"],
        timesteps=about["timesteps"],
        reset=about["reset"],
        data=about["data"],
        version=about["version"],
    )
    reader.check_cost(network)
    return network


def _layer(reader: _Reader, about: dict[str, Any]) -> SpikingLayer:
    affine, neuron = (f"node/nodes/{about[name]}" for name in ("affine", "neuron"))
    kind = reader.text(f"{neuron}/type")
    if reader.text(f"{affine}/type") != "Affine" or kind not in NEURONS:
        raise ValueError(f"nodes must be Affine and IF or LIF, got {reader.text(f'{affine}/type')} and {kind}")
    W, b = reader.numbers(f"{affine}/weight", 2), reader.numbers(f"{affine}/bias", 1)
    names = NEURONS[kind] | ({"v_reset"} & reader.names(neuron))
    found = {name: reader.same(f"{neuron}/{name}", len(b)) for name in names}
    decay, r = 1.0, found["r"]
    if kind == "LIF":
        tau = reader.same(f"{neuron}/tau", len(b))
        decay, r = decay_of(tau), r * STEP_S / tau
    if found.get("v_reset", 0) != 0 or found.get("v_leak", 0) != 0 or abs(r - 1) > 1e-4:
        raise ValueError(f"neurons must reset and leak to 0, with an input factor of 1, got {found}")
    return SpikingLayer(
        W,
        b,
        found["v_threshold"],
        decay,
        about["units"],
        about["goodness_scale"],
        about["weight"],
    )
