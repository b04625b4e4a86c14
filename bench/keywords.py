"""Synthetic spoken words in the shape of NeuroBench's keyword task, whose recordings (MSWC) are not needed here.

A language has 20 sounds of its own: some of 40 that all languages share, each a little changed. A word is three to six
of them. Who says it draws the length of each sound, when the word begins and ends, loudness, a colour of the voice (an
offset of each channel) and noise. A row is 20 channels of 24 frames (the task's own: 20 of 201), float32.

    base       5 languages of 20 words
    sessions   10 languages of 10 words
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
CHANNELS, FRAMES = 20, 24
SHARED, OWN = 40, 20  # sounds
BASE_WORDS, WORDS = (5, 20), (10, 10)  # languages, words of each
SHOTS = 5
NOISE, VOICE, ACCENT = 1.4, 0.8, 0.35


@dataclass(frozen=True)
class Part:
    """Rows [N, 480] and labels [N] to learn from, and to test by."""

    rows: Array
    labels: Array
    test_rows: Array
    test_labels: Array


def keywords(seed: int, base_rows: int, test_rows: int) -> list[Part]:
    """Return the base classes, then ten sessions of ten new classes with five shots each; so many rows of a class."""
    rng = np.random.default_rng(seed)
    shared = rng.standard_normal((SHARED, CHANNELS))
    base = [word for _ in range(BASE_WORDS[0]) for word in _language(rng, shared, BASE_WORDS[1])]
    sessions = [base, *(_language(rng, shared, WORDS[1]) for _ in range(WORDS[0]))]
    parts, first = [], 0
    for words in sessions:
        counts = (SHOTS if first else base_rows), test_rows
        rows, tests = (np.concatenate([_spoken(rng, word, count) for word in words]) for count in counts)
        numbers = np.arange(first, first + len(words))
        parts.append(Part(rows, np.repeat(numbers, counts[0]), tests, np.repeat(numbers, counts[1])))
        first += len(words)
    return parts


def _language(rng: np.random.Generator, shared: Array, words: int) -> list[Array]:
    own = shared[rng.permutation(SHARED)[:OWN]]
    sounds = own + ACCENT * rng.standard_normal(own.shape)
    return [sounds[rng.integers(0, OWN, rng.integers(3, 7))] for _ in range(words)]


def _spoken(rng: np.random.Generator, word: Array, count: int) -> Array:
    """Return a word [S, 20] as so many speakers say it."""
    said, times = np.empty((count, CHANNELS, FRAMES), np.float32), (np.arange(FRAMES) + 0.5) / FRAMES
    for row in said:
        ends = np.cumsum(rng.gamma(4.0, 1.0, len(word)))
        begins, stops = rng.uniform(0, 0.15), rng.uniform(0.8, 1)
        sound = np.searchsorted(begins + (stops - begins) * ends / ends[-1], times)
        frames, voiced = np.zeros((FRAMES, CHANNELS)), (times >= begins) & (sound < len(word))
        frames[voiced] = word[sound[voiced]]
        frames = (frames + np.roll(frames, 1, 0) + np.roll(frames, -1, 0)) / 3 * rng.uniform(0.7, 1.3)
        row[...] = (frames + VOICE * rng.standard_normal(CHANNELS) + NOISE * rng.standard_normal(frames.shape)).T
    return said.reshape(count, -1)
