"""NumPy's files as data sets: what is accepted, what is refused and how."""

import zipfile

import numpy as np
import pytest

from ffedge.data.arrays import npz_members, read_npy, read_npz
from ffedge.data.catalogue import load
from ffedge.data.checks import as_inputs
from ffedge.data.label_column import as_labels
from ffedge.data.rows import ArrayRows
from ffedge.errors import DataError

X = np.arange(24, dtype=np.uint8).reshape(4, 3, 2)
Y = np.array([0, 1, 2, 0])


def all_rows(rows):
    return rows.take(np.arange(len(rows)))


def loaded(tmp_path, x, y):
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "y.npy", y)
    return load(tmp_path / "x.npy")


@pytest.mark.parametrize("dtype", ["u1", "<f4", ">f4", "f8", "f2", "i2", ">i4", "i8", "?"])
def test_inputs_are_uint8_or_float32(tmp_path, dtype):
    array = X.astype(dtype)
    inputs = loaded(tmp_path, array, Y).train.inputs
    assert inputs.dtype == (np.uint8 if dtype == "u1" else np.float32)
    assert all_rows(inputs).dtype == inputs.dtype
    assert all_rows(inputs).dtype.isnative
    np.testing.assert_array_equal(all_rows(inputs), array)


@pytest.mark.parametrize("shape", [(300, 7), (5, 3, 2), (2, 4, 3, 2), (1, 9), (9, 1), (70_000, 3)])
@pytest.mark.parametrize("dtype", ["u1", ">f4", "f8"])
def test_fortran_order_is_read_as_c_order_is(tmp_path, shape, dtype):
    array = np.random.default_rng(0).integers(0, 256, shape).astype(dtype)
    labels = np.arange(shape[0]) % 2
    (tmp_path / "f").mkdir()
    found = loaded(tmp_path / "f", np.asfortranarray(array), labels) if shape[0] > 1 else None
    np.save(tmp_path / "only.npy", np.asfortranarray(array))
    rows = read_npy(tmp_path / "only.npy")
    np.testing.assert_array_equal(all_rows(rows), array)
    assert rows.dtype == array.dtype
    if found:
        assert found.sha256 == loaded(tmp_path, array, labels).sha256


def test_fortran_order_in_an_npz_that_is_cut_off_is_refused(tmp_path):
    np.savez(tmp_path / "d.npz", x=np.asfortranarray(X), y=Y)
    np.testing.assert_array_equal(all_rows(load(tmp_path / "d.npz").train.inputs), X)
    np.save(tmp_path / "x.npy", np.asfortranarray(X))
    (tmp_path / "x.npy").write_bytes((tmp_path / "x.npy").read_bytes()[:-1])
    with pytest.raises(DataError, match="is truncated: its header asks for 152 bytes, it has 151"):
        read_npy(tmp_path / "x.npy")


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz_members_are_rows(tmp_path, save):
    save(tmp_path / "d.npz", x_train=X, y_train=Y, x_test=X[:2], y_test=Y[:2])
    assert npz_members(tmp_path / "d.npz") == ("x_train", "y_train", "x_test", "y_test")
    np.testing.assert_array_equal(all_rows(read_npz(tmp_path / "d.npz", "x_train")), X)
    dataset = load(tmp_path / "d.npz")
    assert (dataset.name, len(dataset.train.inputs), len(dataset.test.inputs)) == ("d", 4, 2)
    assert dataset.train.labels.tolist() == Y.tolist()
    assert dataset.classes == ("0", "1", "2")


def test_npz_with_x_and_y_has_no_test_split(tmp_path):
    np.savez(tmp_path / "d.npz", x=X, y=Y[:, np.newaxis])
    assert load(tmp_path / "d.npz").test is None


def test_members_of_like_names_are_kept_apart(tmp_path):
    np.savez(tmp_path / "d.npz", **{"a/b": X, "a_b": X[::-1], "../x": X + 1})
    np.testing.assert_array_equal(all_rows(read_npz(tmp_path / "d.npz", "a/b")), X)
    np.testing.assert_array_equal(all_rows(read_npz(tmp_path / "d.npz", "a_b")), X[::-1])
    np.testing.assert_array_equal(all_rows(read_npz(tmp_path / "d.npz", "../x")), X + 1)
    assert not (tmp_path / "cache" / "unpacked" / "x.npy").exists()


@pytest.mark.parametrize(
    ("inputs", "labels"),
    [("x.npy", "y.npy"), ("d_images.npy", "d_labels.npy"), ("x_train.npy", "y_train.npy")],
)
def test_labels_are_found_beside_inputs(tmp_path, inputs, labels):
    np.save(tmp_path / inputs, X)
    with pytest.raises(DataError, match=f"{tmp_path}: lacks {labels}. Put it beside the others."):
        load(tmp_path / inputs)
    np.save(tmp_path / labels, Y)
    assert load(tmp_path / inputs).train.labels.tolist() == Y.tolist()


