"""Inputs for prediction: pictures (by Pillow, grey or in colour), recordings of events, or arrays in files."""

import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

import numpy as np
from numpy.typing import NDArray

from ffedge.data.arrays import npz_members, read_npz
from ffedge.data.checks import as_inputs
from ffedge.data.events import is_recording, read_events
from ffedge.data.files import is_array, open_array
from ffedge.data.rows import ArrayRows, Rows, RowSource, open_to_read
from ffedge.errors import DataError, FfedgeError

if TYPE_CHECKING:
    from PIL.Image import Image

FORMATS = ("PNG", "JPEG", "BMP", "GIF", "PPM", "TIFF", "WEBP")  # no others: Pillow would run a program for PostScript
MOST_PIXELS = 3 << 22
SLOW = ("ppm", "ppm_plain")  # decoders that Pillow has in Python: a microsecond for each value
BLOCK_VALUES = 1 << 18
MODES = {1: "L", 3: "RGB", 4: "RGBA"}  # by the number of channels
WIDTH, HEIGHT, ORIENTATION = 0x0100, 0x0101, 0x0112  # in Exif; an orientation above 4: the picture lies on its side


def read_inputs(
    path: str | Path,
    row_shape: tuple[int, ...],
    dtype: str | np.dtype[Any] = "uint8",
    *,
    resize: bool = False,
    invert: bool = False,
) -> RowSource:
    """Open what a model is to predict.

    Parameters
    ----------
    path : a picture, a recording of events (`ffedge.data.events`), or a ``.npy``, ``.npz`` (its member x, x_test, or
        the only one) or IDX file; one sample without the batch axis is accepted too.
    row_shape : shape of one input of the model.
    dtype : the model's input dtype, ``uint8`` or ``float32``.
    resize, invert : for pictures, see `read_image`.

    Returns
    -------
    RowSource
        ``[N, *row_shape]`` of `dtype`; floats may be NaN or infinite.

    Raises
    ------
    DataError
        If the file's shape or dtype does not suit the model, or the file cannot be read.
    FfedgeError
        If Pillow is needed and not installed.
    ValueError
        If what is for pictures is asked for, and it is none.
    """
    path, dtype = Path(path), np.dtype(dtype)
    events = is_recording(path)
    if not events and not is_array(path):
        return _picture(path, row_shape, dtype, resize, invert)
    if resize or invert:
        name = "resize" if resize else "invert"
        raise ValueError(f"{path}: is no picture, so that `{name}` plays no part. Leave it out")
    if events:
        return _recording(path, row_shape, dtype)
    array = _one_array(path)
    rows = _as_batch(array, row_shape)
    if (dtype == np.uint8) != (rows.dtype == np.uint8):
        raise DataError(f"{array.name}: holds {rows.dtype}, but the model takes {dtype}. Convert it as the train data.")
    return as_inputs(rows, array.name, finite=False)


def files_of(path: str | Path) -> Iterator[Path]:
    """Yield the pictures, or else the recordings, of a folder and of the folders in it; a file alone, whatever it is.

    Raises
    ------
    DataError
        The folder holds neither.
    """
    if not (path := Path(path)).is_dir():
        yield path
        return
    from ffedge.data.class_folders import files_in

    first = None
    for first in files_in(path):
        yield first
    if first is None:
        raise DataError(f"{path}: holds neither a picture nor a recording of events. Pass another folder, or files")


