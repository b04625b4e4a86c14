"""Hostile NIR files: valid ones of ffedge with their graph, metadata, arrays or bytes changed, through h5py."""

import functools
import json
import random
from pathlib import Path
from typing import Any

import fuzz_hdf5
import h5py
import numpy as np
from fuzz_bytes import TEXTS, bad_json, mutated
from fuzz_hdf5 import Change, arrays_of, damaged, put, texts_of

import ffedge
from ffedge.spikes.export import export_nir

META, EDGES = "node/metadata/ffedge", "node/edges"
FORMS: dict[str, dict[str, Any]] = {"subtract": {}, "zero": {"reset": "zero"}, "leaky": {"leak": 20}}
KINDS = ("IF", "LIF", "LI", "CubaLIF", "Affine", "Linear", "Conv2d", "Scale", "Delay", "Flatten", "NIRGraph", "Input")


@functools.cache
def valid_files(data: Path) -> tuple[bytes, ...]:
    """Train a small network on a data set, and write it in each form, as h5py does by itself and in HDF5's newest."""
    spec = ffedge.Spec.make(preset="spiking", widths=(8, 6), epochs=1, batch_size=16, threads=1)
    run = ffedge.train(spec, data, data.parent / "spiking").path
    files = []
    for name, form in FORMS.items():
        export_nir(run, path := data.parent / f"{name}.nir", timesteps=16, **form)
        newest = h5py.File.in_memory(libver="latest")
        with h5py.File(path) as file, newest:
            for part in file:
                file.copy(part, newest)
            newest.flush()
            files += [path.read_bytes(), newest.id.get_file_image()]
    return tuple(files)


def hostile_nir(files: tuple[bytes, ...], rng: random.Random) -> tuple[bytes, str]:
    """Return changed bytes and the name of the change."""
    data, way = rng.choice(files), rng.randrange(40)
    if way < 5:
        return mutated(data, rng)
    if way < 10:
        return damaged(data, rng)
    if way == 10:
        return _shared_names(data), "edges of one long name"
    name, change = rng.choice(_CHANGES)
    with h5py.File.in_memory(data) as file:
        change(file, rng)
        file.flush()
        data = file.id.get_file_image()
    if rng.randrange(10) == 0:
        return damaged(data, rng)[0], f"{name}, and bytes"
    return data, name


def _put_text(file: Any, name: str, text: str, rng: random.Random) -> None:
    data = text.encode("utf-8", "surrogatepass")
    if b"\0" in data or not data or rng.randrange(4) == 0:
        put(file, name, np.array(data or b"\0", f"S{max(1, len(data))}"))
    else:
        put(file, name, data)


def _about(file: Any) -> dict[str, Any]:
    about: dict[str, Any] = json.loads(file[META][()])
    return about


def _empty_layer(file: Any, rng: random.Random) -> None:
    """Make a layer of no neurons."""
    layer = rng.randrange(2)
    for name in arrays_of(file):
        if f"/affine{layer}/" in name or f"/neuron{layer}/" in name:
            put(file, name, np.zeros((0, *file[name].shape[1:]), "f4"))


def _agreeing_bomb(file: Any, rng: random.Random) -> None:
    """Make a large network of one value whose parts fit each other."""
    classes, inputs = rng.choice((2, 10, 1000)), rng.choice((1, 784, 3000))
    widths = [rng.choice((1, 1000, 4000, 10_000, 1 << 20, 15 << 20)) for _ in range(2)]
    about, before = _about(file), inputs + classes
    about["input"] |= {"shape": [inputs], "classes": [f"c{i}" for i in range(classes)], "offset": [0.0], "scale": [1.0]}
    about |= {"label_mode": "concat"}
    for i, width in enumerate(widths):
        about["layers"][i]["units"] = rng.choice((1, width))
        for name in arrays_of(file):
            if f"/affine{i}/" in name or f"/neuron{i}/" in name:
                shape = (width, before) if name.endswith("weight") else (width,)
                dtype = rng.choice(("f4", "f4", "f8", "i1"))
                value = 1 if dtype == "i1" else float(file[name][()].flat[0])
                chunks = tuple(min(n, 1024) for n in shape)
                put(file, name, shape=shape, dtype=dtype, fillvalue=value, chunks=chunks, compression="gzip")
        before = width
    put(file, META, json.dumps(about))


def _edges(file: Any, rng: random.Random) -> None:
    edges, way = [[bytes(name) for name in pair] for pair in file[EDGES][()]], rng.randrange(9)
    names = [name for pair in edges for name in pair]
    if way == 0:
        rng.shuffle(edges)
    elif way == 1:
        edges[rng.randrange(len(edges))][rng.randrange(2)] = rng.choice(names)
    elif way == 2:
        edges.append([names[-1], names[0]])
    elif way == 3:
        edges = edges * rng.choice((2, 30, 3000))
    elif way == 4:
        edges[0][0] = rng.choice((b"\xff\xfe", b"x" * 10**6, b"a\nb", b"\x1b[2J", b""))
    elif way == 5:
        edges = [[a, a] for a, _ in edges]
    elif way == 6:
        del edges[rng.randrange(len(edges))]
    elif way == 7:
        put(file, EDGES, np.array(edges, "S16"))
        return
    else:
        put(file, EDGES, np.array([[*pair, b"x"] for pair in edges], object), dtype=h5py.string_dtype())
        return
    put(file, EDGES, shape=(len(edges), 2), dtype=h5py.string_dtype())[...] = edges


