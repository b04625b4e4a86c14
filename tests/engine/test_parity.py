"""The numpy oracle, the onnx engine and the torch engine learn the same weights, whatever the options.

All start from the same weights and see the same draws; after 100 steps or more each parameter must agree to 1e-4 of its
norm. The data overlap, so that gradients do not fade: Adam would divide rounding errors by their own size.
"""

from functools import cache
from itertools import combinations, product

import numpy as np
import pytest
from oracle import Oracle
from toys import GROUPS, READOUT, TOP, clusters, draws, make_engine, make_loop, prepared, small_spec

from ffedge.network import initial_state
from ffedge.spec import Spec
from ffedge.training.checkpoint import Place
from ffedge.training.watch import Journal

TOLERANCE = 1e-4
RATES = {"adam": 0.01, "momentum": 0.05, "sgd": 0.3}
ENGINES = [pytest.param("onnx", id="onnx"), pytest.param("torch", id="torch", marks=pytest.mark.torch)]
AXES = (
    ("ff", "fcff", "acff"),
    ("logistic", "symmetric", "contrastive"),
    ("unit", "rms", "layer", "fixed"),
    ("overlay", "concat"),
    ("adam", "momentum", "sgd"),
)
GRID = [  # a third, in which any three choices meet, is quick; the rest is run with the slow tests
    pytest.param(
        *(axis[i] for axis, i in zip(AXES, places, strict=True)), marks=[pytest.mark.slow] if sum(places) % 3 else []
    )
    for places in product(*(range(len(axis)) for axis in AXES))
]


def test_any_three_choices_meet_in_the_quick_third():
    quick = [case.values for case in GRID if not case.marks]
    for some in combinations(range(len(AXES)), 3):
        assert {tuple(case[i] for i in some) for case in quick} == set(product(*(AXES[i] for i in some)))


