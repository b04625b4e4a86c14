"""What learning from a model file needs before the first step: the spec to learn by, its memory plan, its engine."""

import dataclasses
from pathlib import Path
from typing import Any

from ffedge.meter import anonymous_bytes
from ffedge.network import resolve
from ffedge.runtime.kernels import KernelKey, kernel_key, trial_keys
from ffedge.runtime.model import OpenModel
from ffedge.runtime.stepper import OnnxEngine
from ffedge.spec import OPEN, TUNED_CHUNK, TUNED_TILE_BYTES, Spec
from ffedge.training.checkpoint import Checkpoints
from ffedge.training.graphs import needed_kernels
from ffedge.training.plan import Plan, make_plan

DEVICE: dict[str, Any] = {  # what was chosen for the machine that trained, and not for this one
    "memory_budget": "none",
    "chunk_size": "auto",
    "tile_bytes": "auto",
    "moments": "auto",
    "cache": "none",
    "engine": "onnx",
    "threads": 0,
}


def learning_spec(model: OpenModel, changes: dict[str, Any], rows: int) -> Spec:
    """Return the spec to learn by: as stored in the model, but for the changes and for what belongs to a machine.

    Parameters
    ----------
    changes : fields of `OPEN`.
    rows : to learn from, those to be held out included.

    Raises
    ------
    ValueError
        A field is not open, or a value does not fit.
    """
    if inside := sorted(set(changes) - set(OPEN)):
        raise ValueError(f"{inside[0]} is part of the model's learning step and cannot change. Train anew")
    train = dataclasses.replace(model.spec.train, **(DEVICE | changes))
    spec = dataclasses.replace(model.spec, train=train)
    left = rows - train.held_out(rows)
    if left < 1:
        raise ValueError(f"holdout leaves none of {rows} rows to learn from. Use a smaller --holdout")
    if "batch_size" not in changes and isinstance(train.batch_size, int):
        train = dataclasses.replace(train, batch_size=min(train.batch_size, left))
    return resolve(dataclasses.replace(spec, train=train), model.facts, rows)


def fitted(model: OpenModel, spec: Spec, rows: int) -> tuple[Spec, Plan]:
    """Return the spec with the chunk, tile and moments that the memory budget, and the file's own size, allow.

    Raises
    ------
    FfedgeError
        The budget is below what learning needs.
    ModelError
        The file's learning step is not one of ffedge's.
    """
    train = spec.train
    most = train.batch_size if isinstance(train.batch_size, int) else rows
    most = min(most, train.chunk_size if isinstance(train.chunk_size, int) else TUNED_CHUNK)
    trials = set(trial_keys(model.step.shapes[-1]))
    keys = sorted(needed_kernels(spec, model.facts) - trials, key=repr)
    with model.used():
        model.step.tile_bytes = train.tile_bytes if isinstance(train.tile_bytes, int) else TUNED_TILE_BYTES
        chunk = model.step.fit(keys, most)
        live = {key: [list(line) for line in model.step.live(key)] for key in keys}
    if chunk < most:
        spec = dataclasses.replace(spec, train=dataclasses.replace(train, chunk_size=chunk))
    return make_plan(spec, model.facts, live, anonymous_bytes(), rows - train.held_out(rows))


def set_up(model: OpenModel, spec: Spec, rows: int) -> Spec:
    """Return the spec of a learner that takes steps of so many rows at most, or of fewer where the file is too small.

    Raises
    ------
    ModelError
        The file's learning step is not one of ffedge's.
    """
    keys = sorted(needed_kernels(spec, model.facts) - set(trial_keys(model.step.shapes[-1])), key=repr)
    with model.used():
        chunk = model.step.fit(keys, rows)
    return dataclasses.replace(spec, train=dataclasses.replace(spec.train, batch_size=chunk, chunk_size=chunk))


def trials(model: OpenModel) -> tuple[KernelKey, ...]:
    """Return the kernels on which updates in place are tried: those of the smallest layer."""
    shape = min(model.step.shapes, key=lambda shape: shape.inputs * shape.units)
    return kernel_key("learn", shape), kernel_key("tile", shape)


def make_engine(model: OpenModel, spec: Spec, folder: Path) -> OnnxEngine:
    """Return the engine with its layers placed: views of files in a folder, so that they take no memory."""
    files = Checkpoints(folder)
    state = [files.keep(i, layer, finished=False) for i, layer in enumerate(model.layers)]
    with model.used():
        return OnnxEngine(spec, model.facts, model.build, state, folder, trials(model))
