"""Hostile files: small valid files of each kind, made by ffedge itself, and what an enemy or a bad disk makes of them.

`Valid` makes the valid ones once; `hostile` draws one mutated case. The same generator state gives the same bytes.
"""

import contextlib
import functools
import gzip
import hashlib
import io
import json
import pickle
import random
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from fuzz_bytes import NUMBERS, TEXTS, bad_json, mutated

import ffedge

KINDS = ("idx", "npy", "npz", "safetensors", "model", "report", "image", "nir")
BOMB_BYTES = 1 << 26
CLASSES = 3


@dataclass(frozen=True)
class Case:
    """A folder's files by name, the one to open, and what was done to it."""

    files: dict[str, bytes]
    main: str
    mutation: str


class Payload:
    """An object whose pickle writes a file where it is loaded: the proof that code was run."""

    def __init__(self, marker: Path) -> None:
        self._marker = str(marker)

    def __reduce__(self) -> tuple[Any, ...]:
        """Ask the reader of the pickle to open the marker for writing."""
        return open, (self._marker, "w")


class Valid:
    """Small valid files: a data set in each form, pictures, a model, a report, a checkpoint."""

    def __init__(self, folder: Path, marker: Path) -> None:
        rng = np.random.default_rng(0)
        labels = np.arange(60) % CLASSES
        images = rng.integers(0, 60, (60, 6, 6)).astype(np.uint8)
        images[:, 0] = 0
        images[np.arange(60), labels + 2] += 150
        self.images, self.labels = images, labels.astype(np.uint8)
        self.payload = pickle.dumps(Payload(marker))
        self.objects = np.array([Payload(marker)] * 3, object)
        self.data = folder / "data.npz"
        np.savez(self.data, x_train=images, y_train=self.labels, x_test=images[:9], y_test=self.labels[:9])
        spec = ffedge.Spec.make(widths=(8, 6), epochs=1, batch_size=16, threads=1)
        self.run = ffedge.train(spec, self.data, folder / "run").path
        self.model = (self.run / "model.onnx").read_bytes()
        self.report = (self.run / "report.json").read_text()
        self.stopped, batches = folder / "stopped", iter(range(100))
        spec = ffedge.Spec.make(widths=(8, 6), epochs=2, batch_size=16, threads=1)
        with contextlib.suppress(ffedge.FfedgeError):  # within the second layer
            ffedge.train(spec, self.data, self.stopped, stop=lambda: next(batches) == 9)
        self.checkpoint = {path.name: path.read_bytes() for path in (self.stopped / "checkpoint").iterdir()}
        self.metrics = (self.stopped / "metrics.jsonl").read_bytes()


def hostile(kind: str, valid: Valid, rng: random.Random) -> Case:
    """Draw a case of one kind."""
    return _MAKERS[kind](valid, rng)


def _idx(array: np.ndarray[Any, Any]) -> bytes:
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


@functools.cache
def _gzip_bomb(head: bytes, size: int = BOMB_BYTES) -> bytes:
    """Pack a header and many zeros."""
    packer = zlib.compressobj(6, zlib.DEFLATED, 31)
    parts = [packer.compress(head)]
    while size > 0:
        parts.append(packer.compress(bytes(min(size, 1 << 20))))
        size -= 1 << 20
    return b"".join([*parts, packer.flush()])