def read_image(
    path: str | Path, shape: tuple[int, ...], *, resize: bool = False, invert: bool = False
) -> NDArray[np.uint8]:
    """Read a picture as a row of the shape that a data set or a model has: the one way in which ffedge does.

    It is set upright, transparent parts become white (but for 4 channels), and 16 bits of grey keep the upper 8.

    Parameters
    ----------
    path : PNG, JPEG, BMP, GIF, PPM, TIFF or WebP, of at most 12.6 million pixels (WebP: 6.3; PPM as text or of an
        odd depth: 3.1; a JPEG that is not progressive: 89).
    shape : ``[H, W]``, in pixels, or with channels first or last: 1 (grey), 3 (colour) or 4 (with alpha).
    resize : resize a picture of another size (its aspect is not kept); else refuse it.
    invert : swap black and white: MNIST's digits are white on black.

    Returns
    -------
    uint8 [*shape]

    Raises
    ------
    DataError
        If the file is no picture, too large, of another size, or of a kind that does not tell what is white; or `shape`
        is none of a picture.
    FfedgeError
        If Pillow is not installed.
    """
    Image, ImageOps = _pillow()
    if (axes := picture_axes(shape)) is None:
        raise DataError(
            f"{path}: is read as a picture, but the model takes inputs of shape {list(shape)}. "
            "Pass them in a .npy or .npz file."
        )
    size, mode = (axes.width, axes.height), MODES[axes.channels]
    os.close(open_to_read(Path(path)))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's remarks on odd metadata
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=FORMATS) as picture:
                if not resize and sorted(picture.size) != sorted(size):
                    _refuse_size(path, picture.size, size)
                if not picture.info.get("progressive"):  # such a one must be decoded whole
                    picture.draft(mode, (max(size), max(size)))
                _check_weight(picture, path)
                _check_mode(picture, path)
                orientation = _load(picture)
                flat = _flat(picture, mode)
            lying = size[::-1] if orientation > 4 else size
            if not resize and flat.size != lying:
                _refuse_size(path, flat.size[::-1] if orientation > 4 else flat.size, size)
            if flat.size != lying:
                flat = flat.resize(lying, Image.Resampling.BILINEAR)
            flat.getexif()[ORIENTATION] = orientation
            ImageOps.exif_transpose(flat, in_place=True)
    except DataError:
        raise
    except Exception as error:  # Pillow raises whatever its readers come upon
        raise DataError(f"{path}: is no picture that can be read ({error}). Convert it to PNG.") from error
    values = np.array(flat, np.uint8)
    assert values.shape[:2] == (axes.height, axes.width)  # reshape would hide swapped ones
    if axes.first:
        values = np.moveaxis(values, -1, 0)
    values = np.ascontiguousarray(values).reshape(shape)
    return 255 - values if invert else values


def picture_size(path: Path) -> tuple[int, int]:
    """Return height and width of a picture, upright; DataError where it is none."""
    Image, _ = _pillow()
    os.close(open_to_read(path))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path, formats=FORMATS) as picture:
                if picture.format == "PNG":  # whose Exif may stand at its end, so that Pillow decodes it
                    _check_weight(picture, path)
                exif, (width, height) = picture.getexif(), picture.size
                if picture.format == "TIFF":  # whose size Pillow may have swapped
                    width, height = exif[WIDTH], exif[HEIGHT]
                return (width, height) if exif.get(ORIENTATION, 1) > 4 else (height, width)
    except DataError:
        raise
    except Exception as error:
        raise DataError(f"{path}: is no picture that can be read ({error}). Convert it to PNG.") from error


class Axes(NamedTuple):
    """What the axes of a picture's row are; `first`: whether the channels come first."""

    height: int
    width: int
    channels: int
    first: bool


def picture_axes(shape: tuple[int, ...]) -> Axes | None:
    """Return what the axes of a row are, if it is a picture's: grey, or of 3 or 4 channels, last or else first."""
    sides = [size for size in shape if size != 1]
    if len(sides) == 2:
        return Axes(sides[0], sides[1], 1, False)
    if len(shape) == 3 and shape[-1] in MODES:
        return Axes(*shape, False)
    if len(shape) == 3 and shape[0] in MODES:
        return Axes(shape[1], shape[2], shape[0], True)
    return None


def _pillow() -> "tuple[Any, Any]":
    try:
        from PIL import Image, ImageOps
    except ImportError as error:
        raise FfedgeError(
            "reading images needs Pillow, which is not installed. Run: pip install 'ffedge[images]'"
        ) from error
    return Image, ImageOps


def _refuse_size(path: str | Path, found: tuple[int, int], size: tuple[int, int]) -> NoReturn:
    """Raise DataError for a picture of another size; both come as width and height, and are told the other way."""
    raise DataError(
        f"{path}: is {found[1]}x{found[0]} pixels (height x width), but the model takes {size[1]}x{size[0]}. "
        "Resize it or pass `resize=True`."
    )


def _check_weight(picture: "Image", path: str | Path) -> None:
    """Refuse a picture that is too large to be decoded."""
    weight = _weight(picture)
    if weight * picture.width * picture.height > MOST_PIXELS:
        most = f"more than {MOST_PIXELS / weight / 1e6:.1f} million"
        raise DataError(
            f"{path}: is {picture.height}x{picture.width} pixels (height x width), {most}. Make it smaller first."
        )


