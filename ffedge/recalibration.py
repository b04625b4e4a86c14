"""Chooses anew, without training, what a model counts as known: for another coverage, or on other rows."""

import json
import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ffedge.calibration import Calibration, best_and_margin, calibrate
from ffedge.data import Batches, Dataset, load
from ffedge.errors import DataError, ModelError
from ffedge.evaluation import predicted
from ffedge.files import atomic_file
from ffedge.model_file import GRAPH_INITIALIZER, KEY, MODEL_GRAPH, MODEL_METADATA, NAME, RAW_DATA, VALUE
from ffedge.pages import BLOCK_BYTES
from ffedge.runtime import Predictor
from ffedge.training.loop import split_rows
from ffedge.wire import BYTES, field, read_varint

Buffer = bytes | mmap.mmap
Floats = NDArray[np.floating[Any]]
ENTRY, BIAS = b"ffedge.known", b"known.bias"


class Part(NamedTuple):
    """A field of a message: where it begins, where its content begins, and where both end."""

    number: int
    start: int
    content: int
    stop: int


def recalibrate(
    model: Path,
    data: str | Path | Dataset | Batches,
    coverage: float = 0.95,
    out: Path | None = None,
    *,
    data_dir: Path | None = None,
    threads: int = 0,
) -> Calibration:
    """Write a model whose known answers are the share `coverage` of rows that it has not learnt from.

    Parameters
    ----------
    data : what the model was trained on, of which its held-out rows serve, or other data, whose train split serves.
    coverage : above 0, up to 1.
    out : the file to write; None replaces the model, atomically.
    data_dir : where known data sets are looked for first.

    Raises
    ------
    ModelError
        The model cannot be used, or is older than the output ``known``.
    DataError
        The data cannot be used, or the model has learnt from all of their rows.
    ValueError
        The coverage is outside its range.
    """
    predictor = Predictor(model, threads)
    dataset = data if isinstance(data, Dataset) else load(data, data_dir)
    calibration = calibrate(*unseen_scores(predictor, dataset), coverage)
    out = out or model
    with atomic_file(out) as temporary:
        try:
            write_calibration(model, temporary, calibration)
        except ValueError as error:
            raise ModelError(f"{model}: {error}. Export it anew from its run folder") from error
    return calibration


def unseen_scores(predictor: Predictor, dataset: Dataset) -> tuple[Floats, Floats]:
    """Return the best score and the margin [N] of each row that a model has not learnt from.

    Raises
    ------
    DataError
        There are none, or the data have another shape than the model.
    """
    split, about = dataset.train, predictor.metadata.get("data")
    rows = np.arange(len(split.labels))
    if isinstance(about, dict) and about.get("sha256") == dataset.sha256:
        rows = split_rows(len(rows), predictor.recipe)[0]
    if not len(rows):
        raise DataError(f"{dataset.name}: the model has learnt from all of its rows. Pass other data")
    parts = [best_and_margin(answers.scores) for _, answers in predicted(predictor, split, rows)]
    scores, margins = (np.concatenate(values) for values in zip(*parts, strict=True))
    return scores, margins


def write_calibration(source: Path, target: Path, calibration: Calibration) -> None:
    """Copy a model file with another calibration in it, block by block; nothing else changes.

    Raises
    ------
    ValueError
        The model has no output ``known``.
    OSError
        The disk is full or the folder cannot be written.
    """
    with source.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as message:
        graph = next(part for part in _parts(message, 0, len(message)) if part.number == MODEL_GRAPH)
        bias, new = _data_of(message, graph), calibration.bias().tobytes()
        if bias is None or bias.stop - bias.content != len(new):
            raise ValueError("has no output known")
        with target.open("wb") as out:
            for part in _parts(message, 0, len(message)):
                if part == graph:
                    _copy(message, part.start, bias.content, out)
                    out.write(new)
                    _copy(message, bias.stop, part.stop, out)
                elif part.number != MODEL_METADATA or _text(message, part, KEY) != ENTRY:
                    _copy(message, part.start, part.stop, out)
            text = json.dumps(calibration.to_dict()).encode()
            out.write(field(MODEL_METADATA, field(KEY, ENTRY) + field(VALUE, text)))


def _data_of(message: Buffer, graph: Part) -> Part | None:
    """Return where the data of the graph's ``known.bias`` stand."""
    for tensor in _parts(message, graph.content, graph.stop):
        if tensor.number == GRAPH_INITIALIZER and _text(message, tensor, NAME) == BIAS:
            return next((p for p in _parts(message, tensor.content, tensor.stop) if p.number == RAW_DATA), None)
    return None


def _text(message: Buffer, part: Part, number: int) -> bytes:
    found = next((p for p in _parts(message, part.content, part.stop) if p.number == number), None)
    return message[found.content : found.stop] if found else b""


def _parts(message: Buffer, start: int, stop: int) -> Iterator[Part]:
    while start < stop:
        tag, at = read_varint(message, start)
        length, content = read_varint(message, at)  # a number's value, or the length of what follows
        end = content + length if tag & 7 == BYTES else content
        yield Part(tag >> 3, start, content, end)
        start = end


def _copy(message: Buffer, start: int, stop: int, out: IO[bytes]) -> None:
    for at in range(start, stop, BLOCK_BYTES):
        out.write(message[at : min(stop, at + BLOCK_BYTES)])
