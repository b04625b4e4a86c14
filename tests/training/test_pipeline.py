"""Layers on several threads: the same bits as on one; what goes wrong in a thread is raised where batches are given."""

import itertools
import threading

import numpy as np
import pytest
from toys import GROUPS, clusters, conv_spec, make_loop, pictures, prepared, small_spec

from ffedge.training.checkpoint import Place
from ffedge.training.loop import Diverged, Interrupted
from ffedge.training.pipeline import TIMED, Pipeline, level_parts
from ffedge.training.step import BatchLearner
from ffedge.training.watch import Journal

DATA, PICTURES = clusters(), pictures()
BOTH = {"schedule": "interleaved", "scope": "previous"}


class LastCheckpoint(Journal):
    """Keeps where a run stopped, and with which weights."""

    def checkpoint(self, state, place):
        self.place, self.state = place, [{n: a.copy() for n, a in layer.items()} for layer in state]


def looped(spec, data=DATA, threads=1, journal=None):
    recipe, facts = prepared(spec.with_train(threads=threads), data)
    return make_loop(recipe, data, facts=facts, journal=journal)


def bits(state):
    return [{name: array.tobytes() for name, array in layer.items()} for layer in state]


@pytest.mark.parametrize(
    ("spec", "data"),
    [
        (small_spec(**BOTH, holdout=0.2), DATA),
        (small_spec(**BOTH, variant="fcff", negatives="hard"), DATA),
        (small_spec(**BOTH, variant="acff", negatives="hard-sum"), DATA),
        (small_spec(schedule="interleaved", variant="acff"), DATA),  # hears of layers above
        (small_spec(**BOTH, widths=(12, 11, 10, 9, 8), batch_size=48, chunk_size=9, tile_bytes=256), DATA),
        (small_spec(**BOTH, widths=(12, 12), **GROUPS, input_dropout=0.3), DATA),
        (small_spec(**BOTH, class_weight="balanced"), DATA),
        (conv_spec(schedule="interleaved", mirror=0.5, chunk_size=8), PICTURES),
    ],
    ids=["ff", "hard", "hard-sum", "ahead", "chunks", "groups", "weights", "pictures"],
)
@pytest.mark.parametrize("threads", [2, 3])
def test_weights_and_records_are_the_same_bits_as_on_one_thread(spec, data, threads):
    one, many = looped(spec, data), looped(spec, data, threads)
    for loop in (one, many):
        loop.train(Place(), lambda: False)
    assert type(one.learner) is BatchLearner
    assert type(many.learner) is Pipeline
    assert bits(many.engine.state()) == bits(one.engine.state())
    told = [
        [(r.layer, r.epoch, r.loss, r.accuracy, r.goodness_negative) for r in loop._journal.records]
        for loop in (one, many)
    ]
    assert told[0] == told[1]


def test_layers_learn_at_the_same_time_and_no_thread_is_left(monkeypatch):
    """The first layer waits in its step of the second chunk for the second layer, which is in that of the first."""
    seen, both = [], threading.Barrier(2, timeout=30)
    learn = Pipeline._pass

    def waiting(self, engine, layer, work):
        if engine is not self.engine:
            seen.append(layer)
            if seen.count(layer) == 2 - layer:
                both.wait()
        learn(self, engine, layer, work)

    monkeypatch.setattr(Pipeline, "_pass", waiting)
    before = threading.active_count()
    looped(small_spec(**BOTH, widths=(8, 8)), threads=2).train(Place(), lambda: False)
    assert seen.count(0) == seen.count(1) > 2
    assert not both.broken
    assert threading.active_count() == before


@pytest.mark.parametrize("step", [1, TIMED, TIMED + 4])
def test_a_run_that_stops_holds_what_all_layers_learnt_from_the_same_batches(step):
    stopped = []
    for threads in (1, 2):
        journal, batches = LastCheckpoint(), itertools.count(1)
        with pytest.raises(Interrupted):
            looped(small_spec(**BOTH), threads=threads, journal=journal).train(
                Place(), lambda of=batches: next(of) == step
            )
        stopped.append((journal.place.step, journal.place.sums, bits(journal.state)))
    assert stopped[0] == stopped[1]
    assert stopped[0][0] == step


@pytest.mark.parametrize("layer", [0, 1])
def test_a_fault_in_a_thread_is_raised_and_ends_all_threads(monkeypatch, layer):
    learn = Pipeline._pass

    def failing(self, engine, at, work):
        if engine is not self.engine and at == layer:
            raise OSError("the disk is gone")
        learn(self, engine, at, work)

    monkeypatch.setattr(Pipeline, "_pass", failing)
    before = threading.active_count()
    with pytest.raises(OSError, match="the disk is gone"):
        looped(small_spec(**BOTH), threads=2).train(Place(), lambda: False)
    assert threading.active_count() == before


def test_no_memory_between_two_threads_is_raised_and_ends_them(monkeypatch):
    def full(self, rows, samples):
        raise MemoryError("no room")

    monkeypatch.setattr("ffedge.engine.onnx.OnnxEngine.source", full)
    before = threading.active_count()
    with pytest.raises(MemoryError, match="no room"):
        looped(small_spec(**BOTH), threads=2).train(Place(), lambda: False)
    assert threading.active_count() == before


def test_a_loss_that_is_no_number_names_its_layer():
    loop = looped(small_spec(**BOTH), threads=2)
    seen = itertools.count()

    def spoil():
        if next(seen) == TIMED + 1:
            loop.learner.settle()
            loop.engine.state()[1]["W"][...] = np.nan
        return False

    with pytest.raises(Diverged, match=r"^layer 1, epoch 0: the loss is not a number"):
        loop.train(Place(), spoil)


@pytest.mark.parametrize("sparing", [{"schedule": "greedy"}, {"memory_budget": 2**40}])
def test_where_memory_counts_layers_run_one_after_the_other(sparing):
    spec = small_spec(**BOTH | sparing)
    assert type(looped(spec, threads=2).learner) is BatchLearner


def test_parts_are_cut_so_that_the_dearest_costs_least():
    rng = np.random.default_rng(0)
    for _ in range(200):
        costs, most = rng.integers(1, 9, rng.integers(1, 8)).tolist(), int(rng.integers(1, 5))
        parts = level_parts(costs, most)
        assert [at for start, stop in parts for at in range(start, stop)] == list(range(len(costs)))
        assert len(parts) <= most
        cuts = itertools.chain.from_iterable(itertools.combinations(range(1, len(costs)), n) for n in range(most))
        ends = ([0, *cut, len(costs)] for cut in cuts)
        least = min(max(sum(costs[a:b]) for a, b in itertools.pairwise(each)) for each in ends)
        assert max(sum(costs[start:stop]) for start, stop in parts) == least
