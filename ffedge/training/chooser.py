"""Which rows of a stream to keep as examples: the same number of each class, each class's drawn evenly over time.

Class-balancing reservoir sampling (Chrysakis and Moens 2020, Algorithm 1): while there is room every row is kept; then
a row of a class that was never the largest takes the place of one of the largest class, and a row of the others that of
one of its own class, with the probability that keeps all rows of the class equally likely.
"""

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.int64]


class Chooser:
    """Says for each row of a stream which place it takes.

    Parameters
    ----------
    capacity : places.
    labels : [n] of the rows that are kept already, in the first places.
    seen : [C] rows of each class that have come by, those included.
    """

    def __init__(self, capacity: int, labels: Labels, seen: Labels, rng: np.random.Generator) -> None:
        self._rng = rng
        self.labels = np.full(capacity, -1, np.int64)
        self.labels[: len(labels)] = labels
        self.count = len(labels)
        self.seen = np.maximum(seen, np.bincount(labels, minlength=len(seen)))
        self._held = np.bincount(labels, minlength=len(seen))
        self._full = np.zeros(len(seen), np.bool_)

    def offer(self, labels: Labels) -> Labels:
        """Return the place [N] of each row with a label [N] of the next ones; -1 where it is not kept."""
        places = np.full(len(labels), -1, np.int64)
        if not len(self.labels):
            self.seen += np.bincount(labels, minlength=len(self.seen))
            return places
        free = min(len(labels), len(self.labels) - self.count)
        places[:free] = np.arange(self.count, self.count + free)
        self.labels[self.count : self.count + free] = labels[:free]
        self.count += free
        self._held += np.bincount(labels[:free], minlength=len(self._held))
        ranks = self.seen[labels] + _ranks(labels)
        self.seen += np.bincount(labels, minlength=len(self.seen))
        drawn = self._rng.random(len(labels))
        if self.count == len(self.labels):
            self._full |= self._held == self._held.max()
        chosen = ~self._full[labels] | (drawn * ranks < self._held[labels])
        chosen[:free] = False
        for row in np.flatnonzero(chosen):
            places[row] = self._replace(int(labels[row]))
        return places

    def _replace(self, label: int) -> int:
        """Return the place of a row that goes for a row with a label."""
        leaves = label if self._full[label] else int(self._held.argmax())
        places = np.flatnonzero(self.labels == leaves)
        if not len(places):  # all of the class have gone since its rows were drawn
            return -1
        place = int(places[self._rng.integers(len(places))])
        self.labels[place] = label
        self._held[leaves] -= 1
        self._held[label] += 1
        self._full |= self._held == self._held.max()
        return place


def _ranks(labels: Labels) -> Labels:
    """Return which one of its class each row is, from 1."""
    order = np.argsort(labels, kind="stable")
    ranked = np.arange(1, len(labels) + 1)
    ordered = labels[order]
    starts = np.searchsorted(ordered, ordered)
    result = np.empty(len(labels), np.int64)
    result[order] = ranked - starts
    return result
