"""Checkpoints: the same bits back, the older generation where the newest is torn, and no one else's."""

import errno
import math
from pathlib import Path

import numpy as np
import pytest

from ffedge.errors import FfedgeError, ModelError
from ffedge.training.checkpoint import Checkpoints, Place

ABOUT = {"spec": {"network": {"widths": [3, 2]}, "train": {"seed": 0, "rate": [0.1]}}, "data": "sha", "name": "x"}


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
    checkpoints.save(state(), place, ABOUT)
    found = checkpoints.load(ABOUT)
    check_same(found.state, state())
    assert (found.place, found.about, found.torn) == (place, ABOUT, ())


def test_arrays_that_come_back_are_views_of_the_file_that_nobody_can_write_to(checkpoints):
    checkpoints.save(state(), Place(), ABOUT)
    for layer in checkpoints.load(ABOUT).state:
        for array in layer.values():
            assert not array.flags.writeable
            assert not array.flags.owndata
            assert array.flags.c_contiguous
            assert array.ctypes.data % 4 == 0


def test_two_generations_stay_and_the_newest_is_read(checkpoints):
    for step in range(4):
        checkpoints.save(state(step), Place(0, 0, step), ABOUT)
    assert len(list(checkpoints.folder.iterdir())) == 2
    found = checkpoints.load(ABOUT)
    check_same(found.state, state(3))
    assert found.place.step == 3


def test_a_finished_layer_is_written_once_and_named_by_later_generations(checkpoints):
    first = checkpoints.save([state()[0], {}], Place(0, 1), ABOUT)
    kept = checkpoints.keep(0, state()[0], finished=True)
    check_same([kept], state()[:1])
    assert not kept["W"].flags.writeable
    second = checkpoints.save([{}, state()[1]], Place(1, 1), ABOUT)
    assert sorted(path.name for path in checkpoints.folder.iterdir()) == [
        *(path.name for path in (first, second)),
        "layer-00.safetensors",
    ]
    for found in (Checkpoints(checkpoints.folder).load(ABOUT), checkpoints.newest()):
        check_same(found.state, state())


def test_a_run_that_went_on_still_names_its_finished_layers(checkpoints):
    checkpoints.keep(0, state()[0], finished=True)
    checkpoints.save([{}, state()[1]], Place(1, 1), ABOUT)
    later = Checkpoints(checkpoints.folder)
    later.load(ABOUT)
    later.save([{}, state(1)[1]], Place(1, 2), ABOUT)
    check_same(later.load(ABOUT).state, [state()[0], state(1)[1]])


def test_a_layer_that_has_not_learnt_is_not_named(checkpoints):
    checkpoints.keep(1, state()[1], finished=False)
    checkpoints.save([state()[0], {}], Place(), ABOUT)
    check_same(checkpoints.load(ABOUT).state, [state()[0], {}])


@pytest.mark.parametrize("damage", ["changed", "gone"])
def test_a_generation_whose_finished_layer_is_damaged_is_not_whole(checkpoints, damage):
    checkpoints.save([state()[0], {}], Place(0, 1), ABOUT)
    checkpoints.keep(0, state()[0], finished=True)
    checkpoints.save([{}, state()[1]], Place(1, 1), ABOUT)
    path = checkpoints.folder / "layer-00.safetensors"
    if damage == "gone":
        path.unlink()
    else:
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)
    found = checkpoints.load(ABOUT)
    assert found.place == Place(0, 1)
    assert "000001.safetensors" in found.torn[0]


@pytest.mark.parametrize("left", [0, 7, 100, -1])
def test_a_torn_newest_generation_falls_back_to_the_older_one(checkpoints, left):
    checkpoints.save(state(0), Place(0, 1), ABOUT)
    newest = checkpoints.save(state(1), Place(0, 2), ABOUT)
    newest.write_bytes(newest.read_bytes()[:left])
    found = checkpoints.load(ABOUT)
    check_same(found.state, state(0))
    assert found.place == Place(0, 1)
    assert len(found.torn) == 1
    assert found.torn[0].startswith("000001.safetensors: ")
    checkpoints.save(state(2), Place(0, 2), ABOUT)  # the run goes on
    check_same(checkpoints.load(ABOUT).state, state(2))


