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

from ffedge.data import Rows, RowSource
from ffedge.data.rows import Chosen, places
from ffedge.errors import DataError
from ffedge.files import atomic_file, behind_links, writing
from ffedge.json_text import parse
from ffedge.network import InputFacts
from ffedge.pages import on_disk, release
from ffedge.tensors import TensorFile, write_tensors
from ffedge.training.chooser import Chooser

Array = NDArray[Any]
Labels = NDArray[np.int64]
BLOCK_BYTES = 2**20
KEPT_BYTES = 4 * 2**20
MOST_KEPT = 2**14  # rows of a kind, so that choosing among small ones takes little time and memory
CHECK_SHARE = 0.2  # of the room
LABEL_BLOCK = 2**14
KINDS = ("", "check.")


@dataclass(frozen=True)
class Kept:
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


@dataclass(frozen=True)
class Offer:
    """Rows that may be kept: some places of a data set's split, indexed like an array."""

    rows: RowSource
    labels: Any
    which: Any


def kept_file(model: Path) -> Path:
    """Return where a model's examples stand."""
    model = behind_links(model)
    return model.with_name(f"{model.stem}.kept.safetensors")


def nothing_kept(facts: InputFacts) -> Kept:
    """Return no examples."""
    return Kept(None, np.zeros(0, np.int64), np.zeros(facts.n_classes, np.int64))


def read_kept(path: Path, facts: InputFacts) -> tuple[Kept, Kept]:
    """Read the examples of a model, to learn from and to check by; rows of classes that it does not know are left out.

    Raises
    ------
    DataError
        The file is damaged, or belongs to other data.
    """
    if not path.exists():
        return nothing_kept(facts), nothing_kept(facts)
    try:
        file = TensorFile(path)
        names = parse(file.metadata["classes"])
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise ValueError("classes must be names")
        learn, check = (_read(file, path, kind, names, facts) for kind in KINDS)
    except (KeyError, TypeError, ValueError, OSError) as error:
        raise DataError(f"{path}: cannot be used ({error}). Remove it, or pass `replay_from`") from error
    return learn, check


def _read(file: TensorFile, path: Path, kind: str, names: list[str], facts: InputFacts) -> Kept:
    seen, counts = parse(file.metadata[f"{kind}seen"]), np.zeros(facts.n_classes, np.int64)
    if not all(isinstance(n, int) and 0 <= n < 1 << 53 for n in seen) or len(seen) != len(names):
        raise ValueError("seen must be a count for each class")
    number = np.array([facts.classes.index(n) if n in facts.classes else -1 for n in names] or [-1], np.int64)
    for place, count in zip(number, seen, strict=True):
        if place >= 0:
            counts[place] = count
    if f"{kind}rows" not in file.arrays:
        return Kept(None, np.zeros(0, np.int64), counts)
    rows, labels = file.arrays[f"{kind}rows"], file.arrays[f"{kind}labels"]
    if rows.shape != (len(labels), facts.size) or rows.dtype != facts.dtype or labels.ndim != 1:
        raise ValueError(f"it holds rows of {rows.dtype} {list(rows.shape)}, not of this model's data")
    if not ((labels >= 0) & (labels < len(names)) & (labels == np.floor(labels))).all():
        raise ValueError("a label must be a class's number")
    mine = number[labels.astype(np.int64)]
    known = np.flatnonzero(mine >= 0)
    if not len(known):
        return Kept(None, np.zeros(0, np.int64), counts)
    source = Rows(path, file.offsets[f"{kind}rows"], rows.shape, np.dtype(facts.dtype))
    return Kept(Chosen(source, known) if len(known) < len(mine) else source, mine[known], counts)


def keep(
    path: Path,
    facts: InputFacts,
    old: tuple[Kept, Kept],
    new: tuple[Offer, Offer],
    most_bytes: int,
    seed: int,
    like: Path | None = None,
) -> tuple[int, int]:
    """Write the examples of a model: some of the old ones, and some of the rows that have come since.

    Parameters
    ----------
    new : rows that were learnt from, and rows that were held out.
    most_bytes : that the rows may take; of each kind there are 16,384 at most.
    like : the file whose permissions a new file gets.

    Returns
    -------
    tuple of int
        How many are kept of each kind.
    """
    room = int(CHECK_SHARE * most_bytes) if len(old[1]) + len(new[1].which) else 0
    learn = _chosen(path.parent, facts, old[0], new[0], most_bytes - room, seed)
    check = _chosen(path.parent, facts, old[1], new[1], room, seed)
    write_kept(path, facts, learn, check, like)
    return len(learn[1]), len(check[1])


def _chosen(
    folder: Path, facts: InputFacts, old: Kept, new: Offer, most_bytes: int, seed: int
) -> tuple[Array, Labels, Labels]:
    """Choose among old and new rows; return those chosen, in a file without a name, their labels, and what was seen."""
    size = facts.size * np.dtype(facts.dtype).itemsize
    capacity = min(most_bytes // (size + 4), MOST_KEPT, len(old) + len(new.which))
    rng = np.random.default_rng([seed, len(old)])
    first = rng.permutation(len(old))[:capacity]
    chooser = Chooser(capacity, old.labels[first], old.seen, rng)
    source = np.full(capacity, -1, np.int64)  # an old row, or beyond them a place among the new ones
    source[: len(first)] = first
    for part in places(len(new.which), LABEL_BLOCK):
        taken = chooser.offer(np.asarray(new.labels[new.which[part]], np.int64))
        source[taken[taken >= 0]] = len(old) + part[taken >= 0]
    count = chooser.count
    if not count:
        return np.empty((0, facts.size), facts.dtype), np.zeros(0, np.int64), chooser.seen
    with writing(folder):  # not in memory, which may be short
        whole = on_disk((-(-count * size // 4),), folder).view(np.uint8)[: count * size]
    held: Array = whole.view(facts.dtype).reshape(count, facts.size)
    for at in places(count, max(1, BLOCK_BYTES // size)):
        part, block = source[at], held[at[0] : at[-1] + 1]
        before, after = np.flatnonzero(part < len(old)), np.flatnonzero(part >= len(old))
        if old.rows is not None and len(before):
            block[before] = old.rows.take(part[before]).reshape(len(before), -1)
        if len(after):
            block[after] = new.rows.take(new.which[part[after] - len(old)]).reshape(len(after), -1)
        release(held)
    return held, chooser.labels[:count], chooser.seen


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
