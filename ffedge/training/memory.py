"""What training takes in memory, part by part, and how a budget is kept: chunk, tile, threads and the moments' place.

The gradient is the same whatever the plan: a batch may be accumulated in chunks, W is updated in tiles, and moments may
stand in a file. What is planned is the process's resident peak, pages of libraries included. What the engine takes is
asked of the engine (`ffedge.engine.needs`); what is counted here is the process's and the loop's own.

Shape letters: N samples of a chunk, M labels tried for each, D inputs of a layer, H units, C classes, L layers.
"""

import dataclasses
import functools
import itertools
import math
import os
from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ffedge.engine.needs import needs
from ffedge.engine.onnx import ITEM_BYTES
from ffedge.errors import FfedgeError
from ffedge.network import InputFacts, layers_of, trained
from ffedge.recipe import Recipe, Train, convolves
from ffedge.resolve import TUNED_CHUNK
from ffedge.rule.optimizer import MOMENTS
from ffedge.spec import Spec
from ffedge.training.layer_cache import cache_bytes
from ffedge.training.step import evaluated_samples, tried_samples

MIB = 2**20
LIBRARY_BYTES = 30 * MIB  # code of Python, numpy and onnxruntime that training touches; a file backs it
GRAPH_BYTES = 250_000  # a loaded graph
THREAD_BYTES = 500_000  # a thread's packing buffers
POOL_BYTES = 110_000  # a thread of a loaded graph, that has run: every graph has a pool of its own
WORK_BYTES = 3 * MIB  # the interpreter's own: records, graphs' bytes, blocks that are read and written
CUTS = 2.0  # pieces of the arena that nothing fits into
TILES = tuple(2**n for n in range(20, 14, -1))
Parts = dict[str, int]


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


def make_plan(spec: Spec, recipe: Recipe, facts: InputFacts, process_bytes: int, rows: int) -> tuple[Recipe, Plan]:
    """Choose what the budget allows at the best speed.

    Parameters
    ----------
    spec : what was asked: the plan chooses what it leaves open.
    recipe : what is fastest.
    process_bytes : anonymous memory of the process before training: interpreter, imports, labels.
    rows : to train on.

    Raises
    ------
    FfedgeError
        The budget is below the least that training needs.
    """
    train, budget = recipe.train, recipe.train.memory_budget
    free = {*spec.left_open("plan"), *(() if budget is not None else ("chunk_size", "tile_bytes", "moments"))}
    if recipe.compares_samples:  # its statistics are a chunk's: no budget may change what is learnt
        free.discard("chunk_size")

    ask = functools.cache(needs)

    def parts_of(choice: Train) -> Parts:
        return footprint(dataclasses.replace(recipe, train=choice), facts, process_bytes, ask)

    def least_of(chunk: int) -> int:
        choices = _choices(dataclasses.replace(train, chunk_size=chunk), free, extremes=True)
        return min(total(parts_of(choice)) for choice in choices)

    least = min((parts_of(choice) for choice in _choices(train, free, extremes=True)), key=total)
    best = train
    if budget is not None:
        choices = sorted(_choices(train, free), key=lambda choice: _slowness(choice, train.batch_size))
        fitting = next((choice for choice in choices if total(parts_of(choice)) <= budget), None)
        if fitting is None:
            halves = [train.chunk_size >> n for n in range(1, train.chunk_size.bit_length())]
            fewer = next((n for n in halves if n > 1 and recipe.compares_samples and least_of(n) <= budget), None)
            raise FfedgeError(_refusal(recipe, budget, least, fewer))
        best = fitting
    parts = parts_of(best)
    plan = Plan(
        budget_bytes=budget,
        peak_bytes=total(parts),
        anonymous_bytes=total(parts) - parts["library code"] - parts["a finished layer"],
        floor_bytes=min(total(least), total(parts)),
        disk_bytes=disk_bytes(recipe, facts, best, rows),
        chunk_size=best.chunk_size,
        tile_bytes=best.tile_bytes,
        moments=best.moments,
        threads=thread_count(best),
        parts=parts,
        reasons=_reasons(best, train.batch_size, recipe),
    )
    return dataclasses.replace(recipe, train=best), plan


def footprint(recipe: Recipe, facts: InputFacts, process_bytes: int, ask: Callable[..., dict[str, int]]) -> Parts:
    """Return the bytes of each part of the peak of a training.

    Parameters
    ----------
    ask : `ffedge.engine.needs.needs`, or what remembers its answers; these are the same for any number of threads.
    """
    network, train, n = recipe.network, recipe.train, min(recipe.train.chunk_size, recipe.train.batch_size)
    at_once = 1 if train.schedule == "greedy" else len(recipe.network.widths)
    evaluated, tried = evaluated_samples(train, facts.n_classes, at_once), tried_samples(recipe, facts.n_classes)
    rows = max(tried * network.rows_a_sample(facts.n_classes), n * network.rows_a_sample(1 + train.n_negatives))
    engine = ask(recipe.with_train(threads=1), facts, train.chunk_size, evaluated, tried, Path())
    graphs, threads = engine["graphs"], thread_count(train)
    return {
        "interpreter, imports and labels": process_bytes,
        "library code": LIBRARY_BYTES,
        "graphs and threads": graphs * (GRAPH_BYTES + (threads - 1) * POOL_BYTES) + threads * THREAD_BYTES + WORK_BYTES,
        "weights, moments and sums": engine["state"],
        "a finished layer": engine["resting"],
        "a chunk's rows": engine["buffers"] + _loop_bytes(recipe, facts, max(n, evaluated), rows),
        "a step's temporaries": int(CUTS * engine["temporaries"]),
    }