MATRIX = ((9.0, 0.5, -0.25), (0.75, 9.0, 0.3), (0.2, -0.4, 9.0))  # the diagonal counts for nothing
DATA = {
    "clouds": clusters(noise=1.5),
    "bytes": clusters(noise=1.5, inputs=20, uint8=True, border=True),
}
OPTIONS = {
    "greedy ff": {"variant": "ff"},
    "greedy fcff": {"variant": "fcff"},
    "greedy acff": {"variant": "acff"},
    "greedy momentum": {"optimizer": "momentum"},
    "greedy adam": {"optimizer": "adam"},
    "label in every layer": {"label_layers": "all"},
    "label in every layer, concat": {"label_layers": "all", "label_mode": "concat", "schedule": "interleaved"},
    "skip": {"skip": "add", "widths": (10, 10, 10, 10), "schedule": "interleaved"},
    "skip, label in every layer, greedy": {"skip": "add", "widths": (10, 10, 10), "label_layers": "all"},
    "skip, unit": {"skip": "add", "widths": (10, 10, 8), "norm": "unit", "goodness": "sum", "slope": 0.2},
    "skip, rms": {"skip": "add", "widths": (10, 10, 8), "goodness": "sum", "slope": 0.2},
    "skip, layer": {"skip": "add", "widths": (10, 10, 10), "norm": "layer"},
    "goodness sum, unit": {"goodness": "sum", "norm": "unit", "slope": 0.2},
    "goodness sum, rms": {"goodness": "sum", "norm": "rms", "slope": 0.2},
    "goodness sum, fixed": {"goodness": "sum", "norm": "fixed", "slope": 0.2, "schedule": "interleaved"},
    "bound": {"bound": 0.9},
    "bound, interleaved": {"bound": 0.9, "schedule": "interleaved", "norm": "fixed"},
    "sparsity": {"sparsity": 0.4},
    "sparsity, adam": {"sparsity": 0.4, "optimizer": "adam", "schedule": "interleaved"},
    "spikes": {"norm": "fixed", "bound": 0.9, "sparsity": 0.4, "label_layers": "all", "input_dropout": 0.25},
    "spikes, chunks": {
        "norm": "fixed",
        "bound": 0.9,
        "sparsity": 0.4,
        "batch_size": 50,
        "chunk_size": 16,
        "schedule": "interleaved",
    },
    "goodness sum, layer": {"goodness": "sum", "norm": "layer", "slope": 0.2},
    "input_norm unit": {"input_norm": "unit", "label_mode": "concat", "slope": 4.0},
    "input_norm unit, overlay, dropout": {"input_norm": "unit", "input_dropout": 0.25, "slope": 4.0},
    "input_norm rms": {"input_norm": "rms", "label_mode": "concat"},
    "input_norm rms, overlay, dropout": {"input_norm": "rms", "input_dropout": 0.25},
    "scope previous": {"scope": "previous", "schedule": "interleaved", "loss": "logistic"},
    "scope next": {"scope": "next", "schedule": "interleaved", "loss": "logistic"},
    "scope previous, greedy": {"scope": "previous", "loss": "logistic"},
    "scope next, greedy": {"scope": "next", "loss": "logistic"},
    "alpha mean": {"alpha": "mean", "schedule": "interleaved"},
    "alpha matrix": {"alpha": MATRIX, "schedule": "interleaved", "loss": "logistic"},
    "alpha matrix, greedy": {"alpha": MATRIX, "scope": "previous"},
    "theta once": {"theta_placement": "once", "loss": "logistic", "theta": 1.5},
    "theta once, interleaved": {"theta_placement": "once", "loss": "logistic", "theta": 1.5, "schedule": "interleaved"},
    "theta per layer": {"theta_placement": "per_layer", "loss": "logistic", "theta": 1.5, "schedule": "interleaved"},
    "gamma adam": {"gamma_optimizer": "adam", "gamma_rate": 0.01, "optimizer": "adam", "momentum": 0.5},
    "gamma adam, interleaved": {"gamma_optimizer": "adam", "schedule": "interleaved", "momentum": 0.5},
    "gamma negative": {"gamma": -0.5, "gamma_rate": 0.1, "schedule": "interleaved"},
    "cooldown none": {"cooldown": "none", "rate": (0.3, 0.2, 0.1)},
    "cooldown half": {"cooldown": "half", "rate": (0.3, 0.2)},
    "no weight decay": {"weight_decay": 0.0},
    "strong weight decay": {"weight_decay": 0.9, "optimizer": "momentum"},
    "first decay 0.5": {"optimizer": "adam", "momentum": 0.5},
    "momentum 0.5": {"optimizer": "momentum", "momentum": 0.5},
    "slope and smoothing": {"slope": 2.5, "smoothing": 0.2},
    "one wrong label": {"n_negatives": 1},
    "all wrong labels": {"n_negatives": 3, "loss": "logistic"},
    "fixed negatives": {"negatives": "fixed"},
    "hard negatives": {"negatives": "hard"},
    "hard negatives, summed": {"negatives": "hard-sum"},
    "hard negatives, summed, interleaved": {"negatives": "hard-sum", "schedule": "interleaved"},
    "dropout": {"input_dropout": 0.25},
    "dropout, concat, interleaved": {"input_dropout": 0.25, "label_mode": "concat", "schedule": "interleaved"},
    "a last batch of 10": {"batch_size": 50},
    "chunks, adam": {"optimizer": "adam", "batch_size": 50, "chunk_size": 16, "input_dropout": 0.25, "epochs": 15},
    "chunks, interleaved": {"batch_size": 50, "chunk_size": 16, "schedule": "interleaved", "epochs": 20},
    "chunks, momentum": {
        "batch_size": 50,
        "chunk_size": 16,
        "optimizer": "momentum",
        "gamma_optimizer": "adam",
        "epochs": 15,
    },
    "full batch in chunks": {
        "optimizer": "adam",
        "batch_size": "full",
        "chunk_size": 48,
        "epochs": 40,
        "rate": (0.005,),
    },
    "one layer": {"widths": (12,)},
    "four layers": {"widths": (12, 10, 8, 6), "schedule": "interleaved"},
    "held-out rows": {"holdout": 0.2},
    "groups": {**GROUPS, "optimizer": "adam"},
    "groups, of two sizes": {**GROUPS, "widths": (13, 10, 9), "schedule": "interleaved"},
    "groups, unit": {**GROUPS, "norm": "unit", "widths": (12, 10, 8), "loss": "logistic", "input_norm": "unit"},
    "groups, layer, ff": {**GROUPS, "norm": "layer", "variant": "ff", "loss": "symmetric"},
    "groups, fixed, chunks": {
        **GROUPS,
        "norm": "fixed",
        "bound": 0.9,
        "sparsity": 0.4,
        "batch_size": 50,
        "chunk_size": 16,
    },
    "groups, dropout": {**GROUPS, "input_dropout": 0.25},
    "groups, skip": {**GROUPS, "skip": "add", "widths": (10, 10, 10), "optimizer": "momentum"},
    "top groups": {**TOP, "optimizer": "adam"},
    "top groups, of two sizes": {**TOP, "widths": (42, 40, 33), "schedule": "interleaved"},
    "top groups, fixed, chunks": {**TOP, "norm": "fixed", "batch_size": 50, "chunk_size": 16, "loss": "logistic"},
    "readout": {**READOUT, "optimizer": "adam"},
    "readout, interleaved": {**READOUT, "schedule": "interleaved", "input_norm": "rms", "input_dropout": 0.25},
    "readout, bound, chunks": {**READOUT, "bound": 0.9, "batch_size": 50, "chunk_size": 16, "optimizer": "momentum"},
    "readout, logistic, ff": {**READOUT, "variant": "ff", "loss": "logistic", "theta": 0.5},
    "readout, layer, skip": {
        **READOUT,
        "norm": "layer",
        "skip": "add",
        "widths": (10, 10, 8),
        "schedule": "interleaved",
    },
    "similarity": {**READOUT, "similarity": 2.0, "batch_size": 50},
    "similarity, groups": {**GROUPS, "similarity": 0.5, "schedule": "interleaved", "rate": (0.05,)},
    "scaling range": {"scaling": "range"},
    "scaling none": {"scaling": "none"},
    "scaling standard": {"scaling": "standard"},
    "scaling centred": {"scaling": "centred"},
    "label_scale max": {"label_scale": "max"},
}


