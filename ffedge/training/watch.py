"""Who hears of a run: a watcher, for a person; the journal, which keeps what must survive."""

from dataclasses import dataclass
from pathlib import Path

from ffedge.data import Listener
from ffedge.model.calibration import Calibration
from ffedge.training.checkpoint import Checkpoints, Layer, Place, State
from ffedge.training.records import EpochRecord


@dataclass(frozen=True)
class Progress:
    """Where a run is, after a batch.

    Attributes
    ----------
    stage, stages : layers learn one after the other (a stage each) or together (one stage); counts from 0.
    layers : those that learn now, from 0.
    epoch, epochs : of this stage, from 0.
    batch, batches, samples : of this epoch; how many are done, and of how many batches.
    loss : mean over the epoch so far; NaN where the layers, on threads of their own, have learnt from no batch yet.
    rss_bytes : of the process; 0 where it was not measured at this batch.
    """

    stage: int
    stages: int
    layers: list[int]
    epoch: int
    epochs: int
    batch: int
    batches: int
    samples: int
    loss: float
    rss_bytes: int


class Watcher(Listener):
    """Is told how a run goes; does nothing: one of your own is the `watcher` of `ffedge.train` or `ffedge.learn`."""

    def begun(self, run: Path) -> None:
        """Hear which folder a training run has, before its first batch."""

    def batch(self, progress: Progress) -> None:
        """Hear of a batch."""

    def epoch(self, records: list[EpochRecord]) -> None:
        """Hear of an epoch: a record for each layer that learnt."""


class Journal:
    """Keeps what must survive: the epochs' records and the layers.

    Parameters
    ----------
    folder : where layers that are not learning are put, so that they take no memory; None leaves them in memory.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.records: list[EpochRecord] = []
        self._layers: Checkpoints | None = None if folder is None else Checkpoints(folder)

    def epoch(self, records: list[EpochRecord]) -> None:
        """Take an epoch's records."""
        self.records += records

    def calibrated(self, calibration: Calibration) -> None:
        """Take what counts as known, once all layers have learnt."""

    def checkpoint(self, state: State, place: Place) -> None:
        """Take the state of the layers that are learning; empty where a layer is not."""

    def keep(self, layer: int, arrays: Layer, *, finished: bool) -> Layer:
        """Put away a layer that is not learning (`finished`: any more); return its arrays from where they are now."""
        return arrays if self._layers is None else self._layers.keep(layer, arrays, finished=finished)
