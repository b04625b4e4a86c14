"""Trains what the NetworkFF paper (arXiv:2512.17531) trains, trial by trial: arms x data sets x seeds.

A trial is a run of `ffedge.training` in its own folder, which goes on where it was stopped; what it found stands in its
own file, and is not trained again. `paper_points` holds the readings of what the paper leaves open.

Shape letters: N rows, L layers, C classes.
"""

import dataclasses
import json
import os
import shutil
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ffedge.compare.gemm import gemm_flop
from ffedge.compare.measure import first_rows
from ffedge.compare.measurer import Progress, all_versions
from ffedge.data import Dataset, Split, load
from ffedge.network import prediction_weights
from ffedge.runtime import Predictor
from ffedge.spec import Spec
from ffedge.training.checkpoint import Checkpoints
from ffedge.training.loop import spread_evenly
from ffedge.training.records import EpochRecord, atomic_file, machine
from ffedge.training.run import Run, train
from ffedge.training.study import Study
from ffedge.training.watch import Progress as Batch
from ffedge.training.watch import Watcher

DATA = ("mnist", "fashion-mnist")
ARMS = ("ff", "fcff", "acff")
CONTROL = "-shuffled"
ROWS = 50_000
WIDTHS = (500, 500)
CHUNK_ROWS = 1000
CURVE_ROWS = 2000  # whose accuracy is measured each epoch
TRAIN_ROWS = 10_000  # whose accuracy is measured in the end
EVALUATED = 1000
FLOP_A_SECOND = 1e11  # roughly, to foretell how long a trial takes
START_S = 3.0
TRACED = ("loss", "goodness_positive", "goodness_negative", "accuracy", "accuracy_sum", "gamma")


@dataclass(frozen=True)
class Trial:
    """One training.

    Attributes
    ----------
    arm : a variant, with ``-shuffled`` for the control: the other layers' goodness is another sample's.
    point, value : which reading of which open point (`paper_points`); ``paper`` is the preset.
    rows : the first so many of the training split are trained on, none of them held out.
    changes : fields of the preset `paper` that are changed, sorted by name.
    """

    data: str
    arm: str
    seed: int
    epochs: int
    rows: int = ROWS
    point: str = "paper"
    value: str = ""
    changes: tuple[tuple[str, Any], ...] = ()

    @property
    def text(self) -> str:
        """The trial in a few words."""
        reading = f", {self.point} {self.value}".rstrip() if self.point != "paper" else ""
        return f"{self.data}, {self.arm}, seed {self.seed}, {self.epochs} epochs{reading}"

    @property
    def name(self) -> str:
        """A file's name that no other trial has."""
        parts = (self.point, self.value, self.data, self.arm, f"{self.epochs}x{self.rows}", f"seed{self.seed}")
        return "-".join("".join(c if c.isalnum() or c == "." else "-" for c in part) for part in parts if part)

    def spec(self, data_changes: dict[str, Any] | None = None) -> Spec:
        """Return the spec that the trial trains."""
        values: dict[str, Any] = {
            "variant": self.arm.removesuffix(CONTROL),
            "epochs": self.epochs,
            "seed": self.seed,
            "widths": WIDTHS,
            "holdout": 0.0,
            "chunk_size": CHUNK_ROWS,
            "tile_bytes": 2**23,  # the weights whole: a tile would copy its columns of the input
            "threads": 1,
        }
        values |= dict(self.changes) | (data_changes or {})
        keeps = values.get("schedule", "greedy") == "greedy" and values.get("negatives") != "hard-sum"
        return Spec.make("paper", cache="activations" if keeps else "none", **values)

    @property
    def rough_s(self) -> float:
        """Roughly the seconds that it takes, to be scaled by what was measured."""
        spec = self.spec()
        flop = sum(gemm_flop(spec, layer, 784, 10) for layer in range(len(spec.network.widths)))
        return START_S + 2 * flop * self.rows * self.epochs / FLOP_A_SECOND