def test_test_files_beside_train_files_are_used(tmp_path):
    for name, array in {"x_train": X, "y_train": Y, "x_test": X[:1], "y_test": Y[:1]}.items():
        np.save(tmp_path / f"{name}.npy", array)
    assert len(load(tmp_path / "x_train.npy").test.inputs) == 1
    assert len(load(tmp_path).test.inputs) == 1
    (tmp_path / "y_test.npy").unlink()
    with pytest.raises(DataError, match=r"lacks y_test.npy. Put it beside the others."):
        load(tmp_path)


@pytest.mark.parametrize("dtype", ["u1", "i8", ">i2", "f4", "f8"])
def test_label_types_with_whole_values_are_accepted(tmp_path, dtype):
    labels = loaded(tmp_path, X, Y.astype(dtype)).train.labels
    assert (labels.dtype, labels.tolist()) == (np.uint8, Y.tolist())


def test_bool_labels_are_two_classes(tmp_path):
    dataset = loaded(tmp_path, X, Y > 0)
    assert (dataset.train.labels.tolist(), dataset.classes) == ([0, 1, 1, 0], ("0", "1"))


def test_string_labels_are_numbered_by_sorted_name(tmp_path):
    dataset = loaded(tmp_path, X, np.array(["ship", "cat", "dog", "cat"]))
    assert (dataset.train.labels.tolist(), dataset.classes) == ([2, 0, 1, 0], ("cat", "dog", "ship"))


def test_test_strings_are_numbered_by_the_train_names(tmp_path):
    words = np.array(["b", "c", "d", "b"])
    np.savez(tmp_path / "d.npz", x_train=X, y_train=words, x_test=X[:2], y_test=np.array(["d", "c"]))
    assert load(tmp_path / "d.npz").test.labels.tolist() == [2, 1]
    np.savez(tmp_path / "d.npz", x_train=X, y_train=words, x_test=X[:2], y_test=np.array(["d", "a"]))
    with pytest.raises(DataError, match=r"d.npz\[y_test\]: row 1 \(from 0\) has label a, which no train row has"):
        load(tmp_path / "d.npz")
    np.savez(tmp_path / "d.npz", x_train=X, y_train=words, x_test=X[:2], y_test=Y[:2])
    with pytest.raises(DataError, match=r"\[y_test\]: row 0 \(from 0\) has label 0, which no train row has"):
        load(tmp_path / "d.npz")


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, 1, 1e300, 0], r"y.npy: row 2 \(from 0\) has label 1e\+300. Remove the row"),
        ([0, 0.5, 1, 0], r"row 1 \(from 0\) has label 0.5, no whole number. ffedge classifies: .* into bins"),
        (["a", " ", "b", "a"], r"row 1 \(from 0\) has a blank label. Remove the row, or give it a name"),
        ([b"a", b"\xff", b"b", b"a"], r"row 1 \(from 0\) has a label that is no UTF-8. Save it again"),
        ([0, 1, 1, np.nan], r"row 3 \(from 0\) has label nan."),
        ([1, 1, 1, 1], "y.npy: all labels are 1, but training needs 2 classes or more."),
        ([[0, 1]] * 4, r"y.npy: labels must be one a row, got shape \[4, 2\]. ffedge classifies"),
        ([0, 1, 2], "y.npy: holds 3 labels, but .*x.npy 4 inputs. Pass files that belong together."),
        ([1j] * 4, "y.npy: must hold numbers or strings, got complex128."),
    ],
)
def test_wrong_labels_are_refused(tmp_path, labels, message):
    with pytest.raises(DataError, match=message):
        loaded(tmp_path, X, np.array(labels))


def test_too_many_names_are_refused():
    rows = ArrayRows(np.arange(1001).astype(str))
    with pytest.raises(DataError, match=r"y: has more than 1000 different labels. Are these the labels?"):
        as_labels(rows, "y")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
