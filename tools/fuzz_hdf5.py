"""Damage that an HDF5 file can take, whatever it is for: items, types, shapes, values, links, storage, bytes."""

import functools
import random
import zlib
from collections.abc import Callable
from typing import Any

import h5py
import numpy as np
from fuzz_bytes import NUMBERS, TEXTS

Change = Callable[[Any, random.Random], None]
BOMB_VALUES = (1 << 20, 1 << 22, 15 << 20, 1 << 24, 1 << 26, 1 << 28, 1 << 40)
OUTSIDE = ("/etc/passwd", "../good/data.npz", "a.nir", "/dev/zero", "none", "\x1b[2J")


def damaged(data: bytes, rng: random.Random) -> tuple[bytes, str]:
    """Change bytes where HDF5 keeps its structures, or splice."""
    out, way = bytearray(data), rng.randrange(8)
    if way == 0:
        return out[: rng.randrange(len(out))] + out[rng.randrange(len(out)) :], "bytes: spliced"
    if way == 1:
        return bytes(rng.choice((512, 1024, 100, 1))) + data, "bytes: a block before the file"
    with h5py.File.in_memory(data) as file:
        places = [h5py.h5o.get_info(file.id, name.encode()).addr for name in names_of(file)]
    for signature in (b"TREE", b"SNOD", b"HEAP", b"GCOL", b"OHDR", b"FRHP", b"FHDB", b"BTHD", b"BTLF"):
        at = data.find(signature)
        while at >= 0:
            places.append(at)
            at = data.find(signature, at + 4)
    for _ in range(rng.choice((1, 1, 2, 5))):
        at, width = rng.choice(places) + rng.randrange(200), rng.choice((1, 1, 2, 4, 8))
        value = rng.choice((*NUMBERS, *places, rng.randrange(256), rng.randrange(len(data))))
        out[at : at + width] = (value % 256**width).to_bytes(width, "little")
    return bytes(out), "bytes: structures"


def names_of(file: Any) -> list[str]:
    """Return the names of all groups and arrays."""
    found: list[str] = []
    file.visit(found.append)
    return [name for name in found if isinstance(name, str)]


def arrays_of(file: Any) -> list[str]:
    """Return the names of the arrays of numbers."""
    return [name for name in names_of(file) if isinstance(file[name], h5py.Dataset) and file[name].dtype.kind == "f"]


def texts_of(file: Any) -> list[str]:
    """Return the names of the arrays of texts."""
    return [name for name in names_of(file) if isinstance(file[name], h5py.Dataset) and file[name].dtype.kind == "O"]


def put(file: Any, name: str, value: Any = None, **how: Any) -> Any:
    """Put a value or a link in a name's place, or a new data set, which is returned."""
    if file.get(name, getlink=True):
        del file[name]
    if value is None:
        return file.create_dataset(name, **how)
    file[name] = value
    return None


def _create(file: Any, name: str, kind: Any, space: Any, how: Any) -> None:
    """Put a data set in a name's place that h5py's own functions do not make, without the time of day."""
    del file[name]
    how.set_obj_track_times(False)
    h5py.h5d.create(file.id, name.encode(), kind, space, how)


def _lost(file: Any, rng: random.Random) -> None:
    for _ in range(rng.choice((1, 1, 3))):
        if names := names_of(file):
            del file[rng.choice(names)]


def _more(file: Any, rng: random.Random) -> None:
    group = rng.choice(["", *(name for name in names_of(file) if isinstance(file[name], h5py.Group))])
    names = [rng.choice(TEXTS).replace("\0", "0").encode("utf-8", "surrogatepass") or b"x" for _ in range(3)]
    names = rng.choice((names, [b"extra"], [b"v_reset"], [str(i).encode() for i in range(rng.choice((200, 5000)))]))
    for name in set(names):
        place = file.require_group(group) if group else file
        at = group.encode() + b"/" + name.strip(b"/.") + b"_"
        if len(names) > 10 or rng.randrange(2):
            file.create_group(at)
        else:
            place.file[at] = rng.choice((1.0, "IF", np.zeros(8, "f4"), np.ones(8)))


