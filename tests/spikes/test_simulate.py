"""The simulator counts the spikes that each neuron's equation gives, and decides when it may."""

import numpy as np
import pytest
from spiking_toys import counted, rows_of, toy
from toys import GROUPS

from ffedge.spikes import SpikingPredictor
from ffedge.spikes.simulate import HELD, Run, decided, goodness_after

CASES = [
    {},
    {"reset": "zero"},
    {"leak_steps": 20},
    {"leak_steps": 20, "current_based": True},
    {"leak_steps": 20, "reset": "zero"},
    {"label_layers": "all"},
    {"label_layers": "all", "label_mode": "concat", "reset": "zero"},
    {"bytes": True},
    {"widths": (7,), "norm": "rms"},
    {"goodness": "sum"},
    GROUPS,
    {**GROUPS, "widths": (13, 10), "reset": "zero"},
    {"pictures": True},
    {"pictures": True, "reset": "zero", "widths": ("6c5s2", 9)},
]


@pytest.mark.parametrize("changes", CASES, ids=str)
def test_counts_are_those_of_each_neuron_alone(changes):
    """A float32 potential may cross its threshold a timestep away from a float64 one."""
    network, *_, data = toy(**changes)
    raw, classes = rows_of(data, 3), network.rows_a_sample
    run = Run(network, raw)
    for _ in range(25):
        run.step()
    total = 0
    for n in range(3):
        for c in range(classes):
            for layer, wanted in enumerate(counted(network, raw[n].reshape(-1), c, 25)):
                found = run.counts[layer][n * classes + c]
                np.testing.assert_allclose(found, wanted, atol=1)
                assert (found == wanted).mean() > 0.9
                total += sum(wanted)
    assert total > 25 * classes


@pytest.mark.parametrize("changes", CASES, ids=str)
def test_goodness_is_the_mean_of_squared_rates(changes):
    network, *_, data = toy(**changes)
    raw, classes = rows_of(data, 2), len(network.facts.classes)
    run = Run(network, raw)
    for _ in range(30):
        run.step()
    for layer, good in enumerate(run.goodness().transpose(1, 0, 2)):
        units, scale = network.layers[layer].units, network.layers[layer].goodness_scale
        squares = (run.counts[layer][:, :units].astype(float) / 30) ** 2
        if not network.tries_labels:  # the channels are divided, of a dense layer its units
            channels = squares.reshape(
                2, units if network.layers[layer].W.ndim == 2 else len(network.layers[layer].b), -1
            )
            wanted = np.stack([group.mean(axis=(1, 2)) for group in np.array_split(channels, classes, axis=1)], axis=1)
        else:
            wanted = squares.mean(axis=1).reshape(2, classes)
        np.testing.assert_allclose(good, scale * wanted, rtol=1e-5)


def test_label_neurons_pass_the_label_on_in_every_timestep():
    network, *_, data = toy(label_layers="all", timesteps=4096)
    run = Run(network, rows_of(data, 2))
    for _ in range(4096):
        run.step()
    for layer, counts in zip(network.layers[:-1], run.counts, strict=False):
        passed = counts[:, layer.units :].reshape(2, 4, 4)
        np.testing.assert_array_equal(passed, np.broadcast_to(4096 * np.eye(4), (2, 4, 4)))
    assert network.layers[-1].units == len(network.layers[-1].b)


def test_one_run_gives_what_a_run_for_each_number_of_timesteps_gives():
    network, *_, data = toy()
    raw = rows_of(data, 6)
    together = list(goodness_after(network, raw, [3, 10, 31]))
    for timesteps, found in zip([3, 10, 31], together, strict=True):
        np.testing.assert_array_equal(found, next(goodness_after(network, raw, [timesteps])))


def test_samples_do_not_depend_on_their_company():
    network, *_, data = toy()
    raw = rows_of(data, 150)
    whole = SpikingPredictor(network, 20).predict(raw, layers=True)
    for at in (0, 77, 149):
        alone = SpikingPredictor(network, 20).predict(raw[at], layers=True)
        np.testing.assert_allclose(alone.goodness[0], whole.goodness[at], rtol=0.1, atol=1e-3)


@pytest.mark.parametrize("changes", [{}, GROUPS], ids=["tried", "groups"])
@pytest.mark.parametrize("margin", [0.01, 0.2])
def test_an_early_decision_is_the_leader_that_held_its_margin(margin, changes):
    network, *_, data = toy(timesteps=60, **changes)
    raw = rows_of(data, 40)
    goodness, taken = decided(network, raw, 60, margin)
    assert HELD <= taken.min() < taken.max() <= 60
    weights = np.array([layer.weight for layer in network.layers])[:, None]
    history = np.stack([(g * weights).sum(1) for g in goodness_after(network, raw, range(1, 61))])  # [T, N, C]
    for n, end in enumerate(taken):
        ordered = np.sort(history[:, n], axis=1)
        clear = (ordered[:, -1] > 0) & (ordered[:, -1] - ordered[:, -2] >= margin * ordered[:, -1])
        leaders = history[:, n].argmax(1)
        holds = [t for t in range(HELD, 61) if clear[t - HELD : t].all() and len(set(leaders[t - HELD : t])) == 1]
        assert end == (holds[0] if holds else 60)
        np.testing.assert_allclose((goodness[n] * weights).sum(0), history[end - 1, n], rtol=1e-5)


def test_without_a_margin_every_sample_takes_all_timesteps():
    network, *_, data = toy()
    predictor = SpikingPredictor(network, 20)
    predictor.predict(rows_of(data, 5))
    assert predictor.taken.tolist() == [20] * 5


@pytest.mark.parametrize(
    ("timesteps", "margin", "name"),
    [(0, None, "timesteps"), (5000, None, "timesteps"), (8, 0, "margin"), (8, 1.5, "margin")],
)
def test_a_number_outside_its_rule_is_refused(timesteps, margin, name):
    with pytest.raises(ValueError, match=f"^`{name}` must "):
        SpikingPredictor(toy()[0], timesteps, margin)
