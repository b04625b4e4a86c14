"""Who hears of a run: a watcher, for a person; the journal, which keeps what must survive."""

from dataclasses import dataclass

from ffedge.training.checkpoint import Place, State
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


class Journal(Watcher):
    """Keeps what must survive: the epochs' records and the state."""

    def __init__(self) -> None:
        self.records: list[EpochRecord] = []

    def epoch(self, records: list[EpochRecord]) -> None:
        """Keep the records."""
        self.records += records

    def checkpoint(self, state: State, place: Place, *, sync: bool) -> None:
        """Keep the state."""
