"""The schedule: which layers learn when and how fast, on which rows, and what is recorded of it."""

import math

import numpy as np
import pytest
from oracle import Oracle
from toys import clusters, make_engine, make_loop, prepared, small_spec, trained

from ffedge.training.checkpoint import Place
from ffedge.training.loop import Diverged, Interrupted
from ffedge.training.step import BatchLearner
from ffedge.training.watch import Journal, Watcher

DATA = clusters()
ENGINES = [pytest.param("onnx", id="onnx"), pytest.param("torch", id="torch", marks=pytest.mark.torch)]


def copied(state):
    return [{name: np.array(array) for name, array in layer.items()} for layer in state]


def bits(state):
    return b"".join(layer[name].tobytes() for layer in state for name in sorted(layer))


def changed_layers(before, after):
    return [i for i, (a, b) in enumerate(zip(before, after, strict=True)) if not np.array_equal(a["W"], b["W"])]


def watched(changes, look, engine="onnx"):
    """Train, calling ``look(loop)`` after each batch; return the loop and its journal."""
    recipe, facts = prepared(small_spec(**changes).with_train(engine=engine), DATA)
    journal = Journal()
    loop = make_loop(recipe, DATA, journal=journal, facts=facts)
    loop.train(Place(), lambda: look(loop) and False)
    return loop, journal


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("schedule", "wanted"), [("greedy", [[0]] * 20 + [[1]] * 20 + [[2]] * 20), ("interleaved", [[0, 1, 2]] * 20)]
)
def test_greedy_trains_a_layer_to_its_end_and_interleaved_all_in_each_batch(engine, schedule, wanted):
    recipe, facts = prepared(small_spec(schedule=schedule).with_train(engine=engine), DATA)
    loop = make_loop(recipe, DATA, facts=facts)
    seen, before = [], copied(loop.engine.state())

    def look():
        nonlocal before
        after = copied(loop.engine.state())
        seen.append(changed_layers(before, after))
        before = after
        return False

    loop.train(Place(), look)
    assert seen == wanted


@pytest.mark.parametrize(
    ("cooldown", "factor"),
    [("none", lambda t: 1.0), ("linear", lambda t: 1 - t), ("half", lambda t: 1.0 if t < 0.5 else 2 * (1 - t))],
)
def test_the_rate_falls_as_the_cooldown_says(cooldown, factor):
    """Of 4 epochs of 10 batches; recorded is the rate of an epoch's last batch."""
    _, journal = trained(small_spec(cooldown=cooldown, epochs=4, rate=(0.02, 0.01)), DATA)
    for record in journal.records:
        base = 0.02 if record.layer == 0 else 0.01
        assert record.rate == pytest.approx(base * factor((10 * record.epoch + 9) / 40))


@pytest.mark.parametrize("schedule", ["greedy", "interleaved"])
@pytest.mark.parametrize("batch_size", [16, "full"])
def test_every_row_is_learnt_once_an_epoch_and_a_held_out_one_never(monkeypatch, schedule, batch_size):
    learnt, batch = [], BatchLearner.batch

    def told(self, chunks, samples, turn):
        chunks = list(chunks)
        learnt.extend(row.tobytes() for chunk in chunks for row in chunk.raw)
        return batch(self, chunks, samples, turn)

    monkeypatch.setattr(BatchLearner, "batch", told)
    changes = {"schedule": schedule, "holdout": 0.25, "epochs": 3, "batch_size": batch_size, "chunk_size": 50}
    loop, _ = watched(changes, lambda loop: None)
    assert len(loop.held_out) == 40
    rounds = 3 * (3 if schedule == "greedy" else 1)
    for index, row in enumerate(DATA.train.inputs.take(np.arange(160))):
        assert learnt.count(row.tobytes()) == (0 if index in loop.held_out else rounds)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    "changes",
    [{}, {"schedule": "interleaved"}, {"prediction_weights": "collaborative", "gamma": 3.0}],
    ids=str,
)
def test_accuracy_is_measured_on_the_held_out_rows(engine, changes):
    loop, journal = watched({"holdout": 0.3, "epochs": 1, **changes}, lambda loop: None, engine)
    oracle = Oracle(loop.recipe, prepared(loop.recipe.as_spec(), DATA)[1], copied(loop.engine.state()))
    raw, true = DATA.train.inputs.take(loop.held_out), DATA.train.labels[loop.held_out]
    alone = (oracle.goodness(raw).argmax(axis=2) == true[:, None]).mean(axis=0)
    last = journal.records[-1]
    assert last.layer == 2
    assert last.accuracy == pytest.approx(alone[2])
    assert last.accuracy_sum == pytest.approx((oracle.scores(raw).argmax(axis=1) == true).mean())
    assert 0 < last.accuracy < 1


def test_without_held_out_rows_there_is_no_accuracy():
    _, journal = trained(small_spec(epochs=1), DATA)
    assert {(record.accuracy, record.accuracy_sum) for record in journal.records} == {(None, None)}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("variant", "moves"), [("ff", None), ("fcff", False), ("acff", True)])
