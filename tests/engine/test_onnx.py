"""The onnx engine piece by piece: products, forward passes, moments that come and go.

What it learns is compared with the oracle and with torch in tests/reference/test_parity.py.
"""

import numpy as np
import pytest
from oracle import Oracle
from toys import clusters, make_engine, prepared, random_layers, small_spec

from ffedge.network import initial_state

DATA = clusters(rows=40)
RAW = DATA.train.inputs.take(np.arange(20))


def engine_and_oracle(dataset=DATA, **changes):
    recipe, facts = prepared(small_spec(**changes), dataset)
    layers = random_layers(recipe, facts)
    oracle = Oracle(recipe, facts, layers)
    return make_engine(recipe, facts, layers), oracle, layers


@pytest.mark.parametrize(
    "changes",
    [{}, {"label_layers": "all"}, {"input_norm": "unit"}, {"norm": "layer"}, {"norm": "fixed", "bound": 0.9}],
    ids=str,
)
@pytest.mark.parametrize("given", [True, False])
def test_a_forward_pass_gives_the_goodness_of_each_label(changes, given):
    engine, oracle, _ = engine_and_oracle(**changes)
    labels = np.stack([np.arange(20) % 4, (np.arange(20) + 1) % 4], axis=1) if given else None
    source = engine.product(RAW, None)
    wanted = oracle.forward(RAW, labels if given else np.tile(np.arange(4), (20, 1)))
    for layer in range(3):
        read, (source, goodness) = source, engine.forward(layer, source, labels)
        assert not any(np.shares_memory(source.values["x"].array, value.array) for value in read.values.values())
        np.testing.assert_allclose(goodness, wanted[layer][2], rtol=1e-4)
        rows = oracle.normed(wanted[layer][1], layer)
        np.testing.assert_allclose(source.values["x"].array, rows, rtol=1e-3, atol=1e-4)


def test_a_mask_takes_inputs_out_and_scales_the_others_up():
    engine, oracle, layers = engine_and_oracle(input_dropout=0.25)
    mask = np.random.default_rng(0).integers(0, 2, (20, 12)).astype(np.uint8)
    source = engine.product(RAW, mask)
    offset, scale = np.array(oracle.facts.offset), np.array(oracle.facts.scale)
    x = ((RAW - offset) * scale)[:, 4:] * mask / 0.75
    np.testing.assert_allclose(source.values["x"].array, x, rtol=1e-5, atol=1e-6)
    wanted = x @ layers[0]["W"].astype(float) + layers[0]["b"]
    np.testing.assert_allclose(source.values["z"].array, wanted, rtol=1e-4, atol=1e-5)


def test_a_part_of_a_source_holds_its_samples():
    engine, _, _ = engine_and_oracle(input_norm="unit")
    whole = engine.product(RAW, None)
    part = whole.part(5, 12)
    assert (part.samples, whole.part(15, 99).samples) == (7, 5)
    for name, value in part.values.items():
        np.testing.assert_array_equal(value.array, whole.values[name].array[5:12])
    _, goodness = engine.forward(0, part, None)
    _, wanted = engine.forward(0, engine.product(RAW, None), None)
    np.testing.assert_allclose(goodness, wanted[5:12], rtol=1e-5)


@pytest.mark.parametrize(
    ("optimizer", "gamma_optimizer", "moments"),
    [
        ("adam", "sgd", {"W.m", "W.v", "b.m", "b.v", "V.m", "V.v"}),
        ("momentum", "adam", {"W.m", "b.m", "V.m", "gamma.m", "gamma.v"}),
        ("sgd", "sgd", set()),
    ],
)
def test_moments_are_there_while_a_layer_learns_and_only_then(optimizer, gamma_optimizer, moments):
    engine, _, layers = engine_and_oracle(optimizer=optimizer, gamma_optimizer=gamma_optimizer)
    plain = {"W", "b", "V", "gamma"}
    assert set(engine.state()[0]) == plain
    engine.begin([0], chunked=False)
    assert set(engine.state()[0]) == plain | moments
    assert set(engine.state()[1]) == {"W", "b", "gamma"}
    assert all(not engine.state()[0][name].any() for name in moments)
    engine.begin([0], chunked=True)
    assert set(engine.state()[0]) == plain | moments  # the gradients' sums are empty between batches: no state
    engine.finish([0])
    assert set(engine.state()[0]) == plain
    assert all(np.shares_memory(engine.state()[0][name], layers[0][name]) for name in plain)


def test_moments_that_were_saved_are_kept():
    recipe, facts = prepared(small_spec(), DATA)
    state = initial_state(recipe, facts)
    state[0]["W.m"] = np.full_like(state[0]["W"], 3.0)
    engine = make_engine(recipe, facts, state)
    engine.begin([0], chunked=False)
    assert (engine.state()[0]["W.m"] == 3.0).all()


def test_learning_changes_one_layer_and_passes_on_the_rows_of_before():
    engine, oracle, layers = engine_and_oracle()
    before = [{name: value.copy() for name, value in layer.items()} for layer in layers]
    true, wrong = DATA.train.labels[:20], (DATA.train.labels[:20, None] + [1, 2]) % 4
    labels = np.concatenate([true[:, None], wrong], axis=1)
    engine.begin([0, 1, 2], chunked=False)
    learned = engine.learn(
        0, engine.product(RAW, None), labels, np.zeros((20, 3), np.float32), batch=20, step=0, rate=0.1, emit=True
    )
    _, y, g = oracle.forward(RAW, labels)[0]
    np.testing.assert_allclose(learned.goodness, g, rtol=1e-4)
    np.testing.assert_allclose(learned.source.values["x"].array, oracle.normed(y, 0), rtol=1e-3, atol=1e-4)
    for layer in (1, 2):
        for name, value in before[layer].items():
            np.testing.assert_array_equal(engine.state()[layer][name], value)
    assert np.abs(engine.state()[0]["W"] - before[0]["W"]).max() > 0.05


def test_buffers_grow_with_the_batch_and_not_with_the_steps():
    engine, _, _ = engine_and_oracle()
    for _ in range(3):
        engine.forward(0, engine.product(RAW, None), None)
        size = engine.buffer_bytes
    assert size == engine.buffer_bytes >= 20 * (12 + 12 + 4 * 12) * 4
    engine.forward(0, engine.product(RAW[:5], None), None)
    assert engine.buffer_bytes == size


@pytest.mark.parametrize(("variant", "has_gamma"), [("ff", False), ("fcff", True), ("acff", True)])
def test_layers_that_collaborate_begin_with_the_specs_gamma(variant, has_gamma):
    recipe, facts = prepared(small_spec(variant=variant, gamma=0.7), DATA)
    for layer in initial_state(recipe, facts):
        assert ("gamma" in layer) == has_gamma
        if has_gamma:
            assert float(layer["gamma"]) == np.float32(0.7)
