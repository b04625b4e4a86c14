"""Inputs for prediction: pictures (by Pillow, to grey), or arrays in ``.npy``, ``.npz`` and IDX files."""

import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ffedge.data.arrays import npz_members, read_npz
from ffedge.data.checks import as_inputs
from ffedge.data.files import is_idx, open_array
from ffedge.data.rows import ArrayRows, Rows, RowSource, open_to_read
from ffedge.errors import DataError, FfedgeError

if TYPE_CHECKING:
    from PIL.Image import Image

FORMATS = ("PNG", "JPEG", "BMP", "GIF", "PPM", "TIFF", "WEBP")  # no others: Pillow would run a program for PostScript
MOST_PIXELS = 3 << 22
SLOW = ("ppm", "ppm_plain")  # decoders that Pillow has in Python: a microsecond for each value
BLOCK_VALUES = 1 << 18
ORIENTATION = 0x0112  # in Exif: above 4 the picture lies on its side


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
    path : a picture, or a ``.npy``, ``.npz`` (its member x, x_test, or the only one) or IDX file; one sample without
        the batch axis is accepted too.
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
    if path.suffix not in {".npy", ".npz"} and not is_idx(path):
        return _picture(path, row_shape, dtype, resize, invert)
    if resize or invert:
        name = "resize" if resize else "invert"
        raise ValueError(f"{path}: is no picture, so that `{name}` plays no part. Leave it out")
    array = _one_array(path)
    rows = _as_batch(array, row_shape)
    if (dtype == np.uint8) != (rows.dtype == np.uint8):
        raise DataError(f"{array.name}: holds {rows.dtype}, but the model takes {dtype}. Convert it as the train data.")
    return as_inputs(rows, array.name, finite=False)


def read_image(
    path: str | Path, shape: tuple[int, int], *, resize: bool = False, invert: bool = False
) -> NDArray[np.uint8]:
    """Read a picture as grey values.

    Transparent parts become white. A 16-bit picture keeps its upper 8 bits.

    Parameters
    ----------
    path : PNG, JPEG, BMP, GIF, PPM, TIFF or WebP, of at most 12.6 million pixels (WebP: 6.3; PPM as text or of an
        odd depth: 3.1; a JPEG that is not progressive: 89).
    shape : height and width, in pixels.
    resize : resize a picture of another size (its aspect is not kept); else refuse it.
    invert : swap black and white: MNIST's digits are white on black.

    Returns
    -------
    uint8 [height, width]

    Raises
    ------
    DataError
        If the file is no picture, too large, or of another size.
    FfedgeError
        If Pillow is not installed.
    """
    try:
        from PIL import Image, ImageOps
    except ImportError as error:
        raise FfedgeError(
            "reading images needs Pillow, which is not installed. Run: pip install 'ffedge[images]'"
        ) from error
    height, width = shape
    os.close(open_to_read(Path(path)))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's remarks on odd metadata
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=FORMATS) as picture:
                _check_size(picture, path, (width, height), resize)
                grey = _grey(picture)
            ImageOps.exif_transpose(grey, in_place=True)
    except DataError:
        raise
    except Exception as error:  # Pillow raises whatever its readers come upon
        raise DataError(f"{path}: is no picture that can be read ({error}). Convert it to PNG.") from error
    if grey.size != (width, height):
        _check_size(grey, path, (width, height), resize)
        grey = grey.resize((width, height), Image.Resampling.BILINEAR)
    values = np.array(grey, np.uint8)
    return 255 - values if invert else values


def _check_size(picture: "Image", path: str | Path, size: tuple[int, int], resize: bool) -> None:
    """Refuse a picture before it is decoded, if it has the wrong size (a turned one may have it) or is too large.

    A JPEG can be decoded small, in little memory, if it is not progressive: such a one must be decoded whole.
    """
    found = f"{path}: is {picture.width}x{picture.height} pixels"
    if not resize:
        turned = picture.size[::-1] == size and picture.getexif().get(ORIENTATION, 1) > 4
        if picture.size != size and not turned:
            raise DataError(f"{found}, but the model takes {size[0]}x{size[1]}. Resize it or pass `resize=True`.")
    elif not picture.info.get("progressive"):
        picture.draft("L", (max(size), max(size)))
    weight = _weight(picture)
    if weight * picture.width * picture.height > MOST_PIXELS:
        raise DataError(f"{found}, more than {MOST_PIXELS / weight / 1e6:.1f} million. Make it smaller first.")


def _weight(picture: "Image") -> int:
    """Return how many times more than others a picture takes for each pixel, in memory or time."""
    if any(part[0] in SLOW for part in getattr(picture, "tile", ())):
        return 4
    # four bands, of which a progressive JPEG holds every coefficient, too; WebP: the file, a canvas and the picture
    return 2 if picture.mode == "CMYK" or picture.format == "WEBP" else 1


def _grey(picture: "Image") -> "Image":
    """Turn a picture to grey values; at most five bytes a pixel beside the picture itself."""
    from PIL import Image

    if picture.mode == "I" or picture.mode.startswith("I;16"):  # convert("L") would clip to 255
        values, information = np.asarray(picture), picture.info
        picture.close()
        upper, flat = np.empty(values.size, np.uint8), values.reshape(-1)
        for start in range(0, flat.size, BLOCK_VALUES):
            part = slice(start, start + BLOCK_VALUES)
            upper[part] = np.clip(flat[part], 0, 65535) >> 8
        grey = Image.fromarray(upper.reshape(values.shape))
        grey.info.update(information)
        return grey
    if "A" not in picture.mode and "transparency" in picture.info:
        picture = picture.convert("RGBA")
    grey = picture.convert("L")
    if "A" in picture.getbands():
        white = Image.new("L", grey.size, 255)
        white.paste(grey, mask=picture.getchannel("A"))
        white.info.update(grey.info)
        return white
    return grey


def _picture(path: Path, row_shape: tuple[int, ...], dtype: np.dtype[Any], resize: bool, invert: bool) -> RowSource:
    sides = [size for size in row_shape if size != 1]
    if len(sides) != 2:
        raise DataError(
            f"{path}: is read as a grey picture, but the model takes inputs of shape {list(row_shape)}. "
            "Pass them in a .npy or .npz file."
        )
    if dtype != np.uint8:
        raise DataError(
            f"{path}: is read as uint8, but the model takes {dtype}, whose scale a picture does not tell. "
            "Pass inputs in a .npy or .npz file, scaled as the train data."
        )
    grey = read_image(path, (sides[0], sides[1]), resize=resize, invert=invert)
    return ArrayRows(grey.reshape(1, *row_shape))


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
