"""Pictures and arrays as a model's inputs; each refusal says what to do."""

import struct
import sys

import numpy as np
import pytest

from ffedge.data.images import picture_size, read_image, read_inputs
from ffedge.errors import DataError, FfedgeError

GREY = np.arange(12, dtype=np.uint8).reshape(3, 4) * 20


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FFEDGE_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def saved(tmp_path):
    """Save an array as a picture."""
    image = pytest.importorskip("PIL.Image", reason="needs Pillow")

    def save(array, name="a.png", **options):
        image.fromarray(array).save(tmp_path / name, **options)
        return tmp_path / name

    return save


def all_rows(rows):
    return rows.take(np.arange(len(rows)))


def test_a_grey_png_is_read_exactly(saved):
    read = read_image(saved(GREY), (3, 4))
    assert read.dtype == np.uint8
    np.testing.assert_array_equal(read, GREY)
    np.testing.assert_array_equal(read_image(saved(GREY), (3, 4), invert=True), 255 - GREY)


def test_grey_in_colour_stays_the_same_grey(saved):
    np.testing.assert_array_equal(read_image(saved(np.dstack([GREY] * 3)), (3, 4)), GREY)


def test_transparent_becomes_white(saved):
    rgba = np.dstack([GREY, GREY, GREY, np.full_like(GREY, 255)])
    rgba[0, :, 3] = 0
    read = read_image(saved(rgba), (3, 4))
    assert read[0].tolist() == [255] * 4
    np.testing.assert_array_equal(read[1:], GREY[1:])


def test_sixteen_bits_keep_the_upper_eight(saved):
    np.testing.assert_array_equal(read_image(saved(GREY.astype(np.uint16) << 8 | 77), (3, 4)), GREY)


def test_a_turned_photograph_is_set_upright(saved):
    from PIL import Image

    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned a quarter clockwise
    np.testing.assert_array_equal(read_image(saved(GREY, exif=exif), (4, 3)), np.rot90(GREY, -1))


AS_STORED = {  # of an upright picture, by the orientation that its file tells
    1: lambda upright: upright,
    2: np.fliplr,
    3: lambda upright: np.rot90(upright, 2),
    4: np.flipud,
    5: lambda upright: upright.swapaxes(0, 1),
    6: np.rot90,
    7: lambda upright: np.rot90(upright, 2).swapaxes(0, 1),
    8: lambda upright: np.rot90(upright, -1),
}
WAYS = {
    "a.jpg": {"quality": 100},
    "a.png": {},
    "a.webp": {"lossless": True},
    "a.tif": {},
    "b.tif": {"compression": "tiff_lzw"},
}


KINDS = [(name, kind) for name in WAYS for kind in ("grey", "colour")]
KINDS += [(name, "16 bits") for name in ("a.png", "a.tif", "b.tif")]  # the other formats hold 8


