"""What training will need in memory, part by part, and how a budget is kept: chunk, tile, and the moments' place.

The gradient is the same whatever the plan: a batch may be accumulated in chunks, W is updated in tiles, and moments
may stand in a file. What is planned is the process's resident peak, pages of libraries included. Shape letters: N
samples of a chunk, M labels tried for each, R rows, D inputs of a layer, H units, C classes.
"""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ffedge.errors import FfedgeError
from ffedge.network import InputFacts, LayerShape, layer_shapes, trained, without_budget
from ffedge.runtime.kernels import KernelKey
from ffedge.spec import ITEM_BYTES, MOMENTS, Spec, TrainSpec
from ffedge.training.graphs import needed_kernels
from ffedge.training.step import evaluation_rows

MIB = 2**20
LIBRARY_BYTES = 26 * MIB  # code of Python, numpy and onnxruntime that training touches; a file backs it
SESSION_BYTES = 250_000  # a loaded graph
THREAD_BYTES = 500_000  # a thread's stack and packing buffers
WORK_BYTES = 3 * MIB  # the interpreter's own: records, graphs' bytes, blocks that are read and written
CUTS = 2.0  # pieces of the arena that nothing fits into
TILES = tuple(2**n for n in range(20, 14, -1))
Lines = dict[KernelKey, list[list[int]]]


@dataclass(frozen=True)
class Plan:
    """What was chosen, what it takes, and what cannot be gone below.

    Attributes
    ----------
    parts : bytes of each part of the planned peak.
    anonymous_bytes : the share of the peak that no file backs, which a kernel cannot take back.
    floor_bytes : the least peak of any plan.
    """

    budget_bytes: int | None
    peak_bytes: int
    anonymous_bytes: int
    floor_bytes: int
    chunk_size: int
    tile_bytes: int
    moments: str
    threads: int
    parts: dict[str, int]
    reasons: list[str]

    def to_dict(self) -> dict[str, Any]:
        """Return the plan as plain values."""
        return dataclasses.asdict(self)


def make_plan(spec: Spec, facts: InputFacts, live: Lines, held_bytes: int, batch: int) -> tuple[Spec, Plan]:
    """Choose what the budget allows at the best speed.

    Parameters
    ----------
    live : what each graph takes while it runs (`ffedge.training.graphs.Graphs`).
    held_bytes : anonymous memory of the process before training: interpreter, imports, labels.
    batch : samples of a batch.

    Raises
    ------
    FfedgeError
        The budget is below the least that training needs.
    """
    train, budget = spec.train, spec.train.memory_budget
    if budget == "none":
        choices = [without_budget(train)]
    else:
        choices = sorted(_choices(train, batch), key=lambda choice: _slowness(choice, batch))
    planned = [(choice, _parts(spec, facts, live, held_bytes, choice, batch)) for choice in choices]
    least = min((parts for _, parts in planned), key=_total)
    fitting = [(c, p) for c, p in planned if budget == "none" or _total(p) <= budget]
    if not fitting:
        raise FfedgeError(_refusal(spec, int(budget), least))
    chosen, parts = fitting[0]
    plan = Plan(
        budget_bytes=None if budget == "none" else int(budget),
        peak_bytes=_total(parts),
        anonymous_bytes=_total(parts) - parts["library code"] - parts["a finished layer"],
        floor_bytes=_total(least),
        chunk_size=chosen.chunk_rows,
        tile_bytes=int(chosen.tile_bytes),
        moments=chosen.moments,
        threads=chosen.thread_count,
        parts=parts,
        reasons=_reasons(chosen, batch),
    )
    return dataclasses.replace(spec, train=chosen), plan


def _choices(train: TrainSpec, batch: int) -> Iterator[TrainSpec]:
    """Yield every way to train; what the user has fixed stays."""
    halves = [max(1, batch >> n) for n in range(12) if n == 0 or batch >> n]
    chunks = halves if train.chunk_size == "auto" else [train.chunk_size]
    tiles = TILES if train.tile_bytes == "auto" else [train.tile_bytes]
    for moments in ("memory", "file") if train.moments == "auto" else (train.moments,):
        for chunk in chunks:
            for tile in tiles:
                changes: dict[str, Any] = {"chunk_size": chunk, "tile_bytes": tile, "moments": moments}
                yield dataclasses.replace(train, **changes)