def test_any_changed_byte_is_noticed(checkpoints):
    checkpoints.save(state(0), Place(0, 1), ABOUT)
    newest = checkpoints.save(state(1), Place(0, 2), ABOUT)
    whole = newest.read_bytes()
    for at in range(len(whole)):
        content = bytearray(whole)
        content[at] ^= 1
        newest.write_bytes(content)
        assert checkpoints.load(ABOUT).place == Place(0, 1), at


@pytest.mark.parametrize("content", [b"", b"hello", b"\0" * 5000, b"\xff" * 5000, b"\x10" + b"\0" * 7 + b"[" * 16])
def test_a_file_of_something_else_counts_as_torn(checkpoints, content):
    checkpoints.save(state(0), Place(), ABOUT)
    (checkpoints.folder / "000099.safetensors").write_bytes(content)
    check_same(checkpoints.load(ABOUT).state, state(0))


def test_torn_files_alone_or_none_are_an_error_that_names_them(checkpoints):
    with pytest.raises(
        ModelError, match=f"^{checkpoints.folder}: holds no checkpoint. Train anew, with `force` instead of `resume`$"
    ):
        checkpoints.load(ABOUT)
    checkpoints.save(state(), Place(), ABOUT).write_bytes(b"torn")
    text = rf"^{checkpoints.folder}: holds only torn files \(000000.safetensors: .*\). Train anew, with `force` instead"
    with pytest.raises(ModelError, match=text):
        checkpoints.load(ABOUT)


def test_other_files_in_the_folder_do_no_harm(checkpoints):
    checkpoints.save(state(), Place(), ABOUT)
    (checkpoints.folder / "notes.txt").write_text("mine")
    (checkpoints.folder / "best.safetensors").write_text("mine too")
    checkpoints.save(state(1), Place(), ABOUT)
    checkpoints.save(state(2), Place(), ABOUT)
    check_same(checkpoints.load(ABOUT).state, state(2))
    assert (checkpoints.folder / "notes.txt").exists()
    assert (checkpoints.folder / "best.safetensors").exists()


def test_a_checkpoint_of_another_spec_or_of_other_data_is_refused_by_name(checkpoints):
    checkpoints.save(state(), Place(), ABOUT)
    other = {"spec": {"network": {"widths": [3, 2]}, "train": {"seed": 1, "rate": [0.1]}}, "data": "sha"}
    with pytest.raises(ModelError, match=r"another spec \(seed 0, now 1\)\. Resume with what the run began with"):
        checkpoints.load(other)
    with pytest.raises(ModelError, match=r"000000\.safetensors: was made with another data\. Resume with"):
        checkpoints.load({**ABOUT, "data": "else"})
    checkpoints.load({**ABOUT, "spec": {"network": {"widths": (3, 2)}, "train": {"seed": 0, "rate": (0.1,)}}})


def test_a_full_disk_leaves_the_generations_before_and_says_one_line(checkpoints, monkeypatch):
    checkpoints.save(state(0), Place(), ABOUT)

    def full(self, target):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(FfedgeError) as caught:
        checkpoints.save(state(1), Place(), ABOUT)
    path = checkpoints.folder / "000001.safetensors"
    assert str(caught.value) == (
        f"{path}: cannot be written (No space left on device). Free space there, or choose another place"
    )
    assert [item.name for item in checkpoints.folder.iterdir()] == ["000000.safetensors"]
    check_same(checkpoints.load(ABOUT).state, state(0))


def test_a_disk_that_fills_up_within_the_file_is_one_line_too(checkpoints):
    """A limit on the size of files stands in for the disk: the write itself fails, not the renaming."""
    resource = pytest.importorskip("resource")
    checkpoints.save(state(0), Place(), ABOUT)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        with pytest.raises(FfedgeError, match=r"^.*000001.safetensors: cannot be written "):
            checkpoints.save(state(1), Place(), ABOUT)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    check_same(checkpoints.load(ABOUT).state, state(0))