def _types(file: Any, rng: random.Random) -> None:
    name = rng.choice(arrays_of(file) + texts_of(file))
    shape = file[name].shape
    strange: list[Any] = [h5py.ref_dtype, h5py.regionref_dtype, h5py.string_dtype(), h5py.vlen_dtype("i4")]
    strange += [h5py.string_dtype(length=9), h5py.enum_dtype({"a": 1}), h5py.opaque_dtype("M8[s]"), "?", "f2", "f8"]
    strange += ["f16", ">f4", "c8", "i1", "u8", ">i8", "V8", "S5", [("a", "f4"), ("b", "i2")], ("f4", (2, 3)), "V70000"]
    strange += [h5py.vlen_dtype(h5py.string_dtype()), [("a", h5py.ref_dtype)]]
    made = put(file, name, shape=shape, dtype=np.dtype(rng.choice(strange)))
    if h5py.check_ref_dtype(made.dtype) is h5py.Reference and rng.randrange(2):
        made[...] = np.full(shape, file["node"].ref, h5py.ref_dtype)


def _odd_float(file: Any, rng: random.Random) -> None:
    """Make numbers of a type of HDF5's own."""
    name = rng.choice(arrays_of(file))
    kind, space = h5py.h5t.IEEE_F64LE.copy(), h5py.h5s.create_simple(file[name].shape)
    kind.set_fields(*rng.choice(((31, 23, 8, 0, 23), (62, 52, 10, 0, 52), (30, 0, 30, 0, 0), (63, 1, 62, 0, 1))))
    if rng.randrange(2):
        kind.set_ebias(rng.choice((0, 1, 2**31, 2**60)))
    _create(file, name, kind, space, h5py.h5p.create(h5py.h5p.DATASET_CREATE))


def _shapes(file: Any, rng: random.Random) -> None:
    for _ in range(rng.choice((1, 1, 2))):
        name = rng.choice(arrays_of(file) + texts_of(file))
        shape, dtype = file[name].shape or (), file[name].dtype
        many: Any = [(), (0,), (1,), (0, *shape), (*shape, 1), shape[::-1], shape[1:], (1,) * 32, (*shape[:-1], 0)]
        shape = rng.choice((*many, (*shape[:-1], shape[-1] + 1) if shape else (2,), None))
        put(file, name, h5py.Empty(dtype)) if shape is None else put(file, name, shape=shape, dtype=dtype)


def _values(file: Any, rng: random.Random) -> None:
    for _ in range(rng.choice((1, 1, 3))):
        name = rng.choice(arrays_of(file))
        extremes = [np.nan, np.inf, -np.inf, 3e38, -3e38, 1e-45, 0.0, -1.0, 1e20, 2.0]
        dtype, value = rng.choice((("f4", extremes), ("f4", extremes), ("f8", [1e308, *extremes]), ("u8", [2**64 - 1])))
        with np.errstate(invalid="ignore"):
            array = file[name][()].astype(dtype)
        if rng.randrange(2) or not array.size:
            array[...] = rng.choice(value)
        else:
            array.flat[rng.randrange(array.size)] = rng.choice(value)
        put(file, name, array)


