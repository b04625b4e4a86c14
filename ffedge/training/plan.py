"""What training will need in memory, part by part, and how a budget is kept: chunk, tile, and the moments' place.

The gradient is the same whatever the plan: a batch may be accumulated in chunks, W is updated in tiles, and moments
may stand in a file. What is planned is the process's resident peak, pages of libraries included.
"""

import dataclasses
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ffedge.errors import FfedgeError
from ffedge.network import InputFacts, without_budget
from ffedge.spec import TUNED_CHUNK, Spec, TrainSpec
from ffedge.training.footprint import MIB, Lines, disk_bytes, footprint, total

TILES = tuple(2**n for n in range(20, 14, -1))


@dataclass(frozen=True)
class Plan:
    """What was chosen, what it takes, and what cannot be gone below.

    Attributes
    ----------
    parts : bytes of each part of the planned peak.
    anonymous_bytes : the share of the peak that no file backs, which a kernel cannot take back.
    floor_bytes : the least peak of any plan.
    disk_bytes : room that moments in a file and kept activities take on the disk, beside checkpoints.
    """

    budget_bytes: int | None
    peak_bytes: int
    anonymous_bytes: int
    floor_bytes: int
    disk_bytes: int
    chunk_size: int
    tile_bytes: int
    moments: str
    threads: int
    parts: dict[str, int]
    reasons: list[str]

    def to_dict(self) -> dict[str, Any]:
        """Return the plan as plain values."""
        return dataclasses.asdict(self)


def make_plan(spec: Spec, facts: InputFacts, live: Lines, held_bytes: int, rows: int) -> tuple[Spec, Plan]:
    """Choose what the budget allows at the best speed.

    Parameters
    ----------
    live : what each graph takes while it runs (`ffedge.training.graphs.Graphs`).
    held_bytes : anonymous memory of the process before training: interpreter, imports, labels.
    rows : to train on.

    Raises
    ------
    FfedgeError
        The budget is below the least that training needs.
    """
    train, budget = spec.train, spec.train.memory_budget
    batch = train.batch_size if isinstance(train.batch_size, int) else rows
    given = (
        train if budget != "none" else dataclasses.replace(train, chunk_size="auto", tile_bytes="auto", moments="auto")
    )
    choices = sorted(_choices(given, batch), key=lambda choice: _slowness(choice, batch))
    planned = [(choice, footprint(spec, facts, live, held_bytes, choice, batch)) for choice in choices]
    least = min((parts for _, parts in planned), key=total)
    if budget == "none":
        chosen = without_budget(train)
        parts = footprint(spec, facts, live, held_bytes, chosen, batch)
    else:
        fitting = [(choice, parts) for choice, parts in planned if total(parts) <= budget]
        if not fitting:
            raise FfedgeError(_refusal(spec, int(budget), least))
        chosen, parts = fitting[0]
    plan = Plan(
        budget_bytes=None if budget == "none" else int(budget),
        peak_bytes=total(parts),
        anonymous_bytes=total(parts) - parts["library code"] - parts["a finished layer"],
        floor_bytes=total(least),
        disk_bytes=disk_bytes(spec, facts, chosen, rows),
        chunk_size=chosen.chunk_rows,
        tile_bytes=int(chosen.tile_bytes),
        moments=chosen.moments,
        threads=chosen.thread_count,
        parts=parts,
        reasons=_reasons(chosen, batch, len(spec.network.widths)),
    )
    return dataclasses.replace(spec, train=chosen), plan


def _choices(train: TrainSpec, batch: int) -> Iterator[TrainSpec]:
    """Yield every way to train; what the user has fixed stays."""
    most = min(batch, TUNED_CHUNK)
    halves = [most >> n for n in range(most.bit_length())]
    chunks = halves if train.chunk_size == "auto" else [train.chunk_size]
    tiles = TILES if train.tile_bytes == "auto" else [train.tile_bytes]
    places = ("memory", "file") if train.moments == "auto" else (train.moments,)
    threads = (train.thread_count, 1) if train.threads == 0 and train.thread_count > 1 else (train.threads,)
    for moments, count, chunk, tile in itertools.product(places, threads, chunks, tiles):
        changes: dict[str, Any] = {"chunk_size": chunk, "tile_bytes": tile, "moments": moments, "threads": count}
        yield dataclasses.replace(train, **changes)


def _slowness(choice: TrainSpec, batch: int) -> float:
    """Rank the choices: how many times longer a step takes, roughly (bench/budget.py measures it)."""
    chunks = -(-batch // choice.chunk_rows)
    tile = 1.0 + 0.02 * (TILES[0] / int(choice.tile_bytes) - 1)
    threads = 1.0 if choice.thread_count > 1 else 1.4
    return float((1.0 + 0.12 * (chunks - 1)) * tile * threads * (1.6 if choice.moments == "file" else 1.0))


def _reasons(chosen: TrainSpec, batch: int, layers: int) -> list[str]:
    """Say in words what the plan costs."""
    chunk, where = chosen.chunk_rows, "in memory" if chosen.moments == "memory" else "in a file, which is slower"
    whole = f"a batch of {batch} at once"
    cut = f"a batch of {batch} in chunks of {chunk}, slower with the same gradient"
    return [
        f"{whole if chunk >= batch else cut}; moments {where}",
        f"weights are updated {int(chosen.tile_bytes) // 1024} KiB at a time",
        *_depth(chosen, layers),
    ]


def _depth(chosen: TrainSpec, layers: int) -> list[str]:
    """Say what depth costs: a greedy layer's batch runs through all layers below it, or is read from the disk."""
    if chosen.schedule != "greedy" or layers < 3:
        return []
    if chosen.cache != "none":
        return ["activities of finished layers are kept on disk: each layer costs about the same"]
    passes = (layers + 1) / 2
    return [f"each batch runs through the layers below too, {passes:.1f} in the mean; --cache activations spares that"]


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
    needs = f"this network needs at least {total(least) / MIB:.1f} MiB ({parts})"
    return f"--memory-budget {budget / MIB:.1f}MiB: {needs}. {advice}"
