"""Files in a folder for each class, read once to arrays in the cache: from then on a data set like any other.

    photos/train/cat/1.jpg, photos/train/dog/2.png, …      photos/test/cat/3.jpg, … (or valid, val)

What the files are, pictures or recordings of events, and how one becomes a row: `ffedge.data.folder_kinds`.

What was read is found again by the names, sizes and times of all files. The copy of a folder replaces the one before.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ffedge.data.arrays import read_npy
from ffedge.data.cache_folder import TO_MEND, filling, sha256_of, writable_folder
from ffedge.data.copy_batches import copied
from ffedge.data.files import ARRAYS
from ffedge.data.folder_kinds import KINDS, Kind
from ffedge.data.reading import Listener, Reading
from ffedge.data.rows import Rows
from ffedge.errors import DataError, StoppedError, one_line
from ffedge.files import atomic_file, free_bytes, in_turn

Stop = Callable[[], bool]
TRAIN, TESTS = "train", ("test", "valid", "validation", "val")
LOOKED_AT = 64  # files, to choose how they are read
BATCH_BYTES, BATCH_ROWS = 1 << 20, 256
FORMAT = 2  # of what stands in the cache


def holds_folders(path: Path) -> bool:
    """Tell whether a folder holds others, as it does where each is a class."""
    return any(_folders(path))


def arrays_of_classes(
    path: Path, reading: Reading, shape: tuple[int, ...] | None, hear: Listener, stop: Stop = lambda: False
) -> tuple[Rows, ...]:
    """Open the files of a folder as arrays.

    Parameters
    ----------
    path : holds a folder for each class; or ``train`` that does and, if there is a test split, ``test`` or ``valid``.
    shape : of a row, where a model has one; else `reading` says it, or the files do.
    hear : is told of what is left out, and of each batch.
    stop : asked before each file; True ends the reading with a StoppedError.

    Returns
    -------
    tuple of Rows
        Train inputs uint8 (pictures ``[N, H, W]`` or ``[N, H, W, 3]``, events ``[N, 2 T, H, W]``), train labels and,
        if there is a test split, test inputs, test labels.

    Raises
    ------
    DataError
        There are no such files, one cannot be read (without `skip_broken`), or the cache cannot be written.
    ValueError
        `reading` asks for what plays no part for such files.
    """
    train, test = _splits(path, hear)
    kind = _kind_of(train)
    if idle := [name for name in reading.of_files if name not in kind.takes]:
        raise ValueError(f"`{idle[0]}` plays no part for {path}, a folder of {kind.noun}s. Leave it out")
    parts = _opened(_Folder.of(train, kind, hear), reading, shape, hear, stop)
    if test is None:
        return parts
    return parts + _opened(_Folder.of(test, kind, hear), reading, parts[0].row_shape, hear, stop)


def files_in(path: Path) -> Iterator[Path]:
    """Yield the files of a folder and of the folders in it that are of the kind most found there, ordered by name."""
    folders = [path, *(path / name for name in _folders(path))]
    kind = _most_found(folders) or KINDS[0]
    for folder in folders:
        yield from (folder / name for name in _files(folder, kind))


def _kind_of(path: Path) -> Kind:
    """Return the kind of which there are most files in a folder of class folders."""
    if kind := _most_found(path / name for name in _folders(path)):
        return kind
    all_kinds = " or ".join(f"{kind.noun}s ({_suffixes(kind)})" for kind in KINDS)
    raise DataError(f"{path}: holds no folder with {all_kinds} for each class. Pass another folder")


def _most_found(folders: Iterable[Path]) -> Kind | None:
    """Return the kind of which some folders hold most files, the first of two that are level; None without any."""
    found = [0] * len(KINDS)
    for folder in folders:
        for at, kind in enumerate(KINDS):
            found[at] += sum(1 for _ in _files(folder, kind))
    return KINDS[found.index(max(found))] if any(found) else None


@dataclass(frozen=True)
class _Folder:
    """What a folder of class folders holds.

    Attributes
    ----------
    counts : files of each class.
    digest : of all files' names, sizes and times.
    """

    path: Path
    kind: Kind
    counts: dict[str, int]
    digest: str

    @classmethod
    def of(cls, path: Path, kind: Kind, hear: Listener) -> "_Folder":
        """Look through a folder; say what of it plays no part."""
        counts: dict[str, int] = {}
        digest, strays = hashlib.sha256(), [path / name for name in _names(path) if _is_stray(path / name)]
        count, first = len(strays), strays[:1]
        for name in _folders(path):
            if one_line(name) != name:
                raise DataError(f"{path}: has a folder {name!r}, whose name is no line of plain text. Rename it")
            number = 0
            for file in _names(path / name):
                if _is_of(kind, file):
                    number += 1
                    digest.update(_identity(path / name / file))
                else:
                    count, first = count + 1, first or [path / name / file]
            if number:
                counts[name] = number
            else:
                hear.note(f"{path / name}: holds no {kind.noun}, and is no class")
        if first:
            more = f", the first of {count}" if count > 1 else ""
            hear.note(f"{first[0]}: is no {kind.noun} and was left out{more}")
        if not counts:
            raise DataError(f"{path}: holds no folder with {kind.noun}s ({_suffixes(kind)}) for each class")
        return cls(path, kind, counts, digest.hexdigest())

    @property
    def total(self) -> int:
        """Files of all classes."""
        return sum(self.counts.values())

    def files(self, name: str) -> Iterator[Path]:
        """Yield the files of a class."""
        return (self.path / name / file for file in _files(self.path / name, self.kind))

    def spread(self, count: int) -> Iterator[Path]:
        """Yield about `count` files, spread evenly over all."""
        step, at = max(1, self.total // count), 0
        for name in self.counts:
            for file in self.files(name):
                if at % step == 0:
                    yield file
                at += 1


def _splits(path: Path, hear: Listener) -> tuple[Path, Path | None]:
    """Return the folders of the train and the test split; a class may be named ``train`` where it holds files."""
    train = path / TRAIN
    if not (train.is_dir() and holds_folders(train)):
        return path, None
    tests = [path / name for name in TESTS if (path / name).is_dir()]
    for other in (name for name in _names(path) if path / name not in (train, *tests[:1])):
        hear.note(f"{path / other}: plays no part beside {train}" + (f" and {tests[0]}" if tests else ""))
    return train, tests[0] if tests else None


def _opened(
    folder: _Folder, reading: Reading, shape: tuple[int, ...] | None, hear: Listener, stop: Stop
) -> tuple[Rows, Rows]:
    """Return inputs and labels: from the cache, or read now."""
    if shape and not folder.kind.fits(shape):
        raise DataError(f"{folder.path}: holds {folder.kind.noun}s, but the model takes rows of shape {list(shape)}")
    how = [reading.size, reading.colour, *([reading.bins] if reading.bins else [])]
    asked = [FORMAT, os.path.realpath(folder.path), shape or how]
    key = hashlib.sha256(json.dumps(asked).encode(errors="surrogateescape")).hexdigest()
    place = writable_folder("pictures", key)
    about = place / "about.json"
    with filling(place), in_turn(about):
        found = _stored(about, folder, skip_broken=reading.skip_broken)
        if found is None:
            about.unlink(missing_ok=True)
            shape = shape or folder.kind.shape(folder.spread(LOOKED_AT), reading)
            found = {"digest": folder.digest, "shape": list(shape)} | _decode(folder, place, reading, shape, hear, stop)
            with atomic_file(about, TO_MEND, DataError) as temporary:
                temporary.write_text(json.dumps(found))
        else:
            hear.note(f"{folder.path}: {_said(folder, tuple(found['shape']))}, as read before")
    if found["broken"]:
        more = f", the first of {found['broken']}" if found["broken"] > 1 else ""
        hear.note(f"{found['first'].removesuffix('.')}. It was left out{more}")
    x, y = (read_npy(place / f"{name}.npy", str(folder.path), found[name]) for name in ARRAYS[:2])
    return x, y


def _stored(about: Path, folder: _Folder, *, skip_broken: bool) -> dict[str, Any] | None:
    """Return what is known of the arrays in the cache, where they are of this folder as it is now, and undamaged."""
    try:
        found = json.loads(about.read_text())
        whole = all(sha256_of(about.with_name(f"{name}.npy")) == found[name] for name in ARRAYS[:2])
        if whole and found["digest"] == folder.digest and (skip_broken or not found["broken"]):
            return dict(found)
    except (OSError, ValueError, KeyError, TypeError, DataError):
        pass
    return None


def _decode(
    folder: _Folder, place: Path, reading: Reading, shape: tuple[int, ...], hear: Listener, stop: Stop
) -> dict[str, Any]:
    """Write the arrays to the cache; return the sha256 of each, how many files are broken, and of the first why."""
    hear.note(f"{folder.path}: reads {_said(folder, shape)}")
    row_bytes = int(np.prod(shape))
    _check_room(place, folder.total * row_bytes, folder.kind)
    for name in ARRAYS[:2]:
        (place / f"{name}.npy").unlink(missing_ok=True)
    decoding = _Decoding(folder, shape, reading.skip_broken, hear, stop)
    with copied(decoding.batches(max(1, min(BATCH_ROWS, BATCH_BYTES // row_bytes))), place):
        pass
    digests = {name: sha256_of(place / f"{name}.npy") for name in ARRAYS[:2]}
    return digests | {"broken": decoding.broken, "first": decoding.first}


def _check_room(place: Path, n_bytes: int, kind: Kind) -> None:
    free = free_bytes(place)
    if free is not None and free < n_bytes:
        needs = f"has {free >> 20} MiB free, but the {kind.noun}s take {(n_bytes >> 20) + 1} MiB there"
        raise DataError(f"{place}: {needs}. Free space, use a smaller `{kind.takes[0]}`, or {TO_MEND}")


class _Decoding:
    """Reads a folder's files in order, a class after the other."""

    def __init__(self, folder: _Folder, shape: tuple[int, ...], skip: bool, hear: Listener, stop: Stop) -> None:
        self._folder, self._shape, self._skip, self._hear, self._stop = folder, shape, skip, hear, stop
        self.broken, self.first = 0, ""

    def batches(self, most: int) -> Iterator[tuple[NDArray[np.uint8], NDArray[Any]]]:
        """Yield rows [n, *shape] and the names of their classes [n]."""
        seen = 0
        for name in self._folder.counts:
            rows, kept = np.empty((most, *self._shape), np.uint8), 0
            for file in self._folder.files(name):
                seen += 1
                if self._read(file, rows, kept):
                    kept += 1
                if kept == most:
                    yield rows, np.full(kept, name)
                    kept = 0
                    self._hear.read(seen, self._folder.total)
            if kept:
                yield rows[:kept], np.full(kept, name)
            self._hear.read(seen, self._folder.total)
        if seen == self.broken:
            nothing = f"holds no {self._folder.kind.noun} that can be read"
            raise DataError(f"{self._folder.path}: {nothing}. The first: {self.first}")

    def _read(self, file: Path, rows: NDArray[np.uint8], at: int) -> bool:
        if self._stop():
            raise StoppedError(f"{self._folder.path}: stopped while it was read")
        try:
            rows[at] = self._folder.kind.read(file, self._shape)
        except DataError as error:
            if not self._skip:
                raise DataError(
                    f"{str(error).removesuffix('.')}. Or leave such {self._folder.kind.noun}s out: `skip_broken=True`"
                ) from error
            self.broken, self.first = self.broken + 1, self.first or str(error)
            return False
        return True