def _bomb(file: Any, rng: random.Random) -> None:
    """Claim a great many values, which a small file bears out by compression or by a fill value."""
    name = rng.choice(arrays_of(file) + texts_of(file))
    axes, values = max(1, len(file[name].shape or ())), rng.choice(BOMB_VALUES)
    first = rng.choice((1, values, 1 << 10))
    shape = (values,) if axes == 1 else (first, max(1, values // first))
    dtype = rng.choice(("f4", "f4", "f8", "u1", "S1", h5py.string_dtype()))
    how: dict[str, Any] = {"fillvalue": 1.0} if dtype in ("f4", "f8") and rng.randrange(2) else {}
    if isinstance(dtype, str) and rng.randrange(4):
        how |= rng.choice(({"compression": "gzip"}, {"compression": "lzf"}, {"shuffle": True}, {"fletcher32": True}))
        how["chunks"] = tuple(min(n, 1 << rng.choice((4, 12))) for n in shape)
    put(file, name, shape=shape, dtype=dtype, **how)


@functools.cache
def _deflated_zeros(size: int) -> bytes:
    return zlib.compress(bytes(size), 1)


def _chunk(file: Any, rng: random.Random) -> None:
    """Make an array of few values in a chunk of many: HDF5 unpacks the whole."""
    name, values = rng.choice(arrays_of(file)), rng.choice((1 << 20, 1 << 24, 1 << 26))
    shape = file[name].shape
    chunks = (max(values, *shape),) if len(shape) == 1 else (shape[0], max(shape[1], values // shape[0]))
    made = put(file, name, shape=shape, maxshape=(None,) * len(shape), chunks=chunks, dtype="f4", compression="gzip")
    if rng.randrange(4):
        made.id.write_direct_chunk((0,) * len(shape), _deflated_zeros(4 * int(np.prod(chunks))))


def _foreign_filter(file: Any, rng: random.Random) -> None:
    name = rng.choice(arrays_of(file))
    how = rng.choice(({"compression": "lzf"}, {"scaleoffset": 3}, {"fletcher32": True, "shuffle": True}))
    made = put(file, name, shape=file[name].shape, dtype="f4", chunks=True, **how)
    made[...] = 0.5


def _links(file: Any, rng: random.Random) -> None:
    name, way = rng.choice(names_of(file)), rng.randrange(7)
    other = rng.choice([n for n in names_of(file) if not n.startswith(name)])
    if way == 0:
        target: Any = h5py.SoftLink(rng.choice(("/", f"/{name}", f"/{other}", ".", "..", "/none", "x" * 5000)))
    elif way == 1:
        target = h5py.ExternalLink(rng.choice(OUTSIDE), rng.choice(("/", "/x_train", f"/{name}", "\x1b")))
    elif way in (2, 3):
        target = file[other]
    elif way == 4:  # a cycle of groups
        target = file["node"]
    elif way == 5:
        target = np.dtype("f4")  # a named type
    else:
        target = h5py.SoftLink(f"/{name}2")
        file[f"{name}2"] = h5py.SoftLink(f"/{name}")
    put(file, name, target)


def _elsewhere(file: Any, rng: random.Random) -> None:
    """Keep an array's values in another file."""
    name = rng.choice(arrays_of(file))
    shape = file[name].shape
    if rng.randrange(2):
        size = 4 * int(np.prod(shape))
        pieces = rng.choice(([(0, size)], [(2**40, size)], [(0, size // 2 or 1), (0, size)]))
        put(file, name, shape=shape, dtype="f4", external=[(rng.choice(OUTSIDE), *piece) for piece in pieces])
        return
    how, space = h5py.h5p.create(h5py.h5p.DATASET_CREATE), h5py.h5s.create_simple(shape)
    source = rng.choice((*OUTSIDE, ".")), rng.choice((name, "x_train"))
    how.set_virtual(space, *(part.encode() for part in source), space)
    how.set_fill_value(np.array(rng.choice((0.0, np.nan)), "f4"))
    _create(file, name, h5py.h5t.IEEE_F32LE, space, how)


def _huge_text(file: Any, rng: random.Random) -> None:
    """Claim a string of fixed length, of which nothing is in the file."""
    name = rng.choice(texts_of(file))
    kind = h5py.h5t.C_S1.copy()
    kind.set_size(rng.choice((1 << 16, 1 << 23, 1 << 26, 1 << 28, (1 << 31) - 1)))
    shape = rng.choice(((), (), file[name].shape))
    space = h5py.h5s.create(h5py.h5s.SCALAR) if shape == () else h5py.h5s.create_simple(shape)
    how = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    how.set_alloc_time(h5py.h5d.ALLOC_TIME_LATE)
    _create(file, name, kind, space, how)


CHANGES: list[tuple[str, Change]] = [
    ("items lost", _lost),
    ("items more", _more),
    ("array types", _types),
    ("array types of floats", _odd_float),
    ("array shapes", _shapes),
    ("array values", _values),
    ("bomb", _bomb),
    ("chunk of many", _chunk),
    ("filters", _foreign_filter),
    ("links", _links),
    ("arrays elsewhere", _elsewhere),
    ("text of a huge type", _huge_text),
]
