"""Labels are names, not indices: the values that occur are the classes, whatever they are, here and in a model."""

import gzip
import struct

import numpy as np
import pytest
from toys import make_model, small_spec

import ffedge
from ffedge.data import Dataset, load
from ffedge.data.matched import matched
from ffedge.errors import DataError
from ffedge.predict.evaluation import evaluate

PLACES = np.arange(240) % 3
X = np.random.default_rng(0).normal(size=(240, 4)).astype(np.float32) + PLACES[:, None]


def saved(tmp_path, **arrays) -> Dataset:
    np.savez(tmp_path / "d.npz", **arrays)
    return load(tmp_path / "d.npz")


WAYS = {
    "from 1": (PLACES + 1, ("1", "2", "3"), "labels 1 to 3 are taken as the names of 3 classes"),
    "tens": (
        np.array([10, 20, 30])[PLACES],
        ("10", "20", "30"),
        "labels 10, 20, 30: the other numbers from 0 to 30",
    ),
    "masks": (np.array([0, 128, 255], "u1")[PLACES], ("0", "128", "255"), "other numbers from 0 to 255 never occur"),
    "signs": (np.array([-1, 1])[PLACES % 2], ("-1", "1"), "the other numbers from -1 to 1 never occur"),
    "around 0": (PLACES - 1, ("-1", "0", "1"), "labels -1 to 1 are taken as the names of 3 classes"),
    "floats": (np.array([2.0, 10.0, 3.0])[PLACES], ("2", "3", "10"), "labels 2, 3, 10: the other numbers from 0 to"),
    "a gap": (
        np.array([0, 1, 3])[PLACES],
        ("0", "1", "3"),
        "the other numbers from 0 to 3 never occur",
    ),
    "bytes": (np.array([b"walk", b"run", b"sit"])[PLACES], ("run", "sit", "walk"), None),
    "padded": (
        np.array(["walk", "run", "walk "])[PLACES],
        ("run", "walk"),
        "labels 'walk ': white space around them is",
    ),
    "cases": (np.array(["Walk", "run", "walk"])[PLACES], ("Walk", "run", "walk"), "'Walk', 'walk' differ in case or"),
    "spellings": (
        np.array(["1", "01", "+1", "0"])[np.arange(240) % 4],
        ("+1", "0", "01", "1"),
        "labels '+1', '01', '1' differ in how the number is written alone",
    ),
    "one row": (
        np.array(["ok", "o", "worn"])[np.where(PLACES == 1, np.arange(240) == 1, PLACES)],
        ("o", "ok", "worn"),
        "class 'o' has a single row",
    ),
    "rows": (
        np.where(np.arange(240) < 2, np.arange(240) + 1, 0),
        ("0", "1", "2"),
        "each of the classes '1', '2' has a single row",
    ),
    "plain": (PLACES, ("0", "1", "2"), None),
}


@pytest.mark.parametrize("through", ["file", "minibatches"])
@pytest.mark.parametrize("way", WAYS)
def test_the_values_that_occur_are_the_classes_and_what_is_not_plain_is_told(tmp_path, way, through):
    labels, names, note = WAYS[way]
    data = saved(tmp_path, x=X, y=labels) if through == "file" else load([(X[:7], labels[:7]), (X[7:], labels[7:])])
    assert data.classes == names
    texts = [label.decode() if isinstance(label, bytes) else str(label) for label in labels.tolist()]
    wanted = [names.index(text.strip().removesuffix(".0")) for text in texts]
    np.testing.assert_array_equal(data.train.labels[np.arange(240)], wanted)
    assert len(data.notes) == (note is not None)
    assert note is None or note in data.notes[0]


def test_a_quantity_is_refused_by_what_to_do(tmp_path):
    target = np.round(200 + 30 * X[:, 0]).astype(int)
    with pytest.raises(
        DataError, match=r"\[y\]: holds \d+ different numbers from .* looks like a quantity. ffedge clas"
    ):
        saved(tmp_path, x=X, y=target)
    with pytest.raises(
        DataError, match=r"holds 240 different numbers from 0 to 239 in 240 rows, which looks like a qu"
    ):
        saved(tmp_path, x=X, y=np.arange(240))
    assert saved(tmp_path, x=X, y=target.astype(str)).n_classes > 50, "as strings they are names"


