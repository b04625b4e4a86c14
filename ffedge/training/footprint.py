"""How much memory a training takes, part by part: the process's resident peak, pages of libraries included.

Shape letters: N samples of a chunk, M labels tried for each, R rows, D inputs of a layer, H units, C classes.
"""

import dataclasses
import os

from ffedge.network import InputFacts, LayerShape, layer_shapes, trained
from ffedge.recipe import Recipe, Train
from ffedge.runtime.kernels import KernelKey
from ffedge.spec import ITEM_BYTES, MOMENTS
from ffedge.training.activations import cache_bytes
from ffedge.training.graphs import needed_kernels
from ffedge.training.step import evaluation_rows

MIB = 2**20
LIBRARY_BYTES = 30 * MIB  # code of Python, numpy and onnxruntime that training touches; a file backs it
SESSION_BYTES = 250_000  # a loaded graph
THREAD_BYTES = 500_000  # a thread's stack and packing buffers
WORK_BYTES = 3 * MIB  # the interpreter's own: records, graphs' bytes, blocks that are read and written
CUTS = 2.0  # pieces of the arena that nothing fits into
Lines = dict[KernelKey, list[list[int]]]


def footprint(
    recipe: Recipe, facts: InputFacts, live: Lines, held_bytes: int, choice: Train, batch: int
) -> dict[str, int]:
    """Return the bytes of each part of the peak.

    Parameters
    ----------
    live : what each graph takes while it runs (`ffedge.training.graphs.Graphs`).
    held_bytes : anonymous memory of the process before training: interpreter, imports, labels.
    choice : how to train, with nothing left open.
    batch : samples of a batch.
    """
    shapes = layer_shapes(recipe, facts)
    n, chunked = min(choice.chunk_size, batch), choice.chunk_size < batch
    state = max(sum(_state(recipe, shapes[i], choice, chunked) for i in stage) for stage in _stages(recipe))
    return {
        "interpreter, imports and labels": held_bytes,
        "library code": LIBRARY_BYTES,
        "graphs and threads": _sessions(recipe, facts, choice) * SESSION_BYTES
        + thread_count(choice) * THREAD_BYTES
        + WORK_BYTES,
        "weights, moments and sums": state,
        "a finished layer": _finished(recipe, shapes),
        "a chunk's rows": _rows(recipe, facts, shapes, n, choice),
        "a step's temporaries": int(CUTS * _temporaries(recipe, shapes, live, n, choice)),
    }


def thread_count(train: Train) -> int:
    """Return the threads of the onnx engine."""
    return train.threads or os.cpu_count() or 1


def _sessions(recipe: Recipe, facts: InputFacts, choice: Train) -> int:
    return len(needed_kernels(dataclasses.replace(recipe, train=choice), facts))


def total(parts: dict[str, int]) -> int:
    """Return the bytes of all parts."""
    return sum(parts.values())


def _stages(recipe: Recipe) -> list[list[int]]:
    layers = list(range(len(recipe.network.widths)))
    return [[i] for i in layers] if recipe.train.schedule == "greedy" else [layers]


def _state(recipe: Recipe, shape: LayerShape, choice: Train, chunked: bool) -> int:
    """Return the bytes of what a layer has in memory while it learns."""
    total = 0
    for name, dims in trained(recipe, shape).items():
        beside = len(MOMENTS[recipe.optimizer_of(name)]) + chunked
        on_disk = choice.moments == "file" and name == "W"
        total += _bytes(*dims) * (1 if on_disk else 1 + beside)
    if choice.moments == "file":  # one tile of what stands in a file is in memory too
        total += (len(MOMENTS[choice.optimizer]) + chunked) * min(choice.tile_bytes, _bytes(*shape.parameters()["W"]))
    return total


def _finished(recipe: Recipe, shapes: tuple[LayerShape, ...]) -> int:
    """Return the bytes of the largest layer that is read from its file beside those that learn."""
    resting = [] if recipe.train.schedule == "interleaved" else shapes
    return max((sum(_bytes(*dims) for dims in shape.parameters().values()) for shape in resting), default=0)


def _rows(recipe: Recipe, facts: InputFacts, shapes: tuple[LayerShape, ...], n: int, choice: Train) -> int:
    """Return the bytes of the buffers between graphs, and of what numpy makes of a chunk."""
    rows = max(n * (1 + recipe.train.n_negatives), evaluation_rows(recipe.train, facts.n_classes, n))
    widest = [max((s.units for s in shapes[start::2]), default=0) for start in (0, 1)]
    tile = max(min(choice.tile_bytes // (ITEM_BYTES * s.units) + 1, s.inputs) for s in shapes)
    first = shapes[0]
    item = 1 if facts.dtype == "uint8" else ITEM_BYTES
    buffers = _bytes(n, first.inputs) + _bytes(n, first.units) + sum(_bytes(rows, w) for w in widest)
    buffers += max(_bytes(n, first.units), _bytes(n * (1 + recipe.train.n_negatives), max(s.units for s in shapes)))
    buffers += _bytes(max(n, rows), tile)
    numpys = 2 * n * facts.size * item + (3 * n * first.inputs if choice.input_dropout else 0)
    numpys += 6 * _bytes(n, len(shapes), facts.n_classes)
    if choice.cache != "none":  # a chunk's rows as they come from the disk, and as the engine takes them
        numpys += 2 * _bytes(rows, max(s.units for s in shapes))
    return buffers + numpys


def _temporaries(recipe: Recipe, shapes: tuple[LayerShape, ...], live: Lines, n: int, choice: Train) -> int:
    """Return the most bytes that any graph holds while it runs."""
    rows = evaluation_rows(recipe.train, shapes[0].classes, n)
    widest: dict[int, int] = {}  # rows of a tile, by units
    for shape in shapes:
        tile = min(choice.tile_bytes // _bytes(shape.units) + 1, shape.inputs)
        widest[shape.units] = max(widest.get(shape.units, 1), tile)
    most = 0
    for key, lines in live.items():
        count = n
        if key.forward:
            count = max(1, rows // key.shape.classes) if key.flag else max(rows, n * (1 + recipe.train.n_negatives))
        elif key.kind.startswith("tile"):
            count = widest.get(key.shape.units, 1)
        most = max(most, *(start + slope * count for start, slope in lines), 0)
    return most


def disk_bytes(recipe: Recipe, facts: InputFacts, choice: Train, rows: int) -> int:
    """Return the room on disk, beside checkpoints, of moments in a file and of the activities of some rows."""
    kept = cache_bytes(recipe, rows, facts.n_classes) if choice.cache != "none" else 0
    widest = max(_bytes(shape.inputs, shape.units) for shape in layer_shapes(recipe, facts))
    return kept + (widest * len(MOMENTS[choice.optimizer]) if choice.moments == "file" else 0)


def _bytes(*dims: int) -> int:
    total = ITEM_BYTES
    for dim in dims:
        total *= dim
    return total
