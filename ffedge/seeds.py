"""Every random draw of a run, each from a source of its own that depends on the seed and on where the draw stands.

So a run needs no saved generator state to go on where it stopped, both engines see the same draws, and a batch gets the
same draws however it is cut into chunks. What is drawn for every row of a data set (its place in an epoch's order, its
wrong labels) is a function of the row, computed for the rows that are asked for: nothing is stored a row.

Shape letters: N places asked for.
"""

import math
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint64]

ROUNDS, FEW, ROUNDS_OF_FEW = 12, 64, 24
_FIRST, _SECOND = np.uint64(0xFF51AFD7ED558CCD), np.uint64(0xC4CEB9FE1A85EC53)  # MurmurHash3's 64-bit finaliser
_HALF = np.uint64(32)
_GOLDEN = 0x9E3779B97F4A7C15


class Draw(IntEnum):
    """What is drawn."""

    WEIGHTS = 0
    HOLDOUT = 1
    ORDER = 2
    NEGATIVES = 3
    DROPOUT = 4
    SHIFT = 5
    OTHER = 6
    READOUT = 7
    KEPT = 8
    GOODNESS = 9
    MIRROR = 10
    CUTOUT = 11
    TEST = 12


def generator(seed: int, draw: Draw, *where: int) -> "np.random.Generator":
    """Return the generator for one draw; `where` is the layer, or stage, epoch and step."""
    return np.random.default_rng([seed, draw, *where])


def key(words: int, seed: int, draw: Draw, *where: int) -> Words:
    """Return the key [words] of a draw that is a function of the row; `where` as for `generator`."""
    return np.random.SeedSequence([seed, draw, *where]).generate_state(words, np.uint64).astype(np.uint64)


def hashed(key: Words, places: NDArray[np.integer[Any]], index: int) -> Words:
    """Return a random word [N] for each place, another for each `index`; the key has two words."""
    step = np.uint64((int(key[1]) + index * _GOLDEN) % 2**64)
    return _mixed(_mixed(places.astype(np.uint64) ^ key[0]) + step)


class Permutation:
    """A random order of 0 to `count` - 1, of which any places are computed alone, in constant memory.

    Parameters
    ----------
    count : from 1 to 2**63 - 1.
    seed, draw, where : as for `generator`; another order for each.

    Notes
    -----
    A Feistel network (Luby and Rackoff 1988) that alternately adds a keyed hash of one half of a number to the other
    half, modulo its size. A number is ``right * a + left`` with ``left < a`` and ``right < b``, `a` and `b` near the
    square root of `count`, so that less than one number in `b` is beyond the last; such a number goes through the
    network again until it is not (Black and Rogaway 2002: cycle walking). Integers alone, so that every machine and
    every numpy gives the same. Halves of a few values mix slowly and take more rounds.
    """

    def __init__(self, count: int, seed: int, draw: Draw, *where: int) -> None:
        if not 1 <= count < 2**63:
            raise ValueError(f"count must be 1 to 2**63 - 1, got {count}")
        left = math.isqrt(count - 1) + 1
        self.count = count
        self._left, self._right = np.uint64(left), np.uint64(-(-count // left))
        self._keys = key(ROUNDS if count > FEW else ROUNDS_OF_FEW, seed, draw, *where)

    def at(self, places: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
        """Return what stands at the places [N], each from 0 to `count` - 1."""
        count = np.uint64(self.count)
        numbers = self._through(places.astype(np.uint64))
        beyond = np.flatnonzero(numbers >= count)
        while len(beyond):
            numbers[beyond] = self._through(numbers[beyond])
            beyond = beyond[numbers[beyond] >= count]
        return numbers.astype(np.int64)

    def _through(self, numbers: Words) -> Words:
        left, right = numbers % self._left, numbers // self._left
        for even, odd in self._keys.reshape(-1, 2):
            left += _folded(right ^ even)
            left %= self._left
            right += _folded(left ^ odd)
            right %= self._right
        right *= self._left
        right += left
        return right


def _folded(words: Words) -> Words:
    """Return the words [N] hashed to 32 bits, in their place: the sum with a half does not overflow."""
    words *= _FIRST
    words ^= words >> _HALF
    words *= _SECOND
    words >>= _HALF
    return words


def _mixed(words: Words) -> Words:
    """Return the words [N] hashed, in their place: a bijection of 64 bits."""
    words ^= words >> _HALF
    words *= _FIRST
    words ^= words >> _HALF
    words *= _SECOND
    words ^= words >> _HALF
    return words
