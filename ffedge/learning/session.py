"""What learning from a model file needs before the first step: what is learnt, its memory plan, its engine."""

from pathlib import Path
from typing import Any

from ffedge.fields import options
from ffedge.meter import anonymous_bytes
from ffedge.recipe import Recipe, held_out
from ffedge.resolve import resolve
from ffedge.runtime.kernels import KernelKey, kernel_key, trial_keys
from ffedge.runtime.model import OpenModel
from ffedge.runtime.stepper import OnnxEngine
from ffedge.spec import Spec, TrainSpec
from ffedge.training.checkpoint import Checkpoints
from ffedge.training.graphs import kernels_to_plan, needed_kernels
from ffedge.training.plan import Plan, make_plan


def learning_spec(model: OpenModel, changes: dict[str, Any], rows: int) -> Spec:
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
    spec = model.recipe.as_spec().with_train(**(machine | changes))
    left = rows - held_out(rows, spec.train.holdout)
    if left < 1:
        raise ValueError(f"holdout leaves none of {rows} rows to learn from. Use a smaller --holdout")
    return spec if "batch_size" in changes else spec.with_train(batch_size=min(model.recipe.train.batch_size, left))


def fitted(model: OpenModel, spec: Spec, rows: int) -> tuple[Recipe, Plan]:
    """Return what is learnt, with the chunk, tile and moments that the memory budget, and the file's own size, allow.

    Raises
    ------
    FfedgeError
        The budget is below what learning needs.
    ModelError
        The file's learning step is not one of ffedge's.
    """
    recipe = resolve(spec, model.facts, rows)
    most = min(recipe.train.batch_size, recipe.train.chunk_size)
    keys = sorted(kernels_to_plan(spec, recipe, model.facts) - set(trial_keys(model.step.shapes[-1])), key=repr)
    with model.used():
        model.step.tile_bytes = recipe.train.tile_bytes
        chunk = model.step.fit(keys, most)
        live = {key: [list(line) for line in model.step.live(key)] for key in keys}
    if chunk < most:
        spec, recipe = spec.with_train(chunk_size=chunk), recipe.with_train(chunk_size=chunk)
    left = rows - recipe.train.held_out(rows)
    return make_plan(spec, recipe, model.facts, live, anonymous_bytes(), left)


def set_up(model: OpenModel, recipe: Recipe, rows: int) -> Recipe:
    """Return the recipe of a learner that takes steps of so many rows at most, or of fewer where the file is too small.

    Raises
    ------
    ModelError
        The file's learning step is not one of ffedge's.
    """
    keys = sorted(needed_kernels(recipe, model.facts) - set(trial_keys(model.step.shapes[-1])), key=repr)
    with model.used():
        chunk = model.step.fit(keys, rows)
    return recipe.with_train(batch_size=chunk, chunk_size=chunk)


def trials(model: OpenModel) -> tuple[KernelKey, ...]:
    """Return the kernels on which updates in place are tried: those of the smallest layer."""
    shape = min(model.step.shapes, key=lambda shape: shape.inputs * shape.units)
    return kernel_key("learn", shape), kernel_key("tile", shape)


def make_engine(model: OpenModel, recipe: Recipe, folder: Path) -> OnnxEngine:
    """Return the engine with its layers placed: views of files in a folder, so that they take no memory."""
    files = Checkpoints(folder)
    state = [files.keep(i, layer, finished=False) for i, layer in enumerate(model.layers)]
    with model.used():
        return OnnxEngine(recipe, model.facts, model.build, state, folder, trials(model))