@dataclass
class Found:
    """What a trial found; accuracies are fractions.

    Attributes
    ----------
    train_accuracy, test_accuracy : of the plain sum of the layers' goodness.
    train_collaborative, test_collaborative : of the sum in which layer l weighs ``1 + sum_{m != l} gamma_m alpha_ml``.
    train_layers, test_layers : of each layer alone.
    trace : of each layer, each record's `TRACED` values, by epoch; ``accuracy`` on `CURVE_ROWS` of the rows that are
        trained on, ``accuracy_sum`` of all layers so far.
    seconds : of training each layer, evaluation left out.
    cpu_s : the process's own seconds of training each layer for one epoch, the mean of those since it last began.
    gemm_flop : of the products that an epoch of each layer cannot do without; None where they are not counted.
    """

    trial: dict[str, Any]
    spec: dict[str, Any]
    versions: dict[str, str]
    train_accuracy: float
    test_accuracy: float
    train_collaborative: float
    test_collaborative: float
    train_layers: list[float]
    test_layers: list[float]
    gamma: list[float | None]
    trace: list[dict[str, list[float | None]]]
    seconds: list[float]
    cpu_s: list[float | None]
    gemm_flop: list[float] | None
    train_rows: int

    def of(self, name: str) -> Any:
        """Return a field of the trial."""
        return self.trial[name]


@dataclass(frozen=True)
class Choice:
    """What to train; `trials` says in which order."""

    data: tuple[str, ...] = DATA
    arms: tuple[str, ...] = ARMS
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    epochs: int = 1000
    rows: int = ROWS
    changes: tuple[tuple[str, Any], ...] = ()

    def check(self) -> None:
        """Raise ValueError for an arm that there is not."""
        known = [arm + end for arm in ARMS for end in ("", CONTROL) if arm != "ff" or not end]
        if unknown := [arm for arm in self.arms if arm not in known]:
            raise ValueError(f"--arms must be of {', '.join(known)}, got {unknown[0]!r}")

    def trials(self) -> list[Trial]:
        """Return the trials, seed after seed, so that all arms have as many whenever it is stopped."""
        return [
            Trial(data, arm, seed, self.epochs, self.rows, changes=self.changes)
            for seed in self.seeds
            for data in self.data
            for arm in self.arms
        ]


@dataclass
class Runner:
    """Trains trials in a folder: ``<trial>.json`` for each that is finished, ``runs/<trial>`` for one that is not."""

    out: Path
    progress: Progress = field(default_factory=Progress)
    data_dir: Path | None = None
    threads: int = 1

    def take(self, trials: Sequence[Trial]) -> list[Found]:
        """Return what each trial found, in their order; those without a file are trained.

        Raises
        ------
        FfedgeError
            The data or the folder cannot be used.
        """
        missing = [trial for trial in trials if not self._file(trial).exists()]
        if missing:
            self.progress.begin(len(missing), self._left_s(trials, missing), kept=True)
        try:
            for index, trial in enumerate(missing):
                self.progress.job(index, trial, self._left_s(trials, missing[index:]))
                self._train(trial)
        finally:
            self.progress.end()
        return [self._read(trial) for trial in trials]

    def _file(self, trial: Trial) -> Path:
        return self.out / f"{trial.name}.json"

    def _read(self, trial: Trial) -> Found:
        return Found(**json.loads(self._file(trial).read_text()))

    def _train(self, trial: Trial) -> None:
        self.out.mkdir(parents=True, exist_ok=True)
        whole = load(trial.data, self.data_dir)
        dataset = dataclasses.replace(first_rows(whole, trial.rows), test=whole.test)
        folder, watch = self.out / "runs" / trial.name, _Clock(self.progress)
        begun = bool(Checkpoints(folder / "checkpoint").generations())
        run = train(
            trial.spec({"threads": self.threads}),
            dataset,
            folder,
            resume=begun,
            force=not begun,
            watcher=watch,
            study=Study(CURVE_ROWS, trial.arm.endswith(CONTROL)),
        )
        with atomic_file(self._file(trial)) as temporary:
            temporary.write_text(json.dumps(dataclasses.asdict(found(trial, run, dataset, watch))))
        shutil.rmtree(folder)

    def _left_s(self, trials: Sequence[Trial], missing: Sequence[Trial]) -> float:
        """Scale the rough seconds of what is missing by how right they were for what is there."""
        known = [trial for trial in trials if self._file(trial).exists()]
        took = sum(sum(self._read(trial).seconds) for trial in known)
        factor = took / sum(trial.rough_s for trial in known) if took else 1.0
        return factor * sum(trial.rough_s for trial in missing)


