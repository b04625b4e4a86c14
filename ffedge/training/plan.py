"""What training will need in memory, part by part, and how a budget is kept: chunk, tile, and the moments' place.

The gradient is the same whatever the plan: a batch may be accumulated in chunks, W is updated in tiles, and moments
may stand in a file. What is planned is the process's resident peak, pages of libraries included.
"""

import dataclasses
import itertools
from collections.abc import Container, Iterator
from dataclasses import dataclass
from typing import Any

from ffedge.errors import FfedgeError
from ffedge.network import InputFacts
from ffedge.recipe import Recipe, Train
from ffedge.resolve import TUNED_CHUNK
from ffedge.spec import Spec
from ffedge.training.footprint import MIB, Lines, disk_bytes, footprint, thread_count, total

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


def make_plan(
    spec: Spec, recipe: Recipe, facts: InputFacts, live: Lines, held_bytes: int, rows: int
) -> tuple[Recipe, Plan]:
    """Choose what the budget allows at the best speed.

    Parameters
    ----------
    spec : what was asked: the plan chooses what it leaves open.
    recipe : what is fastest.
    live : what each graph takes while it runs (`ffedge.training.graphs.Graphs`).
    held_bytes : anonymous memory of the process before training: interpreter, imports, labels.
    rows : to train on.

    Raises
    ------
    FfedgeError
        The budget is below the least that training needs.
    """
    train, budget, batch = recipe.train, recipe.train.memory_budget, recipe.train.batch_size
    free = {*spec.left_open("plan"), *(() if budget is not None else ("chunk_size", "tile_bytes", "moments"))}
    choices = sorted(_choices(train, free), key=lambda choice: _slowness(choice, batch))
    planned = [(choice, footprint(recipe, facts, live, held_bytes, choice, batch)) for choice in choices]
    least = min((parts for _, parts in planned), key=total)
    if budget is None:
        chosen, parts = train, footprint(recipe, facts, live, held_bytes, train, batch)
    else:
        fitting = [(choice, parts) for choice, parts in planned if total(parts) <= budget]
        if not fitting:
            raise FfedgeError(_refusal(recipe, budget, least))
        chosen, parts = fitting[0]
    plan = Plan(
        budget_bytes=budget,
        peak_bytes=total(parts),
        anonymous_bytes=total(parts) - parts["library code"] - parts["a finished layer"],
        floor_bytes=total(least),
        disk_bytes=disk_bytes(recipe, facts, chosen, rows),
        chunk_size=chosen.chunk_size,
        tile_bytes=chosen.tile_bytes,
        moments=chosen.moments,
        threads=thread_count(chosen),
        parts=parts,
        reasons=_reasons(chosen, batch, len(recipe.network.widths)),
    )
    return dataclasses.replace(recipe, train=chosen), plan


def _choices(train: Train, free: Container[str]) -> Iterator[Train]:
    """Yield every way to train; what is not free stays."""
    most, cores = min(train.batch_size, TUNED_CHUNK), thread_count(train)
    chunks = [most >> n for n in range(most.bit_length())] if "chunk_size" in free else [train.chunk_size]
    tiles = TILES if "tile_bytes" in free else (train.tile_bytes,)
    places = ("memory", "file") if "moments" in free else (train.moments,)
    threads = (cores, 1) if "threads" in free and cores > 1 else (train.threads,)
    for moments, count, chunk, tile in itertools.product(places, threads, chunks, tiles):
        changes: dict[str, Any] = {"chunk_size": chunk, "tile_bytes": tile, "moments": moments, "threads": count}
        yield dataclasses.replace(train, **changes)


def _slowness(choice: Train, batch: int) -> float:
    """Rank the choices: how many times longer a step takes, roughly (bench/budget.py measures it)."""
    chunks = -(-batch // choice.chunk_size)
    tile = 1.0 + 0.02 * (TILES[0] / choice.tile_bytes - 1)
    threads = 1.0 if thread_count(choice) > 1 else 1.4
    return float((1.0 + 0.12 * (chunks - 1)) * tile * threads * (1.6 if choice.moments == "file" else 1.0))


def _reasons(chosen: Train, batch: int, layers: int) -> list[str]:
    """Say in words what the plan costs."""
    chunk, where = chosen.chunk_size, "in memory" if chosen.moments == "memory" else "in a file, which is slower"
    whole = f"a batch of {batch} at once"
    cut = f"a batch of {batch} in chunks of {chunk}, slower with the same gradient"
    return [
        f"{whole if chunk >= batch else cut}; moments {where}",
        f"weights are updated {chosen.tile_bytes // 1024} KiB at a time",
        *_depth(chosen, layers),
    ]


def _depth(chosen: Train, layers: int) -> list[str]:
    """Say what depth costs: a greedy layer's batch runs through all layers below it, or is read from the disk."""
    if chosen.schedule != "greedy" or layers < 3:
        return []
    if chosen.cache != "none":
        return ["activities of finished layers are kept on disk: each layer costs about the same"]
    passes = (layers + 1) / 2
    return [f"each batch runs through the layers below too, {passes:.1f} in the mean; --cache activations spares that"]


def _refusal(recipe: Recipe, budget: int, least: dict[str, int]) -> str:
    parts = ", ".join(f"{name} {count / MIB:.1f}" for name, count in least.items())
    grown = {k: v for k, v in least.items() if k not in ("interpreter, imports and labels", "library code")}
    most, greedy = max(grown, key=lambda name: grown[name]), recipe.train.schedule == "greedy"
    advice = {
        "graphs and threads": "Use --threads 1 or fewer different widths",
        "weights, moments and sums": "Use narrower layers" + ("" if greedy else ", or --schedule greedy"),
        "a finished layer": "Use narrower layers",
        "a chunk's rows": "Use fewer inputs, classes or wrong labels",
        "a step's temporaries": "Use narrower layers or fewer classes",
    }[most]
    needs = f"this network needs at least {total(least) / MIB:.1f} MiB ({parts})"
    return f"--memory-budget {budget / MIB:.1f}MiB: {needs}. {advice}"