def _slowness(choice: TrainSpec, batch: int) -> float:
    """Rank the choices: how many times longer a step takes, roughly (bench/budget.py measures it)."""
    chunks = -(-batch // choice.chunk_rows)
    tile = 1.0 + 0.02 * (TILES[0] / int(choice.tile_bytes) - 1)
    return float((1.0 + 0.12 * (chunks - 1)) * tile * (1.6 if choice.moments == "file" else 1.0))


def _reasons(chosen: TrainSpec, batch: int) -> list[str]:
    """Say in words what the plan costs."""
    chunk, where = chosen.chunk_rows, "in memory" if chosen.moments == "memory" else "in a file, which is slower"
    whole = f"a batch of {batch} at once"
    cut = f"a batch of {batch} in chunks of {chunk}, slower with the same gradient"
    return [
        f"{whole if chunk >= batch else cut}; moments {where}",
        f"weights are updated {int(chosen.tile_bytes) // 1024} KiB at a time",
    ]


def _parts(
    spec: Spec, facts: InputFacts, live: Lines, held_bytes: int, choice: TrainSpec, batch: int
) -> dict[str, int]:
    """Return the bytes of each part of the peak under a choice."""
    shapes = layer_shapes(spec, facts)
    n, chunked = min(choice.chunk_rows, batch), choice.chunk_rows < batch
    state = max(sum(_state(spec, shapes[i], choice, chunked) for i in stage) for stage in _stages(spec))
    return {
        "interpreter, imports and labels": held_bytes,
        "library code": LIBRARY_BYTES,
        "graphs and threads": _sessions(spec, facts, choice) * SESSION_BYTES
        + choice.thread_count * THREAD_BYTES
        + WORK_BYTES,
        "weights, moments and sums": state,
        "a finished layer": _finished(spec, shapes),
        "a chunk's rows": _rows(spec, facts, shapes, n, choice),
        "a step's temporaries": int(CUTS * _temporaries(spec, shapes, live, n, choice)),
    }


def _sessions(spec: Spec, facts: InputFacts, choice: TrainSpec) -> int:
    return len(needed_kernels(dataclasses.replace(spec, train=choice), facts))


def _total(parts: dict[str, int]) -> int:
    return sum(parts.values())


def _stages(spec: Spec) -> list[list[int]]:
    layers = list(range(len(spec.network.widths)))
    return [[i] for i in layers] if spec.train.schedule == "greedy" else [layers]


def _state(spec: Spec, shape: LayerShape, choice: TrainSpec, chunked: bool) -> int:
    """Return the bytes of what a layer has in memory while it learns."""
    total = 0
    for name, dims in trained(spec, shape).items():
        beside = len(MOMENTS[spec.optimizer_of(name)]) + chunked
        on_disk = choice.moments == "file" and name == "W"
        total += _bytes(*dims) * (1 if on_disk else 1 + beside)
    if choice.moments == "file":  # one tile of what stands in a file is in memory too
        total += (len(MOMENTS[choice.optimizer]) + chunked) * min(
            int(choice.tile_bytes), _bytes(*shape.parameters()["W"])
        )
    return total


def _finished(spec: Spec, shapes: tuple[LayerShape, ...]) -> int:
    """Return the bytes of the largest layer that is read from its file beside those that learn."""
    resting = [] if spec.train.schedule == "interleaved" else shapes
    return max((sum(_bytes(*dims) for dims in shape.parameters().values()) for shape in resting), default=0)


def _rows(spec: Spec, facts: InputFacts, shapes: tuple[LayerShape, ...], n: int, choice: TrainSpec) -> int:
    """Return the bytes of the buffers between graphs, and of what numpy makes of a chunk."""
    rows = max(n * (1 + spec.train.wrong_labels), evaluation_rows(spec.train, facts.n_classes, n))
    widest = [max((s.units for s in shapes[start::2]), default=0) for start in (0, 1)]
    tile = max(min(int(choice.tile_bytes) // (ITEM_BYTES * s.units) + 1, s.inputs) for s in shapes)
    first = shapes[0]
    item = 1 if facts.dtype == "uint8" else ITEM_BYTES
    buffers = _bytes(n, first.inputs) + _bytes(n, first.units) + sum(_bytes(rows, w) for w in widest)
    buffers += max(_bytes(n, first.units), _bytes(n * (1 + spec.train.wrong_labels), max(s.units for s in shapes)))
    buffers += _bytes(max(n, rows), tile)
    numpys = 2 * n * facts.size * item + (3 * n * first.inputs if choice.input_dropout else 0)
    numpys += 6 * _bytes(n, len(shapes), facts.n_classes)
    return buffers + numpys


def _temporaries(spec: Spec, shapes: tuple[LayerShape, ...], live: Lines, n: int, choice: TrainSpec) -> int:
    """Return the most bytes that any graph holds while it runs."""
    rows = evaluation_rows(spec.train, shapes[0].classes, n)
    widest: dict[int, int] = {}  # rows of a tile, by units
    for shape in shapes:
        tile = min(int(choice.tile_bytes) // _bytes(shape.units) + 1, shape.inputs)
        widest[shape.units] = max(widest.get(shape.units, 1), tile)
    most = 0
    for key, lines in live.items():
        count = n
        if key.kind == "forward":
            count = max(1, rows // key.shape.classes) if key.flag else max(rows, n * (1 + spec.train.wrong_labels))
        elif key.kind.startswith("tile"):
            count = widest.get(key.shape.units, 1)
        most = max(most, *(start + slope * count for start, slope in lines), 0)
    return most


def _bytes(*dims: int) -> int:
    total = ITEM_BYTES
    for dim in dims:
        total *= dim
    return total


def _refusal(spec: Spec, budget: int, least: dict[str, int]) -> str:
    parts = ", ".join(f"{name} {count / MIB:.1f}" for name, count in least.items())
    grown = {k: v for k, v in least.items() if k not in ("interpreter, imports and labels", "library code")}
    most, greedy = max(grown, key=lambda name: grown[name]), spec.train.schedule == "greedy"
    advice = {
        "graphs and threads": "Use --threads 1 or fewer different widths",
        "weights, moments and sums": "Use narrower layers" + ("" if greedy else ", or --schedule greedy"),
        "a finished layer": "Use narrower layers",
        "a chunk's rows": "Use fewer inputs, classes or wrong labels",
        "a step's temporaries": "Use narrower layers or fewer classes",
    }[most]
    needs = f"this network needs at least {_total(least) / MIB:.1f} MiB ({parts})"
    return f"memory_budget {budget / MIB:.1f} MiB: {needs}. {advice}"
