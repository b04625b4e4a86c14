"""Small valid files of each kind that ffedge reads, and what must hold whatever becomes of them.

`tools/fuzz.py` damages the same for as long as it is let.
"""

import contextlib
import gzip
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import ffedge
from ffedge.cli.lines import read_lines
from ffedge.cli.stop import Stop
from ffedge.data import read_image, read_inputs
from ffedge.data.images import FORMATS
from ffedge.errors import FfedgeError, TrainingError, one_line
from ffedge.meter import PeakMeter
from ffedge.network import InputFacts
from ffedge.spikes import SpikingPredictor
from ffedge.spikes.export import export_nir
from ffedge.training.folder import StoredRun
from ffedge.training.records import Report

MOST_BYTES = 100 << 20  # that reading a file of some KB may take for a while
LINES = b'[1, 2.5, -3e4, 4, 5, 6]\n[[1, 2, 3], [4, 5, 6]]\n\n{"input": [0, 0, 0, 0, 0, 1e-3], "id": {"a": ["b"]}}\n'


@dataclass(frozen=True)
class Target:
    """Files of a folder by name, the one that is damaged, and what a user does with it."""

    files: dict[str, bytes]
    main: str
    use: Callable[[Path], object]


def targets(folder: Path) -> dict[str, Target]:
    """Train a tiny network, stop another within its second layer; return the files by kind."""
    labels = np.arange(60) % 3
    images = np.random.default_rng(0).integers(0, 60, (60, 6, 6)).astype(np.uint8)
    images[:, 0], images[np.arange(60), labels + 2] = 0, 200
    data = folder / "data.npz"
    np.savez(data, x=images, y=labels)
    spec, batches = ffedge.Spec.make(widths=(8, 6), epochs=2, batch_size=16, threads=1), iter(range(100))
    run = ffedge.train(spec, data, folder / "run").path
    with contextlib.suppress(FfedgeError):
        ffedge.train(spec, data, folder / "stopped", stop=lambda: next(batches) == 11)
    stopped = {str(p.relative_to(folder)): p.read_bytes() for p in (folder / "stopped").rglob("*") if p.is_file()}
    *older, newest = sorted(name for name in stopped if name.rpartition("/")[2].startswith("0"))
    x, y = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
    idx, npy = {x: _idx(images), y: _idx(labels)}, {"x.npy": _npy(images), "y.npy": _npy(labels.astype(str))}
    found = {
        "model": Target({"model.onnx": (run / "model.onnx").read_bytes()}, "model.onnx", _use_model),
        "report": Target({"report.json": (run / "report.json").read_bytes()}, "report.json", Report.read),
        "checkpoint": Target(
            {n: c for n, c in stopped.items() if n not in older}, newest, lambda path: StoredRun.read(path.parents[1])
        ),
        "idx": Target(idx, x, _use_data),
        "idx labels": Target(idx, y, lambda path: _use_data(path.with_name(x))),
        "gz": Target(
            {"x.idx.gz": gzip.compress(_idx(images), mtime=0)}, "x.idx.gz", lambda path: read_inputs(path, (6, 6))
        ),
        "npz": Target({"d.npz": data.read_bytes()}, "d.npz", _use_data),
        "npy": Target(npy, "x.npy", _use_data),
        "npy labels": Target(npy, "y.npy", lambda path: _use_data(path.with_name("x.npy"))),
        "kept": Target(_files(run, "model.onnx", "model.kept.safetensors"), "model.kept.safetensors", _use_kept),
        "lines": Target({"a.jsonl": LINES}, "a.jsonl", _use_lines),
    }
    with contextlib.suppress(ImportError):
        from PIL import Image

        for name in FORMATS:
            Image.fromarray(images[0]).save(folder / f"a.{name.lower()}", name)
            picture = {"a.png": (folder / f"a.{name.lower()}").read_bytes()}
            found[name.lower()] = Target(picture, "a.png", lambda path: read_image(path, (6, 6), resize=True))
    with contextlib.suppress(FfedgeError):  # of packages that are not installed
        spiking = ffedge.Spec.make("spiking", widths=(8, 6), epochs=1, batch_size=16, threads=1)
        export_nir(ffedge.train(spiking, data, folder / "spiking").path, folder / "a.nir", timesteps=9)
        found["nir"] = Target(_files(folder, "a.nir"), "a.nir", _use_nir)
    return found


def hold(target: Target, content: bytes, folder: Path) -> str:
    """Use a damaged file; return ``read``, or the one line that refuses it.

    Raises
    ------
    AssertionError
        The line is none, or does not name the file; or it took much memory. Any other exception is the reader's.
    """
    for name, whole in (target.files | {target.main: content}).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(whole)
    meter = PeakMeter()
    begin, said, named = meter.start(), "read", True
    try:
        target.use(folder / target.main)
    except (FfedgeError, ValueError) as error:
        said = str(error)
        named = str(folder) in said or type(error) is ValueError or isinstance(error, TrainingError)
    assert named, f"does not name the file: {said}"
    assert one_line(said) == said, f"is no line: {said!r}"
    assert (took := meter.peak() - begin) < MOST_BYTES, f"took {took >> 20} MiB"
    return said


def _use_model(path: Path) -> None:
    predictor = ffedge.Predictor(path, threads=1)
    row = np.zeros(predictor.facts.shape, predictor.facts.dtype)
    predictor.predict(np.stack([row] * 3), layers=True)
    learner = ffedge.Learner(path, threads=1, kept_bytes=0, force=True)
    learner.observe(np.stack([row] * 8), np.arange(8) % len(learner.classes))


def _use_kept(path: Path) -> None:
    learner = ffedge.Learner(path.with_name("model.onnx"), threads=1, force=True)
    learner.observe(np.zeros((8, learner.facts.size), learner.facts.dtype), np.arange(8) % len(learner.classes))


def _use_nir(path: Path) -> None:
    predictor = SpikingPredictor(path)
    predictor.predict(np.zeros((2, *predictor.facts.shape), predictor.facts.dtype))


def _use_lines(path: Path) -> None:
    with path.open("rb") as file:
        for line in read_lines(file, InputFacts((2, 3), "float32", ("a", "b")), Stop()):
            assert (line.sample is None) == bool(line.error)
            json.dumps(line.about)


def _files(folder: Path, *names: str) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in names}


def _use_data(path: Path) -> None:
    train = ffedge.load(path).train
    for start in range(0, len(train.inputs), 256):
        train.inputs.take(np.arange(start, min(start + 256, len(train.inputs))))


def _idx(array: "np.ndarray[Any, Any]") -> bytes:
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return bytes([0, 0, 8, array.ndim]) + sizes + array.astype(np.uint8).tobytes()


def _npy(array: "np.ndarray[Any, Any]") -> bytes:
    np.save(file := io.BytesIO(), array)
    return file.getvalue()
