"""A whole training run: a spec and a data set in; a run folder with model.onnx, report.json and metrics.jsonl out."""

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ffedge.data import Dataset, load
from ffedge.errors import FfedgeError, StoppedError, TrainingError
from ffedge.meter import PeakMeter, rss_bytes
from ffedge.network import InputFacts, resolve
from ffedge.runtime.stepper import OnnxEngine
from ffedge.spec import Spec
from ffedge.training.checkpoint import Place, State
from ffedge.training.engine import Engine
from ffedge.training.facts import measure
from ffedge.training.folder import RunFolder, next_folder, stored
from ffedge.training.graphs import training_graphs
from ffedge.training.loop import Diverged, Interrupted, Loop
from ffedge.training.records import Report, atomic_file
from ffedge.training.watch import Watcher

TRAIN_ACCURACY_ROWS = 10_000


@dataclass(frozen=True)
class Run:
    """A finished run: its folder and its report."""

    path: Path
    report: Report

    @property
    def model(self) -> Path:
        """The model file."""
        return self.path / "model.onnx"


def train(
    spec: Spec | None = None,
    data: str | Path | Dataset | None = None,
    out: Path | None = None,
    *,
    data_dir: Path | None = None,
    resume: bool = False,
    force: bool = False,
    watcher: Watcher | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Run:
    """Train a network on a data set and write the run folder.

    Parameters
    ----------
    spec : None takes the preset ``tuned``, or, to resume, what the run began with.
    data : a known name, a path, or an open data set; None takes ``mnist-mini``, or what the run began with.
    out : the run folder; None takes the next free one of runs/<variant>-<data>-<n>.
    data_dir : where known data sets are looked for first.
    resume : go on from the folder's checkpoint.
    force : replace a run that stands in the folder.
    watcher : is told of every batch and epoch.
    stop : asked after each batch; True ends the run at a checkpoint.

    Raises
    ------
    FfedgeError
        The data or the folder cannot be used, the checkpoint is another run's, a loss is not a number (then the model
        of the last good epoch is written first), or the run was stopped.
    ValueError
        The spec does not fit the data.
    """
    started, imported, meter, watcher = time.perf_counter(), rss_bytes(), PeakMeter(), watcher or Watcher()
    if resume and out and (spec is None or data is None):
        began_with, source = stored(out)
        spec, data = spec or began_with, data or source
    spec, data = spec or Spec.make(), data or "mnist-mini"
    dataset = data if isinstance(data, Dataset) else load(data, data_dir)
    facts = measure(dataset, spec.network)
    spec = resolve(spec, facts, len(dataset.train.labels))
    out = out or next_folder(Path("runs"), spec.rule.variant, dataset.name)
    folder = RunFolder(out, spec, facts, dataset, dataset.name if isinstance(data, Dataset) else str(data))
    if resume:
        found = folder.restore()
        state, place = found.state, found.place
        for torn in found.torn:
            watcher.note(f"{found.path.parent}: {torn}; went on from {found.path.name}")
        del found
    else:
        folder.create(force=force)
        state, place = [{} for _ in spec.network.widths], Place()
    loop = Loop(spec, dataset, facts, make_engine(spec, facts, state, out), folder, watcher, meter)
    del state
    stopped = _train_until_stopped(loop, place, stop, folder)
    model = folder.write_model()
    report = Report(
        spec=spec.to_dict(),
        data={"name": dataset.name, "sha256": dataset.sha256},
        input=facts.to_dict(),
        layers=loop.layer_records(),
        import_bytes=imported,
        in_place=loop.engine.in_place,
        stopped=stopped,
        **_accuracies(loop, dataset),
        model_sha256=hashlib.sha256(model.read_bytes()).hexdigest(),
        model_bytes=model.stat().st_size,
        seconds=time.perf_counter() - started,
        rss_peak_bytes=max(meter.peak(), meter.whole_bytes),
    )
    with atomic_file(folder.path / "report.json") as temporary:
        temporary.write_text(report.to_json())
    if stopped:
        raise TrainingError(f"{stopped}. The network of the last good epoch stands in {model}")
    return Run(folder.path, report)


def _accuracies(loop: Loop, dataset: Dataset) -> dict[str, Any]:
    """Measure the network on the test split and on rows spread evenly over the train split."""
    rows = len(dataset.train.labels)
    shown = np.linspace(0, rows - 1, min(rows, TRAIN_ACCURACY_ROWS)).astype(np.int64)
    test = dataset.test
    return {
        "test_accuracy": loop.accuracy(test, np.arange(len(test.labels))) if test else None,
        "train_accuracy": loop.accuracy(dataset.train, shown),
        "train_accuracy_rows": len(shown),
    }


def _train_until_stopped(loop: Loop, place: Place, stop: Callable[[], bool], folder: RunFolder) -> str | None:
    """Return why the run stopped early with a network to show, or None at its end."""
    try:
        loop.train(place, stop)
    except Diverged as error:
        if not folder.checkpoints.generations():
            raise TrainingError(f"{error}. No epoch was completed") from error
        loop.fall_back(folder.checkpoints.newest().state)
        return str(error)
    except Interrupted as error:
        raise StoppedError(
            f"{folder.path}: stopped at a checkpoint. Go on with: ffedge train --resume --out {folder.path}"
        ) from error
    return None


def make_engine(spec: Spec, facts: InputFacts, state: State, folder: Path | None = None) -> Engine:
    """Return the engine that a spec asks for, holding the state; `folder` is for moments that are kept on disk."""
    if spec.train.engine == "torch":
        try:
            from ffedge.reference.engine import TorchEngine
        except ModuleNotFoundError as error:
            raise FfedgeError(
                "training with --engine torch needs torch, which is not installed. Run: pip install 'ffedge[torch]'"
            ) from error
        return TorchEngine(spec, facts, state)

    return OnnxEngine(spec, facts, training_graphs(spec, facts), state, folder)
