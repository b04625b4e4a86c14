"""Trains the trials of `ffedge bench --paper`, one after the other.

A trial is a run of `ffedge.training` in its own folder, which goes on where it was stopped; what it found stands in its
own file, and is not trained again.
"""

import contextlib
import dataclasses
import itertools
import json
import os
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ffedge.compare.gemm import gemm_flop_per_s
from ffedge.compare.measure import first_rows
from ffedge.compare.measurer import Progress
from ffedge.compare.paper_found import CURVE_ROWS, Found, found
from ffedge.compare.paper_trials import CHUNK_ROWS, CONTROL, Trial
from ffedge.data import load
from ffedge.errors import FfedgeError
from ffedge.files import atomic_file
from ffedge.training.checkpoint import Checkpoints
from ffedge.training.records import EpochRecord
from ffedge.training.run import train
from ffedge.training.study import Study
from ffedge.training.watch import Progress as Batch
from ffedge.training.watch import Watcher


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
        return self.known(trials)

    def known(self, trials: Sequence[Trial]) -> list[Found]:
        """Return what those of the trials found that are finished."""
        return [self._read(trial) for trial in trials if self._file(trial).exists()]

    def _file(self, trial: Trial) -> Path:
        return self.out / f"{trial.name}.json"

    def _read(self, trial: Trial) -> Found:
        path = self._file(trial)
        try:
            known = Found(**json.loads(path.read_text()))
        except (TypeError, ValueError) as error:
            raise FfedgeError(
                f"{path}: is no result of a trial ({error}). Remove it, or choose another --out"
            ) from error
        if known.trial != json.loads(json.dumps(dataclasses.asdict(trial))):
            raise FfedgeError(f"{path}: is the result of another trial. Choose another --out")
        return known

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
            layers = len(run.report.layers)
            temporary.write_text(json.dumps(dataclasses.asdict(found(trial, run, dataset, watch.cpu_s(layers)))))
        shutil.rmtree(folder)
        with contextlib.suppress(OSError):  # others may be at work there
            folder.parent.rmdir()

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

    def cpu_s(self, layers: int) -> list[float | None]:
        """Return the seconds of a mean epoch of each layer; None where none was seen."""
        return [self._spent[i] / self._epochs[i] if i in self._epochs else None for i in range(layers)]


def limits(threads: int, widths: Sequence[int], inputs: int = 784 - 10) -> dict[str, float]:
    """Measure a lone matrix product of each layer's shape: floating-point operations a second."""
    shapes = [(CHUNK_ROWS, inputs, widths[0])] + [
        (2 * CHUNK_ROWS, one, other) for one, other in itertools.pairwise(widths)
    ]
    return {" x ".join(map(str, shape)): gemm_flop_per_s(*shape, threads) for shape in dict.fromkeys(shapes)}
