"""Kept examples: rows of what a model has learnt from, and rows to check it by, in a file beside it.

The first kind are learnt again, against forgetting; the second kind were never learnt from, so that accuracy on them
tells what is forgotten. The file is a safetensors file of ``rows`` and ``check.rows`` [n, I] (uint8 or float32, as
the data came), ``labels`` and ``check.labels`` [n] (float32, whole numbers); its metadata hold the names of the
classes, and how many rows of each have come by.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ffedge.data import Rows, RowSource, Split
from ffedge.data.rows import Chosen, places
from ffedge.errors import DataError
from ffedge.files import atomic_file, behind_links, writing
from ffedge.json_text import parse
from ffedge.network import InputFacts
from ffedge.pages import on_disk, release
from ffedge.seeds import Draw, generator
from ffedge.tensors import TensorFile, write_tensors

Array = NDArray[Any]
Labels = NDArray[np.int64]
Offer = tuple[Split, Any]  # rows that may be kept: some of a split, indexed like an array
BLOCK_BYTES = 2**20
KEPT_BYTES = 4 * 2**20
MOST_KEPT = 2**14  # rows of a kind, so that choosing among small ones takes little time and memory
CHECK_SHARE = 0.2  # of the room
LABEL_BLOCK = 2**14
KINDS = ("", "check.")


class Reservoir:
    """Says for each row of a stream which place it takes: as many of each class, each class's drawn evenly over time.

    Class-balancing reservoir sampling (Chrysakis and Moens 2020, Algorithm 1): while there is room every row is taken;
    then a row of a class that was never the largest takes the place of one of the largest class, and a row of the
    others that of one of its own class, with the probability that keeps all rows of the class equally likely.

    Parameters
    ----------
    capacity : places.
    labels : [n] of the rows that stand in the first places already.
    seen : [C] rows of each class that have come by, those included.
    """

    def __init__(self, capacity: int, labels: Labels, seen: Labels, rng: np.random.Generator) -> None:
        self._rng = rng
        self.labels = np.full(capacity, -1, np.int64)
        self.labels[: len(labels)] = labels
        self.count = len(labels)
        self._places = np.bincount(labels, minlength=len(seen))  # of each class
        self.seen = np.maximum(seen, self._places)
        self._full = np.zeros(len(seen), np.bool_)  # whether a class has ever been the largest

    def offer(self, labels: Labels) -> Labels:
        """Return the place [N] of each row with a label [N] of the next ones; -1 where it takes none."""
        result, ranks = np.full(len(labels), -1, np.int64), self.seen[labels] + _ranks(labels)
        self.seen += np.bincount(labels, minlength=len(self.seen))
        if not len(self.labels):
            return result
        free = min(len(labels), len(self.labels) - self.count)
        result[:free] = np.arange(self.count, self.count + free)
        self.labels[self.count : self.count + free] = labels[:free]
        self.count += free
        self._places += np.bincount(labels[:free], minlength=len(self._places))
        drawn = self._rng.random(len(labels))
        if self.count == len(self.labels):
            self._full |= self._places == self._places.max()
        enters = ~self._full[labels] | (drawn * ranks < self._places[labels])
        enters[:free] = False
        for row in np.flatnonzero(enters):
            label = int(labels[row])
            if not self._full[label] or drawn[row] * ranks[row] < self._places[label]:  # as it is by now
                result[row] = self._replace(label)
        return result

    def _replace(self, label: int) -> int:
        leaves = label if self._full[label] else int(self._places.argmax())
        candidates = np.flatnonzero(self.labels == leaves)
        if not len(candidates):  # all of the class have gone since its rows were drawn
            return -1
        place = int(candidates[self._rng.integers(len(candidates))])
        self.labels[place] = label
        self._places[leaves] -= 1
        self._places[label] += 1
        self._full |= self._places == self._places.max()
        return place


def _ranks(labels: Labels) -> Labels:
    """Return which one of its class each row is, from 1."""
    order = np.argsort(labels, kind="stable")
    ordered = labels[order]
    result = np.empty(len(labels), np.int64)
    result[order] = np.arange(1, len(labels) + 1) - np.searchsorted(ordered, ordered)
    return result


@dataclass(frozen=True)
class Examples:
    """Examples of one kind.

    Attributes
    ----------
    rows : [n, I]; None where there is none.
    labels : [n] of the model's classes.
    seen : [C] rows of each class that have come by.
    """

    rows: RowSource | None
    labels: Labels
    seen: Labels

    def __len__(self) -> int:
        """Return n."""
        return len(self.labels)

    def take(self, indices: Labels) -> Array:
        """Return the rows [m, I] at some places; there must be examples."""
        assert self.rows is not None
        return self.rows.take(indices).reshape(len(indices), -1)


def kept_file(model: Path) -> Path:
    """Return where a model's examples stand."""
    model = behind_links(model)
    return model.with_name(f"{model.name.removesuffix('.onnx')}.kept.safetensors")


def no_examples(facts: InputFacts) -> Examples:
    """Return none."""
    return Examples(None, np.zeros(0, np.int64), np.zeros(facts.n_classes, np.int64))


def read_kept(path: Path, facts: InputFacts) -> tuple[Examples, Examples]:
    """Read the examples of a model, to learn from and to check by; rows of classes that it does not know are left out.

    Raises
    ------
    DataError
        The file is damaged, or belongs to other data.
    """
    if not path.exists():
        return no_examples(facts), no_examples(facts)
    try:
        file = TensorFile(path)
        file.check()
        names = parse(file.metadata["classes"])
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise ValueError("classes must be names")
        learn, check = (_read(file, kind, names, facts) for kind in KINDS)
    except (KeyError, TypeError, ValueError, OSError) as error:
        raise DataError(f"{path}: cannot be used ({error}). Remove it, or pass `replay_from`") from error
    return learn, check


