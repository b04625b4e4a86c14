"""The oracle itself: its gradients are those of its losses, its inputs are written out as section 2 says."""

import numpy as np
import pytest
from oracle import ADAM, Oracle
from toys import clusters, prepared, random_layers, small_spec

STEP = 1e-6
LOSSES = ("logistic", "symmetric", "contrastive")


def tiny(**changes):
    base = {"widths": (5, 4, 3), "n_negatives": 2, "loss": "logistic", "theta": 0.3, "smoothing": 0.1, "batch_size": 4}
    recipe, facts = prepared(small_spec(**(base | changes)), clusters(rows=12, inputs=6, classes=3))
    return Oracle(recipe, facts, random_layers(recipe, facts))


def batch(rows=4, classes=3):
    data = clusters(rows=12, inputs=6, classes=classes)
    return data.train.inputs.take(np.arange(rows)), np.array([[0, 1, 2], [2, 0, 1], [1, 2, 0], [0, 2, 1]])[:rows]


def numeric(oracle, layer, array, others, x, labels):
    """Differentiate a layer's mean loss by central differences; the other layers' goodness stays as it was."""

    def loss():
        y = np.maximum(x @ oracle.layers[layer]["W"] + oracle.layers[layer]["b"], 0.0)
        g = (y**2).mean(1) if oracle.network.goodness == "mean" else (y**2).sum(1)
        G = g.reshape(labels.shape) - oracle.rule.theta + oracle.gamma[layer] * others
        return oracle.loss_and_slope(G)[0].mean()

    slope = np.zeros(np.shape(array))
    for index in np.ndindex(slope.shape):
        kept = array[index]
        array[index] = kept + STEP
        above = loss()
        array[index] = kept - STEP
        slope[index] = (above - loss()) / (2 * STEP)
        array[index] = kept
    return slope


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"goodness": "sum"},
        {"label_layers": "all", "label_mode": "concat"},
        {"input_norm": "rms", "norm": "layer"},
        {"slope": 2.5, "scope": "next", "theta_placement": "once"},
    ],
    ids=str,
)
def test_gradients_are_those_of_the_loss(loss, changes):
    oracle = tiny(loss=loss, **changes)
    raw, labels = batch()
    passed = oracle.forward(raw, labels)
    for layer in range(oracle.L):
        others = oracle.others(layer, [g for _, _, g in passed])
        _, gradient = oracle.gradients(layer, passed)
        for name in ("W", "b"):
            wanted = numeric(oracle, layer, oracle.layers[layer][name], others, passed[layer][0], labels)
            np.testing.assert_allclose(gradient[name], wanted, atol=1e-8)
        assert np.abs(gradient["W"]).max() > 1e-3
        oracle.gamma = np.array(oracle.gamma)
        wanted = numeric(oracle, layer, oracle.gamma, others, passed[layer][0], labels)[layer]
        assert gradient["gamma"] == pytest.approx(wanted, abs=1e-8)


def test_an_overlay_replaces_the_first_inputs_and_concat_stands_beside_them():
    raw, labels = np.arange(12, dtype=np.float32).reshape(2, 6), np.array([[2, 0], [1, 1]])
    overlaid = tiny(scaling="none", label_scale=3.0).rows(raw, labels)
    np.testing.assert_array_equal(overlaid[0], [0, 0, 3, 3, 4, 5])
    np.testing.assert_array_equal(overlaid[1], [3, 0, 0, 3, 4, 5])
    np.testing.assert_array_equal(overlaid[2], [0, 3, 0, 9, 10, 11])
    beside = tiny(scaling="none", label_scale=3.0, label_mode="concat").rows(raw, labels)
    np.testing.assert_array_equal(beside[0], [0, 1, 2, 3, 4, 5, 0, 0, 3])
    assert beside.shape == (4, 9)


def test_parameters_come_apart_as_they_were_put_in():
    for changes in ({}, {"label_mode": "concat"}, {"label_layers": "all"}):
        base = {"widths": (5, 4, 3), "batch_size": 4} | changes
        recipe, facts = prepared(small_spec(**base), clusters(rows=12, inputs=6, classes=3))
        layers = random_layers(recipe, facts)
        oracle = Oracle(recipe, facts, layers)
        for i, layer in enumerate(layers):
            apart = oracle.parameters(i)
            assert set(apart) == set(layer) - {"gamma"}
            for name, value in apart.items():
                np.testing.assert_array_equal(value, layer[name])


def test_adam_takes_the_papers_first_steps():
    """Kingma and Ba's algorithm 1, worked by hand for the gradients 1 and 3."""
    oracle = tiny()
    first = oracle._change("p", 1.0, "adam", ADAM[0], 0)
    second = oracle._change("p", 3.0, "adam", ADAM[0], 1)
    assert first == pytest.approx(1.0, abs=1e-6)  # m = 0.1 / 0.1, v = 0.001 / 0.001
    m, v = (0.9 * 0.1 + 0.1 * 3.0) / (1 - 0.81), (0.999 * 0.001 + 0.001 * 9.0) / (1 - 0.999**2)
    assert second == pytest.approx(m / np.sqrt(v), rel=1e-6)
