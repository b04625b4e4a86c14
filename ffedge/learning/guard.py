"""What guards a model that goes on learning: kept examples of every class that it knew, by which forgetting shows."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ffedge.data.rows import Chosen, Joined
from ffedge.errors import ModelError
from ffedge.network import InputFacts
from ffedge.training.replay import Examples, kept_file

MAX_DROP = 0.01
MOST_NAMED = 3


@dataclass(frozen=True)
class Measured:
    """Accuracy on rows of one kind, before and after; fractions, None where there are none."""

    rows: int
    before: float | None
    after: float | None

    @property
    def drop(self) -> float:
        """How much it fell."""
        return 0.0 if self.before is None or self.after is None else self.before - self.after

    def lost(self, what: str, max_drop: float) -> str | None:
        """Say that it fell by more than it may; None where it did not."""
        if self.drop <= max_drop:
            return None
        return (
            f"accuracy on {self.rows} {what} would fall from {100 * (self.before or 0):.2f} % to "
            f"{100 * (self.after or 0):.2f} %, by more than `max_drop` {max_drop:g}"
        )


def to_check(learn: Examples, check: Examples) -> Examples:
    """Return the kept examples that accuracy is measured on: of a class that has none to check by, those to learn."""
    more = np.flatnonzero(~np.isin(learn.labels, check.labels))
    if learn.rows is None or not len(more):
        return check
    rows = Chosen(learn.rows, more)
    joined = rows if check.rows is None else Joined(check.rows, rows)
    return Examples(joined, np.concatenate([check.labels, learn.labels[more]]), check.seen)


def unchecked_classes(path: Path, facts: InputFacts, measured: Examples, *, force: bool) -> list[str]:
    """Return the classes that a model knew and of which nothing could tell that it forgets them.

    Raises
    ------
    ModelError
        There are some, and nobody wants it all the same.
    """
    missing = np.setdiff1d(np.arange(facts.n_classes), measured.labels)
    names = [facts.classes[number] for number in missing]
    if names and not force:
        shown = ", ".join(map(repr, names[:MOST_NAMED])) + (", …" if len(names) > MOST_NAMED else "")
        raise ModelError(
            f"{path}: stands as it was: no kept examples of {len(names)} of its {facts.n_classes} classes ({shown}), "
            f"so nothing would show that it forgets them. Copy {kept_file(path).name} beside it, pass rows that it "
            "learnt before as `replay_from`, or learn all the same with `force=True`"
        )
    return names
