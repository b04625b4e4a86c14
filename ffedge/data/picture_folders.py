"""Pictures in a folder for each class, decoded once to arrays in the cache: from then on a data set like any other.

    photos/train/cat/1.jpg, photos/train/dog/2.png, …      photos/test/cat/3.jpg, … (or valid, val)

What was read is found again by the names, sizes and times of all files. The copy of a folder replaces the one before.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ffedge.data.arrays import read_npy
from ffedge.data.cache_folder import TO_MEND, filling, sha256_of, writable_folder
from ffedge.data.copy_batches import copied
from ffedge.data.files import ARRAYS
from ffedge.data.images import picture_axes, picture_size, read_image
from ffedge.data.reading import Listener, Reading
from ffedge.data.rows import Rows
from ffedge.errors import DataError, StoppedError, one_line
from ffedge.files import atomic_file, in_turn

Stop = Callable[[], bool]
SUFFIXES = {".png", ".jpg", ".jpeg", ".jfif", ".webp", ".bmp", ".gif", ".ppm", ".pgm", ".tif", ".tiff"}
TRAIN, TESTS = "train", ("test", "valid", "validation", "val")
LOOKED_AT = 64  # pictures, to choose size and colour
KEPT_SIDE, MIXED_SIDE, LEAST_SIDE = 64, 32, 8
COLOURFUL = 8  # by how much the values of a pixel differ at least
BATCH_BYTES, BATCH_ROWS = 1 << 20, 256
FORMAT = 1  # of what stands in the cache


def holds_folders(path: Path) -> bool:
    """Tell whether a folder holds others, as it does where each is a class."""
    return any(_folders(path))


def arrays_of_pictures(
    path: Path, reading: Reading, shape: tuple[int, ...] | None, hear: Listener, stop: Stop = lambda: False
) -> tuple[Rows, ...]:
    """Open the pictures of a folder as arrays.

    Parameters
    ----------
    path : holds a folder for each class; or ``train`` that does and, if there is a test split, ``test`` or ``valid``.
    shape : of a row, where a model has one; else `reading` says it, or the pictures do.
    hear : is told of what is left out, and of each batch.
    stop : asked before each picture; True ends the reading with a StoppedError.

    Returns
    -------
    tuple of Rows
        Train inputs uint8 ``[N, H, W]`` or ``[N, H, W, 3]``, train labels and, if there is a test split, test inputs,
        test labels.

    Raises
    ------
    DataError
        There are no pictures, one of them cannot be read (without `skip_broken`), or the cache cannot be written.
    """
    train, test = _splits(path, hear)
    parts = _opened(_Folder.of(train, hear), reading, shape, hear, stop)
    if test is None:
        return parts
    return parts + _opened(_Folder.of(test, hear), reading, parts[0].row_shape, hear, stop)


def pictures_in(path: Path) -> Iterator[Path]:
    """Yield the pictures of a folder and of the folders in it, in the order of their names; no other files."""
    for folder in (path, *(path / name for name in _folders(path))):
        yield from (folder / name for name in _pictures(folder))


@dataclass(frozen=True)
class _Folder:
    """What a folder of class folders holds.

    Attributes
    ----------
    counts : pictures of each class.
    digest : of all pictures' names, sizes and times.
    """

    path: Path
    counts: dict[str, int]
    digest: str

    @classmethod
    def of(cls, path: Path, hear: Listener) -> "_Folder":
        """Look through a folder; say what of it plays no part."""
        counts: dict[str, int] = {}
        digest, strays = hashlib.sha256(), [path / name for name in _names(path) if _is_stray(path / name)]
        count, first = len(strays), strays[:1]
        for name in _folders(path):
            if one_line(name) != name:
                raise DataError(f"{path}: has a folder {name!r}, whose name is no line of plain text. Rename it")
            number = 0
            for file in _names(path / name):
                if _is_picture(file):
                    number += 1
                    digest.update(_identity(path / name / file))
                else:
                    count, first = count + 1, first or [path / name / file]
            if number:
                counts[name] = number
            else:
                hear.note(f"{path / name}: holds no picture, and is no class")
        if first:
            more = f", the first of {count}" if count > 1 else ""
            hear.note(f"{first[0]}: is no picture and was left out{more}")
        if not counts:
            kinds = ", ".join(sorted(suffix[1:] for suffix in SUFFIXES))
            raise DataError(f"{path}: holds no folder with pictures ({kinds}) for each class. Pass another folder")
        return cls(path, counts, digest.hexdigest())

    @property
    def total(self) -> int:
        """Pictures of all classes."""
        return sum(self.counts.values())

    def files(self, name: str) -> Iterator[Path]:
        """Yield the pictures of a class."""
        return (self.path / name / file for file in _pictures(self.path / name))

    def spread(self, count: int) -> Iterator[Path]:
        """Yield about `count` pictures, spread evenly over all."""
        step, at = max(1, self.total // count), 0
        for name in self.counts:
            for file in self.files(name):
                if at % step == 0:
                    yield file
                at += 1


def _splits(path: Path, hear: Listener) -> tuple[Path, Path | None]:
    """Return the folders of the train and the test split; a class may be named ``train`` where it holds pictures."""
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
    asked = [FORMAT, os.path.realpath(folder.path), shape or [reading.size, reading.colour]]
    key = hashlib.sha256(json.dumps(asked).encode(errors="surrogateescape")).hexdigest()
    place = writable_folder("pictures", key)
    about = place / "about.json"
    with filling(place), in_turn(about):
        found = _stored(about, folder, skip_broken=reading.skip_broken)
        if found is None:
            about.unlink(missing_ok=True)
            shape = shape or _chosen(folder, reading, hear)
            found = {"digest": folder.digest, "shape": list(shape)} | _decode(folder, place, reading, shape, hear, stop)
            with atomic_file(about, TO_MEND, DataError) as temporary:
                temporary.write_text(json.dumps(found))
        else:
            hear.note(f"{folder.path}: {_said(folder, tuple(found['shape']))}, as read before")
    if found["broken"]:
        more = f", the first of {found['broken']}" if found["broken"] > 1 else ""
        hear.note(f"{found['first']} It was left out{more}")
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
    """Write the arrays to the cache; return the sha256 of each, how many pictures are broken, and of the first why."""
    hear.note(f"{folder.path}: reads {_said(folder, shape)}")
    row_bytes = int(np.prod(shape))
    _check_room(place, folder.total * row_bytes)
    for name in ARRAYS[:2]:
        (place / f"{name}.npy").unlink(missing_ok=True)
    decoding = _Decoding(folder, shape, reading.skip_broken, hear, stop)
    with copied(decoding.batches(max(1, min(BATCH_ROWS, BATCH_BYTES // row_bytes))), place):
        pass
    digests = {name: sha256_of(place / f"{name}.npy") for name in ARRAYS[:2]}
    return digests | {"broken": decoding.broken, "first": decoding.first}


def _check_room(place: Path, n_bytes: int) -> None:
    system = os.statvfs(place)
    free = system.f_bavail * system.f_frsize
    if system.f_blocks and free < n_bytes:
        needs = f"has {free >> 20} MiB free, but the pictures take {(n_bytes >> 20) + 1} MiB there"
        raise DataError(f"{place}: {needs}. Free space, use a smaller `size`, or {TO_MEND}")


class _Decoding:
    """Reads a folder's pictures in order, a class after the other."""

    def __init__(self, folder: _Folder, shape: tuple[int, ...], skip: bool, hear: Listener, stop: Stop) -> None:
        self._folder, self._shape, self._skip, self._hear, self._stop = folder, shape, skip, hear, stop
        self.broken, self.first = 0, ""

    def batches(self, most: int) -> Iterator[tuple[NDArray[np.uint8], NDArray[Any]]]:
        """Yield pictures [n, *shape] and the names of their classes [n]."""
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
            raise DataError(f"{self._folder.path}: holds no picture that can be read. The first: {self.first}")

    def _read(self, file: Path, rows: NDArray[np.uint8], at: int) -> bool:
        if self._stop():
            raise StoppedError(f"{self._folder.path}: stopped while it was read")
        try:
            rows[at] = read_image(file, self._shape, resize=True)
        except DataError as error:
            if not self._skip:
                raise DataError(f"{error} Or leave such pictures out: `skip_broken=True`") from error
            self.broken, self.first = self.broken + 1, self.first or str(error)
            return False
        return True