def _node_types(file: Any, rng: random.Random) -> None:
    name = rng.choice([name for name in texts_of(file) if name.endswith("/type")])
    if rng.randrange(3):
        _put_text(file, name, rng.choice((*KINDS, *TEXTS)), rng)
    else:
        put(file, name, rng.choice((b"\xff\xfe", 3, 1.5, np.array(["IF", "IF"], object), b"I" * 10**6)))


def _long_text(file: Any, rng: random.Random) -> None:
    text = rng.choice((" ", "\N{GRINNING FACE}", "[", "1")) * rng.choice((10**6, 1 << 21))
    _put_text(file, rng.choice(texts_of(file)[:-1]), text, rng)


def _shared_names(data: bytes) -> bytes:
    """Make 120 edges whose names all are the same long one."""
    with h5py.File.in_memory(data) as file:
        edges = put(file, EDGES, shape=(120, 2), dtype=h5py.string_dtype())
        edges[...] = b"x"
        edges[0, 0] = b"x" * 2_000_000
        file.flush()
        at, size, data = edges.id.get_offset(), 240, file.id.get_file_image()
    return data[:at] + data[at : at + 16] * size + data[at + 16 * size :]  # a text is 16 bytes, which say where it is


def _metadata(file: Any, rng: random.Random) -> None:
    _put_text(file, META, rng.choice((bad_json(_about(file), rng), rng.choice(TEXTS))), rng)


def _fields(file: Any, rng: random.Random) -> None:
    """Change the metadata in ways that JSON allows and the arrays may not bear out."""
    about = _about(file)
    owners = (about, about["input"], about["layers"][-1])
    for _ in range(rng.choice((1, 1, 2))):
        name, values = rng.choice(_FIELDS)
        owner = next(one for one in owners if name in one) if rng.randrange(9) else rng.choice(owners)
        owner[name] = rng.choice(values)
    _put_text(file, META, json.dumps(about), rng)


_NUMBERS: list[Any] = [0, -1, 1, 4096, 4097, 10**9, 10**400, 1e308, 1e-320, float("nan"), float("inf"), True, None, "8"]
_NAMES: list[Any] = ["", "..", ".", "a/b", "input", "affine0", "neuron0", "x\0y", "\ud800", "x" * 10**5, [], None, 3]
_FIELDS: list[tuple[str, list[Any]]] = [
    ("format", [0, 2, True, 1.0, "1", 10**400, [1]]),
    ("timesteps", _NUMBERS),
    ("dt", _NUMBERS),
    ("reset", ["none", "zero", None, [], {}, "subtract\n"]),
    ("label_mode", ["overlay", "concat", None, [], {}]),
    ("data", [*TEXTS, None, 3, "mnist", "x" * 10**6]),
    ("version", [*TEXTS, None]),
    ("layers", [[], {}, None, "ab", [[]] * 9000, [{}] * 9000, 3]),
    ("input", [[], {}, None, "ab", 3]),
    ("affine", _NAMES),
    ("neuron", _NAMES),
    ("units", _NUMBERS),
    ("goodness_scale", _NUMBERS),
    ("weight", _NUMBERS),
    ("shape", [[2**31], [36], [], [1] * 70, [True, 6, 6], [10**400], [6, 6, 1], [2**24], [36, 1], None, "x"]),
    ("classes", [[], ["a"] * 3, ["[/x]", "a", "b"], ["a\nb", "b", "c"], ["\ud800", "b", "c"], ["x" * 10**6, "b", "c"]]),
    ("classes", [[str(i) for i in range(n)] for n in (1, 2, 4, 999, 10**5)]),
    ("dtype", ["float32", ["uint8"], None, "f8"]),
    ("offset", [[], "x", [0.0] * 100_000, [10**400], [[0.0]], [1e308], [0.0] * 36, [-1e38]]),
    ("scale", [[None], [1e999], [], [True], [1e308], [1e38], [0.0] * 36, [1e-320]]),
    ("largest", _NUMBERS),
    ("free_border", [None, 1, False]),
]

_CHANGES: list[tuple[str, Change]] = [
    *fuzz_hdf5.CHANGES,
    ("a layer of nothing", _empty_layer),
    ("bombs that agree", _agreeing_bomb),
    ("edges", _edges),
    ("node types", _node_types),
    ("text of many bytes", _long_text),
    ("metadata", _metadata),
    ("metadata fields", _fields),
]