def total(parts: Parts) -> int:
    """Return the bytes of all parts."""
    return sum(parts.values())


def thread_count(train: Train) -> int:
    """Return the threads of the onnx engine, counted."""
    return train.threads or os.cpu_count() or 1


def disk_bytes(recipe: Recipe, facts: InputFacts, choice: Train, rows: int) -> int:
    """Return the room on disk, beside checkpoints, of moments in a file and of the activities of some rows."""
    activities = cache_bytes(recipe, facts, rows) if choice.cache != "none" else 0
    if choice.moments != "file":
        return activities
    sizes = [math.prod(dims) for layer in layers_of(recipe, facts) for dims in trained(recipe, layer).values()]
    return activities + ITEM_BYTES * max(sizes) * len(MOMENTS[choice.optimizer])


def _loop_bytes(recipe: Recipe, facts: InputFacts, n: int, rows: int) -> int:
    """Return the bytes of what numpy makes of a chunk of n samples, `rows` rows at once, beside the engine."""
    layers = layers_of(recipe, facts)
    item = np.dtype(facts.dtype).itemsize
    raw = 2 * n * facts.size * item + (3 * n * layers[0].place.inputs if recipe.train.input_dropout else 0)
    goodness = 6 * ITEM_BYTES * n * len(layers) * facts.n_classes
    # a chunk's rows as they come from the disk, and as the engine takes them
    activities = 2 * ITEM_BYTES * rows * max(layer.passes for layer in layers) if recipe.train.cache != "none" else 0
    return raw + goodness + activities


def _choices(train: Train, free: Container[str], *, extremes: bool = False) -> Iterator[Train]:
    """Yield every way to train; what is not free stays. `extremes`: only those of which one takes the least memory."""
    most, cores = min(train.batch_size, TUNED_CHUNK), thread_count(train)
    chunks = [most >> n for n in range(most.bit_length())] if "chunk_size" in free else [train.chunk_size]
    tiles = TILES if "tile_bytes" in free else (train.tile_bytes,)
    places = ["memory", "file"] if "moments" in free else [train.moments]
    threads = (cores, 1) if "threads" in free and cores > 1 else (train.threads,)
    if extremes:  # chunks need sums of gradients beside the moments, so that a whole batch may take less
        chunks, tiles, places, threads = [*{chunks[0], chunks[-1]}], tiles[-1:], places[-1:], threads[-1:]
    for moments, count, chunk, tile in itertools.product(places, threads, chunks, tiles):
        changes: dict[str, Any] = {"chunk_size": chunk, "tile_bytes": tile, "moments": moments, "threads": count}
        yield dataclasses.replace(train, **changes)


def _slowness(choice: Train, batch: int) -> float:
    """Rank the choices: how many times longer a step takes, roughly (bench/budget.py measures it)."""
    chunks = -(-batch // choice.chunk_size)
    tile = 1.0 + 0.02 * (TILES[0] / choice.tile_bytes - 1)
    threads = 1.0 if thread_count(choice) > 1 else 1.4
    return float((1.0 + 0.12 * (chunks - 1)) * tile * threads * (1.6 if choice.moments == "file" else 1.0))


def _reasons(choice: Train, batch: int, recipe: Recipe) -> list[str]:
    """Say in words what the plan costs."""
    layers, chunk, where = (
        len(recipe.network.widths),
        choice.chunk_size,
        "in memory" if choice.moments == "memory" else "in a file, which is slower",
    )
    whole = f"a batch of {batch} at once"
    same = "by whose statistics it learns" if recipe.compares_samples else "slower with the same gradient"
    cut = f"a batch of {batch} in chunks of {chunk}, {same}"
    reasons = [
        f"{whole if chunk >= batch else cut}; moments {where}",
        f"weights are updated {choice.tile_bytes // 1024} KiB at a time",
    ]
    if choice.schedule == "greedy" and layers > 2:  # a batch runs through all layers below, or is read from the disk
        passes = f"{(layers + 1) / 2:.1f} in the mean; `cache='activations'` spares that"
        through = f"each batch runs through the layers below too, {passes}"
        kept = "activities of finished layers are kept on disk: each layer costs about the same"
        reasons.append(through if choice.cache == "none" else kept)
    return reasons


def _refusal(recipe: Recipe, budget: int, least: Parts, fewer: int | None) -> str:
    """Say what the network needs, and what to do: chunks of `fewer` samples would fit, and only the user may ask."""
    parts = ", ".join(f"{name} {count / MIB:.1f}" for name, count in least.items())
    grown = {k: v for k, v in least.items() if k not in ("interpreter, imports and labels", "library code")}
    most, greedy = max(grown, key=lambda name: grown[name]), recipe.train.schedule == "greedy"
    smaller = "smaller pictures" if convolves(recipe.network.widths) else "fewer classes"
    advice = {
        "graphs and threads": "Use `threads=1` or fewer different widths",
        "weights, moments and sums": "Use narrower layers" + ("" if greedy else ", or `schedule='greedy'`"),
        "a finished layer": "Use narrower layers",
        "a chunk's rows": "Use fewer inputs, classes or wrong labels",
        "a step's temporaries": f"Use narrower layers or {smaller}",
    }[most]
    required = f"this network needs at least {total(least) / MIB:.1f} MiB ({parts})"
    if fewer:
        advice = f"Use `chunk_size={fewer}`: a layer then learns by the statistics of {fewer} samples"
    return f"`memory_budget='{budget / MIB:.1f}MiB'`: {required}. {advice}"
