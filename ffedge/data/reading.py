"""How a data set is read where its files leave that open, and who hears of it."""

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, Self

SIDES = (8, 2048)
MOST_BINS, BINS = 64, 2  # of an event recording; without a number


class Listener:
    """Is told what becomes of files as they are read; does nothing."""

    def note(self, text: str) -> None:
        """Hear of what was chosen, or of something unexpected that did not end the work."""

    def read(self, rows: int, total: int | None) -> None:
        """Hear how many rows of a data set have been read so far, of how many, where that is known."""


@dataclass(frozen=True)
class Reading:
    """What a user says of how a data set is to be read.

    Attributes
    ----------
    size : height and width in pixels that pictures in class folders are brought to, or that an event camera has; one
        number for both; None chooses.
    colour : whether pictures keep their colour; None: if they have any.
    skip_broken : leave out pictures or recordings that cannot be read, instead of refusing them all.
    test : rows to test on: another data set, or the share of the rows that is taken aside for it, the same of each
        class, always the same ones; None takes those that the data set comes with.
    bins : into how many parts the time of a recording of events is cut; None: 2.
    """

    size: tuple[int, int] | int | None = None
    colour: bool | None = None
    skip_broken: bool = False
    test: str | float | None = None
    bins: int | None = None

    def __post_init__(self) -> None:
        """Raise ValueError for what cannot be."""
        size = (self.size, self.size) if isinstance(self.size, int) else self.size and tuple(self.size)
        if size is not None:
            if len(size) != 2 or not all(type(side) is int and SIDES[0] <= side <= SIDES[1] for side in size):
                raise ValueError(f"`size` must be one or two whole numbers from {SIDES[0]} to {SIDES[1]}, got {size!r}")
            object.__setattr__(self, "size", size)
        if isinstance(self.test, float | int) and not (0 < self.test < 1 and math.isfinite(self.test)):
            raise ValueError(f"`test` must be a data set, or a share of the rows between 0 and 1, got {self.test!r}")
        if self.bins is not None and not (type(self.bins) is int and 1 <= self.bins <= MOST_BINS):
            raise ValueError(f"`bins` must be a whole number from 1 to {MOST_BINS}, got {self.bins!r}")

    @property
    def of_files(self) -> tuple[str, ...]:
        """The fields that are given and for files in class folders."""
        names = ("size", "bins", "skip_broken")
        given = tuple(name for name in names if getattr(self, name) not in (None, False))
        return given if self.colour is None else (*given, "colour")

    def to_dict(self) -> dict[str, Any]:
        """Return what is not as it is by default, as plain numbers, lists and strings."""
        pairs = ((field, getattr(self, field.name)) for field in dataclasses.fields(self))
        return {f.name: list(v) if isinstance(v, tuple) else v for f, v in pairs if v != f.default}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Read what `to_dict` wrote; TypeError or ValueError where it did not."""
        return cls(**data)
