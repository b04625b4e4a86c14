"""Checkpoints: the same bits back, the older generation where the newest is torn, and no one else's."""

import errno
import math
from pathlib import Path

import numpy as np
import pytest

from ffedge.errors import FfedgeError, ModelError
from ffedge.training.checkpoint import Checkpoints, Place

IDENTITY = {"spec": {"network": {"widths": [3, 2]}, "train": {"seed": 0, "rate": [0.1]}}, "data": "sha"}


def state(seed=0):
    rng = np.random.default_rng(seed)
    return [
        {"W": rng.normal(size=(4, 3)).astype(np.float32), "gamma": np.array(0.3, np.float32)},
        {"W": rng.normal(size=(3, 2)).astype(np.float32), "W.m": rng.normal(size=(3, 2)).astype(np.float32)},
    ]


def check_same(found, wanted):
    assert len(found) == len(wanted)
    for a, b in zip(found, wanted, strict=True):
        assert set(a) == set(b)
        for name, array in a.items():
            assert (array.dtype, array.shape) == (b[name].dtype, b[name].shape)
            assert array.tobytes() == b[name].tobytes()


@pytest.fixture
def checkpoints(tmp_path):
    return Checkpoints(tmp_path / "checkpoint")


def test_state_and_place_come_back_bit_for_bit(checkpoints):
    place = Place(1, 2, 3, 0.1 + 0.2, ((0, 1 / 3, math.pi, 1e-300), (1, 0.1, 0.2, 0.3)))
    checkpoints.save(state(), place, IDENTITY)
    found, at = checkpoints.load(IDENTITY)
    check_same(found, state())
    assert at == place


def test_arrays_that_come_back_can_be_trained_on(checkpoints):
    checkpoints.save(state(), Place(), IDENTITY)
    for layer in checkpoints.load(IDENTITY)[0]:
        for array in layer.values():
            assert array.flags.writeable
            assert array.flags.c_contiguous
            assert array.ctypes.data % 4 == 0


def test_two_generations_stay_and_the_newest_is_read(checkpoints):
    for step in range(4):
        checkpoints.save(state(step), Place(0, 0, step), IDENTITY)
    assert len(list(checkpoints.folder.iterdir())) == 2
    found, place = checkpoints.load(IDENTITY)
    check_same(found, state(3))
    assert place.step == 3


@pytest.mark.parametrize("left", [0, 7, 100, -1])
def test_a_torn_newest_generation_falls_back_to_the_older_one(checkpoints, left):
    checkpoints.save(state(0), Place(0, 1), IDENTITY)
    newest = checkpoints.save(state(1), Place(0, 2), IDENTITY)
    newest.write_bytes(newest.read_bytes()[:left])
    found, place = checkpoints.load(IDENTITY)
    check_same(found, state(0))
    assert place == Place(0, 1)
    checkpoints.save(state(2), Place(0, 2), IDENTITY)  # the run goes on
    check_same(checkpoints.load(IDENTITY)[0], state(2))


@pytest.mark.parametrize("content", [b"", b"hello", b"\0" * 5000, b"\xff" * 5000])
def test_a_file_of_something_else_counts_as_torn(checkpoints, content):
    checkpoints.save(state(0), Place(), IDENTITY)
    (checkpoints.folder / "000099.safetensors").write_bytes(content)
    check_same(checkpoints.load(IDENTITY)[0], state(0))


def test_torn_files_alone_or_none_are_an_error_that_names_them(checkpoints):
    with pytest.raises(ModelError, match=f"^{checkpoints.folder}: holds no checkpoint. Start anew without --resume$"):
        checkpoints.load(IDENTITY)
    checkpoints.save(state(), Place(), IDENTITY).write_bytes(b"torn")
    text = rf"^{checkpoints.folder}: holds only torn files \(000000.safetensors\). Start anew without --resume$"
    with pytest.raises(ModelError, match=text):
        checkpoints.load(IDENTITY)


def test_other_files_in_the_folder_do_no_harm(checkpoints):
    checkpoints.save(state(), Place(), IDENTITY)
    (checkpoints.folder / "notes.txt").write_text("mine")
    (checkpoints.folder / "best.safetensors").write_text("mine too")
    checkpoints.save(state(1), Place(), IDENTITY)
    checkpoints.save(state(2), Place(), IDENTITY)
    check_same(checkpoints.load(IDENTITY)[0], state(2))
    assert (checkpoints.folder / "notes.txt").exists()
    assert (checkpoints.folder / "best.safetensors").exists()


def test_a_checkpoint_of_another_spec_or_of_other_data_is_refused_by_name(checkpoints):
    checkpoints.save(state(), Place(), IDENTITY)
    other = {"spec": {"network": {"widths": [3, 2]}, "train": {"seed": 1, "rate": [0.1]}}, "data": "sha"}
    with pytest.raises(ModelError, match=r"another spec \(seed 0, now 1\)\. Resume with what the run began with"):
        checkpoints.load(other)
    with pytest.raises(ModelError, match=r"000000\.safetensors: was made with another data\. Resume with"):
        checkpoints.load({**IDENTITY, "data": "else"})
    checkpoints.load({**IDENTITY, "spec": {"network": {"widths": (3, 2)}, "train": {"seed": 0, "rate": (0.1,)}}})


def test_a_full_disk_leaves_the_generations_before_and_says_one_line(checkpoints, monkeypatch):
    checkpoints.save(state(0), Place(), IDENTITY)

    def full(self, target):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(FfedgeError) as caught:
        checkpoints.save(state(1), Place(), IDENTITY)
    path = checkpoints.folder / "000001.safetensors"
    assert str(caught.value) == (
        f"{path}: cannot be written (No space left on device). Free space or choose another --out"
    )
    assert [item.name for item in checkpoints.folder.iterdir()] == ["000000.safetensors"]
    check_same(checkpoints.load(IDENTITY)[0], state(0))


def test_a_disk_that_fills_up_within_the_file_is_one_line_too(checkpoints):
    """A limit on the size of files stands in for the disk: the write itself fails, not the renaming."""
    resource = pytest.importorskip("resource")
    checkpoints.save(state(0), Place(), IDENTITY)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        with pytest.raises(FfedgeError, match=r"^.*000001.safetensors: cannot be written "):
            checkpoints.save(state(1), Place(), IDENTITY)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    check_same(checkpoints.load(IDENTITY)[0], state(0))


def test_a_generation_that_was_forced_to_the_disk_stays_until_another_one_is(checkpoints):
    """If power fails, only synced files are sure to be whole: those that were not may be empty."""
    checkpoints.save(state(0), Place(0, 1), IDENTITY, sync=True)
    hasty = [checkpoints.save(state(i), Place(0, 1 + i), IDENTITY, sync=False) for i in (1, 2, 3)]
    for path in hasty:
        if path.exists():
            path.write_bytes(b"")
    assert checkpoints.load(IDENTITY)[1] == Place(0, 1)