def _names(folder: Path) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError as error:
        raise DataError(f"{folder}: cannot be read ({error.strerror}). Check its permissions.") from error


def _folders(path: Path) -> Iterator[str]:
    """Yield the folders in a folder that may be classes."""
    return (name for name in _names(path) if not _hidden(name) and (path / name).is_dir())


def _files(folder: Path, kind: Kind) -> Iterator[str]:
    return (name for name in _names(folder) if _is_of(kind, name) and not (folder / name).is_dir())


def _hidden(name: str) -> bool:
    return name.startswith((".", "__"))  # .git, .ipynb_checkpoints, __MACOSX


def _is_of(kind: Kind, name: str) -> bool:
    return not _hidden(name) and os.path.splitext(name)[1].lower() in kind.suffixes


def _suffixes(kind: Kind) -> str:
    return ", ".join(sorted(suffix[1:] for suffix in kind.suffixes))


def _said(folder: _Folder, shape: tuple[int, ...]) -> str:
    """Say how many files there are, and what is made of them."""
    classes = f"{len(folder.counts)} class{'es' if len(folder.counts) > 1 else ''}"
    return f"{folder.total:,} {folder.kind.noun}s of {classes} as {folder.kind.said(shape)}"


def _is_stray(path: Path) -> bool:
    return _hidden(path.name) or not path.is_dir()


def _identity(path: Path) -> bytes:
    """Return what changes when a file does."""
    try:
        about = path.stat()
        return os.fsencode(f"{path.parent.name}/{path.name}\0{about.st_size}\0{about.st_mtime_ns}\0")
    except OSError:  # a link that leads nowhere
        return os.fsencode(f"{path.parent.name}/{path.name}\0\0")
