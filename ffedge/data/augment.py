"""Pictures as they might have been: moved, mirrored, with a square cut out; drawn anew each epoch, seeded.

Shape letters: N pictures, H x W places, C channels.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ffedge.recipe import Train
from ffedge.seeds import Draw, generator

Array = NDArray[Any]


class Augmentation:
    """What a training asks for (``shift``, ``mirror``, ``cutout``), for one batch.

    Parameters
    ----------
    where : stage, epoch and step; a batch gets the same draws however it is cut into chunks.
    channels_first : whether pictures come as [N, C, H, W], else [N, H, W] or [N, H, W, C].
    """

    def __init__(self, train: Train, where: tuple[int, ...], *, channels_first: bool) -> None:
        self._train, self._first = train, channels_first
        asked = ((Draw.SHIFT, train.shift), (Draw.MIRROR, train.mirror), (Draw.CUTOUT, train.cutout))
        self._draws = {draw: generator(train.seed, draw, *where) for draw, each in asked if each}

    @property
    def changes(self) -> bool:
        """Whether anything is asked for."""
        return bool(self._draws)

    def of(self, images: Array) -> Array:
        """Return the next pictures of the batch, changed."""
        train, draws = self._train, self._draws
        if not self.changes:
            return images
        seen = np.moveaxis(images, 1, -1) if self._first else images
        if train.shift:
            seen = shifted(seen, train.shift, draws[Draw.SHIFT], train.shift_share)
        if train.mirror:
            seen = mirrored(seen, draws[Draw.MIRROR], train.mirror)
        if train.cutout:
            seen = cut_out(seen, train.cutout, draws[Draw.CUTOUT])
        return np.moveaxis(seen, -1, 1) if self._first else seen


def shifted(images: Array, pixels: int, rng: np.random.Generator, share: float = 1.0) -> Array:
    """Move a share of the images [N, H, W, ...] by up to `pixels` either way, both directions drawn alone.

    What comes in repeats the edge of the image: zeros would be a dark frame, which no image has when the model is
    asked. An image that is to move may be drawn to stay, as often as to any other place.
    """
    drawn = rng.random((len(images), 3))  # row by row, so that a batch may be drawn in parts
    moves = np.floor(drawn[:, :2] * (2 * pixels + 1)).astype(np.int64) - pixels
    moves[drawn[:, 2] >= share] = 0
    height, width = images.shape[1:3]
    padded = np.pad(images, [(0, 0), *[(pixels, pixels)] * 2, *[(0, 0)] * (images.ndim - 3)], mode="edge")
    moved = np.empty_like(images)
    for place, (top, left) in enumerate(pixels - moves):
        moved[place] = padded[place, top : top + height, left : left + width]
    return moved


def mirrored(images: Array, rng: np.random.Generator, share: float) -> Array:
    """Mirror a share of the images [N, H, W, ...] left to right."""
    result, drawn = images.copy(), rng.random(len(images)) < share
    result[drawn] = images[drawn, :, ::-1]
    return result


def cut_out(images: Array, side: int, rng: np.random.Generator) -> Array:
    """Give a square of each image [N, H, W, ...] its mean; the middle lies in the picture, the edges may not."""
    starts = np.floor(rng.random((len(images), 2)) * images.shape[1:3]).astype(np.int64) - side // 2
    result = images.copy()
    for image, (top, left) in zip(result, starts, strict=True):
        image[max(top, 0) : max(top + side, 0), max(left, 0) : max(left + side, 0)] = image.mean((0, 1))
    return result
