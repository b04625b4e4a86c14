"""Recordings of events become the counts that numpy would give, and one line names what is wrong with one."""

import os
import shutil

import numpy as np
import pytest

from ffedge.data import Listener, Reading, files_of, load, read_events, read_inputs
from ffedge.data.events import BLOCK_BYTES
from ffedge.errors import DataError

HEIGHT, WIDTH = 11, 14


class Heard(Listener):
    def __init__(self):
        self.notes = []

    def note(self, text):
        self.notes.append(text)


def stream(count=400, seed=0, height=HEIGHT, width=WIDTH, lasts=300_000):
    """Draw events, sorted by time."""
    rng = np.random.default_rng(seed)
    events = np.zeros(count, [("x", "u2"), ("y", "u2"), ("t", "i8"), ("p", "i1")])
    events["x"], events["y"] = rng.integers(0, width, count), rng.integers(0, height, count)
    events["t"], events["p"] = np.sort(rng.integers(0, lasts, count)), rng.integers(0, 2, count)
    return events


def as_bin(events):
    """Write N-MNIST's bytes, an event after the other."""
    out = b""
    for e in events:
        x, y, t, p = (int(e[name]) for name in "xytp")
        out += bytes([x, y, p << 7 | t >> 16, t >> 8 & 255, t & 255])
    return out


def save(path, events, kind=""):
    """Write a recording in the form that the suffix says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".bin":
        path.write_bytes(as_bin(events))
    elif path.suffix == ".npy":
        np.save(path, events)
    else:
        (np.savez_compressed if kind == "packed" else np.savez)(path, **{name: events[name] for name in "xytp"})
    return path


def counted(events, bins, height=HEIGHT, width=WIDTH):
    """Count by numpy's histogram."""
    t = events["t"].astype(float)
    sample = np.stack([t, events["p"] > 0, events["y"], events["x"]], axis=1)
    edges = [np.linspace(t[0], t[-1], bins + 1), np.arange(3) - 0.5, np.arange(height + 1) - 0.5]
    found, _ = np.histogramdd(sample, [*edges, np.arange(width + 1) - 0.5])
    return np.minimum(found, 255).astype(np.uint8).reshape(2 * bins, height, width)


@pytest.mark.parametrize("bins", [1, 2, 5])
@pytest.mark.parametrize("name", ["a.bin", "a.npy", "a.npz"])
def test_a_recording_is_what_numpy_counts(tmp_path, name, bins):
    events = stream(seed=bins)
    found = read_events(save(tmp_path / name, events), (2 * bins, HEIGHT, WIDTH))
    assert (found.dtype, found.sum()) == (np.uint8, 400)
    np.testing.assert_array_equal(found, counted(events, bins))