def _read(file: TensorFile, kind: str, names: list[str], facts: InputFacts) -> Examples:
    counts = parse(file.metadata[f"{kind}seen"])
    if not all(isinstance(n, int) and 0 <= n < 1 << 53 for n in counts) or len(counts) != len(names):
        raise ValueError("seen must be a count for each class")
    numbers = np.array([facts.classes.index(n) if n in facts.classes else -1 for n in names] or [-1], np.int64)
    seen = np.zeros(facts.n_classes, np.int64)
    for number, count in zip(numbers, counts, strict=True):
        if number >= 0:
            seen[number] = count
    none = Examples(None, np.zeros(0, np.int64), seen)
    if f"{kind}rows" not in file.arrays:
        return none
    rows, labels = file.arrays[f"{kind}rows"], file.arrays[f"{kind}labels"]
    if rows.shape != (len(labels), facts.size) or rows.dtype != facts.dtype or labels.ndim != 1:
        raise ValueError(f"it holds rows of {rows.dtype} {list(rows.shape)}, not of this model's data")
    if not ((labels >= 0) & (labels < len(names)) & (labels == np.floor(labels))).all():
        raise ValueError("a label must be a class's number")
    labels = numbers[labels.astype(np.int64)]
    usable = np.flatnonzero(labels >= 0)
    if not len(usable):
        return none
    source = Rows(file.path, file.offsets[f"{kind}rows"], rows.shape, np.dtype(facts.dtype))
    return Examples(Chosen(source, usable) if len(usable) < len(labels) else source, labels[usable], seen)


def keep(
    path: Path,
    facts: InputFacts,
    old: tuple[Examples, Examples],
    new: tuple[Offer, Offer],
    most_bytes: int,
    seed: int,
    like: Path | None = None,
) -> None:
    """Write the examples of a model: some of the old ones, and some of the rows that have come since.

    Parameters
    ----------
    new : rows that were learnt from, and rows that were held out.
    most_bytes : that the rows may take; of each kind there are 16,384 at most.
    like : the file whose permissions a new file gets.
    """
    room = int(CHECK_SHARE * most_bytes) if len(old[1]) + len(new[1][1]) else 0
    learn = _sampled(path.parent, facts, old[0], new[0], most_bytes - room, seed)
    check = _sampled(path.parent, facts, old[1], new[1], room, seed)
    write_kept(path, facts, learn, check, like)


def _sampled(
    folder: Path, facts: InputFacts, old: Examples, new: Offer, most_bytes: int, seed: int
) -> tuple[Array, Labels, Labels]:
    """Draw from old and new rows; return those drawn, in a file without a name, their labels, and what was seen."""
    (split, which), row_bytes = new, facts.size * np.dtype(facts.dtype).itemsize
    capacity = min(most_bytes // (row_bytes + 4), MOST_KEPT, len(old) + len(which))
    rng = generator(seed, Draw.KEPT, int(old.seen.sum()))  # another one each time
    first = rng.permutation(len(old))[:capacity]
    reservoir = Reservoir(capacity, old.labels[first], old.seen, rng)
    source = np.full(capacity, -1, np.int64)  # an old row, or beyond them a place among the new ones
    source[: len(first)] = first
    for part in places(len(which), LABEL_BLOCK):
        taken = reservoir.offer(np.asarray(split.labels[which[part]], np.int64))
        source[taken[taken >= 0]] = len(old) + part[taken >= 0]
    count = reservoir.count
    if not count:
        return np.empty((0, facts.size), facts.dtype), np.zeros(0, np.int64), reservoir.seen
    with writing(folder):  # not in memory, which may be short
        file = on_disk((-(-count * row_bytes // 4),), folder).view(np.uint8)[: count * row_bytes]
    rows: Array = file.view(facts.dtype).reshape(count, facts.size)
    for at in places(count, max(1, BLOCK_BYTES // row_bytes)):
        part, block = source[at], rows[at[0] : at[-1] + 1]
        is_old = part < len(old)
        if is_old.any():
            block[is_old] = old.take(part[is_old])
        if not is_old.all():
            fresh = split.inputs.take(which[part[~is_old] - len(old)])
            block[~is_old] = fresh.reshape(len(fresh), -1)
        release(rows)
    return rows, reservoir.labels[:count], reservoir.seen


def write_kept(
    path: Path,
    facts: InputFacts,
    learn: tuple[Array, Labels, Labels],
    check: tuple[Array, Labels, Labels],
    like: Path | None = None,
) -> None:
    """Write examples of both kinds: rows [n, I], labels [n], and how many of each class have come by [C].

    A new file gets the permissions of the file `like`: who may not read the model may not read what it learnt from.

    Raises
    ------
    FfedgeError
        The disk is full or the folder cannot be written.
    """
    tensors: dict[str, Array] = {}
    about = {"classes": json.dumps(list(facts.classes))}
    for kind, (rows, labels, seen) in zip(KINDS, (learn, check), strict=True):
        about[f"{kind}seen"] = json.dumps(seen.tolist())
        if len(rows):
            tensors |= {f"{kind}rows": rows, f"{kind}labels": labels.astype(np.float32)}
    with atomic_file(path, like=like) as temporary:
        write_tensors(temporary, tensors, about)