class _Clock(Watcher):
    """Counts the process's own seconds of training each layer, and shows that it is alive."""

    def __init__(self, progress: Progress) -> None:
        self._progress, self._since = progress, time.process_time()
        self._spent: dict[int, float] = {}
        self._epochs: dict[int, int] = {}

    def batch(self, progress: Batch) -> None:
        """Count from the last batch or evaluation on."""
        now = time.process_time()
        for layer in progress.layers:
            self._spent[layer] = self._spent.get(layer, 0.0) + (now - self._since) / len(progress.layers)
        self._since = now
        self._progress.alive(os.getpid())

    def epoch(self, records: list[EpochRecord]) -> None:
        """Leave out the evaluation."""
        for record in records:
            self._epochs[record.layer] = self._epochs.get(record.layer, 0) + 1
        self._since = time.process_time()

    def cpu_s(self, layer: int) -> float | None:
        """Return the seconds of a mean epoch; None where none was seen."""
        return self._spent[layer] / self._epochs[layer] if layer in self._epochs else None


def found(trial: Trial, run: Run, dataset: Dataset, clock: _Clock) -> Found:
    """Sum up a finished run, and measure its model on the test split and on `TRAIN_ROWS` of the training rows."""
    report, predictor = run.report, Predictor(run.model, threads=1)
    layers = range(len(predictor.spec.network.widths))
    gammas = [report.layers[layer].gamma for layer in layers]
    weights = np.array([1.0 if gamma is None else gamma for gamma in gammas])
    rule = dataclasses.replace(predictor.spec.rule, prediction_weights="collaborative")
    weights = np.array(prediction_weights(dataclasses.replace(predictor.spec, rule=rule), weights.tolist()))
    assert dataset.test is not None
    shown = spread_evenly(len(dataset.train.labels), TRAIN_ROWS)
    on_train = _accuracies(predictor, dataset.train, shown, weights)
    on_test = _accuracies(predictor, dataset.test, np.arange(len(dataset.test.labels)), weights)
    greedy = predictor.spec.train.schedule == "greedy"
    inputs, classes = predictor.facts.size, predictor.facts.n_classes
    return Found(
        trial=dataclasses.asdict(trial),
        spec=report.spec,
        versions=all_versions(),
        train_accuracy=on_train[-2],
        test_accuracy=on_test[-2],
        train_collaborative=on_train[-1],
        test_collaborative=on_test[-1],
        train_layers=on_train[:-2],
        test_layers=on_test[:-2],
        gamma=gammas,
        trace=_traces(run.path / "metrics.jsonl", len(layers)),
        seconds=[report.layers[layer].seconds for layer in layers],
        cpu_s=[clock.cpu_s(layer) for layer in layers],
        gemm_flop=[trial.rows * gemm_flop(predictor.spec, layer, inputs, classes) for layer in layers]
        if greedy
        else None,
        train_rows=len(shown),
    )


def _accuracies(
    predictor: Predictor, split: Split, rows: NDArray[np.int64], weights: NDArray[np.float64]
) -> list[float]:
    """Return the accuracy of each layer, of their plain sum, and of their weighted sum [L + 2]."""
    hits = np.zeros(len(weights) + 2, np.int64)
    for start in range(0, len(rows), EVALUATED):
        part = rows[start : start + EVALUATED]
        goodness = predictor.predict(split.inputs.take(part), layers=True).goodness
        assert goodness is not None
        sums = [goodness.sum(axis=1), (goodness * weights[:, None]).sum(axis=1)]
        scores = np.concatenate([goodness, np.stack(sums, axis=1)], axis=1)
        hits += (scores.argmax(axis=2) == np.asarray(split.labels[part])[:, None]).sum(axis=0)
    return [float(hit) / len(rows) for hit in hits]


def _traces(path: Path, layers: int) -> list[dict[str, list[float | None]]]:
    """Return each layer's records by name, to six digits."""
    records = [EpochRecord.read(line) for line in path.read_text().splitlines()]

    def rounded(value: float | None) -> float | None:
        return None if value is None else float(f"{value:.6g}")

    return [
        {name: [rounded(getattr(r, name)) for r in records if r.layer == layer] for name in TRACED}
        for layer in range(layers)
    ]


def document(benchmark: str, choice: Choice, taken: Iterable[Found]) -> dict[str, Any]:
    """Return everything found as one JSON document; units stand in the names."""
    return {
        "benchmark": benchmark,
        "machine": machine(),
        "versions": all_versions(),
        "settings": dataclasses.asdict(choice),
        "trials": [dataclasses.asdict(each) for each in taken],
    }
