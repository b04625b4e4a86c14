"""One batch through the layers, piece by piece; the weights that come of it are tests/reference/test_parity.py's."""

from functools import cache, partial

import numpy as np
import pytest
from oracle import Oracle
from toys import clusters, make_engine, prepared, random_layers, small_spec

from ffedge.data.stream import Chunk
from ffedge.training.step import MAX_ROWS, BatchLearner, Turn

DATA = clusters(rows=320, classes=8)
ENGINES = [pytest.param("onnx", id="onnx"), pytest.param("torch", id="torch", marks=pytest.mark.torch)]


def learner(engine="onnx", **changes):
    recipe, facts = prepared(small_spec(engine=engine, **changes), DATA)
    layers = random_layers(recipe, facts)
    oracle = Oracle(recipe, facts, layers)
    return BatchLearner(recipe, make_engine(recipe, facts, layers), 8), oracle


def chunk(start, stop):
    at = np.arange(start, stop)
    return Chunk(DATA.train.inputs.take(at), DATA.train.labels[at], at, None)


def turn(active, **more):
    wrong = (DATA.train.labels[:, None] + [1, 2]) % 8
    base = {
        "wrong": lambda chunk: wrong[chunk.positions],
        "rng": cache(partial(np.random.default_rng, 0)),
        "step": 0,
        "rates": dict.fromkeys(active, 0.01),
    }
    return Turn(active, **(base | more))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("layers", [1, 3])
def test_class_goodness_is_the_oracles_however_many_samples(engine, layers):
    run, oracle = learner(engine)
    raw = DATA.train.inputs.take(np.arange(MAX_ROWS // 8 * 2 + 9))
    found = run.class_goodness(run.engine.product(raw, None), layers)
    np.testing.assert_allclose(found, oracle.goodness(raw)[:, :layers], rtol=1e-4)


def test_class_goodness_takes_no_more_rows_at_once_than_it_promises():
    run, _ = learner()
    source = run.engine.product(DATA.train.inputs.take(np.arange(320)), None)
    before = run.engine.buffer_bytes
    run.class_goodness(source, 3)
    assert run.engine.buffer_bytes - before <= 4 * (MAX_ROWS * (12 + 10) + MAX_ROWS)


@pytest.mark.parametrize("engine", ENGINES)
def test_sums_are_means_over_samples_and_wrong_labels(engine):
    """Taken before the step; two chunks of unequal size count by their samples."""
    run, oracle = learner(engine, chunk_size=20, batch_size=30, loss="logistic", theta=0.5)
    run.engine.begin([0, 1, 2], chunked=True)
    assert run.batch([chunk(0, 20), chunk(20, 30)], 30, turn([0, 1, 2])) is None
    labels = np.concatenate([DATA.train.labels[:30, None], (DATA.train.labels[:30, None] + [1, 2]) % 8], axis=1)
    passed = oracle.forward(DATA.train.inputs.take(np.arange(30)), labels)
    for layer in range(3):
        g, sums = passed[layer][2], run.sums[layer]
        assert sums.positive / 30 == pytest.approx(g[:, 0].mean(), rel=1e-4)
        assert sums.negative / 30 == pytest.approx(g[:, 1:].mean(), rel=1e-4)
        assert sums.loss / 30 == pytest.approx(oracle.gradients(layer, passed)[0], rel=1e-4)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("negatives", "layers"), [("hard", 1), ("hard-sum", 2)])
def test_hard_negatives_are_drawn_from_the_goodness_they_name(engine, negatives, layers, monkeypatch):
    asked = []

    def drawn(goodness, true, count, rng):
        asked.append((goodness.copy(), true, count))
        return np.array([[(label + 1) % 8, (label + 2) % 8] for label in true])

    monkeypatch.setattr("ffedge.training.step.hard_labels", drawn)
    run, oracle = learner(engine, negatives=negatives)
    run.engine.begin([1], chunked=False)
    wanted = oracle.goodness(DATA.train.inputs.take(np.arange(16)))[:, :layers].sum(axis=1)
    run.batch([chunk(0, 16)], 16, turn([1], wrong=None))
    ((goodness, true, count),) = asked
    np.testing.assert_allclose(goodness, wanted, rtol=1e-4)
    np.testing.assert_array_equal(true, DATA.train.labels[:16])
    assert count == 2


@pytest.mark.parametrize("engine", ENGINES)
def test_a_loss_that_is_no_number_names_its_layer(engine):
    run, _ = learner(engine)
    run.engine.begin([0, 1, 2], chunked=False)
    run.engine.state()[1]["W"][...] = np.nan
    assert run.batch([chunk(0, 16)], 16, turn([0, 1, 2])) in {1, 0}  # layer 0 hears of layer 1
    run, _ = learner(engine, variant="ff")
    run.engine.begin([0, 1, 2], chunked=False)
    run.engine.state()[1]["W"][...] = np.nan
    assert run.batch([chunk(0, 16)], 16, turn([0, 1, 2])) == 1


@pytest.mark.parametrize("engine", ENGINES)
def test_an_infinite_loss_is_no_number_either(engine):
    run, _ = learner(engine, variant="ff", loss="logistic")
    run.engine.begin([0], chunked=False)
    run.engine.state()[0]["W"][...] *= 1e25
    with np.errstate(all="ignore"):
        assert run.batch([chunk(0, 16)], 16, turn([0])) == 0


@pytest.mark.parametrize("engine", ENGINES)
def test_layers_that_do_not_learn_stay_as_they_were(engine):
    run, _ = learner(engine)
    run.engine.begin([1], chunked=False)
    before = [{name: array.copy() for name, array in layer.items()} for layer in run.engine.state()]
    run.batch([chunk(0, 16)], 16, turn([1]))
    after = run.engine.state()
    for layer in (0, 2):
        for name, array in before[layer].items():
            np.testing.assert_array_equal(after[layer][name], array)
    for name in ("W", "b", "gamma"):
        assert not np.array_equal(after[1][name], before[1][name])
