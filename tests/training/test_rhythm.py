"""When a checkpoint is due; the clock is the test's."""

import pytest

from ffedge.training import rhythm
from ffedge.training.rhythm import Rhythm


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(rhythm.time, "perf_counter", lambda: now[0])
    return now


def test_steps_are_counted_from_the_last_checkpoint(clock):
    every = Rhythm("3")
    assert [every.due() for _ in range(3)] == [False, False, True]
    every.written(0.1)
    assert [every.due() for _ in range(4)] == [False, False, True, True]


def test_seconds_are_counted_from_the_last_checkpoint(clock):
    every = Rhythm("2.5s")
    clock[0] += 2
    assert not every.due(epoch_ends=True)
    clock[0] += 0.6
    assert every.due()
    every.written(0.1)
    assert not every.due()


def test_auto_spends_a_hundredth_of_the_time(clock):
    every = Rhythm()
    assert not every.due()
    assert every.due(epoch_ends=True)  # the first one comes with the first epoch
    every.written(0.02)
    clock[0] += 1.9
    assert not every.due(epoch_ends=True)
    clock[0] += 0.2
    assert every.due()


def test_auto_does_not_wait_for_a_long_first_epoch(clock):
    every = Rhythm("auto")
    clock[0] += 1.1
    assert every.due()


@pytest.mark.parametrize("text", ["", "0", "-1", "1.5", "s", "often", "0s", "2 s", "inf"])
def test_anything_else_is_refused(text):
    with pytest.raises(ValueError, match=r"^`checkpoint_every` must be steps \(500\), seconds \(2s\) or auto, got "):
        Rhythm(text)