@cache
def oracle_after(recipe, facts, data):
    oracle = Oracle(recipe, facts, initial_state(recipe, facts))
    return oracle, oracle.train(draws(recipe, DATA[data], facts))


def distance(found, wanted):
    return float(np.linalg.norm(found - wanted) / np.linalg.norm(wanted))


def check_parity(spec, data, engine):
    """Train by the oracle and by an engine; compare parameters, gammas and the losses of every epoch."""
    recipe, facts = prepared(spec, DATA[data])
    oracle, losses = oracle_after(recipe, facts, data)
    chosen, journal = recipe.with_train(engine=engine), Journal()
    loop = make_loop(chosen, DATA[data], make_engine(chosen, facts), journal, facts=facts)
    loop.train(Place(), lambda: False)
    for layer, (found, before) in enumerate(zip(loop.engine.state(), initial_state(recipe, facts), strict=True)):
        assert set(found) == set(before)
        for name, wanted in oracle.parameters(layer).items():
            assert distance(found[name], wanted) < TOLERANCE, (layer, name)
            assert distance(before[name], wanted) > 100 * TOLERANCE, (layer, name, "hardly learnt")
        if recipe.network.norm == "fixed":
            assert float(found["power"]) == pytest.approx(oracle.power[layer], rel=TOLERANCE)
            assert abs(float(found["power"]) - 1.0) > 100 * TOLERANCE
        assert float(found.get("gamma", 0.0)) == pytest.approx(oracle.gamma[layer], rel=TOLERANCE)
    rows = len(DATA[data].train.labels) - len(loop.held_out)
    for record in journal.records:
        assert record.loss == pytest.approx(losses[record.layer, record.epoch] / rows, rel=TOLERANCE)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("variant", "loss", "norm", "label_mode", "optimizer"), GRID)
def test_an_engine_learns_what_the_oracle_learns(engine, variant, loss, norm, label_mode, optimizer):
    spec = small_spec(
        widths=(12, 10),
        schedule="interleaved",
        epochs=5,
        seed=3,
        theta=0.5,
        variant=variant,
        loss=loss,
        norm=norm,
        label_mode=label_mode,
        optimizer=optimizer,
        rate=(RATES[optimizer],),
    )
    check_parity(spec, "clouds", engine)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("option", OPTIONS)
def test_an_engine_follows_an_option_as_the_oracle_does(engine, option):
    """By plain gradient steps unless it says otherwise: Adam would hide a gradient that is too large by a factor."""
    changes = {"epochs": 5, "optimizer": "sgd", "seed": 3} | OPTIONS[option]
    changes = {"rate": (RATES[changes["optimizer"]],)} | changes
    check_parity(small_spec(**changes), "clouds", engine)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("label_mode", ["overlay", "concat"])
def test_bytes_with_an_empty_border_are_learnt_alike(engine, label_mode):
    check_parity(small_spec(label_mode=label_mode, epochs=5), "bytes", engine)


@pytest.mark.parametrize("engine", ENGINES)
def test_the_agreement_lasts_for_hundreds_of_steps(engine):
    check_parity(small_spec(epochs=30, schedule="interleaved", cooldown="none"), "clouds", engine)


@pytest.mark.parametrize("engine", ENGINES)
def test_the_papers_own_preset_is_learnt_alike(engine):
    spec = Spec.make("paper", widths=(12, 10), epochs=50, threads=1)
    check_parity(spec, "bytes", engine)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_batch_in_chunks_is_the_batch(engine):
    """Chunks change the order of sums alone: the weights agree far better than with another batch size."""
    recipe, facts = prepared(small_spec(batch_size="full", epochs=20, input_dropout=0.2), DATA["clouds"])
    states = []
    for chunk_size in (2048, 33):
        chosen = recipe.with_train(engine=engine, chunk_size=chunk_size)
        loop = make_loop(chosen, DATA["clouds"], facts=facts)
        loop.train(Place(), lambda: False)
        states.append(loop.engine.state())
    for whole, cut in zip(*states, strict=True):
        for name, value in whole.items():
            assert distance(cut[name], value) < 1e-5, name
