"""Rows in a file: what they give equals numpy's fancy indexing, and memory stays bounded."""

import os
import subprocess
import sys
import textwrap
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import ffedge
from ffedge.data.rows import ArrayRows, Chosen, FloatRows, Joined, Rows
from ffedge.errors import DataError
from ffedge.files import nameless_file

OFFSET = 16


def stored(path: Path, array: np.ndarray) -> Rows:
    path.write_bytes(b"\xff" * OFFSET + array.tobytes())
    return Rows(path, OFFSET, array.shape, array.dtype)


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    array = np.random.default_rng(0).integers(0, 2**31, (40, 3, 2), np.int32)
    return array, stored(tmp_path_factory.mktemp("rows") / "array", array)


@given(st.lists(st.integers(0, 39), max_size=100))
def test_take_equals_fancy_indexing(pair, indices):
    array, rows = pair
    wanted = np.asarray(indices, np.int64)
    np.testing.assert_array_equal(rows.take(wanted), array[wanted])


@given(st.integers(0, 39), st.integers(1, 40))
def test_runs_of_neighbours_equal_slices(pair, start, length):
    array, rows = pair
    np.testing.assert_array_equal(rows.take(np.arange(40)[start : start + length]), array[start : start + length])


@pytest.mark.parametrize("rows_per_block", [1, 7, 40, 100])
def test_blocks_are_all_rows_in_order(pair, rows_per_block):
    array, rows = pair
    blocks = list(rows.blocks(rows_per_block))
    assert max(map(len, blocks)) <= rows_per_block
    np.testing.assert_array_equal(np.concatenate(blocks), array)


@pytest.mark.parametrize("dtype", ["u1", "<f4", ">f8", ">i2", "<U3", "?"])
def test_values_keep_their_dtype_and_byte_order(tmp_path, dtype):
    array = np.arange(12).reshape(6, 2).astype(dtype)
    taken = stored(tmp_path / "a", array).take(np.array([5, 0]))
    assert taken.dtype == array.dtype
    np.testing.assert_array_equal(taken, array[[5, 0]])


def test_taken_rows_may_be_changed(pair):
    array, rows = pair
    for source in (rows, ArrayRows(array)):
        source.take(np.array([0]))[:] = -1
        next(source.blocks(1))[:] = -1
        assert source.take(np.array([0])).min() >= 0


def test_memory_and_file_give_the_same(pair):
    array, rows = pair
    held, indices = ArrayRows(array), np.array([3, 3, 1])
    assert (held.shape, held.dtype, len(held), held.row_shape) == (rows.shape, rows.dtype, len(rows), (3, 2))
    np.testing.assert_array_equal(held.take(indices), rows.take(indices))
    np.testing.assert_array_equal(list(held.blocks(20)), list(rows.blocks(20)))


def test_float32_rows_convert_and_overflow_to_infinity():
    rows = FloatRows(ArrayRows(np.array([[1.5], [1e300]])))
    assert rows.take(np.array([0, 1])).tolist() == [[1.5], [np.inf]]
    assert next(rows.blocks(2)).dtype == np.float32


def test_short_reads_are_completed(pair, monkeypatch):
    array, rows = pair
    read = os.preadv
    monkeypatch.setattr(os, "preadv", lambda fd, views, at: read(fd, [views[0][:5]], at))
    np.testing.assert_array_equal(rows.take(np.array([9, 2, 3])), array[[9, 2, 3]])


@pytest.mark.parametrize("indices", [[-1], [40]])
def test_indices_beyond_the_rows_are_refused(pair, indices):
    array, rows = pair
    for source in (rows, ArrayRows(array)):
        with pytest.raises(ValueError, match="indices must be 0 to 39, got"):
            source.take(np.array(indices))


def test_indices_must_be_integers_in_one_axis(pair):
    _, rows = pair
    with pytest.raises(ValueError, match=r"indices must be integers \[n\], got float64 \[1\]"):
        rows.take(np.array([0.0]))
    with pytest.raises(ValueError, match=r"got int64 \[1, 1\]"):
        rows.take(np.array([[0]]))
    with pytest.raises(ValueError, match="rows_per_block must be at least 1, got 0"):
        next(rows.blocks(0))


