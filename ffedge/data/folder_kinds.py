"""What stands in class folders, and how a file of it becomes a row: a picture, or a recording of events."""

from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ffedge.data.events import POLARITIES, read_events, sensor_of
from ffedge.data.events import SUFFIXES as EVENTS
from ffedge.data.images import picture_axes, picture_size, read_image
from ffedge.data.reading import BINS, Reading
from ffedge.errors import DataError

KEPT_SIDE, MIXED_SIDE, LEAST_SIDE = 64, 32, 8
ODD_SHARE = 10  # one picture of so many may be smaller than all are made
COLOURFUL = 8  # by how much the values of a pixel differ at least


class Kind(Protocol):
    """A kind of files.

    Attributes
    ----------
    noun : what one is called.
    suffixes : of the files' names.
    takes : the fields of a Reading that play a part; with a smaller number in the first, rows are smaller.
    """

    @property
    def noun(self) -> str: ...  # noqa: D102
    @property
    def suffixes(self) -> frozenset[str]: ...  # noqa: D102
    @property
    def takes(self) -> tuple[str, ...]: ...  # noqa: D102

    def shape(self, files: Iterable[Path], reading: Reading) -> tuple[int, ...]:
        """Return the shape of a row: as asked, or as some of the files are."""

    def fits(self, shape: tuple[int, ...]) -> bool:
        """Tell whether a row of this shape, which a model takes, can be made of a file."""

    def said(self, shape: tuple[int, ...]) -> str:
        """Say what a file is made to."""

    def read(self, file: Path, shape: tuple[int, ...]) -> NDArray[np.uint8]:
        """Read a file as a row; DataError where it cannot be read."""


class _Pictures:
    noun = "picture"
    suffixes = frozenset({".png", ".jpg", ".jpeg", ".jfif", ".webp", ".bmp", ".gif", ".ppm", ".pgm", ".tif", ".tiff"})
    takes = ("size", "colour", "skip_broken")

    def shape(self, files: Iterable[Path], reading: Reading) -> tuple[int, ...]:
        sizes, colourful, size, colour = list[tuple[int, int]](), False, reading.size, reading.colour
        for file in files if size is None or colour is None else ():
            try:
                sizes.append(picture_size(file))
                if colour is None and not colourful:
                    values = read_image(file, (MIXED_SIDE, MIXED_SIDE, 3), resize=True)
                    colourful = int((values.max(axis=2) - values.min(axis=2)).max()) >= COLOURFUL
            except DataError:
                continue  # is told where all are read
        if size is None:
            sides = sorted(min(each) for each in sizes) or [MIXED_SIDE]
            least = sides[len(sides) // ODD_SHARE]
            size = (side := max(LEAST_SIDE, min(MIXED_SIDE, least)), side)
            if len(set(sizes)) == 1 and least >= LEAST_SIDE and max(sizes[0]) <= KEPT_SIDE:
                size = sizes[0]
        assert isinstance(size, tuple)
        return (*size, 3) if (colourful if colour is None else colour) else size

    def fits(self, shape: tuple[int, ...]) -> bool:
        return picture_axes(shape) is not None

    def said(self, shape: tuple[int, ...]) -> str:
        axes = picture_axes(shape)
        assert axes is not None
        kind = {1: "grey", 3: "in colour", 4: "in colour with alpha"}[axes.channels]
        return f"{axes.height}x{axes.width} {kind}"

    def read(self, file: Path, shape: tuple[int, ...]) -> NDArray[np.uint8]:
        return read_image(file, shape, resize=True)


class _Recordings:
    noun = "recording"
    suffixes = EVENTS
    takes = ("bins", "size", "skip_broken")

    def shape(self, files: Iterable[Path], reading: Reading) -> tuple[int, ...]:
        height, width = 1, 1
        for file in files if reading.size is None else ():
            try:
                sensor = sensor_of(file)
            except DataError:
                continue  # is told where all are read
            height, width = max(height, sensor[0]), max(width, sensor[1])
        if isinstance(reading.size, tuple):
            height, width = reading.size
        return (POLARITIES * (reading.bins or BINS), height, width)

    def fits(self, shape: tuple[int, ...]) -> bool:
        return len(shape) == 3 and shape[0] % POLARITIES == 0

    def said(self, shape: tuple[int, ...]) -> str:
        bins = shape[0] // POLARITIES
        parts = f"{bins} time bins" if bins > 1 else "1 time bin"
        return f"{parts} of 2 polarities of {shape[1]}x{shape[2]}"

    def read(self, file: Path, shape: tuple[int, ...]) -> NDArray[np.uint8]:
        return read_events(file, shape)


KINDS: tuple[Kind, ...] = (_Pictures(), _Recordings())  # where a folder holds both, the kind of most files is taken