@pytest.mark.parametrize(("name", "kind"), KINDS)
@pytest.mark.parametrize("orientation", AS_STORED)
def test_every_orientation_of_every_format_is_set_upright(saved, name, kind, orientation):
    upright = np.repeat(np.repeat(np.array([[0, 80], [160, 255], [40, 200]], np.uint8), 8, axis=0), 20, axis=1)
    if kind == "colour":
        upright = np.dstack([upright, 255 - upright, upright // 2])
    exif = pytest.importorskip("PIL.Image", reason="needs Pillow").Exif()
    exif[0x0112] = orientation
    told = {"tiffinfo": {0x0112: orientation}} if name.endswith("tif") else {"exif": exif}
    stored = np.ascontiguousarray(AS_STORED[orientation](upright))
    path = saved(stored.astype(np.uint16) << 8 if kind == "16 bits" else stored, name, **told, **WAYS[name])
    assert picture_size(path) == (24, 40)
    small = np.array(upright[4::8, 10::20])  # of each patch the middle
    for height, width in ((24, 40), (48, 60)):
        read = read_image(path, (height, width, *upright.shape[2:]), resize=height != 24)
        middles = read[height // 6 :: height // 3, width // 4 :: width // 2]
        assert np.abs(middles.astype(int) - small).max() <= 6
    with pytest.raises(DataError, match=r"is \d+x\d+ pixels \(height x width\), but the model takes 40x24. Resize it"):
        read_image(path, (40, 24, *upright.shape[2:]))


@pytest.mark.parametrize(("dtype", "kind"), [(np.float32, "floats"), (np.int32, "signed or 32-bit integers")])
def test_a_tiff_that_does_not_tell_what_is_white_is_refused(saved, dtype, kind):
    path = saved(GREY.astype(dtype), "a.tif")
    with pytest.raises(DataError) as caught:
        read_image(path, (3, 4))
    assert str(caught.value) == f"{path}: holds {kind}, which do not tell what is white. Save it with 8 or 16 bits."


def test_colours_in_lab_are_refused(tmp_path):
    image = pytest.importorskip("PIL.Image", reason="needs Pillow")
    image.new("LAB", (4, 3)).save(tmp_path / "a.tif")
    with pytest.raises(DataError, match=r"has its colours in LAB, which are not read. Save it in RGB.$"):
        read_image(tmp_path / "a.tif", (3, 4, 3))


def test_a_png_of_too_many_pixels_is_refused_before_it_is_decoded(tmp_path, monkeypatch):
    image = pytest.importorskip("PIL.Image", reason="needs Pillow")
    image.new("1", (4000, 4000)).save(tmp_path / "a.png")
    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", lambda _: pytest.fail("was decoded"))
    for read in (lambda path: read_image(path, (3, 4), resize=True), picture_size):
        with pytest.raises(
            DataError, match=r"is 4000x4000 pixels \(height x width\), more than 12.6 million. Make it smaller first"
        ):
            read(tmp_path / "a.png")


@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
def test_another_size_is_refused_or_resized(saved, name):
    path = saved(np.full((300, 200), 90, np.uint8), name)
    with pytest.raises(DataError) as caught:
        read_image(path, (28, 26))
    assert str(caught.value) == (
        f"{path}: is 300x200 pixels (height x width), but the model takes 28x26. Resize it or pass `resize=True`."
    )
    read = read_image(path, (28, 26), resize=True)
    assert read.shape == (28, 26)
    assert np.abs(read.astype(int) - 90).max() <= 2


def test_what_is_no_picture_is_refused(tmp_path, saved):
    (tmp_path / "a.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"a.png: is no picture that can be read .* Convert it to PNG."):
        read_image(tmp_path / "a.png", (3, 4))
    whole = saved(np.random.default_rng(0).integers(0, 256, (50, 50), np.uint8)).read_bytes()
    (tmp_path / "a.png").write_bytes(whole[:900])
    with pytest.raises(DataError, match=r"a.png: is no picture that can be read"):
        read_image(tmp_path / "a.png", (50, 50))
    with pytest.raises(DataError, match=r"b.png: was not found."):
        read_image(tmp_path / "b.png", (3, 4))


def test_a_huge_picture_is_refused_before_it_is_decoded(saved, monkeypatch):
    from PIL import Image

    path = saved(np.zeros((50, 50), np.uint8))
    for limit in (2000, 1000):  # Pillow warns above the limit and raises above twice the limit
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        with pytest.raises(DataError, match=r"a.png: is no picture that can be read .*decompression bomb"):
            read_image(path, (50, 50))


def test_without_pillow_the_remedy_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(FfedgeError) as caught:
        read_image(tmp_path / "a.png", (3, 4))
    assert str(caught.value) == (
        "reading images needs Pillow, which is not installed. Run: pip install 'ffedge[images]'"
    )


@pytest.mark.parametrize("row_shape", [(3, 4), (1, 3, 4), (3, 4, 1)])
def test_a_picture_is_a_batch_of_one(saved, row_shape):
    rows = read_inputs(saved(GREY), row_shape)
    assert rows.shape == (1, *row_shape)
    np.testing.assert_array_equal(all_rows(rows), GREY.reshape(1, *row_shape))
    np.testing.assert_array_equal(all_rows(read_inputs(saved(GREY), row_shape, invert=True)).max(), 255)


def test_pictures_need_a_model_of_pictures(saved):
    with pytest.raises(DataError, match=r"takes inputs of shape \[12\]. Pass them in a .npy or .npz file."):
        read_inputs(saved(GREY), (12,))
    with pytest.raises(DataError, match=r"the model takes float32, whose scale a picture does not tell."):
        read_inputs(saved(GREY), (3, 4), "float32")


@pytest.mark.parametrize("batch", [False, True])
@pytest.mark.parametrize("kind", ["npy", "npz", "idx"])
def test_arrays_with_and_without_a_batch_axis(tmp_path, kind, batch):
    array = np.stack([GREY, GREY + 1]) if batch else GREY
    path = tmp_path / f"a.{kind}"
    if kind == "idx":
        path.write_bytes(struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes())
    elif kind == "npz":
        np.savez(path, x=array, y=np.zeros(2))
    else:
        np.save(path, array)
    np.testing.assert_array_equal(all_rows(read_inputs(path, (3, 4))), array.reshape(-1, 3, 4))


def test_doubles_are_read_as_float32(tmp_path):
    np.save(tmp_path / "a.npy", GREY / 7)
    rows = read_inputs(tmp_path / "a.npy", (3, 4), "float32")
    assert rows.dtype == np.float32
    np.testing.assert_array_equal(all_rows(rows)[0], (GREY / 7).astype(np.float32))


@pytest.mark.parametrize(
    ("array", "dtype", "message"),
    [
        (GREY[:2], "uint8", r"a.npy: has shape \[2, 4\], but the model takes \[N, 3, 4\]. Reshape it."),
        (GREY / 7, "uint8", "a.npy: holds float64, but the model takes uint8. Convert it as the train data."),
        (GREY, "float32", "a.npy: holds uint8, but the model takes float32. Convert it as the train data."),
    ],
)
def test_arrays_that_do_not_suit_the_model_are_refused(tmp_path, array, dtype, message):
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(DataError, match=message):
        read_inputs(tmp_path / "a.npy", (3, 4), dtype)


def test_what_is_to_be_predicted_may_hold_what_is_not_finite(tmp_path):
    np.save(tmp_path / "a.npy", GREY * np.nan)
    assert np.isnan(all_rows(read_inputs(tmp_path / "a.npy", (3, 4), "float32"))).all()


def test_an_npz_must_tell_its_inputs(tmp_path):
    np.savez(tmp_path / "a.npz", only=GREY)
    assert len(read_inputs(tmp_path / "a.npz", (3, 4))) == 1
    np.savez(tmp_path / "a.npz", p=GREY, q=GREY)
    with pytest.raises(DataError, match=r"a.npz: must hold either x or x_test, got p, q. Save it again."):
        read_inputs(tmp_path / "a.npz", (3, 4))
