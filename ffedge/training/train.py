"""A whole training run: a spec and a data set in; a run folder with model.onnx, report.json and metrics.jsonl out."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ffedge.data import Data, Dataset, Reading
from ffedge.data.cache_folder import sha256_of
from ffedge.data.files import source_text
from ffedge.data.stream import spread_evenly
from ffedge.engine.base import Engine
from ffedge.engine.onnx import OnnxEngine
from ffedge.errors import FfedgeError, StoppedError, TrainingError
from ffedge.files import atomic_file
from ffedge.meter import PeakMeter, rss_bytes
from ffedge.network import InputFacts
from ffedge.pages import release_libraries, return_large_blocks
from ffedge.recipe import Recipe
from ffedge.resolve import chosen
from ffedge.spec import Spec
from ffedge.training.checkpoint import Place, State
from ffedge.training.disk import check_room, run_bytes
from ffedge.training.evaluator import Evaluator
from ffedge.training.folder import RunFolder, StoredRun, next_folder, put_back
from ffedge.training.loop import Diverged, Interrupted, Loop
from ffedge.training.memory import Plan, disk_bytes
from ffedge.training.notes import of_choices
from ffedge.training.prepare import Prepared, prepare
from ffedge.training.records import Report
from ffedge.training.replay import KEPT_BYTES, keep, kept_file, no_examples
from ffedge.training.rhythm import Rhythm
from ffedge.training.shown import shows_progress
from ffedge.training.watch import Watcher

TRAIN_ACCURACY_ROWS = 10_000
RUNS = Path("runs")


@dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes
    ----------
    path : its folder, which holds model.onnx, report.json, metrics.jsonl and the checkpoint.
    report : accuracies from 0 to 1, seconds and bytes, of the whole run and of each layer.
    """

    path: Path
    report: Report

    @property
    def model(self) -> Path:
        """The model file."""
        return self.path / "model.onnx"

    def __repr__(self) -> str:
        """Say what it reached, in a line."""
        return f"<Run {self.path}: {repr(self.report).removeprefix('<Report of ')}"