def _check_mode(picture: "Image", path: str | Path) -> None:
    """Refuse a picture whose values do not tell what is black and what is white."""
    if picture.mode == "F" or (picture.mode == "I" and picture.format == "TIFF"):
        kind = "floats" if picture.mode == "F" else "signed or 32-bit integers"
        raise DataError(f"{path}: holds {kind}, which do not tell what is white. Save it with 8 or 16 bits.")
    if picture.mode == "LAB":
        raise DataError(f"{path}: has its colours in LAB, which are not read. Save it in RGB.")


def _load(picture: "Image") -> int:
    """Decode a picture, and return the orientation that is yet to be undone; 1: it stands upright."""
    if picture.format == "TIFF":  # which Pillow turns itself, though wrongly where it maps the file
        picture.filename = ""  # type: ignore[attr-defined]
        picture.load()
        return 1
    picture.load()
    return int(picture.getexif().get(ORIENTATION, 1))


def _weight(picture: "Image") -> int:
    """Return how many times more than others a picture takes for each pixel, in memory or time."""
    if any(part[0] in SLOW for part in getattr(picture, "tile", ())):
        return 4
    # four bands, of which a progressive JPEG holds every coefficient, too; WebP: the file, a canvas and the picture
    return 2 if picture.mode == "CMYK" or picture.format == "WEBP" else 1


def _flat(picture: "Image", mode: str) -> "Image":
    """Turn a picture to grey or colour; at most nine bytes a pixel, the picture itself included."""
    from PIL import Image, ImageChops

    if picture.mode == "I" or picture.mode.startswith("I;16"):  # convert("L") would clip to 255
        values = np.asarray(picture)
        picture.im = None  # type: ignore[assignment]  # after `close` the end of `with` fails in older Pillows
        upper, flat = np.empty(values.size, np.uint8), values.reshape(-1)
        for start in range(0, flat.size, BLOCK_VALUES):
            part = slice(start, start + BLOCK_VALUES)
            upper[part] = np.clip(flat[part], 0, 65535) >> 8
        grey = Image.fromarray(upper.reshape(values.shape))
        return grey if mode == "L" else grey.convert(mode)
    if "A" not in picture.mode and "transparency" in picture.info:
        picture = picture.convert("RGBA")
    picture.load()
    made = picture if picture.mode == mode else picture.convert(mode)
    if "A" in picture.getbands() and mode != "RGBA":
        hidden = ImageChops.invert(picture.getchannel("A"))
        made.paste(255 if mode == "L" else (255, 255, 255), (0, 0, *made.size), hidden)
    return made


def _picture(path: Path, row_shape: tuple[int, ...], dtype: np.dtype[Any], resize: bool, invert: bool) -> RowSource:
    if dtype != np.uint8 and picture_axes(row_shape) is not None:
        raise DataError(
            f"{path}: is read as uint8, but the model takes {dtype}, whose scale a picture does not tell. "
            "Pass inputs in a .npy or .npz file, scaled as the train data."
        )
    return ArrayRows(read_image(path, row_shape, resize=resize, invert=invert)[np.newaxis])


def _recording(path: Path, row_shape: tuple[int, ...], dtype: np.dtype[Any]) -> RowSource:
    if dtype != np.uint8:
        raise DataError(f"{path}: is a recording of events, but the model takes {dtype}. Pass a .npy or .npz of rows")
    return ArrayRows(read_events(path, row_shape)[np.newaxis])


def _one_array(path: Path) -> Rows:
    if path.suffix != ".npz":
        return open_array(path)
    members = npz_members(path)
    named = [name for name in members if name in {"x", "x_test"} or len(members) == 1]
    if len(named) != 1:
        raise DataError(f"{path}: must hold either x or x_test, got {', '.join(members) or 'nothing'}. Save it again.")
    return read_npz(path, named[0])


def _as_batch(array: Rows, row_shape: tuple[int, ...]) -> RowSource:
    if array.row_shape == row_shape:
        return array
    if array.shape == row_shape:
        return ArrayRows(array.take(np.arange(len(array)))[np.newaxis])
    raise DataError(
        f"{array.name}: has shape {list(array.shape)}, but the model takes "
        f"[N, {', '.join(map(str, row_shape))}]. Reshape it."
    )
