"""Trials of the paper: what is trained, what is found, and that a stopped one goes on."""

import argparse
import dataclasses
import json
import sys
import time

import numpy as np
import pytest
from toys import clusters, some_facts

pytest.importorskip("scipy", reason="needs scipy, which is not installed")

import paper
import paper_trials
from gemm import gemm_flop, gemm_flop_per_s
from paper_tables import Result
from paper_trials import ARMS, CONTROL, Trial, main_trials, reading_trials

from ffedge.data.rows import ArrayRows
from ffedge.predict.predictor import Predictor
from ffedge.resolve import resolve
from ffedge.spec import Spec
from ffedge.training import train as training

DATA = clusters(rows=120, noise=0.5, border=True, test_rows=40)
SMALL = (("widths", (10, 8)),)


@pytest.fixture(autouse=True)
def small_data(monkeypatch):
    monkeypatch.setattr(paper, "load", lambda name, folder: DATA)


def trial(arm="acff", **more):
    return Trial(**{"data": "clusters", "arm": arm, "seed": 1, "epochs": 3, "rows": 100, "changes": SMALL} | more)


def asked(monkeypatch, *words):
    """Return what the command line says."""
    monkeypatch.setattr(sys, "argv", ["paper.py", *map(str, words)])
    return paper.parsed()


def take(folder, each, monkeypatch=None, stop_after=None):
    """Train a trial, or stop it as a signal would, after some batches."""
    folder.mkdir(parents=True, exist_ok=True)
    options = argparse.Namespace(out=folder, data_dir=None, threads=1)
    if stop_after is None:
        return paper.taken(each, options)
    left, plain = [stop_after], paper.Clock.batch

    def batch(self, progress):
        plain(self, progress)
        left[0] -= 1
        if left[0] == 0:
            raise KeyboardInterrupt

    monkeypatch.setattr(paper.Clock, "batch", batch)
    with pytest.raises(KeyboardInterrupt):
        paper.taken(each, options)
    monkeypatch.setattr(paper.Clock, "batch", plain)
    return None


def test_a_trial_trains_what_the_paper_says(monkeypatch):
    """50,000 rows in one batch, Adam 0.03, theta 2, gamma 1, learnt by SGD at 0.01, greedy."""
    (first, *rest) = main_trials(asked(monkeypatch))
    assert len(rest) == 29
    assert (first.rows, first.epochs) == (50_000, 1000)
    spec = dataclasses.replace(first, arm="acff").spec()
    network, rule, train = spec.network, spec.rule, spec.train
    assert (network.widths, network.label_layers, network.norm, network.goodness) == (
        (500, 500),
        "first",
        "unit",
        "mean",
    )
    assert (network.label_scale, network.input_norm) == (1.0, "unit")
    assert (rule.variant, rule.loss, rule.slope, rule.theta, rule.theta_placement) == (
        "acff",
        "logistic",
        None,
        2.0,
        "per_layer",
    )
    assert (rule.gamma, rule.gamma_rate, rule.gamma_optimizer, rule.scope, rule.alpha) == (
        1.0,
        0.01,
        "sgd",
        "all",
        "ones",
    )
    assert (train.batch_size, train.optimizer, train.rate, train.cooldown) == ("full", "adam", (0.03,), "none")
    assert (train.schedule, train.negatives, train.n_negatives, train.input_dropout, train.weight_decay) == (
        "greedy",
        "fixed",
        1,
        0.0,
        0.0,
    )
    assert (train.holdout, train.cache) == (0.0, "activations")


def test_all_arms_have_as_many_seeds_whenever_it_stops(monkeypatch):
    trials = main_trials(asked(monkeypatch, "--seeds", 3, 4))
    assert [t.seed for t in trials] == [3] * 6 + [4] * 6
    assert len({t.name for t in trials}) == 12