def _chosen(folder: _Folder, reading: Reading, hear: Listener) -> tuple[int, ...]:
    """Return the shape of a row: as asked, or as some of the pictures are."""
    sizes, colourful, size, colour = set[tuple[int, int]](), False, reading.size, reading.colour
    for file in folder.spread(LOOKED_AT) if size is None or colour is None else ():
        try:
            sizes.add(picture_size(file))
            if colour is None and not colourful:
                values = read_image(file, (MIXED_SIDE, MIXED_SIDE, 3), resize=True)
                colourful = int((values.max(axis=2) - values.min(axis=2)).max()) >= COLOURFUL
        except DataError:
            continue  # is told where all are read
    if size is None:
        least = min((min(size) for size in sizes), default=MIXED_SIDE)
        size = (side := max(LEAST_SIDE, min(MIXED_SIDE, least)), side)
        if len(sizes) == 1 and least >= LEAST_SIDE and max(*sizes.copy().pop()) <= KEPT_SIDE:
            size = sizes.pop()
    assert isinstance(size, tuple)
    return (*size, 3) if (colourful if colour is None else colour) else size


def _said(folder: _Folder, shape: tuple[int, ...]) -> str:
    """Say how many pictures there are, and what is made of them."""
    axes = picture_axes(shape)
    assert axes is not None
    kind = {1: "grey", 3: "in colour", 4: "in colour with alpha"}[axes.channels]
    classes = f"{len(folder.counts)} class{'es' if len(folder.counts) > 1 else ''}"
    return f"{folder.total:,} pictures of {classes} as {axes.height}x{axes.width} {kind}"


def _names(folder: Path) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError as error:
        raise DataError(f"{folder}: cannot be read ({error.strerror}). Check its permissions.") from error


def _folders(path: Path) -> Iterator[str]:
    """Yield the folders in a folder that may be classes."""
    return (name for name in _names(path) if not _hidden(name) and (path / name).is_dir())


def _pictures(folder: Path) -> Iterator[str]:
    return (name for name in _names(folder) if _is_picture(name) and not (folder / name).is_dir())


def _hidden(name: str) -> bool:
    return name.startswith((".", "__"))  # .git, .ipynb_checkpoints, __MACOSX


def _is_picture(name: str) -> bool:
    return not _hidden(name) and os.path.splitext(name)[1].lower() in SUFFIXES


def _is_stray(path: Path) -> bool:
    return _hidden(path.name) or not path.is_dir()


def _identity(path: Path) -> bytes:
    """Return what changes when a file does."""
    try:
        about = path.stat()
        return os.fsencode(f"{path.parent.name}/{path.name}\0{about.st_size}\0{about.st_mtime_ns}\0")
    except OSError:  # a link that leads nowhere
        return os.fsencode(f"{path.parent.name}/{path.name}\0\0")
