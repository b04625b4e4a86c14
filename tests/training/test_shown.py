"""The seconds left are foretold from the pace of the layer that learns, and from how much slower each layer is."""

from types import SimpleNamespace

import pytest

from ffedge.training import shown
from ffedge.training.watch import Progress

STAGES, EPOCHS, BATCHES = 4, 3, 5


@pytest.fixture
def clock(monkeypatch):
    found = SimpleNamespace(now=100.0)
    monkeypatch.setattr(shown.time, "perf_counter", lambda: found.now)
    return found


def foretold(clock, pace_of, begins=(0, 0, 1)):
    """Yield what is foretold after each batch, and the seconds that really are left."""
    steps = [(s, e, b) for s in range(STAGES) for e in range(EPOCHS) for b in range(1, BATCHES + 1)]
    steps = steps[steps.index(begins) :]
    pace = shown._Pace()
    for i, (stage, epoch, batch) in enumerate(steps):
        clock.now += pace_of(stage)
        where = Progress(stage, STAGES, [stage], epoch, EPOCHS, batch, BATCHES, 64, 0.5, 0)
        yield stage, *pace.left(where), sum(pace_of(later) for later, _, _ in steps[i + 1 :])


@pytest.mark.parametrize("begins", [(0, 0, 1), (0, 1, 3), (2, 2, 4)])
def test_layers_of_one_pace_are_foretold_at_once_also_when_a_run_goes_on(clock, begins):
    for _, _, left, real in foretold(clock, lambda stage: 0.5, begins):
        assert left == pytest.approx(real)


def test_layers_that_get_slower_are_foretold_once_two_are_known(clock):
    for stage, _, left, real in foretold(clock, lambda stage: 2.0 + 3.0 * stage):
        assert left == pytest.approx(real) if stage else left < real


def test_a_layer_that_is_faster_than_the_one_before_is_not_taken_for_a_trend(clock):
    for stage, _, left, real in foretold(clock, lambda stage: 1.0 if stage else 4.0):
        assert left == pytest.approx(real) if stage else left > real


def test_the_share_that_is_done_counts_batches(clock):
    shares = [done for _, done, _, _ in foretold(clock, lambda stage: 1.0 + stage)]
    assert shares == pytest.approx([(i + 1) / 60 for i in range(60)])
