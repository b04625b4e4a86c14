"""What learning from a model file needs before the first step: what is learnt, its memory plan, its engine."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ffedge.engine.needs import needs
from ffedge.engine.onnx import OnnxEngine
from ffedge.errors import FfedgeError, ModelError
from ffedge.fields import options
from ffedge.learning.classes import Start
from ffedge.meter import anonymous_bytes
from ffedge.recipe import Recipe, held_out
from ffedge.resolve import TUNED_CHUNK, resolve
from ffedge.spec import Spec
from ffedge.spec_parts import TrainSpec
from ffedge.training.checkpoint import Checkpoints
from ffedge.training.memory import Plan, make_plan
from ffedge.training.step import tried_samples

SPARE_BYTES = 1 << 29
ROWS = 256  # of a `Learner`'s step, at most, where none are asked for
RATE_SHARE = 0.1
TAKEN = {"batch_size", "class_weight", "memory_budget", "negatives", "seed", "threads", "tile_bytes"}  # by a `Learner`


def learning_spec(start: Start, changes: dict[str, Any], rows: int) -> Spec:
    """Return the spec to learn by: as stored in the model, but for the changes and for what belongs to a machine.

    Parameters
    ----------
    changes : fields that `learn` may change (`ffedge.fields.Option`).
    rows : to learn from, those to be held out included.

    Raises
    ------
    ValueError
        A field may not change, or a value does not fit.
    """
    may = {name for name, option in options(TrainSpec).items() if option.learns}
    if inside := sorted(set(changes) - may):
        raise ValueError(f"{inside[0]} is part of the model's learning step and cannot change. Train anew")
    machine = {name: getattr(TrainSpec, name) for name, option in options(TrainSpec).items() if option.machine}
    spec = start.recipe.as_spec().with_train(**(machine | changes), statistics="stored").check_used(changes)
    left = rows - held_out(rows, spec.train.holdout)
    if left < 1:
        raise ValueError(f"`holdout` leaves none of {rows} rows to learn from. Use a smaller `holdout`")
    if "batch_size" in changes or spec.train.batch_size == "full":
        return spec
    return spec.with_train(batch_size=min(start.recipe.train.batch_size, left))


def fitted(start: Start, spec: Spec, rows: int, kept: int = 0) -> tuple[Recipe, Plan]:
    """Return what is learnt, with the chunk, tile and moments that the memory budget, and the file's own size, allow.

    Parameters
    ----------
    rows : new ones, those to be held out included.
    kept : examples that are learnt again: a full batch takes them too.

    Raises
    ------
    FfedgeError
        The budget is below what learning needs.
    ModelError
        The file asks for steps that are out of proportion.
    """
    recipe = resolve(spec, start.facts, rows)
    if spec.train.batch_size == "full":
        recipe = recipe.with_train(batch_size=recipe.train.batch_size + kept)
    most = min(recipe.train.batch_size, recipe.train.chunk_size)
    chunk = affordable_rows(start, recipe, most)
    if chunk < most:
        spec, recipe = spec.with_train(chunk_size=chunk), recipe.with_train(chunk_size=chunk)
    left = rows - recipe.train.held_out(rows)
    return make_plan(spec, recipe, start.facts, anonymous_bytes(), left)


def affordable_rows(start: Start, recipe: Recipe, most: int) -> int:
    """Return how many rows may go through at once: `most`, or the half of it and so on for a small file's large steps.

    A stranger's file may ask for anything; a step of it takes 512 MiB at most, and 8 bytes for each byte of the file.

    Raises
    ------
    ModelError
        One row takes more.
    """
    classes, rows = start.facts.n_classes, most
    while True:
        cut = recipe.with_train(chunk_size=rows)
        taken = needs(cut, start.facts, rows, rows, tried_samples(cut, classes), Path())
        if taken["buffers"] + taken["temporaries"] <= SPARE_BYTES + 8 * start.n_bytes:
            return rows
        if rows == 1:
            raise ModelError(f"{start.path}: a step of one row takes too much memory. Export the model anew")
        rows //= 2


def stream_recipe(
    start: Start, rate: float | Sequence[float] | None, changes: dict[str, Any], more_bytes: int, *, replays: bool
) -> tuple[Recipe, Plan | None]:
    """Return what a `Learner` learns by, with as many rows of a step as a small file, and the memory budget, allow.

    Parameters
    ----------
    more_bytes : that the learner takes beside its engine.
    replays : whether a step takes kept examples too.
    """
    if idle := sorted(set(changes) - TAKEN):
        raise ValueError(f"a Learner takes {', '.join(sorted(TAKEN))}; {idle[0]!r} plays no part in it. Leave it out")
    if rate is None:
        rate = [RATE_SHARE * stored for stored in start.recipe.train.rate]
    rates = (rate,) if isinstance(rate, int | float) else tuple(rate)
    asked, stored = changes.get("batch_size"), start.recipe.train.batch_size
    if isinstance(asked, int) and asked > TUNED_CHUNK:
        raise ValueError(f"`batch_size` must be at most {TUNED_CHUNK} in a Learner, got {asked}")
    if asked == 1 and replays:
        raise ValueError("`batch_size` must be 2 or more, with room for a kept example. Or use `replay_share=0`")
    size = asked or (max(2, stored) if stored <= TUNED_CHUNK else ROWS)
    fixed = {"rate": rates, "cooldown": "none", "schedule": "interleaved", "holdout": 0.0}
    fixed |= dict.fromkeys(("shift", "mirror", "cutout"), 0)
    spec = learning_spec(start, changes | {"batch_size": size}, 10 * size).with_train(**fixed)
    rows = affordable_rows(start, resolve(spec, start.facts, 10 * size), size)
    while True:
        cut = spec.with_train(batch_size=rows, chunk_size=rows, moments="memory")
        recipe = resolve(cut, start.facts, 10 * size)
        if recipe.train.memory_budget is None:
            return recipe, None
        try:
            return make_plan(cut, recipe, start.facts, anonymous_bytes() + more_bytes, rows)
        except FfedgeError:
            if asked or rows <= 2:
                raise
            rows //= 2


def make_engine(start: Start, recipe: Recipe, folder: Path) -> OnnxEngine:
    """Return the engine with its layers placed: views of files in a folder, so that they take no memory."""
    files = Checkpoints(folder)
    layers = range(len(recipe.network.widths))
    state = [files.keep(index, start.layer(index), finished=False) for index in layers]
    return OnnxEngine(recipe, start.facts, state, folder)
