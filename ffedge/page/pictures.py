"""Rows and weights as PNG pictures inside the page, written by zlib alone.

Shape letters: h, w height and width of a picture, c its channels.
"""

import base64
import struct
import zlib
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ffedge.network import LEAST_SIDE, picture_of
from ffedge.recipe import Recipe

MOST_SIDE = 128
Size = tuple[int, int, int]  # h, w, c


def png(pixels: NDArray[np.uint8]) -> bytes:
    """Return a picture [h, w] or [h, w, 3] as a PNG file."""
    height, width = pixels.shape[:2]

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = np.zeros((height, 1 + pixels[0].size), np.uint8)  # each begins with its filter: none
    rows[:, 1:] = pixels.reshape(height, -1)
    head = struct.pack(">IIBBBBB", width, height, 8, 2 if pixels.ndim == 3 else 0, 0, 0, 0)
    parts = (chunk(b"IHDR", head), chunk(b"IDAT", zlib.compress(rows.tobytes(), 9)), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def image(pixels: NDArray[np.uint8], alt: str) -> str:
    """Return the element that shows a picture; of a large one, every second, third … pixel."""
    step = -(-max(pixels.shape[:2]) // MOST_SIDE)
    data = base64.b64encode(png(np.ascontiguousarray(pixels[::step, ::step]))).decode()
    return f'<img src="data:image/png;base64,{data}" alt="{escape(alt, quote=True)}">'


def size_of(recipe: Recipe, shape: tuple[int, ...]) -> Size | None:
    """Return the size of the picture that an input of a shape is drawn as; None where it is no picture."""
    if len(shape) not in (2, 3) or (len(shape) == 3 and recipe.network.layout == "none" and shape[2] not in (1, 3, 4)):
        return None
    layout = recipe.network.layout if recipe.network.layout == "chw" else "hwc"
    known = picture_of(layout, shape)
    return (known[1], known[2], known[0]) if known and min(known[1:]) >= LEAST_SIDE else None


def upright(values: NDArray[Any], size: Size, *, first: bool) -> NDArray[Any]:
    """Return values [h * w * c] as [h, w] or [h, w, 3]; `first`: its channels come first."""
    height, width, channels = size
    whole = values.reshape(channels, height, width).transpose(1, 2, 0) if first else values.reshape(size)
    return whole[:, :, :3] if channels >= 3 else whole[:, :, 0]


def of_row(row: NDArray[Any], size: Size, *, first: bool) -> NDArray[np.uint8]:
    """Return an input as a picture: bytes as they are, other numbers from their least, black, to their largest."""
    pixels = upright(row, size, first=first)
    if pixels.dtype == np.uint8:
        return pixels
    values = np.nan_to_num(pixels.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    least, most = values.min(), values.max()
    return np.asarray(255 * (values - least) / ((most - least) or 1.0), np.uint8)


def of_weights(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Return weights [h, w] or [h, w, 3] as a picture: 0 is white, or grey in colour, red above and blue below."""
    scaled = np.asarray(values, np.float64) / (float(np.abs(values).max()) or 1.0)
    if values.ndim == 3:
        return np.asarray(127.5 + 127.5 * scaled, np.uint8)
    above, below = np.clip(scaled, 0, 1)[..., None], np.clip(-scaled, 0, 1)[..., None]
    red, blue = np.array([0.0, 200.0, 215.0]), np.array([215.0, 140.0, 0.0])  # what each takes from white
    return np.asarray(255 - above * red - below * blue, np.uint8)
