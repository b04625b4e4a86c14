"""Rows to test on: a share of each class, or another data set's rows by the names of their classes."""

import numpy as np
import pytest

from ffedge.data import Reading, load
from ffedge.data.label_column import MOST_LABEL_BYTES
from ffedge.errors import DataError


def saved(path, labels):
    labels = np.asarray(labels)
    np.savez(path, x=np.arange(len(labels) * 3, dtype=np.float32).reshape(-1, 3), y=labels)
    return path


def all_of(split):
    rows = np.arange(len(split.labels))
    return split.inputs.take(rows), np.asarray(split.labels[rows])


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5, 0.9])
def test_a_share_is_taken_of_each_class_and_no_row_is_lost(tmp_path, share):
    labels = np.random.default_rng(0).permutation(np.repeat([0, 1, 2, 3], [200, 40, 7, 2]))
    whole = load(saved(tmp_path / "a.npz", labels))
    found = load(tmp_path / "a.npz", reading=Reading(test=share))
    (x, y), (tx, ty) = all_of(found.train), all_of(found.test)
    counts = [round(n * share) for n in (200, 40, 7, 2)]
    wanted = [min(max(k, 1), n - 1) for k, n in zip(counts, (200, 40, 7, 2), strict=True)]
    assert np.bincount(ty, minlength=4).tolist() == wanted
    both = np.concatenate([x, tx])
    np.testing.assert_array_equal(both[both[:, 0].argsort()], all_of(whole.train)[0])
    for rows, names in ((x, y), (tx, ty)):
        np.testing.assert_array_equal(labels[(rows[:, 0] / 3).astype(int)], names)
    again = load(tmp_path / "a.npz", reading=Reading(test=share))
    np.testing.assert_array_equal(all_of(again.test)[0], tx)
    assert found.sha256 == again.sha256 != whole.sha256


def test_labels_that_stand_in_a_file_are_split_too():
    count = MOST_LABEL_BYTES + 1000
    x, y = np.zeros((count, 1), np.uint8), (np.arange(count) % 3).astype(np.uint8)
    found = load([(x, y)], reading=Reading(test=0.2))
    assert not isinstance(found.train.labels, np.ndarray)
    _, test = all_of(found.test)
    assert np.bincount(test).tolist() == [round(0.2 * n) for n in np.bincount(y)]


def test_one_row_a_class_leaves_none_to_test_on(tmp_path):
    with pytest.raises(DataError, match=r"a: has no class of two rows or more"):
        load(saved(tmp_path / "a.npz", [0, 1, 2]), reading=Reading(test=0.5))


def test_another_data_set_is_found_by_the_names_of_its_classes(tmp_path):
    saved(tmp_path / "a.npz", ["ant", "bee", "cow", "dog"])
    saved(tmp_path / "b.npz", ["dog", "bee", "dog"])
    found = load(tmp_path / "a.npz", reading=Reading(test=str(tmp_path / "b.npz")))
    assert all_of(found.test)[1].tolist() == [3, 1, 3]
    saved(tmp_path / "c.npz", ["dog", "eel"])
    with pytest.raises(DataError, match=r"c: has the class 'eel', which the model does not know \(its classes: "):
        load(tmp_path / "a.npz", reading=Reading(test=str(tmp_path / "c.npz")))


def test_another_shape_or_a_second_test_split_is_refused(tmp_path):
    saved(tmp_path / "a.npz", [0, 1])
    np.savez(tmp_path / "b.npz", x=np.zeros((2, 4), np.float32), y=[0, 1])
    with pytest.raises(DataError, match=r"b: has rows of float32 \[4\], but a of float32 \[3\]. Make them alike"):
        load(tmp_path / "a.npz", reading=Reading(test=str(tmp_path / "b.npz")))
    x = np.zeros((4, 3))
    np.savez(tmp_path / "c.npz", x_train=x, y_train=[0, 1, 0, 1], x_test=x, y_test=[0, 1, 0, 1])
    with pytest.raises(ValueError, match=r"`test` plays no part for c, which has a test split. Leave it out"):
        load(tmp_path / "c.npz", reading=Reading(test=0.5))


def test_a_table_is_split_and_another_table_tests_it(tmp_path):
    (tmp_path / "a.csv").write_text("w,kind\n" + "".join(f"{i},{'xy'[i % 2]}\n" for i in range(20)))
    (tmp_path / "b.csv").write_text("kind,w\ny,3\nx,4\ny,5\n")
    found = load(tmp_path / "a.csv", reading=Reading(test=0.2))
    assert (len(found.train.labels), len(found.test.labels)) == (16, 4)
    found = load(tmp_path / "a.csv", reading=Reading(test=str(tmp_path / "b.csv")))
    x, y = all_of(found.test)
    assert (x.reshape(-1).tolist(), y.tolist()) == ([3.0, 4.0, 5.0], [1, 0, 1])