def test_every_reading_changes_what_it_names_and_has_its_control(monkeypatch):
    trials = reading_trials(asked(monkeypatch, "--readings", "--data", "mnist", "--seeds", 0))
    assert len({t.name for t in trials}) == len(trials)
    arms = {}
    for each in trials:
        arms.setdefault((each.point, each.value), set()).add(each.arm)
        assert each.spec().train.batch_size == 125
        assert each.epochs * each.rows // 125 == 1000 == paper_trials.EPOCHS
    assert all({arm + CONTROL for arm in own if arm in ("fcff", "acff")} <= own for own in arms.values())
    specs = [t.spec() for t in trials if t.arm == "acff"]
    assert len(set(map(repr, specs))) == len(specs)
    for each in trials:  # where a reading leaves FF out, FF's network is its base's but for what FF does not read
        if "ff" not in arms[each.point, each.value]:
            point, value = paper_trials.base_of(each.point)
            assert (point, f"{value}, {each.value.rsplit(', ')[-1]}") in arms
            unread = {"theta_placement", "gamma", "scope", "alpha", "gamma_optimizer"}
            assert set(dict(each.changes)) - {"batch_size", "schedule", "widths"} <= unread


def test_a_chosen_reading_comes_with_its_ff_and_the_same_trials_as_among_all(monkeypatch):
    words = ["--readings", "--data", "mnist", "--seeds", 7]
    every = reading_trials(asked(monkeypatch, *words))
    own = ("scope: previous", "norm: rms", "4 layers, alpha: mean")
    found = reading_trials(asked(monkeypatch, *words, *(word for name in own for word in ("--reading", name))))
    assert set(found) < set(every)
    assert {f"{t.point}: {t.value.rsplit(', ')[0]}" for t in found if t.arm != "ff"} == set(own)
    with pytest.raises(SystemExit):
        asked(monkeypatch, "--reading", "gamma: 0.3")


def test_what_a_trial_found_is_what_its_model_does(tmp_path, monkeypatch):
    kept = []

    def train(*words, **options):
        run = training.train(*words, **options)
        kept.append(Predictor(run.model.read_bytes(), threads=1))
        return run

    monkeypatch.setattr(paper, "train", train)
    changes = (*SMALL, ("gamma", -1.0), ("gamma_rate", 1.0))  # which the layers' gammas leave far behind
    found = Result(**take(tmp_path, trial(epochs=30, changes=tuple(sorted(changes)))))
    goodness = kept[0].predict(DATA.test.inputs.take(np.arange(40)), layers=True).goodness
    gammas = found.gamma
    weights = np.array([1.0 + gammas[1], 1.0 + gammas[0]])  # 1 + gamma of the other, alpha 1
    for name, scores in (
        ("test_accuracy", goodness.sum(axis=1)),
        ("test_collaborative", (goodness * weights[:, None]).sum(axis=1)),
    ):
        assert getattr(found, name) == (scores.argmax(axis=1) == DATA.test.labels).mean()
    assert found.test_collaborative != found.test_accuracy
    assert found.test_layers == list((goodness.argmax(axis=2) == DATA.test.labels[:, None]).mean(axis=0))
    assert found.train_rows == 100
    assert found.train_accuracy == found.trace[1]["accuracy_sum"][-1]
    assert found.trace[1]["gamma"][-1] == pytest.approx(gammas[1], abs=1e-5)
    assert len(found.trace[0]["loss"]) == 30
    assert all(cpu > 0 for cpu in found.cpu_s)


def plain(found):
    """Leave out what the clock says."""
    return {k: v for k, v in found.items() if k not in ("seconds", "cpu_s")}


@pytest.mark.parametrize("arm", ["acff", "acff-shuffled"])
def test_a_stopped_trial_goes_on_and_ends_the_same(tmp_path, monkeypatch, arm):
    each = trial(arm, epochs=5)
    whole = take(tmp_path / "whole", each)
    take(tmp_path / "parts", each, monkeypatch, stop_after=7)
    parts = take(tmp_path / "parts", each)
    assert plain(parts) == plain(whole)
    assert {path.name for path in (tmp_path / "parts").iterdir()} == {f"{each.name}.json"}