def _idx_case(valid: Valid, rng: random.Random) -> Case:
    names = ["train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"]
    arrays = (valid.images, valid.labels, valid.images[:9], valid.labels[:9])
    contents = [_idx(array) for array in arrays]
    chosen = rng.choice((0, 0, 1, 2, 3))
    way = rng.randrange(8)
    if way < 3:
        contents[chosen], mutation = mutated(contents[chosen], rng)
    elif way == 3:
        axes = rng.choice((1, 2, 3, 4, 33, 65, 255))
        shape = [rng.choice((1, 1, 1, *NUMBERS)) % 2**32 for _ in range(axes)]
        code = rng.choice((8, 9, 11, 12, 13, 14, 0, 10, 255))
        contents[chosen] = struct.pack(f">HBB{axes}I", 0, code, axes, *shape) + rng.randbytes(rng.choice((0, 60, 400)))
        mutation = "header of extremes"
    elif way == 4:
        n = rng.choice((BOMB_BYTES, BOMB_BYTES // 4, 2**31))
        shape = (n,) if chosen % 2 else rng.choice(((n, 1), (1, n), (2, n // 2), (60, n // 60, 1)))
        head = struct.pack(f">HBB{len(shape)}I", 0, 8, len(shape), *shape)
        contents[chosen], mutation = _gzip_bomb(head), "gzip bomb"
    elif way == 5:  # labels and inputs that agree, of a great many rows
        n = rng.choice((2**21, 2**22, 2**23, 2**26))
        for at, shape in ((0, (n, 1)), (1, (n,))):
            contents[at] = _gzip_bomb(struct.pack(f">HBB{len(shape)}I", 0, 8, len(shape), *shape) + b"\1", n - 1)
        contents, mutation = contents[:2], "gzip bombs that agree"
    else:
        packed = gzip.compress(contents[chosen], mtime=0)
        if way == 6:
            contents[chosen], mutation = mutated(packed, rng)
        else:
            extra = rng.choice((packed, b"\x1f\x8b", b"rubbish", b"\0" * 100))
            contents[chosen], mutation = packed + extra, "gzip with more behind it"
    return Case(dict(zip(names, contents, strict=False)), names[0], mutation)


def _npy(array: np.ndarray[Any, Any]) -> bytes:
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


def _npy_header(text: str, version: int = 1, body: bytes = b"", claimed: int | None = None) -> bytes:
    head = text.encode("latin1", "replace") + b"\n"
    size = struct.pack("<H" if version == 1 else "<I", min(len(head) if claimed is None else claimed, 65535))
    return b"\x93NUMPY" + bytes([version, 0]) + size + head + body


_SHAPES = ["(60, 6, 6)", "(-1,)", "(60,)", f"({2**63}, 1)", f"(1, {2**31})", f"({10**30},)", "(1.5, 2)", "(True, 6)"]
_SHAPES += ["()", "[60]", "60", "None", "'x'", "(0, 6)", str((1,) * 70), f"({'9' * 5000},)"]
_SHAPES += ["(" * 90, "(" * 300 + ")" * 300]
_DESCRIPTIONS = ["'|u1'", "'|O'", "'<f8'", "'<U1000000000'", "'<U50'", "'|V8'", "'|S9'", "[('a', '|O')]", "'<m8[s]'"]
_DESCRIPTIONS += ["'>f2'", "'<f16'", "'<c8'", "5", "[]", "['|u1']", "('|u1', (2, 2))", "'|u1|u1'", "'|V2147483647'"]
_DESCRIPTIONS += ["'<M8[Y]'", "'\x00'"]


def _bad_npy(valid: Valid, array: np.ndarray[Any, Any], rng: random.Random) -> tuple[bytes, str]:
    way = rng.randrange(7)
    whole = _npy(array)
    if way < 3:
        return mutated(whole, rng)
    if way == 3:
        body = rng.choice(
            (_npy(valid.objects), _npy_header("{'descr': '|O', 'fortran_order': False, 'shape': (3,), }"))
        )
        return rng.choice((body, valid.payload, body + valid.payload)), "pickle"
    shape, descr = rng.choice(_SHAPES), rng.choice(_DESCRIPTIONS)
    fortran = rng.choice(("False", "False", "False", "True", "0", "'no'"))
    text = f"{{'descr': {descr}, 'fortran_order': {fortran}, 'shape': {shape}, }}"
    text = rng.choice(
        (text, text, text, text + " " * 20_000, text[:-3], "{" * 500, "__import__('os')", "1+" * 3000 + "1")
    )
    claimed = rng.choice((None, None, None, 0, 65535))
    body = rng.choice((array.tobytes(), b"", rng.randbytes(480)))
    return _npy_header(text, rng.choice((1, 1, 2, 3)), body, claimed), "npy header of extremes"


def _npy_case(valid: Valid, rng: random.Random) -> Case:
    labels = rng.choice((valid.labels, np.array(["cat", "dog", "ship"])[valid.labels], valid.labels.astype(np.float64)))
    inputs = rng.choice((valid.images, valid.images.astype(np.float32), valid.images.astype(">f8")))
    files = {"x_train.npy": _npy(inputs), "y_train.npy": _npy(labels)}
    if rng.randrange(2):
        files |= {"x_test.npy": _npy(inputs[:9]), "y_test.npy": _npy(labels[:9])}
    chosen = rng.choice(list(files))
    if rng.randrange(8) == 0:
        texts = np.array([rng.choice(TEXTS), "b", "c"])
        files["y_train.npy"], mutation = _npy(texts[valid.labels]), "labels of strange text"
    else:
        files[chosen], mutation = _bad_npy(valid, inputs if chosen[0] == "x" else labels, rng)
    return Case(files, "x_train.npy", mutation)


def _zip(members: list[tuple[str, bytes]], method: int) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return out.getvalue()


@functools.cache
def _npz_bomb(n: int, input_shape: tuple[int, ...]) -> bytes:
    """Pack arrays of n zeros that agree with each other."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, shape in (("x", input_shape), ("y", (n,))):
            head = _npy_header(f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}")
            with archive.open(f"{name}.npy", "w") as member:
                member.write(head + b"\1")
                member.write(bytes(n - 1))
    return out.getvalue()


def _npz_case(valid: Valid, rng: random.Random) -> Case:
    arrays = {"x_train": valid.images, "y_train": valid.labels, "x_test": valid.images[:9], "y_test": valid.labels[:9]}
    members = [(f"{name}.npy", _npy(array)) for name, array in arrays.items()]
    method = rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
    chosen, way = rng.randrange(4), rng.randrange(40)
    name, mutation = members[chosen][0], ""
    if way < 12:
        data, mutation = mutated(_zip(members, method), rng)
        return Case({"d.npz": data}, "d.npz", mutation)
    if way < 24:
        bad, mutation = _bad_npy(valid, list(arrays.values())[chosen], rng)
        members[chosen] = (name, bad)
    elif way < 28:
        outside = rng.choice(("../../outside.npy", "/outside.npy", "..\\outside.npy", "a/../../../x.npy", "C:x.npy"))
        members = [(outside, members[0][1]), *members[rng.randrange(2) :]]
        mutation = "zip names that lead outside"
    elif way < 32:
        names = [rng.choice(("x.npy", "a\nb.npy", ".npy", "\x1b[2J.npy", "é" * 9000 + ".npy", "x")) for _ in range(5)]
        members = [*((n, members[0][1]) for n in names), *rng.choice(([], members))]
        mutation = "zip names that are strange"
    elif way < 35:
        members = [*members, (name, rng.choice((b"", _npy(valid.objects), members[0][1])))]
        mutation = "zip names twice"
    elif way < 36:
        method, mutation = rng.choice((zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)), "zip of another method"
    elif way < 37:
        members, mutation = [(f"{i}.npy", b"") for i in range(20_000)], "zip of many members"
    elif way < 38:
        n = rng.choice((2**21, 2**22, 2**23, BOMB_BYTES))
        return Case({"d.npz": _npz_bomb(n, rng.choice(((n, 1), (n // 64, 64), (2, n // 2))))}, "d.npz", "zip bomb")
    else:
        data = bytearray(_zip(members, method))
        for signature, fields in ((b"PK\1\2", (8, 10, 16, 20, 24, 28, 30, 42)), (b"PK\3\4", (6, 8, 14, 18, 22, 26))):
            at = data.find(signature) + rng.choice(fields)
            width = rng.choice((2, 4))
            data[at : at + width] = (rng.choice(NUMBERS) % 256**width).to_bytes(width, "little")
        return Case({"d.npz": bytes(data)}, "d.npz", "zip fields of extremes")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zipfile's remark on names that occur twice
        return Case({"d.npz": _zip(members, method)}, "d.npz", mutation)


def _safetensors_case(valid: Valid, rng: random.Random) -> Case:
    files, metrics, way = dict(valid.checkpoint), valid.metrics, rng.randrange(10)
    generation = max(name for name in files if name[0].isdigit())
    if rng.randrange(5):  # else there is an older generation to fall back to
        files = {name: data for name, data in files.items() if name == generation or not name[0].isdigit()}
    chosen = rng.choice((generation, generation, *files))
    whole = files[chosen]
    size = struct.unpack("<Q", whole[:8])[0]
    header, body = json.loads(whole[8 : 8 + size]), whole[8 + size :]
    texts, tensors = header["__metadata__"], [name for name in header if name != "__metadata__"]
    if way < 2:
        files[chosen], mutation = mutated(whole, rng)
    elif way == 2:
        claimed = rng.choice([*NUMBERS, size - 1, size + 1, 100_000_000, 99_999_999])
        files[chosen], mutation = struct.pack("<Q", claimed) + whole[8:], "header length lies"
    elif way == 3:
        text = bad_json(header, rng).encode("utf-8", "surrogatepass")
        files[chosen], mutation = struct.pack("<Q", len(text)) + text + body, "header JSON"
    elif way == 4 and tensors:
        tensor, other = rng.choice(tensors), rng.choice(_TENSOR_NAMES)
        header = {other if key == tensor else key: value for key, value in header.items()}
        files[chosen], mutation = _signed(header, body), "tensor names"
    elif way in (5, 6) and tensors:
        entry = header[rng.choice(tensors)]
        shape = entry["shape"]
        if way == 5:
            entry["shape"] = rng.choice((shape[::-1], [*shape, 1], [1, *shape], [4, *shape][1:], [-1], [0]))
            if rng.randrange(3) == 0:
                del header[rng.choice([*tensors, "__metadata__"])]
        else:
            entry["dtype"] = rng.choice(("F16", "BF16", "F64", "I64", "U8", "O", "", None))
            entry["shape"] = rng.choice(([2**40], [2**63, 2], [1.5], "x", None, shape))
            entry["data_offsets"] = rng.choice(
                ([0, 4], [-4, 0], [2**63, 2**63], [4, 0], [], "x", entry["data_offsets"])
            )
        files[chosen], mutation = _signed(header, body), "tensor types and shapes"
    elif way == 7:
        metrics, mutation = _bad_metrics(metrics, rng)
    else:
        key = rng.choice([name for name in texts if name != "sha256"] or ["sha256"])
        texts[key] = bad_json(json.loads(texts[key]), rng) if key != "sha256" else rng.choice(TEXTS)
        files[chosen], mutation = _signed(header, body), f"metadata {key}"
    return Case({f"checkpoint/{n}": data for n, data in files.items()} | {"metrics.jsonl": metrics}, ".", mutation)


_TENSOR_NAMES = [
    "layers.1000000000.W",
    "layers.-1.W",
    "layers.x.W",
    "W",
    "layers.0.",
    "layers.63.W",
    "layers.0.W",
    "V",
    "b",
]


def _signed(header: dict[str, Any], body: bytes) -> bytes:
    """Write a checkpoint's file with the checksum of what it holds, as an enemy would."""
    if isinstance(header.get("__metadata__"), dict) and "sha256" in header["__metadata__"]:
        header["__metadata__"]["sha256"] = "0" * 64
    text = json.dumps(header, separators=(",", ":")).encode()
    whole = struct.pack("<Q", len(text)) + text + body
    return whole.replace(b"0" * 64, hashlib.sha256(whole).hexdigest().encode(), 1)


def _bad_metrics(metrics: bytes, rng: random.Random) -> tuple[bytes, str]:
    if rng.randrange(2):
        data, mutation = mutated(metrics, rng)
        return data, f"metrics {mutation}"
    lines = metrics.decode().splitlines()
    at = rng.randrange(len(lines))
    lines[at] = bad_json(json.loads(lines[at]), rng)
    return ("\n".join(lines) + "\n").encode("utf-8", "surrogatepass"), "metrics JSON"


def _report_case(valid: Valid, rng: random.Random) -> Case:
    if rng.randrange(4):
        text, mutation = bad_json(json.loads(valid.report), rng), "JSON"
        return Case({"report.json": text.encode("utf-8", "surrogatepass")}, "report.json", mutation)
    data, mutation = mutated(valid.report.encode(), rng)
    return Case({"report.json": data}, "report.json", mutation)


@functools.cache
def _many_pixels(mode: str, side: int, kind: str) -> bytes:
    """Make a small file of a large picture."""
    from PIL import Image

    allowed = ("L", "RGB", "CMYK") if "JPEG" in kind else ("L", "RGB", "RGBA", "LA", "P", "I;16")
    picture, out = Image.new(mode if mode in allowed else "RGB", (side, side)), io.BytesIO()
    if "JPEG" in kind:
        picture.save(out, "JPEG", progressive=kind != "JPEG")
    else:
        picture.save(out, "PNG", compress_level=1)
    return out.getvalue()


def _image_case(valid: Valid, rng: random.Random) -> Case:
    from PIL import Image

    mode = rng.choice(("L", "RGB", "RGBA", "LA", "P", "1", "I;16", "CMYK"))
    kind = rng.choice(("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM"))
    out, picture, way = io.BytesIO(), Image.fromarray(valid.images[0]), rng.randrange(12)
    if way == 0:
        side, kind = rng.choice((3000, 3540, 6000, 9500)), rng.choice(("PNG", "JPEG", "progressive JPEG"))
        return Case({"a.png": _many_pixels(mode, side, kind)}, "a.png", "many pixels")
    try:
        picture.convert(mode).save(out, kind)
    except (OSError, ValueError):  # a format without that mode
        picture.save(out, kind)
    data = out.getvalue()
    if way == 2:
        script = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 6 6\n%%EndComments\n(outside) (w) file closefile\n"
        return Case({"a.png": script + b"showpage\n%%EOF\n"}, "a.png", "PostScript")
    data, mutation = mutated(data, rng)
    if way == 3 and kind == "PNG" and len(data) > 33:  # the sum is mended, so that the header is believed
        data = data[:29] + struct.pack(">I", zlib.crc32(data[12:29])) + data[33:]
        mutation = "PNG header with its sum mended"
    return Case({"a.png": data}, "a.png", mutation)


def _model_case(valid: Valid, rng: random.Random) -> Case:
    import fuzz_models

    data, mutation = fuzz_models.hostile_model(valid.model, rng)
    return Case({"model.onnx": data}, "model.onnx", mutation)


def _nir_case(valid: Valid, rng: random.Random) -> Case:
    import fuzz_nir

    data, mutation = fuzz_nir.hostile_nir(fuzz_nir.valid_files(valid.data), rng)
    return Case({"a.nir": data}, "a.nir", mutation)


_MAKERS: dict[str, Callable[[Valid, random.Random], Case]] = {
    "idx": _idx_case,
    "npy": _npy_case,
    "npz": _npz_case,
    "safetensors": _safetensors_case,
    "model": _model_case,
    "report": _report_case,
    "image": _image_case,
    "nir": _nir_case,
}
