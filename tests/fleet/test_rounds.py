"""A round: what boards send becomes the next layers, by rows; what cannot be used is left out and told."""

import numpy as np
import pytest
from toys import clusters, prepared, random_layers, small_spec

from ffedge.fleet.rounds import Update, layer_bytes, merged_round

RECIPE, FACTS = prepared(small_spec(), clusters())
BASE = random_layers(RECIPE, FACTS)


def update(name, which=(0, 1, 2), rows=10, size=0.01, seed=0):
    """Return what a board sends that has moved a little."""
    rng = np.random.default_rng([seed, *name.encode()])
    layers = {
        i: {n: np.asarray(a + size * rng.normal(size=a.shape), np.float32) for n, a in BASE[i].items()} for i in which
    }
    return Update(name, layers, rows)


def merged(*updates, **words):
    return merged_round(RECIPE, FACTS, BASE, updates, **words)


def test_boards_count_by_their_rows():
    sent = [update("a", rows=30), update("b", rows=10)]
    done = merged(*sent)
    assert (done.merged, done.rows, done.left_out) == (True, {"a": 30, "b": 10}, {})
    for index, layer in enumerate(done.layers):
        for name, array in layer.items():
            wanted = np.average([u.layers[index][name] for u in sent], axis=0, weights=[30, 10])
            np.testing.assert_allclose(array, wanted, rtol=1e-6)


def test_of_one_layer_a_round_the_others_stay():
    done = merged(update("a", which=[1]), update("b", which=[1]))
    assert [np.array_equal(done.layers[i]["W"], BASE[i]["W"]) for i in range(3)] == [True, False, True]


def spoilt(kind):
    bad = update("bad")
    first = bad.layers[0]
    if kind == "nan":
        first["b"][0] = np.nan
    elif kind == "far":
        first["W"] += 3
    elif kind == "shape":
        first["W"] = first["W"].T
    elif kind == "double":
        first["W"] = first["W"].astype(np.float64)
    elif kind == "lacks":
        del first["b"]
    elif kind == "more":
        first["evil"] = first["b"]
    elif kind == "layer":
        bad.layers[7] = first
    elif kind == "none":
        bad.layers.clear()
    else:
        return Update("bad", bad.layers, {"rows": 0, "less": -5, "half": 2.5, "lies": 1 << 60}[kind])
    return bad


SAID = {
    "nan": "layer 0 holds numbers that are not finite",
    "far": "layer 0 moved ",
    "shape": "layer 0 holds W of float32 [12, 12]",
    "double": "layer 0 holds W of float64",
    "lacks": "layer 0 must hold W, b, V, gamma, got",
    "more": "layer 0 must hold W, b, V, gamma, got",
    "layer": "layers must be some of 0 to 2, got [0, 1, 2, 7]",
    "none": "layers must be some of 0 to 2, got []",
    "rows": "rows must be a whole number from 1, got 0",
    "less": "rows must be a whole number from 1, got -5",
    "half": "rows must be a whole number from 1, got 2.5",
    "lies": "rows must be a whole number from 1, got 1152921504606846976",
}


@pytest.mark.parametrize("kind", [kind for kind in SAID if kind != "shape"])
def test_a_board_whose_update_is_at_fault_is_left_out_and_the_others_count(kind):
    good = [update("a", rows=30), update("b"), update("c")]
    done = merged(*good, spoilt(kind))
    assert list(done.left_out) == ["bad"]
    assert done.left_out["bad"].startswith(SAID[kind])
    for layer, wanted in zip(done.layers, merged(*good).layers, strict=True):
        assert all(np.array_equal(layer[name], wanted[name]) for name in wanted)


def test_a_lie_beside_one_that_is_not_finite_is_found_too():
    done = merged(update("a"), update("b"), update("c"), spoilt("far"), Update("nan", spoilt("nan").layers, 5))
    assert set(done.left_out) == {"bad", "nan"}


def test_where_too_few_are_left_the_layers_stay():
    for words, sent in (({}, [spoilt("nan")]), ({}, []), ({"method": "median"}, [update("a"), update("b")])):
        done = merged(*sent, **words)
        assert not done.merged
        assert all(np.array_equal(layer["W"], base["W"]) for layer, base in zip(done.layers, BASE, strict=True))


def test_the_median_takes_what_moved_far_and_is_not_moved_by_it():
    done = merged(update("a"), update("b"), update("c"), spoilt("far"), update("d"), method="median")
    assert (done.left_out, done.moved["bad"] > 10) == ({}, True)
    assert np.abs(done.layers[0]["W"] - BASE[0]["W"]).max() < 0.1


def test_the_base_is_not_written_over():
    before = [{name: array.copy() for name, array in layer.items()} for layer in BASE]
    merged(update("a"), update("b"))
    assert all(np.array_equal(b[n], BASE[i][n]) for i, b in enumerate(before) for n in b)
    assert layer_bytes(BASE[0]) == 4 * (12 * 12 + 12 + 4 * 12 + 1)
