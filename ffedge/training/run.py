"""A whole training run: a spec and a data set in; a run folder with model.onnx, report.json and metrics.jsonl out."""

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ffedge.data import Batches, Dataset, load
from ffedge.errors import FfedgeError, StoppedError, TrainingError
from ffedge.evaluation import accuracy
from ffedge.meter import PeakMeter, rss_bytes
from ffedge.network import InputFacts, initial_state, resolve
from ffedge.runtime import Predictor
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
    data: str | Path | Dataset | Batches | None = None,
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
    data : a known name, a path, minibatches ``(x, y)`` (see `ffedge.load`), or an open data set; None takes
        ``mnist-mini``, or what the run began with.
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
    started, imported, meter = time.perf_counter(), rss_bytes(), PeakMeter()
    if resume and out and (spec is None or data is None):
        began_with, source = stored(out)
        spec, data = spec or began_with, source if data is None else data
    spec, data = spec or Spec.make(), "mnist-mini" if data is None else data
    dataset = data if isinstance(data, Dataset) else load(data, data_dir)
    facts = measure(dataset, spec.network)
    spec = resolve(spec, facts, len(dataset.train.labels))
    out = out or next_folder(Path("runs"), spec.rule.variant, dataset.name)
    folder = RunFolder(out, spec, facts, dataset, str(data) if isinstance(data, str | Path) else dataset.name)
    if resume:
        state, place = folder.restore()
    else:
        folder.create(force=force)
        state, place = initial_state(spec, facts), Place()
    loop = Loop(spec, dataset, facts, make_engine(spec, facts, state), folder, watcher or Watcher(), meter)
    stopped = _train_until_stopped(loop, place, stop, folder)
    layers, in_place = loop.layer_records(), loop.engine.in_place
    del loop, state  # the trained layers' memory goes before the model is read
    model = folder.write_model()
    report = Report(
        spec=spec.to_dict(),
        data={"name": dataset.name, "sha256": dataset.sha256},
        input=facts.to_dict(),
        layers=layers,
        import_bytes=imported,
        in_place=in_place,
        stopped=stopped,
        **_accuracies(model, dataset, spec.train.threads),
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


def _accuracies(model: Path, dataset: Dataset, threads: int) -> dict[str, Any]:
    """Measure the model file itself, on the test split and on rows spread evenly over the train split."""
    predictor, rows = Predictor(model, threads), len(dataset.train.labels)
    shown = np.linspace(0, rows - 1, min(rows, TRAIN_ACCURACY_ROWS)).astype(np.int64)
    return {
        "test_accuracy": accuracy(predictor, dataset.test) if dataset.test else None,
        "train_accuracy": accuracy(predictor, dataset.train, shown),
        "train_accuracy_rows": len(shown),
    }


def _train_until_stopped(loop: Loop, place: Place, stop: Callable[[], bool], folder: RunFolder) -> str | None:
    """Return why the run stopped early with a network to show, or None at its end."""
    try:
        loop.train(place, stop)
    except Diverged as error:
        if not folder.checkpoints.generations():
            raise TrainingError(f"{error}. No epoch was completed") from error
        return str(error)
    except Interrupted as error:
        raise StoppedError(
            f"{folder.path}: stopped at a checkpoint. Go on with: ffedge train --resume --out {folder.path}"
        ) from error
    return None


def make_engine(spec: Spec, facts: InputFacts, state: State) -> Engine:
    """Return the engine that a spec asks for, holding the state."""
    if spec.train.engine == "torch":
        try:
            from ffedge.reference.engine import TorchEngine
        except ModuleNotFoundError as error:
            raise FfedgeError(
                "training with --engine torch needs torch, which is not installed. Run: pip install 'ffedge[torch]'"
            ) from error
        return TorchEngine(spec, facts, state)

    return OnnxEngine(spec, facts, training_graphs(spec, facts), state)
