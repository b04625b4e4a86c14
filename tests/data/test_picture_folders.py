"""Pictures in class folders become the rows that Pillow would give, and one line names what cannot be read."""

import json
import os
import shutil

import numpy as np
import pytest

from ffedge.data import Listener, Reading, load, read_image, read_inputs
from ffedge.errors import DataError, StoppedError

Image = pytest.importorskip("PIL.Image", reason="needs Pillow")
RNG = np.random.default_rng(0)


class Heard(Listener):
    def __init__(self):
        self.notes, self.counts = [], []

    def note(self, text):
        self.notes.append(text)

    def read(self, rows, total):
        self.counts.append((rows, total))


def picture(path, size=(40, 30), *, grey=False, seed=0, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(seed).integers(0, 256, (*size,) if grey else (*size, 3), np.uint8)
    Image.fromarray(values).save(path, **options)
    return path


@pytest.fixture
def photos(tmp_path):
    """Three classes of 6, 5 and 4 pictures, of three sizes and four formats."""
    sizes, kinds = [(40, 30), (32, 32), (50, 64)], ["png", "jpg", "webp", "bmp"]
    for c, name in enumerate(("ant", "bee", "cow")):
        for i in range(6 - c):
            picture(tmp_path / "photos" / name / f"{i}.{kinds[i % 4]}", sizes[i % 3], seed=10 * c + i)
    return tmp_path / "photos"


def rows_of(split):
    return split.inputs.take(np.arange(len(split.labels)))


def test_class_folders_are_rows_as_pillow_resizes_them(photos):
    found = load(photos, reading=Reading(size=(16, 20), colour=True))
    assert found.classes == ("ant", "bee", "cow")
    assert found.input_shape == (16, 20, 3)
    assert found.train.labels[np.arange(15)].tolist() == [0] * 6 + [1] * 5 + [2] * 4
    files = sorted(photos.glob("*/*"))
    for row, file in zip(rows_of(found.train), files, strict=True):
        opened = Image.open(file)
        opened.draft("RGB", (20, 20))
        wanted = opened.convert("RGB").resize((20, 16), Image.Resampling.BILINEAR)
        np.testing.assert_array_equal(row, np.asarray(wanted))


@pytest.mark.parametrize("shape", [(20, 20), (20, 20, 3), (3, 20, 20), (1, 20, 20), (20, 20, 4)])
def test_a_file_that_is_predicted_is_the_row_that_was_trained_on(photos, shape):
    found = load(photos, shape=shape)
    for row, file in zip(rows_of(found.train), sorted(photos.glob("*/*")), strict=True):
        np.testing.assert_array_equal(read_inputs(file, shape, resize=True).take(np.arange(1))[0], row)


@pytest.mark.parametrize("colour", [False, True])
@pytest.mark.parametrize("kind", ["jpg", "png"])
def test_a_picture_of_the_right_size_is_the_same_row_with_and_without_resize(tmp_path, kind, colour):
    file = picture(tmp_path / f"a.{kind}", (24, 16))
    shape = (24, 16, 3) if colour else (24, 16)
    np.testing.assert_array_equal(read_image(file, shape), read_image(file, shape, resize=True))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_photograph_is_set_upright_before_it_is_a_row(tmp_path, orientation):
    from PIL import ImageOps

    exif = Image.Exif()
    exif[0x0112] = orientation
    file = picture(tmp_path / "a.png", (30, 20), exif=exif)
    upright = np.asarray(ImageOps.exif_transpose(Image.open(file)))
    np.testing.assert_array_equal(read_image(file, upright.shape), upright)
    small = Image.fromarray(upright).resize((8, 12), Image.Resampling.BILINEAR)
    found = read_image(file, (12, 8, 3), resize=True)
    assert np.abs(found.astype(int) - np.asarray(small)).max() <= 2  # the sides are taken in another order


def test_transparent_parts_of_colour_are_white(tmp_path):
    rgba = RNG.integers(0, 256, (9, 9, 4), np.uint8)
    rgba[..., 3] = 255
    rgba[:4, :, 3] = 0
    Image.fromarray(rgba).save(tmp_path / "a.png")
    found = read_image(tmp_path / "a.png", (9, 9, 3))
    assert (found[:4] == 255).all()
    np.testing.assert_array_equal(found[4:], rgba[4:, :, :3])
    np.testing.assert_array_equal(read_image(tmp_path / "a.png", (9, 9, 4)), rgba)


@pytest.mark.parametrize(
    ("sizes", "grey", "shape"),
    [
        ([(28, 28)] * 4, True, (28, 28)),
        ([(48, 64)] * 4, False, (48, 64, 3)),
        ([(90, 90)] * 4, False, (32, 32, 3)),
        ([(20, 60), (60, 60)] * 2, True, (20, 20)),
        ([(4, 60), (60, 60)] * 2, True, (8, 8)),
        ([(4, 4), *[(60, 61)] * 9], True, (32, 32)),
        ([(4, 4), *[(24, 61)] * 9], True, (24, 24)),
    ],
)
def test_size_and_colour_are_those_of_the_pictures_and_told(tmp_path, sizes, grey, shape):
    for i, size in enumerate(sizes):
        picture(tmp_path / "p" / f"{i % 2}" / f"{i}.png", size, grey=grey, seed=i)
    heard = Heard()
    assert load(tmp_path / "p", hear=heard).input_shape == shape
    kind = "grey" if grey else "in colour"
    assert heard.notes == [f"{tmp_path}/p: reads {len(sizes)} pictures of 2 classes as {shape[0]}x{shape[1]} {kind}"]
    assert heard.counts[-1] == (len(sizes), len(sizes))


def test_grey_stored_as_colour_is_grey_and_either_can_be_asked_for(tmp_path):
    for i in range(4):
        grey = RNG.integers(0, 256, (10, 10, 1), np.uint8)
        (tmp_path / f"p/{i % 2}").mkdir(parents=True, exist_ok=True)
        Image.fromarray(grey.repeat(3, axis=2)).save(tmp_path / f"p/{i % 2}/{i}.png")
    assert load(tmp_path / "p").input_shape == (10, 10)
    assert load(tmp_path / "p", reading=Reading(colour=True)).input_shape == (10, 10, 3)


@pytest.mark.parametrize("other", ["test", "valid"])
def test_train_and_test_stand_beside_each_other(photos, tmp_path, other):
    shutil.copytree(photos, tmp_path / "all" / "train")
    shutil.copytree(photos / "bee", tmp_path / "all" / other / "bee")
    found = load(tmp_path / "all")
    assert found.test is not None
    assert len(found.train.labels) == 15
    assert found.test.labels[np.arange(5)].tolist() == [1] * 5
    np.testing.assert_array_equal(rows_of(found.test), rows_of(found.train)[6:11])


def test_a_class_may_be_named_train(tmp_path):
    for name in ("train", "car"):
        picture(tmp_path / "p" / name / "1.png")
    assert load(tmp_path / "p").classes == ("car", "train")


def test_what_is_no_picture_is_named_and_left_out(photos):
    (photos / "ant" / "Thumbs.db").write_bytes(b"x")
    (photos / "ant" / "._0.png").write_bytes(b"x")
    (photos / "readme.txt").write_text("x")
    (photos / "bee" / "more").mkdir()
    (photos / "empty").mkdir()
    (photos / ".git").mkdir()
    heard = Heard()
    assert len(load(photos, hear=heard).train.labels) == 15
    assert heard.notes[:2] == [
        f"{photos}/empty: holds no picture, and is no class",
        f"{photos}/.git: is no picture and was left out, the first of 5",
    ]


def broken_by(kind, path):
    if kind == "torn":
        path.write_bytes(path.read_bytes()[:200])
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "no picture":
        path.write_bytes(b"<html>not found</html>")
    elif kind == "link to nowhere":
        path.unlink()
        path.symlink_to(path.with_name("nowhere"))
    elif kind == "link to itself":
        path.unlink()
        path.symlink_to(path)
    elif kind == "pipe":
        path.unlink()
        os.mkfifo(path)
    elif kind == "many pixels":
        Image.new("RGB", (4000, 4000)).save(path, compress_level=1)


@pytest.mark.parametrize(
    "kind", ["torn", "empty", "no picture", "link to nowhere", "link to itself", "pipe", "many pixels"]
)
def test_a_broken_picture_is_named_and_skipped_only_where_that_is_asked_for(photos, own_cache, kind):
    broken_by(kind, photos / "bee" / "0.png")
    with pytest.raises(DataError) as caught:
        load(photos)
    text = str(caught.value)
    assert text.startswith(f"{photos}/bee/0.png: ")
    assert text.endswith(" Or leave such pictures out: `skip_broken=True`")
    assert "\n" not in text
    assert not list(own_cache.rglob("*.npy"))
    for _ in range(2):  # read, and from the cache
        heard = Heard()
        found = load(photos, reading=Reading(skip_broken=True), hear=heard)
        assert found.train.labels[np.arange(14)].tolist() == [0] * 6 + [1] * 4 + [2] * 4
        assert heard.notes[-1].startswith(f"{photos}/bee/0.png: ")
        assert heard.notes[-1].endswith(". It was left out")
    with pytest.raises(DataError, match=r"bee/0.png"):
        load(photos)


def test_no_picture_at_all_is_one_line(tmp_path, photos):
    for file in photos.glob("*/*"):
        file.write_bytes(b"x")
    with pytest.raises(DataError, match=r"photos: holds no picture that can be read. The first: .*ant/0.png: "):
        load(photos, reading=Reading(skip_broken=True))
    (tmp_path / "a" / "b").mkdir(parents=True)
    with pytest.raises(
        DataError, match=r"a: holds no folder with pictures \(bmp, .*\) or recordings \(.*\) for each class"
    ):
        load(tmp_path / "a")
    picture(tmp_path / "flat" / "1.png")
    with pytest.raises(
        DataError, match=r"flat: holds no data set; looked for .* and a folder of pictures or event rec"
    ):
        load(tmp_path / "flat")


def test_one_class_is_one_line(tmp_path):
    picture(tmp_path / "p" / "cat" / "1.png")
    with pytest.raises(DataError, match=r"p: all labels are cat, but training needs 2 classes or more."):
        load(tmp_path / "p")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_may_not_be_read_is_one_line(photos):
    (photos / "bee").chmod(0)
    try:
        with pytest.raises(DataError, match=r"photos/bee: cannot be read \(Permission denied\)"):
            load(photos)
    finally:
        (photos / "bee").chmod(0o700)


def test_links_to_pictures_and_folders_are_followed(photos, tmp_path):
    before = rows_of(load(photos).train)
    shutil.move(photos / "bee", tmp_path / "elsewhere")
    (photos / "bee").symlink_to(tmp_path / "elsewhere")
    np.testing.assert_array_equal(rows_of(load(photos).train), before)


def test_pictures_are_decoded_once_and_again_when_one_has_changed(photos, own_cache, monkeypatch):
    from ffedge.data import folder_kinds

    read, count = folder_kinds.read_image, [0]

    def counted(*args, **options):
        count[0] += 1
        return read(*args, **options)

    monkeypatch.setattr(folder_kinds, "read_image", counted)
    first = load(photos, reading=Reading(size=12, colour=True))
    assert count[0] == 15
    again = load(photos, reading=Reading(size=12, colour=True))
    assert (count[0], again.sha256) == (15, first.sha256)
    picture(photos / "ant" / "0.png", seed=99)
    changed = load(photos, reading=Reading(size=12, colour=True))
    assert count[0] == 30
    assert changed.sha256 != first.sha256
    assert len(list(own_cache.rglob("x_train.npy"))) == 1  # the copy before is replaced
    np.testing.assert_array_equal(rows_of(first.train)[1:], rows_of(changed.train)[1:])


def test_a_damaged_copy_is_read_anew(photos, own_cache):
    before = load(photos).sha256
    (file,) = own_cache.rglob("x_train.npy")
    file.write_bytes(file.read_bytes()[:-1] + bytes([file.read_bytes()[-1] ^ 1]))
    assert load(photos).sha256 == before
    (about,) = own_cache.rglob("about.json")
    for text in ("", "[]", "{}", json.dumps({"digest": 3})):
        about.write_text(text)
        assert load(photos).sha256 == before


def test_a_full_disk_is_one_line_and_leaves_nothing(photos, own_cache, monkeypatch):
    full = os.statvfs_result((4096, 4096, 10, 1, 1, 0, 0, 0, 0, 255))
    monkeypatch.setattr(os, "statvfs", lambda place: full)
    with pytest.raises(DataError, match=r"has 0 MiB free, but the pictures take 1 MiB there. Free space, use a small"):
        load(photos)
    assert not list(own_cache.rglob("*.npy"))


def test_reading_says_what_it_must_be():
    for wrong in (4, (8, 8, 8), 5000, (8, 0)):
        with pytest.raises(ValueError, match=r"`size` must be one or two whole numbers from 8 to 2048"):
            Reading(size=wrong)
    for wrong in (0.0, 1.0, 1.5, float("nan"), -0.1):
        with pytest.raises(ValueError, match=r"`test` must be a data set, or a share of the rows between 0 and 1"):
            Reading(test=wrong)
    for reading in (Reading(), Reading(32, True), Reading((8, 9), False, True, 0.25), Reading(test="a")):
        assert Reading.from_dict(json.loads(json.dumps(reading.to_dict()))) == reading


def test_what_is_for_pictures_is_refused_for_arrays(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.zeros((4, 3)), y=[0, 1, 0, 1])
    with pytest.raises(ValueError, match=r"`size` plays no part for .*a.npz, which is no folder of pictures or r"):
        load(tmp_path / "a.npz", reading=Reading(size=32))


def test_a_folder_that_is_not_there_is_said_to_be_missing_whatever_else_is_asked_for(tmp_path):
    with pytest.raises(DataError, match=r"nowhere: is neither a known data set \(.*\) nor a path that exists"):
        load(tmp_path / "nowhere", reading=Reading(size=32))


def test_reading_can_be_stopped_and_leaves_nothing(photos, own_cache):
    with pytest.raises(StoppedError, match=r"photos: stopped while it was read"):
        load(photos, stop=lambda: True)
    assert not list(own_cache.rglob("*.npy"))
