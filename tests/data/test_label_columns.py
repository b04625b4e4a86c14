"""Labels as they are kept: a byte each or, where there are many, in a file; and never more than a block beside them."""

import os
import tracemalloc

import numpy as np
import pytest
from toys import clusters, make_model, small_spec

from ffedge.data import label_column
from ffedge.data.arrays import read_npy
from ffedge.data.catalogue import load
from ffedge.data.label_column import as_labels
from ffedge.data.rows import Rows
from ffedge.errors import DataError
from ffedge.predict.evaluation import accuracy, evaluate
from ffedge.predict.predictor import Predictor

ROWS = 40_000
PLACES = np.arange(ROWS)
KINDS = {
    "bytes": (PLACES % 7).astype(np.uint8),
    "words": PLACES % 300,
    "floats": (PLACES % 999).astype(np.float32),
    "bools": PLACES % 2 == 1,
    "few names": np.char.add("name ", (PLACES % 12).astype(str)),
    "many names": np.char.add("name ", (PLACES % 700).astype(str)),
}


def column(tmp_path, array):
    np.save(tmp_path / "y.npy", array)
    return as_labels(read_npy(tmp_path / "y.npy"), "y")


@pytest.mark.parametrize("in_file", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_labels_are_class_numbers_in_the_smallest_type(tmp_path, monkeypatch, kind, in_file):
    if in_file:
        monkeypatch.setattr(label_column, "MOST_LABEL_BYTES", 100)
    names, numbers = np.unique(KINDS[kind], return_inverse=True)
    found = column(tmp_path, KINDS[kind])
    assert isinstance(found.labels, Rows if in_file else np.ndarray)
    assert len(found.labels) == ROWS
    some = np.random.default_rng(0).integers(0, ROWS, 500)
    assert found.labels[some].dtype == (np.uint8 if len(names) <= 256 else np.uint16)
    for rows in (some, PLACES):
        np.testing.assert_array_equal(found.labels[rows], numbers[rows])
    assert found.names == (tuple(names) if "names" in kind else tuple(map(str, range(len(names)))))
    assert found.notes == ()


def test_a_mebibyte_of_labels_is_kept_in_memory_and_more_is_not(tmp_path):
    for count, kind in ((2**20, np.ndarray), (2**20 + 1, Rows)):
        assert isinstance(column(tmp_path, np.arange(count, dtype=np.uint32) % 5).labels, kind)
    assert list((tmp_path / "cache" / "temporary").iterdir()) == []


@pytest.mark.parametrize("kind", ["i8", "f8", "u1", "U", "Uwide"])
def test_reading_labels_takes_no_more_than_a_block_beside_them(tmp_path, kind):
    count = 100_000 if kind == "Uwide" else 1_500_000
    labels = np.arange(count) % 9
    if kind.startswith("U"):
        np.save(tmp_path / "y.npy", np.array(list("abcdefghi"), "U100" if kind == "Uwide" else "U1")[labels])
    else:
        np.save(tmp_path / "y.npy", labels.astype(kind))
    rows = read_npy(tmp_path / "y.npy")
    tracemalloc.start()
    try:
        found = as_labels(rows, "y")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 3 * 2**20
    np.testing.assert_array_equal(found.labels[np.array([0, 10, count - 1])], labels[[0, 10, -1]])


@pytest.mark.parametrize("row", [0, 16_383, 16_384, 39_999])
def test_a_wrong_label_is_named_by_its_row_in_the_file(tmp_path, row):
    bad = np.arange(ROWS) % 3
    for wrong, why in ((0.5, "has label 0.5, no whole number. ffedge classifies"), (np.nan, "has label nan. Remove")):
        with pytest.raises(DataError, match=rf"^y: row {row} \(from 0\) {why}"):
            column(tmp_path, np.where(np.arange(ROWS) == row, wrong, bad))


@pytest.mark.parametrize("in_file", [False, True])
@pytest.mark.parametrize("row", [0, 16_384, 39_999])
def test_a_test_label_beyond_the_train_labels_is_named_by_its_row(tmp_path, monkeypatch, row, in_file):
    if in_file:
        monkeypatch.setattr(label_column, "MOST_LABEL_BYTES", 1)
    x, y = np.zeros((ROWS, 2), np.uint8), np.arange(ROWS) % 3
    test = y.copy()
    test[row] = 8
    np.savez(tmp_path / "d.npz", x_train=x, y_train=y, x_test=x, y_test=test)
    message = rf"\[y_test\]: row {row} \(from 0\) has label 8, which no train row has. Remove"
    with pytest.raises(DataError, match=message):
        load(tmp_path / "d.npz")


def test_one_name_alone_is_named(tmp_path):
    np.savez(tmp_path / "d.npz", x=np.zeros((3, 2)), y=np.array(["cat"] * 3))
    with pytest.raises(DataError, match=r"\[y\]: all labels are cat, but training needs 2 classes or more."):
        load(tmp_path / "d.npz")


def test_a_full_disk_is_one_line(tmp_path, monkeypatch):
    def full(*args):
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(label_column, "MOST_LABEL_BYTES", 100)
    monkeypatch.setattr(label_column, "Rows", full)
    message = rf"^{tmp_path}/cache/temporary: cannot be written \(No space left on device\). Free space there, or set"
    with pytest.raises(DataError, match=message):
        column(tmp_path, KINDS["words"])


def test_a_model_is_measured_the_same_on_labels_in_a_file(tmp_path, monkeypatch):
    data = clusters(rows=700, noise=0.3)
    (tmp_path / "model.onnx").write_bytes(make_model(small_spec(), data)[0])
    inputs = data.train.inputs.take(np.arange(700))
    np.savez(tmp_path / "d.npz", x=inputs, y=data.train.labels)
    in_memory = load(tmp_path / "d.npz")
    monkeypatch.setattr(label_column, "MOST_LABEL_BYTES", 100)
    in_file = load(tmp_path / "d.npz")
    assert isinstance(in_file.train.labels, Rows)
    predictor = Predictor(tmp_path / "model.onnx")
    right = predictor.predict(inputs).label == data.train.labels
    rows = np.array([699, 3, 400, 3])
    for dataset in (in_memory, in_file):
        assert accuracy(predictor, dataset.train) == pytest.approx(right.mean())
        assert accuracy(predictor, dataset.train, rows) == pytest.approx(right[rows].mean())
        assert evaluate(predictor, dataset).accuracy == pytest.approx(right.mean())
    assert evaluate(predictor, in_file).confusion == evaluate(predictor, in_memory).confusion