def test_gamma_is_learnt_by_acff_alone_and_frozen_once_its_layer_is_done(engine, variant, moves):
    seen = []
    watched(
        {"variant": variant, "gamma_rate": 0.1, "loss": "logistic"},
        lambda loop: seen.append([float(layer.get("gamma", np.nan)) for layer in loop.engine.state()]),
        engine,
    )
    gammas = np.array(seen)
    if moves is None:
        assert np.isnan(gammas).all()
    elif not moves:
        assert (gammas == 1.0).all()
    else:
        for layer in range(3):
            steps = np.flatnonzero(np.diff(gammas[:, layer], prepend=1.0))
            assert steps.tolist() == list(range(20 * layer, 20 * layer + 20))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("schedule", ["greedy", "interleaved"])
def test_a_seed_repeats_bit_for_bit_and_another_does_not(engine, schedule):
    spec = small_spec(schedule=schedule, negatives="hard", input_dropout=0.2, holdout=0.1)
    first, again, other = (trained(spec, DATA, engine=engine, seed=seed)[0] for seed in (3, 3, 4))
    assert bits(first) == bits(again)
    assert bits(first) != bits(other)


@pytest.mark.parametrize("engine", ENGINES)
def test_several_threads_repeat_bit_for_bit(engine):
    """Wide enough for an engine to share a step among its threads."""
    data = clusters(rows=512, inputs=64, classes=10)
    spec = small_spec(widths=(500,), batch_size=256, negatives="hard", label_layers="all", epochs=1)
    runs = {bits(trained(spec, data, engine=engine, threads=2)[0]) for _ in range(3)}
    assert len(runs) == 1


@pytest.mark.parametrize("engine", ENGINES)
def test_a_stop_comes_after_a_batch_with_its_place(engine):
    recipe, facts = prepared(small_spec().with_train(engine=engine), DATA)
    places = []

    class Kept(Journal):
        def checkpoint(self, state, place):
            places.append(place)

    count = iter(range(100))
    loop = make_loop(recipe, DATA, journal=Kept(), facts=facts)
    with pytest.raises(Interrupted):
        loop.train(Place(), lambda: next(count) == 12)
    assert (places[-1].stage, places[-1].epoch, places[-1].step) == (0, 1, 3)
    assert [layer for layer, *_ in places[-1].sums] == [0]


@pytest.mark.parametrize("engine", ENGINES)
def test_a_loss_that_is_no_number_stops_training_and_names_layer_and_rate(engine):
    recipe, facts = prepared(small_spec(rate=(1e25,), weight_decay=0.0).with_train(engine=engine), DATA)
    loop = make_loop(recipe, DATA, make_engine(recipe, facts), facts=facts)
    text = r"^layer 0, epoch 0: the loss is not a number at rate 1e\+25. Use a smaller `rate`$"
    with pytest.raises(Diverged, match=text), np.errstate(all="ignore"):
        loop.train(Place(), lambda: False)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_weight_that_is_no_number_is_found_at_the_epochs_end_even_if_no_loss_tells(engine):
    """A unit with the bias -inf is silent for ever, and no row's goodness shows it."""
    recipe, facts = prepared(small_spec(variant="ff").with_train(engine=engine), DATA)
    loop = make_loop(recipe, DATA, make_engine(recipe, facts), facts=facts)

    def silence():
        loop.engine.state()[0]["b"][3] = -np.inf
        return False

    with pytest.raises(Diverged, match=r"^layer 0, epoch 0: "), np.errstate(all="ignore"):
        loop.train(Place(), silence)


def test_a_watcher_hears_of_every_batch_and_epoch():
    class Told(Watcher):
        def __init__(self):
            self.batches, self.epochs = [], []

        def batch(self, progress):
            self.batches.append(progress)

        def epoch(self, records):
            self.epochs.append(records)

    recipe, facts = prepared(small_spec(batch_size=50, schedule="greedy"), DATA)
    told = Told()
    make_loop(recipe, DATA, watcher=told, facts=facts).train(Place(), lambda: False)
    assert [(p.stage, p.epoch, p.batch, p.samples) for p in told.batches] == [
        (stage, epoch, batch, min(50 * batch, 160)) for stage in range(3) for epoch in range(2) for batch in range(1, 5)
    ]
    assert {(p.stages, p.epochs, p.batches) for p in told.batches} == {(3, 2, 4)}
    assert all(p.layers == [p.stage] and math.isfinite(p.loss) for p in told.batches)
    assert [[(r.layer, r.epoch) for r in records] for records in told.epochs] == [
        [(layer, epoch)] for layer in range(3) for epoch in range(2)
    ]
    last = [p for p in told.batches if (p.stage, p.epoch, p.batch) == (2, 1, 4)]
    assert last[0].loss == pytest.approx(told.epochs[-1][0].loss)


def test_the_records_of_a_layer_add_up():
    recipe, facts = prepared(small_spec(epochs=3, holdout=0.2), DATA)
    journal = Journal()
    loop = make_loop(recipe, DATA, journal=journal, facts=facts)
    loop.train(Place(), lambda: False)
    for layer, record in enumerate(loop.layer_records()):
        mine = [r for r in journal.records if r.layer == layer]
        assert (record.index, record.epochs) == (layer, 3)
        assert record.seconds == pytest.approx(sum(r.seconds for r in mine))
        assert record.rss_peak_bytes == max(r.rss_peak_bytes for r in mine)
        assert (record.loss, record.accuracy, record.gamma) == (mine[-1].loss, mine[-1].accuracy, mine[-1].gamma)
        weights = loop.engine.state()[layer]
        assert record.state_bytes == pytest.approx(3 * sum(array.nbytes for array in weights.values()), abs=8)
