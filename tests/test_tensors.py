"""Files of arrays: what the safetensors package reads, mapped, checked, and refused where damaged."""

import json
import struct

import numpy as np
import pytest
from safetensors.numpy import load_file, safe_open, save_file

from ffedge.meter import rss_bytes
from ffedge.pages import copy, on_disk, release
from ffedge.tensors import TensorFile, write_tensors

ARRAYS = {
    "W": np.random.default_rng(0).normal(size=(700, 500)).astype(np.float32),
    "gamma": np.array(0.5, np.float32),
    "none": np.zeros((0, 3), np.float32),
    "turned": np.arange(12, dtype=np.float32).reshape(3, 4).T,
}


@pytest.fixture
def path(tmp_path):
    write_tensors(tmp_path / "a.safetensors", ARRAYS, {"place": "here"})
    return tmp_path / "a.safetensors"


def test_the_safetensors_package_reads_what_is_written(path):
    found = load_file(path)
    assert set(found) == set(ARRAYS)
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(found[name], array)
    with safe_open(path, framework="numpy") as file:
        assert file.metadata()["place"] == "here"


def test_what_is_written_is_read_and_checked(path):
    file = TensorFile(path)
    assert file.check() == file.metadata["sha256"]
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(file.arrays[name], array)
        assert not file.arrays[name].flags.writeable


def test_the_checksum_covers_every_byte(path):
    whole = path.read_bytes()
    start = 8 + struct.unpack("<Q", whole[:8])[0]
    for at in (*range(8, start), start, len(whole) // 2, len(whole) - 1):
        changed = bytearray(whole)
        changed[at] ^= 1
        path.write_bytes(changed)
        with pytest.raises((ValueError, KeyError)):
            TensorFile(path).check()


def header(**entries):
    text = json.dumps({"__metadata__": {"sha256": "0" * 64}, **entries}).encode()
    return len(text).to_bytes(8, "little") + text


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0" * 8,
        b"\xff" * 16,
        header()[:-1],
        b"\x02" + b"\0" * 7 + b"[]",
        header(W={"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}),
        header(W={"dtype": "F32", "shape": [10**18], "data_offsets": [0, 16]}) + bytes(16),
        header(W={"dtype": "F32", "shape": [-4, -1], "data_offsets": [0, 16]}) + bytes(16),
        header(W={"dtype": "F16", "shape": [2], "data_offsets": [0, 16]}) + bytes(16),
        header(W={"dtype": "F32", "shape": [4], "data_offsets": [-16, 0]}) + bytes(16),
        header(W={"dtype": "F32", "shape": [4.0], "data_offsets": [0, 16]}) + bytes(16),
        header(W={"dtype": "F32", "shape": [0, 2**64], "data_offsets": [0, 0]}) + bytes(16),
        header(W={"dtype": "F32", "shape": [2**63, [1]], "data_offsets": [0, 16]}) + bytes(16),
        header(__metadata__=None),
        header(__metadata__={"sha256": 7}),
        header(__metadata__={"place": "here"}),
    ],
)
def test_a_damaged_file_is_refused(tmp_path, content):
    (tmp_path / "bad").write_bytes(content)
    with pytest.raises(ValueError, match=r"header|tensor|metadata|empty"):
        TensorFile(tmp_path / "bad")


def test_a_file_of_the_package_without_a_checksum_is_refused(tmp_path):
    save_file(ARRAYS | {"turned": np.zeros(1, np.float32)}, tmp_path / "a")
    with pytest.raises(ValueError, match="metadata"):
        TensorFile(tmp_path / "a")


def test_reading_checking_and_copying_hold_a_block_and_not_the_file(tmp_path):
    """32 MiB; 4 MiB are left for what else the interpreter does."""
    write_tensors(tmp_path / "a", {"W": np.ones((2048, 4096), np.float32)}, {})
    target = on_disk((2048, 4096), tmp_path)
    before, peak = rss_bytes(), 0
    file = TensorFile(tmp_path / "a")
    file.check()
    peak = max(peak, rss_bytes())
    copy(file.arrays["W"], target)
    peak = max(peak, rss_bytes())
    assert peak - before < 4 * 2**20
    assert float(target[-1, -1]) == 1.0


def test_pages_given_back_keep_what_was_written(tmp_path):
    array = on_disk((256, 4096), tmp_path)
    assert not list(tmp_path.iterdir())  # it has no name
    array[:] = 3.0
    before = rss_bytes()
    release(array[5:])
    assert before - rss_bytes() > 3 * 2**20
    assert (array == 3.0).all()
    plain = np.full(1000, 2.0)
    release(plain)
    assert (plain == 2.0).all()
