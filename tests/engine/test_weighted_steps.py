"""A row that counts twice learns as two such rows do: in both engines, whatever tells a class, in tiles, in chunks."""

import numpy as np
import pytest
from toys import GROUPS, READOUT, clusters, make_engine, prepared, small_spec

from ffedge.network import initial_state

DATA = clusters(noise=1.5)
ROWS = np.arange(24)
WEIGHTS = np.random.default_rng(0).integers(0, 4, 24)
KINDS = {
    "tried": {},
    "logistic, fcff": {"variant": "fcff", "loss": "logistic"},
    "symmetric, momentum": {"loss": "symmetric", "optimizer": "momentum"},
    "adam": {"optimizer": "adam"},
    "label in every layer": {"label_layers": "all"},
    "groups": GROUPS,
    "readout": READOUT,
    "tiles": {"tile_bytes": 256},
}
ENGINES = [pytest.param("onnx", id="onnx"), pytest.param("torch", id="torch", marks=pytest.mark.torch)]


def learnt(spec, parts, batch):
    """Let every layer learn once from parts of a batch: rows, and their weights or None."""
    recipe, facts = prepared(spec, DATA)
    engine = make_engine(recipe, facts, initial_state(recipe, facts))
    layers = range(len(engine.layers))
    engine.begin(list(layers), chunked=len(parts) > 1)
    loss = 0.0
    for rows, weights in parts:
        true, raw = DATA.train.labels[rows], DATA.train.inputs.take(rows)
        labels = (true[:, None] + np.arange(1 + recipe.train.n_negatives)) % 4
        source, other = engine.product(raw, None), np.full(labels.shape, 0.5, np.float32)
        for layer in layers:
            how = {"batch": batch, "step": 0, "rate": 0.1, "emit": layer < layers[-1], "weights": weights}
            done = engine.learn(layer, source, labels, other, **how)
            source, loss = done.source, loss + float(done.loss)
    for layer in layers if len(parts) > 1 else ():
        engine.apply(layer, step=0, rate=0.1)
    return [{name: value.copy() for name, value in state.items()} for state in engine.state()], loss


def compare(one, other):
    assert one[1] == pytest.approx(other[1], rel=1e-4)
    for mine, theirs in zip(one[0], other[0], strict=True):
        for name in mine:
            np.testing.assert_allclose(mine[name], theirs[name], rtol=2e-3, atol=2e-5, err_msg=name)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("kind", KINDS)
def test_a_weight_is_as_good_as_so_many_rows(engine, kind):
    spec = small_spec(**KINDS[kind], engine=engine)
    again = np.repeat(ROWS, WEIGHTS)
    mean = (WEIGHTS / WEIGHTS.mean()).astype(np.float32)
    compare(learnt(spec, [(ROWS, mean)], 24), learnt(spec, [(again, None)], len(again)))
    plain = learnt(spec, [(ROWS, None)], 24)
    assert not np.allclose(plain[0][0]["W"], learnt(spec, [(ROWS, mean)], 24)[0][0]["W"], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("kind", ["tried", "groups", "readout"])
def test_a_batch_in_chunks_weighs_the_same(engine, kind):
    spec, mean = small_spec(**KINDS[kind], engine=engine), (WEIGHTS / WEIGHTS.mean()).astype(np.float32)
    cut = [(ROWS[part], mean[part]) for part in (slice(10), slice(10, 24))]
    compare(learnt(spec, cut, 24), learnt(spec, [(ROWS, mean)], 24))


@pytest.mark.parametrize("engine", ENGINES)
def test_weights_of_1_change_nothing(engine):
    compare(
        learnt(small_spec(engine=engine), [(ROWS, np.ones(24, np.float32))], 24),
        learnt(small_spec(engine=engine), [(ROWS, None)], 24),
    )