def test_the_first_row_that_is_not_finite_is_named(tmp_path, value):
    array = np.zeros((300_000, 2))
    array[200_001, 1] = array[250_000, 0] = value
    with pytest.raises(DataError, match=r"x: row 200001 \(from 0\) holds a value that is not a finite float32"):
        as_inputs(ArrayRows(array), "x")


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.array([{}, {}]), r"never unpickles. Save it again as np.asarray\(names, dtype=str\) or"),
        (np.ones((0, 2)), r"holds no rows \(its shape is \[0, 2\]\)."),
        (np.float32(1), r"holds no rows \(its shape is \[\]\)."),
        (np.ones(2, np.complex64), "must hold numbers or strings, got complex64."),
        (np.zeros(2, "f4,i4"), "must hold numbers or strings, got"),
    ],
)
def test_arrays_that_are_no_rows_are_refused(tmp_path, array, message):
    np.save(tmp_path / "x.npy", array)
    with pytest.raises(DataError, match=message):
        read_npy(tmp_path / "x.npy")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data[:-1], "is truncated: its header asks for 152 bytes, it has 151."),
        (
            lambda data: data.replace(b"'fortran", b"b'fortran").replace(b"} ", b"}"),
            "is not a .npy file ffedge can read",
        ),
        (lambda data: data + b"1", "has 1 bytes more than its header says."),
        (lambda data: b"PK" + data, r"is not a .npy file ffedge can read \(the magic string is not correct"),
        (lambda data: data[:40], r"is not a .npy file ffedge can read \(EOF"),
        (
            lambda data: data.replace(b"'descr'", b"'other'"),
            r"is not a .npy file ffedge can read \(Header does",
        ),
        (lambda data: data.replace(b"\x93NUMPY\x01", b"\x93NUMPY\x07"), "is not a .npy file ffedge can read"),
        (lambda data: data.replace(b"(4, ", b"(-4,"), r"holds no rows \(its shape is \[-4, 3, 2\]\)."),
        (lambda data: data.replace(b"(4, ", b"(((("), "is not a .npy file ffedge can read"),
        (lambda data: b"", "is not a .npy file ffedge can read"),
        (lambda data: data.replace(b"|u1", b"<U0"), "holds only empty strings."),
    ],
)
def test_damaged_npy_files_are_refused(tmp_path, change, message):
    np.save(tmp_path / "x.npy", X)
    (tmp_path / "x.npy").write_bytes(change((tmp_path / "x.npy").read_bytes()))
    with pytest.raises(DataError, match=message) as caught:
        read_npy(tmp_path / "x.npy")
    assert "\n" not in str(caught.value)


def test_damaged_npz_files_are_refused(tmp_path):
    path = tmp_path / "d.npz"
    np.savez_compressed(path, x=np.arange(1000), y=Y)
    data = path.read_bytes()
    path.write_bytes(data[:-30])
    with pytest.raises(DataError, match=r"d.npz: is no complete .npz file"):
        load(path)
    path.write_bytes(data[:200] + b"\xff" * 8 + data[208:])
    with pytest.raises(DataError, match=r"d.npz: is corrupt or not supported"):
        load(path)


def test_an_npz_without_known_names_says_what_it_holds(tmp_path):
    np.savez(tmp_path / "d.npz", data=X, target=Y)
    with pytest.raises(DataError, match=r"must hold x_train and y_train .*, or x and y, got data, target. Save"):
        load(tmp_path / "d.npz")
    with pytest.raises(DataError, match=r"d.npz\[x\]: was not found. Members are data, target."):
        read_npz(tmp_path / "d.npz", "x")


def test_pickles_in_an_npz_are_not_opened(tmp_path):
    with zipfile.ZipFile(tmp_path / "d.npz", "w") as archive:
        archive.writestr("x.npy", b"cos\nsystem\n(S'exit 1'\ntR.")
        archive.writestr("y.npy", b"")
    with pytest.raises(DataError, match=r"d.npz\[x\]: is not a .npy file"):
        load(tmp_path / "d.npz")


def test_the_same_arrays_have_the_same_hash_in_npz_and_npy(tmp_path):
    np.savez_compressed(tmp_path / "d.npz", x=X, y=Y)
    assert load(tmp_path / "d.npz").sha256 == loaded(tmp_path, X, Y).sha256
    assert load(tmp_path / "d.npz").sha256 != loaded(tmp_path, X + 1, Y).sha256


@pytest.mark.parametrize(
    ("x_test", "y_test", "message"),
    [
        (X[:, :2], Y, r"d.npz\[x_test\]: has rows of shape \[2, 2\], but .*\[x_train\] of \[3, 2\]."),
        (X.astype("f4"), Y, r"d.npz\[x_test\]: holds float32, but .*\[x_train\] uint8."),
        (X, Y + 1, r"d.npz\[y_test\]: row 2 \(from 0\) has label 3, which no train row has."),
        (X[:3], Y, r"d.npz\[y_test\]: holds 4 labels, but .*\[x_test\] 3 inputs."),
    ],
)
def test_a_test_split_must_suit_the_train_split(tmp_path, x_test, y_test, message):
    np.savez(tmp_path / "d.npz", x_train=X, y_train=Y, x_test=x_test, y_test=y_test)
    with pytest.raises(DataError, match=message):
        load(tmp_path / "d.npz")


def test_inputs_need_an_axis_of_their_own(tmp_path):
    with pytest.raises(DataError, match=r"x.npy: must be \[N, …\], got shape \[4\]. Reshape it."):
        loaded(tmp_path, np.ones(4), Y)