@shows_progress
def train(
    spec: Spec | None = None,
    data: Data | None = None,
    out: str | Path | None = None,
    *,
    data_dir: Path | None = None,
    reading: Reading | None = None,
    resume: bool = False,
    force: bool = False,
    checkpoint_every: str = "auto",
    watcher: Watcher | None = None,
    progress: bool = True,
    stop: Callable[[], bool] = lambda: False,
    loop: type[Loop] = Loop,
    label: str | None = None,
    leave_out: Sequence[str] = (),
    kept_bytes: int = KEPT_BYTES,
) -> Run:
    """Train a network on a data set and write the run folder.

    Parameters
    ----------
    spec : None takes the preset ``tuned``, or, to resume, what the run began with.
    data : a known name, a path, minibatches ``(x, y)`` (see `ffedge.load`), or an open data set; None takes
        ``mnist-mini``, or what the run began with.
    out : the run folder; None takes the next free one of runs/<variant>-<data>-<n>.
    data_dir : where known data sets are looked for first.
    reading : what the data's files leave open; None, to resume, is what the run began with.
    resume : go on from the folder's checkpoint.
    force : replace a run that stands in the folder; it goes with the first checkpoint of the new one.
    kept_bytes : room for examples that are kept beside the model, so that `ffedge.learn` does not forget them; 0 keeps
        none.
    checkpoint_every : steps (``500``) or seconds (``2s``) between checkpoints; ``auto`` spends 1 % of the time on them.
    watcher : is told of every batch and epoch, and shows what it likes.
    progress : show how it goes on stderr, where no `watcher` is passed: a bar in a notebook with tqdm, else lines.
    stop : asked after each batch; True ends the run at a checkpoint.
    label, leave_out : of a table, see `ffedge.load`; to resume, what the run began with.
    loop : trains; a comparison may change what it does.

    Raises
    ------
    FfedgeError
        The data or the folder cannot be used, the checkpoint is another run's, a loss is not a number (then the model
        of the last checkpoint is written first), or the run was stopped.
    ValueError
        The spec does not fit the data.
    """
    started, imported, meter, watcher = time.perf_counter(), rss_bytes(), PeakMeter(), watcher or Watcher()
    if resume and out is None:
        raise ValueError("`resume` needs `out`, the folder of the run to go on with")
    rhythm, out = Rhythm(checkpoint_every), None if out is None else Path(out)
    release_libraries()
    return_large_blocks()
    table = None
    if resume and out is not None:
        put_back(out)
        stored = StoredRun.read(out)
        spec, data = _begun_with(stored, spec, data)
        table, reading = stored.facts.table, reading or stored.reading
    data, reading = "mnist-mini" if data is None else data, reading or Reading()
    spec = spec or Spec.make()
    how = {"label": label, "leave_out": leave_out, "table": table, "reading": reading, "hear": watcher, "stop": stop}
    prepared = prepare(spec, data, data_dir, out or RUNS, **how)
    dataset, facts, recipe = prepared.dataset, prepared.facts, prepared.recipe
    choice = chosen(spec, recipe)
    out = out or next_folder(RUNS, recipe.rule.variant, dataset.name)
    source = source_text(data, dataset.name)
    folder = RunFolder(out, recipe, facts, dataset, source, choice, reading)
    with folder.alone():
        beside = disk_bytes(recipe, facts, recipe.train, prepared.left)
        check_room(out, run_bytes(recipe, facts, prepared.rows, kept_bytes) + beside, "this run")
        state, place = _begin(folder, recipe, watcher, resume=resume, force=force)
        before = sum(record.seconds for record in folder.records) + place.seconds  # of processes that were stopped
        watcher.begun(out)
        notes = [f"{dataset.name}: {note}" for note in dataset.notes] + ([prepared.odd] if prepared.odd else [])
        for note in (*notes, *of_choices(spec, choice, dataset, facts)):
            watcher.note(note)
        engine = make_engine(recipe, facts, state, out)
        training = loop(recipe, dataset, facts, engine, folder, watcher, meter, rhythm, out)
        del state
        stopped = _train_until_stopped(training, place, stop, folder)
        release_libraries()  # of what training ran, so that writing and measuring do not come on top of it
        model = _write_model(folder, training, prepared, kept_bytes)
        layers = training.layer_records()
        report = Report(
            spec=recipe.to_dict(),
            data=_about(prepared),
            input=facts.to_dict(),
            layers=layers,
            import_bytes=imported,
            chosen=folder.chosen,
            plan=prepared.plan.to_dict() if prepared.plan else None,
            in_place=engine.in_place,
            stopped=stopped,
            **_accuracies(training.evaluator, dataset),
            model_sha256=sha256_of(model),
            model_bytes=model.stat().st_size,
            seconds=before + time.perf_counter() - started,
            rss_peak_bytes=max(meter.peak(), meter.whole_bytes, imported, *(one.rss_peak_bytes for one in layers)),
        )
        with atomic_file(folder.path / "report.json") as temporary:
            temporary.write_text(report.to_json())
    if stopped:
        raise TrainingError(f"{stopped}. The network of the last checkpoint stands in {model}")
    return Run(folder.path, report)


def _begun_with(run: StoredRun, spec: Spec | None, data: Data | None) -> tuple[Spec, Data]:
    """Return what a run goes on with: what it began with, where nothing else is asked for."""
    began = run.recipe.as_spec()
    if spec is not None:  # what a plan chose when the run began stays, where it is left open now
        began = spec.with_train(**{name: getattr(began.train, name) for name in spec.left_open("plan")})
    return began, run.source if data is None else data


def _begin(folder: RunFolder, recipe: Recipe, watcher: Watcher, *, resume: bool, force: bool) -> tuple[State, Place]:
    """Return the state and the place that a run goes on from, or begins with: nothing drawn yet."""
    if not resume:
        folder.create(force=force)
        return [{} for _ in recipe.network.widths], Place()
    checkpoint = folder.restore()
    for torn in checkpoint.torn:
        watcher.note(f"{checkpoint.path.parent}: {torn}; went on from {checkpoint.path.name}")
    return checkpoint.state, checkpoint.place