@pytest.mark.parametrize("name", ["a.bin", "a.npy", "a.npz"])
def test_a_recording_longer_than_a_block_is_the_same_row(tmp_path, name):
    events = stream(2 * BLOCK_BYTES // 5 + 7, lasts=(1 << 23) - 1)
    path = save(tmp_path / name, events, "packed")
    np.testing.assert_array_equal(read_events(path, (6, HEIGHT, WIDTH)), counted(events, 3))


@pytest.mark.parametrize(
    "other",
    [
        [("timestamp", "u8"), ("x", "f4"), ("y", ">i4"), ("polarity", "?")],
        [("x", "i2"), ("y", "i2"), ("p", "i8"), ("t", "f8"), ("more", "i4")],
    ],
    ids=["as dv names them", "floats and a field more"],
)
def test_other_names_and_types_of_fields_are_the_same_row(tmp_path, other):
    events = stream()
    names = {"timestamp": "t", "polarity": "p"}
    changed = np.zeros(len(events), other)
    for name in changed.dtype.names:
        changed[name] = events[names.get(name, name)] if name != "more" else 9
    np.save(tmp_path / "a.npy", changed)
    np.testing.assert_array_equal(read_events(tmp_path / "a.npy", (4, HEIGHT, WIDTH)), counted(events, 2))


def test_polarity_may_be_minus_one_and_times_large_or_in_seconds(tmp_path):
    events, wanted = stream(), counted(stream(), 4)
    for change in ({"p": 2 * events["p"] - 1}, {"t": events["t"] + (1 << 60)}, {"t": events["t"] * 1e-6}):
        columns = {name: change.get(name, events[name]) for name in "xytp"}
        np.savez(tmp_path / "a.npz", **columns)
        found = read_events(tmp_path / "a.npz", (8, HEIGHT, WIDTH))
        np.testing.assert_array_equal(found.sum(axis=(0)), wanted.sum(axis=0))
        np.testing.assert_array_equal(found, wanted)


def test_y_of_240_in_a_bin_sets_the_clock_forward(tmp_path):
    events = np.array([(1, 2, 100, 0), (3, 4, 200, 1), (0, 240, 0, 0), (5, 6, 50, 1)], stream(1).dtype)
    (tmp_path / "a.bin").write_bytes(as_bin(events))
    told = events[[0, 1, 3]]
    told["t"][2] += 8192
    np.testing.assert_array_equal(read_events(tmp_path / "a.bin", (14, HEIGHT, WIDTH)), counted(told, 7))


def test_a_count_beyond_a_byte_stays_255_and_events_of_one_moment_are_in_the_first_bin(tmp_path):
    events = np.zeros(300, stream(1).dtype)
    events["t"] = 7
    found = read_events(save(tmp_path / "a.npy", events), (4, HEIGHT, WIDTH))
    assert (found[0, 0, 0], found.sum()) == (255, 255)


def changed(field, at, value):
    events = stream(50)
    events[field][at] = value
    return events


def as_floats(**fields):
    events = stream(50)
    return {name: events[name].astype(float) for name in "xytp"} | fields


@pytest.mark.parametrize(
    ("name", "holds", "says"),
    [
        ("a.bin", b"", "holds no events. Remove it"),
        ("a.bin", as_bin(stream(3))[:-2], "has 13 bytes, no multiple of 5"),
        ("a.bin", bytes([0, 240, 0, 0, 0]), "holds no events"),
        ("a.bin", as_bin(stream(9)[::-1]), "time runs backwards, from "),
        ("a.bin", as_bin(changed("x", 4, 200)), "has events up to x = 200, y = 10, outside of a sensor of 11x14"),
        ("a.bin", as_bin(changed("t", -1, (1 << 23) - 1)), "all but 1 of 50 events"),
        ("a.npy", b"", "is not a .npy file"),
        ("a.npy", stream(0), "holds no events"),
        ("a.npy", np.zeros((3, 4)), "must have the fields x, y, t, p, has none"),
        ("a.npy", np.zeros(3, [("x", "i4"), ("y", "i4")]), "must have the fields x, y, t, p, got x, y"),
        ("a.npy", np.zeros(3, [("x", "i4"), ("y", "i4"), ("t", "O"), ("p", "?")]), "must be numbers"),
        ("a.npy", np.zeros(3, [("x", "i4", 2), ("y", "i4"), ("t", "i8"), ("p", "?")]), "must be numbers"),
        ("a.npy", np.zeros((3, 2), stream(1).dtype), "must be one event after the other, [N], got shape [3, 2]"),
        ("a.npy", changed("p", 3, 2), "p must be 0 or 1, or -1 or 1, got 2"),
        ("a.npy", changed("x", 3, 5000), "x must be a whole number from 0 to 2047, got 5000"),
        ("a.npy", changed("t", -1, 1 << 62), "its time runs from "),
        ("a.npy", changed("t", -1, 1 << 40), "all but 1 of 50 events lie in a twentieth of the time"),
        ("a.npy", changed("t", 0, -(1 << 40)), "all but 1 of 50 events lie in a twentieth of the time"),
        ("a.npy", changed("t", 20, 1 << 40), "time runs backwards, from 1099511627776 to "),
        ("a.npz", as_floats(t=np.full(50, np.nan)), "t must be a number, got nan"),
        ("a.npz", as_floats(x=np.full(50, np.inf)), "x must be a number, got inf"),
        ("a.npz", as_floats(y=np.full(50, 0.5)), "y must be a whole number from 0 to 2047, got 0.5"),
        ("a.npz", as_floats(y=np.full(50, -1)), "y must be a whole number from 0 to 2047, got -1"),
        ("a.npz", as_floats(t=np.full(50, 1 << 63, "u8")), "t must be below 2 ** 63"),
        ("a.npz", as_floats(p=np.zeros(49)), "x, y, t, p differ in len"),
        ("a.npz", as_floats(p=np.array(["a"] * 50)), "must be numbers"),
        ("a.npz", {"x": np.zeros(3)}, "must have the fields x, y, t, p, got x"),
        ("a.npz", b"PK", "is no complete .npz file"),
    ],
)
def test_a_bad_recording_is_one_line(tmp_path, name, holds, says):
    path = tmp_path / name
    if isinstance(holds, bytes):
        path.write_bytes(holds)
    elif isinstance(holds, dict):
        np.savez(path, **holds)
    else:
        np.save(path, holds, allow_pickle=True)
    with pytest.raises(DataError) as caught:
        read_events(path, (4, HEIGHT, WIDTH))
    text = str(caught.value)
    assert text.startswith(str(path))
    assert says in text
    assert "\n" not in text


@pytest.mark.parametrize("share", [0.3, 0.6, 0.99])
@pytest.mark.parametrize("name", ["a.npy", "a.npz"])
def test_a_torn_recording_is_one_line(tmp_path, name, share):
    path = save(tmp_path / name, stream(), "packed")
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(DataError, match=r"a.np[yz].*"):
        read_events(path, (4, HEIGHT, WIDTH))


def test_a_bomb_is_refused_before_it_is_read(tmp_path):
    zeros = {name: np.zeros(1 << 20) for name in "xytp"}
    np.savez_compressed(tmp_path / "a.npz", **zeros)
    with pytest.raises(DataError, match="unpacks to 8 MiB, as a bomb would"):
        read_events(tmp_path / "a.npz", (4, HEIGHT, WIDTH))


@pytest.fixture
def gestures(tmp_path):
    """Two classes of 5 and 4 recordings, of three forms."""
    for c, name in enumerate(("left", "right")):
        for i in range(5 - c):
            save(tmp_path / "events" / name / f"{i}{('.bin', '.npy', '.npz')[i % 3]}", stream(seed=10 * c + i))
    return tmp_path / "events"


def rows_of(split):
    return split.inputs.take(np.arange(len(split.labels)))


def test_class_folders_of_recordings_are_a_data_set_and_read_once(gestures, monkeypatch):
    heard = Heard()
    found = load(gestures, reading=Reading(bins=3), hear=heard)
    assert (found.classes, found.input_shape, found.input_dtype) == (("left", "right"), (6, HEIGHT, WIDTH), "uint8")
    assert found.train.labels[np.arange(9)].tolist() == [0] * 5 + [1] * 4
    seeds = [*range(5), *range(10, 14)]
    np.testing.assert_array_equal(rows_of(found.train), np.stack([counted(stream(seed=s), 3) for s in seeds]))
    said = "9 recordings of 2 classes as 3 time bins of 2 polarities of 11x14"
    assert heard.notes == [f"{gestures}: reads {said}"]
    monkeypatch.setattr("ffedge.data.folder_kinds.read_events", None)
    heard = Heard()
    assert load(gestures, reading=Reading(bins=3), hear=heard).sha256 == found.sha256
    assert heard.notes == [f"{gestures}: {said}, as read before"]


def test_pictures_of_some_recordings_beside_them_are_left_out_as_strays(gestures):
    (gestures / "left" / "plot.png").write_bytes(b"")
    heard = Heard()
    assert len(load(gestures, hear=heard).train.labels) == 9
    assert heard.notes[0] == f"{gestures / 'left' / 'plot.png'}: is no recording and was left out"
    assert all(file.suffix != ".png" for file in files_of(gestures))


def test_bins_are_2_and_the_sensor_may_be_told(gestures):
    assert load(gestures).input_shape == (4, HEIGHT, WIDTH)
    found = load(gestures, reading=Reading(size=(20, 16), bins=1))
    np.testing.assert_array_equal(rows_of(found.train)[0], counted(stream(), 1, 20, 16))
    with pytest.raises(DataError, match=r"0.bin: has events up to x = 13, y = 10, outside of a sensor of 9x9. Train"):
        load(gestures, reading=Reading(size=9))


def test_a_file_that_is_predicted_is_the_row_that_was_trained_on(gestures):
    found = load(gestures, shape=(4, HEIGHT, WIDTH))
    files = list(files_of(gestures))
    assert files == sorted(gestures.glob("*/*"))
    for row, file in zip(rows_of(found.train), files, strict=True):
        np.testing.assert_array_equal(read_inputs(file, (4, HEIGHT, WIDTH)).take(np.arange(1))[0], row)


def test_rows_that_are_no_events_are_read_as_before(tmp_path):
    rows = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    np.save(tmp_path / "a.npy", rows)
    np.testing.assert_array_equal(read_inputs(tmp_path / "a.npy", (3, 4)).take(np.arange(2)), rows)


def test_a_model_of_other_rows_says_so(gestures):
    with pytest.raises(DataError, match=r"0.bin: is a recording of events, but the model takes rows of shape \[3\]"):
        read_inputs(gestures / "left" / "0.bin", (3,))
    with pytest.raises(DataError, match=r"0.bin: is a recording of events, but the model takes float32"):
        read_inputs(gestures / "left" / "0.bin", (4, HEIGHT, WIDTH), "float32")
    with pytest.raises(DataError, match=r"events: holds recordings, but the model takes rows of shape \[3\]"):
        load(gestures, shape=(3,))
    with pytest.raises(ValueError, match="`resize` plays no part"):
        read_inputs(gestures / "left" / "0.bin", (4, HEIGHT, WIDTH), resize=True)


def test_a_broken_recording_is_named_and_skipped_only_where_that_is_asked_for(gestures):
    (gestures / "left" / "0.bin").write_bytes(b"")
    with pytest.raises(DataError, match=r"left/0.bin: holds no events.* Or leave such recordings out: `skip_broken=Tr"):
        load(gestures)
    heard = Heard()
    found = load(gestures, reading=Reading(skip_broken=True), hear=heard)
    assert found.train.labels[np.arange(8)].tolist() == [0] * 4 + [1] * 4
    assert heard.notes[-1].endswith(". It was left out")


def test_what_is_for_pictures_is_refused_for_events_and_the_other_way_round(gestures, tmp_path):
    with pytest.raises(ValueError, match=r"`colour` plays no part for .*events, a folder of recordings. Leave it out"):
        load(gestures, reading=Reading(colour=False))
    Image = pytest.importorskip("PIL.Image", reason="needs Pillow")
    for i in range(4):
        (tmp_path / "p" / str(i % 2)).mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((9, 9), i, np.uint8)).save(tmp_path / "p" / str(i % 2) / f"{i}.png")
    with pytest.raises(ValueError, match=r"`bins` plays no part for .*p, a folder of pictures. Leave it out"):
        load(tmp_path / "p", reading=Reading(bins=2))
    heard = Heard()
    shutil.copy(gestures / "left" / "0.bin", tmp_path / "p" / "0")
    assert load(tmp_path / "p", hear=heard).input_shape == (9, 9)
    assert heard.notes[0] == f"{tmp_path}/p/0/0.bin: is no picture and was left out"
    for wrong in (0, 65, 2.0, True):
        with pytest.raises(ValueError, match="`bins` must be a whole number from 1 to 64"):
            Reading(bins=wrong)


def test_a_pipe_among_the_recordings_does_not_wait(gestures):
    os.mkfifo(gestures / "left" / "pipe.bin")
    with pytest.raises(DataError, match=r"pipe.bin: is no regular file"):
        load(gestures)