def test_what_is_found_is_not_trained_again(tmp_path, monkeypatch):
    each = trial("ff")
    first = take(tmp_path, each)
    with monkeypatch.context() as patch:
        patch.setattr(paper, "train", None)
        assert take(tmp_path, each) == first
        with pytest.raises(RuntimeError, match=r"is the result of another trial\. Choose another --out"):
            take(tmp_path, dataclasses.replace(each, changes=(("widths", (9, 9)),)))


@pytest.mark.parametrize("schedule", ["greedy", "interleaved"])
def test_the_control_learns_otherwise_where_layers_listen(tmp_path, schedule):
    changes = tuple(sorted((*SMALL, ("batch_size", 20), ("schedule", schedule), ("loss", "logistic"))))
    own, other = (take(tmp_path, trial(arm, changes=changes, point="base")) for arm in ("fcff", "fcff-shuffled"))
    assert own["trace"][1]["loss"] != other["trace"][1]["loss"]
    assert (own["gemm_flop"] is None) == (schedule == "interleaved")


@pytest.mark.parametrize("epochs", [1, 15, 999, 1000])
def test_late_epochs_are_measured_more_rarely_and_the_last_one_always(epochs):
    measured = [epoch for epoch in range(epochs) if paper.measured(epoch, epochs)]
    assert measured[:20] == list(range(min(20, epochs)))
    assert measured[-1] == epochs - 1
    assert len(measured) <= 20 + 40 * 2


def test_a_comparison_writes_a_line_a_trial_and_prints_tables(tmp_path, monkeypatch, capsys):
    words = ["--data", "clusters", "--rows", 100, "--epochs", 2, "--widths", "10,8", "--seeds", 0, "--out", tmp_path]
    monkeypatch.setattr(sys, "argv", ["paper.py", *map(str, words)])
    paper.main()
    text = (tmp_path / "paper.json").read_text()
    read = json.loads(text)
    assert [each["trial"]["arm"] for each in read["trials"]] == list(ARMS)
    assert sum(line.lstrip().startswith('{"trial"') for line in text.splitlines()) == len(ARMS)
    assert set(read["gemm_flop_per_s"]) == {"1000 x 774 x 10", "2000 x 10 x 8"}
    printed = capsys.readouterr().out
    assert all(f"{100 * each['test_accuracy']:.2f} %" in printed for each in read["trials"])


def test_the_products_of_a_sample_are_those_counted_by_hand():
    """784 inputs, 10 of them the label's; two labels a sample; forward and weights' gradient."""
    facts = some_facts(shape=(28, 28), classes=10)
    one, two = 2 * 774 * 500, 2 * 2 * 500 * 400
    alone = resolve(Spec.make("paper", variant="ff", widths=(500, 400), label_mode="overlay"), facts, 1000)
    assert [gemm_flop(alone, layer, 784, 10) for layer in (0, 1)] == [2 * one, 2 * two]
    listening = resolve(Spec.make("paper", variant="fcff", widths=(500, 400), label_mode="overlay"), facts, 1000)
    assert [gemm_flop(listening, layer, 784, 10) for layer in (0, 1)] == [2 * one + two, 2 * two]
    deep = resolve(Spec.make("paper", variant="fcff", widths=(500, 400, 300), label_mode="overlay"), facts, 1000)
    assert gemm_flop(deep, 1, 784, 10) == 3 * two + 2 * 2 * 400 * 300


def test_a_lone_product_is_timed():
    began = time.process_time()
    assert 1e6 < gemm_flop_per_s(64, 32, 16, 1) < 1e13
    assert time.process_time() - began >= 0.16


def test_rows_beyond_the_first_are_not_trained_on(tmp_path, monkeypatch):
    asked = []

    class Spy(ArrayRows):
        def take(self, indices):
            asked.append(int(np.max(indices)))
            return super().take(indices)

    inputs = Spy(DATA.train.inputs.take(np.arange(120)))
    whole = dataclasses.replace(DATA, train=dataclasses.replace(DATA.train, inputs=inputs))
    monkeypatch.setattr(paper, "load", lambda name, folder: whole)
    take(tmp_path, trial("ff", rows=50, epochs=1))
    assert max(asked) == 49