def plan(
    spec: Spec,
    data: Data = "mnist-mini",
    data_dir: Path | None = None,
    *,
    label: str | None = None,
    leave_out: Sequence[str] = (),
    reading: Reading | None = None,
    watcher: Watcher | None = None,
) -> Plan:
    """Say what training would take in memory, and what a budget makes of it, without training.

    Raises
    ------
    FfedgeError
        The data cannot be used, or the budget is below what training needs.
    ValueError
        The spec does not fit the data, or is for the torch engine, which has no plan.
    """
    release_libraries()
    how = {"label": label, "leave_out": leave_out, "reading": reading, "hear": watcher}
    planned = prepare(spec, data, data_dir, RUNS, **how).plan
    if planned is None:
        raise ValueError("`engine` must be onnx to plan memory, got 'torch'")
    return planned


def _write_model(folder: RunFolder, training: Loop, prepared: Prepared, kept_bytes: int) -> Path:
    """Write the model of the newest checkpoint, and examples of what it learnt from beside it."""
    model, split, facts = folder.path / "model.onnx", prepared.dataset.train, prepared.facts
    with atomic_file(model) as temporary:
        StoredRun.read(folder.path).write(temporary)
    if kept_bytes:
        offers, none = ((split, training.rows), (split, training.held_out)), no_examples(facts)
        keep(kept_file(model), facts, (none, none), offers, kept_bytes, prepared.recipe.train.seed)
    return model


def _about(prepared: Prepared) -> dict[str, Any]:
    """Return what the report says of the data."""
    dataset = prepared.dataset
    notes = {"notes": list(dataset.notes)} if dataset.notes else {}
    return {"name": dataset.name, "sha256": dataset.sha256} | notes | ({"odd": prepared.odd} if prepared.odd else {})


def _accuracies(evaluator: Evaluator, dataset: Dataset) -> dict[str, Any]:
    """Measure the network on the test split and on rows spread evenly over the train split."""
    shown, test = spread_evenly(len(dataset.train.labels), TRAIN_ACCURACY_ROWS), dataset.test
    on_test = evaluator.accuracies(test, np.arange(len(test.labels))) if test else (None, None)
    on_train = evaluator.accuracies(dataset.train, shown)
    return {
        "test_accuracy": on_test[0],
        "test_balanced_accuracy": on_test[1],
        "train_accuracy": on_train[0],
        "train_balanced_accuracy": on_train[1],
        "train_accuracy_rows": len(shown),
    }


def _train_until_stopped(loop: Loop, place: Place, stop: Callable[[], bool], folder: RunFolder) -> str | None:
    """Return why the run stopped early with a network to show, or None at its end."""
    try:
        loop.train(place, stop)
    except Diverged as error:
        if not folder.checkpoints.generations():
            left = f"{folder.path} stands as it was" if folder.replaces else "There is no checkpoint before it"
            raise TrainingError(f"{error}. {left}") from error
        loop.fall_back(folder.restore().state)  # with the epochs before it, which are told
        return str(error)
    except Interrupted as error:
        raise StoppedError(f"{folder.path}: stopped at a checkpoint. Go on with `resume=True`", folder.path) from error
    return None


def make_engine(recipe: Recipe, facts: InputFacts, state: State, folder: Path | None = None) -> Engine:
    """Return the engine that a recipe names, holding the state; `folder` is for moments that are kept on disk."""
    if recipe.train.engine == "torch":
        try:
            from ffedge.engine.torch import TorchEngine
        except ModuleNotFoundError as error:
            raise FfedgeError(
                "training with `engine='torch'` needs torch, which is not installed. Run: pip install 'ffedge[torch]'"
            ) from error
        return TorchEngine(recipe, facts, state)
    return OnnxEngine(recipe, facts, state, folder)