def test_half_a_test_split_is_refused(tmp_path):
    with pytest.raises(
        DataError, match=r"d.npz: holds x_test, but no y_test. Save it again with both, or with neither"
    ):
        saved(tmp_path, x_train=X, y_train=PLACES, x_test=X)
    with pytest.raises(DataError, match=r"d.npz: holds y_test, but no x_test."):
        saved(tmp_path, x_train=X, y_train=PLACES, y_test=PLACES)


def test_a_test_split_is_numbered_by_the_train_splits_names(tmp_path):
    data = saved(
        tmp_path, x_train=X, y_train=np.array([10, 20, 30])[PLACES], x_test=X[:3], y_test=np.array([30, 10, 30])
    )
    assert data.test.labels.tolist() == [2, 0, 2]


def emnist(folder, name, labels=True):
    for part, rows in (("train", slice(0, 180)), ("test", slice(180, 240))):
        images = np.zeros((len(PLACES[rows]), 8, 8), np.uint8) + PLACES[rows, None, None].astype(np.uint8)
        head = struct.pack(">IIII", 2051, *images.shape)
        (folder / f"{name}-{part}-images-idx3-ubyte.gz").write_bytes(gzip.compress(head + images.tobytes(), mtime=0))
        content = struct.pack(">II", 2049, len(images)) + (PLACES[rows] + 1).astype(np.uint8).tobytes()
        if labels or part == "train":
            (folder / f"{name}-{part}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(content, mtime=0))


def test_files_named_as_emnists_are_found_by_file_and_by_folder(tmp_path):
    emnist(tmp_path, "emnist-letters")
    for source in (tmp_path, tmp_path / "emnist-letters-train-images-idx3-ubyte.gz"):
        data = load(source)
        assert (len(data.train.labels), len(data.test.labels), data.classes) == (180, 60, ("1", "2", "3"))
    emnist(tmp_path, "emnist-digits", labels=False)
    with pytest.raises(
        DataError, match=r"holds 2 data sets \(emnist-digits-train-.*, emnist-letters-.*\). Pass one of"
    ):
        load(tmp_path)
    with pytest.raises(DataError, match=r"lacks emnist-digits-test-labels-idx1-ubyte.gz. Put it beside the others"):
        load(tmp_path / "emnist-digits-train-images-idx3-ubyte.gz")


@pytest.fixture
def tens(tmp_path):
    data = saved(tmp_path, x=X, y=np.array([10, 20, 30])[PLACES])
    (tmp_path / "tens.onnx").write_bytes(make_model(small_spec(), data)[0])
    return tmp_path / "tens.onnx"


def test_a_prediction_says_the_label_that_the_data_had(tens):
    found = ffedge.Predictor(tens).predict(X)
    assert set(found.label.tolist()) <= {10, 20, 30}
    np.testing.assert_array_equal(found.label, np.array([10, 20, 30])[found.place])
    np.testing.assert_array_equal(found.place, found.scores.argmax(axis=1))


def test_a_model_is_measured_by_names_whatever_order_or_part_of_the_classes_the_data_have(tmp_path, tens):
    predictor = ffedge.Predictor(tens)
    place = predictor.predict(X).place
    part = saved(tmp_path, x=X[PLACES > 0], y=np.array([0, 30, 20])[PLACES[PLACES > 0]])
    found = evaluate(predictor, part)
    true = np.array([0, 2, 1])[PLACES[PLACES > 0]]
    assert found.accuracy == pytest.approx((place[PLACES > 0] == true).mean())
    assert [sum(row) for row in found.confusion] == [0, 80, 80]
    assert found.class_accuracy[0] is None
    for labels, strange in ((PLACES, "'0'"), (np.array(["10", "x", "30"])[PLACES], "'x'")):
        with pytest.raises(
            DataError, match=rf"has the class {strange}, which the model does not know \(its classes: 10"
        ):
            evaluate(predictor, saved(tmp_path, x=X, y=labels))


def test_learning_goes_by_names(tmp_path, tens):
    learner = ffedge.Learner(tens, force=True)
    by_number = [learner._numbers(y, 3).tolist() for y in ([30, 10, 20], ["30", "10", "20"])]
    assert by_number == [[2, 0, 1]] * 2
    with pytest.raises(DataError, match="labels must be 10, 20, 30, or names of classes"):
        learner.observe(X[:2], [0, 1])
    np.savez(tmp_path / "day.npz", x=X[:40], y=np.full(40, 20))
    done = ffedge.learn(tens, tmp_path / "day.npz", force=True, epochs=1, max_drop=1)
    assert done.accepted
    assert ffedge.Predictor(tens).classes == ("10", "20", "30")


@pytest.mark.parametrize("names", [("1", "2", "x"), ("01", "02", "03"), ("0", "2", "x"), ("1.0", "2.0", "3.0")])
def test_a_number_that_may_be_a_name_or_a_place_is_not_learnt_from(tmp_path, names):
    data = saved(tmp_path, x=X, y=np.array(names)[PLACES])
    (tmp_path / "m.onnx").write_bytes(make_model(small_spec(), data)[0])
    learner = ffedge.Learner(tmp_path / "m.onnx", force=True)
    with pytest.raises(DataError) as caught:
        learner.observe(X[:2], [1, 1])
    assert str(caught.value) == (
        f"labels must be names as texts, got int64: some of {', '.join(names)} look like numbers, "
        "so that a number may be a name or a place"
    )
    assert learner.rows == 0
    assert learner._numbers([names[1], names[0]], 2).tolist() == [1, 0]


@pytest.mark.parametrize("names", [("run", "sit", "walk"), ("0", "1", "new")])
def test_a_number_is_a_place_where_it_can_be_nothing_else(tmp_path, names):
    data = saved(tmp_path, x=X, y=np.array(names)[PLACES])
    (tmp_path / "m.onnx").write_bytes(make_model(small_spec(), data)[0])
    assert ffedge.Learner(tmp_path / "m.onnx", force=True)._numbers([2, 0], 2).tolist() == [2, 0]


def test_numbers_of_a_file_are_no_places_of_classes_that_look_like_numbers(tmp_path):
    data = saved(tmp_path, x=X, y=np.array(["1.0", "2.0", "3.0"])[PLACES])
    (tmp_path / "m.onnx").write_bytes(make_model(small_spec(), data)[0])
    with pytest.raises(DataError, match="has the class '1', which the model does not know"):
        evaluate(ffedge.Predictor(tmp_path / "m.onnx"), saved(tmp_path, x=X, y=PLACES % 2 + 1))


def test_names_of_folders_and_texts_are_no_places_though_they_look_like_numbers(tmp_path):
    image, words = pytest.importorskip("PIL.Image", reason="needs Pillow"), ("run", "sit", "walk")
    by_number = saved(tmp_path, x=X, y=PLACES)
    assert matched(by_number, by_number.train, words).labels[np.arange(4)].tolist() == [0, 1, 2, 0]
    for name in ("1", "2"):
        (tmp_path / "days" / name).mkdir(parents=True)
        for shade in range(4):
            image.fromarray(np.full((12, 12), 40 * shade, np.uint8)).save(tmp_path / "days" / name / f"{shade}.png")
    (tmp_path / "days.csv").write_text("heat,level\n" + "".join(f"{i},{1 + i % 2}\n" for i in range(40)))
    texts = saved(tmp_path, x=X, y=PLACES.astype(str))
    for named in (load(tmp_path / "days"), load(tmp_path / "days.csv"), texts):
        with pytest.raises(DataError, match=r"has the class '[01]', which the model does not know \(its classes: run"):
            matched(named, named.train, words)