def test_joined_and_chosen_rows_are_those_of_their_sources(pair):
    array, rows = pair
    joined = Joined(rows, ArrayRows(array[::-1].reshape(40, 6).copy()))
    whole, which = np.concatenate([array, array[::-1]]), np.array([70, 3, 3, 41, 39])
    for source, same in ((joined, whole), (Chosen(joined, which), whole[which])):
        assert (source.shape, source.row_shape, source.dtype, len(source)) == (
            same.shape,
            (3, 2),
            same.dtype,
            len(same),
        )
        some = np.array([4, 0, 2, 2])
        np.testing.assert_array_equal(source.take(some), same[some])
        np.testing.assert_array_equal(np.concatenate(list(source.blocks(7))), same)
        assert source.take(some[:0]).shape == (0, 3, 2)
        with pytest.raises(ValueError, match="indices must be 0 to"):
            source.take(np.array([len(same)]))


def test_blocks_of_narrow_rows_take_no_more_than_their_bytes(tmp_path):
    rows = stored(tmp_path / "a", np.zeros((2**20, 1), np.uint8))
    for source, times in ((rows, 1), (FloatRows(rows), 5)):
        tracemalloc.start()
        next(source.blocks(2**20))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < (times + 0.2) * 2**20


def test_a_file_that_shrinks_is_an_error_not_garbage(tmp_path):
    rows = stored(tmp_path / "a", np.zeros((100, 10), np.uint8))
    os.truncate(tmp_path / "a", OFFSET + 505)
    assert rows.take(np.array([49])).sum() == 0
    message = f"{tmp_path}/a: has shrunk to 521 bytes while in use. Restore it and go on."
    with pytest.raises(DataError) as caught:
        rows.take(np.array([50]))
    assert str(caught.value) == message
    with pytest.raises(DataError, match="has shrunk"):
        list(rows.blocks(64))


def test_a_replaced_file_is_read_as_it_was(tmp_path):
    rows = stored(tmp_path / "a", np.zeros((4, 4), np.uint8))
    (tmp_path / "b").write_bytes(b"\x01" * 100)
    (tmp_path / "b").replace(tmp_path / "a")
    assert rows.take(np.array([2])).sum() == 0


def test_a_short_or_absent_file_is_refused(tmp_path):
    (tmp_path / "a").write_bytes(b"12345")
    with pytest.raises(DataError, match=r"a: is truncated: its header asks for 7 bytes, it has 5. Copy"):
        Rows(tmp_path / "a", 1, (3, 2), np.dtype(np.uint8))
    with pytest.raises(DataError, match=r"b: was not found. Check the path."):
        Rows(tmp_path / "b", 1, (3, 2), np.dtype(np.uint8))


def test_files_are_closed_with_their_rows(pair, tmp_path):
    rows = stored(tmp_path / "a", np.zeros((4, 4), np.uint8))
    descriptor = rows._fd
    del rows
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


CHILD = """
    import sys
    from pathlib import Path
    import numpy as np
    from ffedge.data.rows import Rows

    def peak_bytes():
        with open("/proc/self/status") as status:
            return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))

    order = np.random.default_rng(0).permutation(60000)
    with open("/proc/self/clear_refs", "w") as reset:
        reset.write("5")
    before = peak_bytes()
    rows = Rows(Path(sys.argv[1]), 16, (60000, 28, 28), np.dtype(np.uint8))
    for batch in range(200):
        rows.take(order[batch * 256 : (batch + 1) * 256])
    for block in rows.blocks(1000):
        pass
    print(peak_bytes() - before)
"""  # rows are opened after the reset: a memory map would have all its pages at the first read


@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="/proc/self/clear_refs is not here")
def test_reading_47_mb_at_random_takes_under_4_mb(tmp_path):
    (tmp_path / "images").write_bytes(os.urandom(1 << 20) * 45)
    child = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(CHILD), str(tmp_path / "images")],
        env={**os.environ, "PYTHONPATH": str(Path(ffedge.__file__).parents[1])},
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(child.stdout) < 4_000_000


def test_a_file_without_a_name_is_read_where_proc_is_hidden(tmp_path, monkeypatch):
    opened = os.open

    def hidden(path, *more):
        if str(path).startswith("/dev/fd"):
            raise FileNotFoundError(2, "No such file or directory")
        return opened(path, *more)

    with nameless_file(tmp_path) as (file, path):
        file.write(bytes(range(6)))
        file.flush()
        monkeypatch.setattr(os, "open", hidden)
        rows = Rows(path, 0, (3, 2), np.dtype(np.uint8))
    assert rows.take(np.array([2, 0])).tolist() == [[4, 5], [0, 1]]
