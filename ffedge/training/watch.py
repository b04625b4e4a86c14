"""Who hears of a run: a watcher, for a person; the journal, which keeps what must survive."""

from dataclasses import dataclass
from pathlib import Path

from ffedge.model.calibration import Calibration
from ffedge.training.checkpoint import Checkpoints, Layer, Place, State
from ffedge.training.records import EpochRecord


@dataclass(frozen=True)
class Progress:
    """Where a run is, after a batch."""

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


class Watcher:
    """Is told how a run goes; does nothing."""

    def batch(self, progress: Progress) -> None:
        """Hear of a batch."""

    def epoch(self, records: list[EpochRecord]) -> None:
        """Hear of an epoch: a record for each layer that learnt."""

    def note(self, text: str) -> None:
        """Hear of what was chosen, or of something unexpected that did not end the run."""


class Journal(Watcher):
    """Keeps what must survive: the epochs' records and the state."""

    def __init__(self) -> None:
        self.records: list[EpochRecord] = []

    def epoch(self, records: list[EpochRecord]) -> None:
        """Keep the records."""
        self.records += records

    def calibrated(self, calibration: Calibration) -> None:
        """Keep what counts as known, once all layers have learnt."""

    def checkpoint(self, state: State, place: Place) -> None:
        """Keep the state of the layers that are learning; empty where a layer is not."""

    def keep(self, layer: int, arrays: Layer, *, finished: bool) -> Layer:
        """Put away a layer that is not learning (`finished`: any more); return its arrays from where they are now."""
        del layer, finished
        return arrays


class LayerFiles(Journal):
    """Keeps layers that are not learning in files of a folder, so that they take no memory."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.checkpoints = Checkpoints(folder)

    def keep(self, layer: int, arrays: Layer, *, finished: bool) -> Layer:
        """Write a layer into a file, and return views of it."""
        return self.checkpoints.keep(layer, arrays, finished=finished)
