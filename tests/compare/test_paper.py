"""Trials of the paper: what is trained, what is found, and that a stopped one goes on."""

import dataclasses
import json
import time

import numpy as np
import pytest
from toys import clusters, some_facts

from ffedge.compare import paper, paper_found, paper_points, paper_trials
from ffedge.compare.gemm import gemm_flop, gemm_flop_per_s
from ffedge.compare.measurer import Progress
from ffedge.compare.paper_trials import ARMS, CONTROL, Choice, Trial
from ffedge.compare.runs import Request, run
from ffedge.data.rows import ArrayRows
from ffedge.errors import FfedgeError
from ffedge.resolve import resolve
from ffedge.spec import Spec
from ffedge.training import run as training

DATA = clusters(rows=120, noise=0.5, border=True, test_rows=40)
SMALL = (("widths", (10, 8)),)


@pytest.fixture(autouse=True)
def small_data(monkeypatch):
    monkeypatch.setattr(paper, "load", lambda name, folder: DATA)


def trial(arm="acff", **more):
    return Trial(**{"data": "clusters", "arm": arm, "seed": 1, "epochs": 3, "rows": 100, "changes": SMALL} | more)


def test_a_trial_trains_what_the_paper_says():
    """DESIGN.md section 6: 50,000 rows in one batch, Adam 0.03, theta 2, gamma 1, learnt by SGD at 0.01, greedy."""
    (first, *rest) = Choice().trials()
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


def test_all_arms_have_as_many_seeds_whenever_it_stops():
    trials = Choice(seeds=(3, 4)).trials()
    assert [t.seed for t in trials] == [3] * 6 + [4] * 6
    assert len({t.name for t in trials}) == 12


def test_every_reading_changes_what_it_names_and_has_its_control():
    choice = Choice(data=("mnist",), seeds=(0,), epochs=5, changes=(("batch_size", 125),), open_points=True)
    trials = paper_points.trials(choice)
    assert len({t.name for t in trials}) == len(trials)
    arms = {}
    for each in trials:
        arms.setdefault((each.point, each.value), set()).add(each.arm)
        assert each.spec().train.batch_size == 125
    assert all({arm + CONTROL for arm in own if arm in ("fcff", "acff")} <= own for own in arms.values())
    bases = {t.value.rsplit(", ")[-1]: t.spec() for t in trials if t.point == "base" and t.arm == "acff"}
    assert {name: spec.train.schedule for name, spec in bases.items()} == {
        "greedy": "greedy",
        "interleaved": "interleaved",
    }
    specs = [t.spec() for t in trials if t.arm == "acff"]
    assert len(set(map(repr, specs))) == len(specs)
    for each in trials:  # where a reading leaves FF out, FF's network is its base's but for what FF does not read
        if "ff" not in arms[each.point, each.value]:
            point, value = paper_points.base_of(each.point)
            assert (point, f"{value}, {each.value.rsplit(', ')[-1]}") in arms
            assert set(dict(each.changes)) - {"batch_size", "schedule", "widths"} <= {
                "theta_placement",
                "gamma",
                "scope",
                "alpha",
                "gamma_optimizer",
            }


def test_a_chosen_reading_comes_with_its_ff_and_the_same_trials_as_among_all():
    every = paper_points.trials(Choice(data=("mnist",), seeds=(7,), open_points=True))
    own = ("scope: previous", "norm: rms", "4 layers, alpha: mean")
    found = paper_points.trials(Choice(data=("mnist",), seeds=(7,), open_points=True, readings=own))
    assert set(found) < set(every)
    assert {f"{t.point}: {t.value.rsplit(', ')[0]}" for t in found if t.arm != "ff"} == set(own)
    assert {(t.point, t.value) for t in found if t.arm == "ff"} == {
        *(
            (f"{point}", f"{value}, {schedule}")
            for point, value in (paper_points.BASE, ("4 layers, alpha", "ones"))
            for schedule in paper_points.SCHEDULES
        ),
        ("norm", "rms, greedy"),
    }
    paper_points.check(Choice(readings=own))
    with pytest.raises(ValueError, match=r"^--reading must be of base: preset paper; .*, got 'gamma: 7'"):
        paper_points.check(Choice(readings=("gamma: 7",)))


def test_arms_must_be_known():
    Choice(arms=("ff", "acff-shuffled")).check()
    with pytest.raises(
        ValueError, match=r"--arms must be of ff, fcff, fcff-shuffled, acff, acff-shuffled, got 'ff-shuf"
    ):
        Choice(arms=("ff-shuffled",)).check()


def test_what_a_trial_found_is_what_its_model_does(tmp_path, monkeypatch):
    kept = []
    monkeypatch.setattr(
        paper, "train", lambda *a, **k: kept.append((made := training.train(*a, **k), model(made))) or made
    )
    changes = (*SMALL, ("gamma", -1.0), ("gamma_rate", 1.0))  # which the layers' gammas leave far behind
    (found,) = paper.Runner(tmp_path).take([trial(epochs=30, changes=tuple(sorted(changes)))])
    goodness = kept[0][1].predict(DATA.test.inputs.take(np.arange(40)), layers=True).goodness
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


def model(run):
    from ffedge.predict.predictor import Predictor

    return Predictor(run.model.read_bytes(), threads=1)


class Stops(Progress):
    """Stops a trial as a signal would, after some batches."""

    def __init__(self, after):
        self.left, self.said = after, []

    def job(self, index, job, left_s):
        self.said.append(job.text)

    def alive(self, pid):
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


def plain(found):
    """Leave out what the clock says."""
    return {k: v for k, v in dataclasses.asdict(found).items() if k not in ("seconds", "cpu_s")}


@pytest.mark.parametrize("after", [1, 4, 5, 9])
def test_a_stopped_trial_goes_on_and_ends_the_same(tmp_path, after):
    whole = paper.Runner(tmp_path / "whole").take([trial(epochs=5)])
    with pytest.raises(KeyboardInterrupt):
        paper.Runner(tmp_path / "parts", Stops(after)).take([trial(epochs=5)])
    rest = Stops(10**9)
    parts = paper.Runner(tmp_path / "parts", rest).take([trial(epochs=5)])
    assert 10**9 - rest.left < 10 or after == 1  # of ten batches; the first epoch's end was kept
    assert plain(parts[0]) == plain(whole[0])
    assert {path.name for path in (tmp_path / "parts").iterdir()} == {f"{trial(epochs=5).name}.json"}


def test_what_is_found_is_not_trained_again(tmp_path):
    both = [trial("ff"), trial("fcff-shuffled")]
    first = paper.Runner(tmp_path).take(both[:1])
    watch = Stops(10**9)
    again = paper.Runner(tmp_path, watch).take(both)
    assert watch.said == ["clusters, fcff-shuffled, seed 1, 3 epochs"]
    assert again[0] == first[0]
    file = tmp_path / f"{both[0].name}.json"
    with pytest.raises(FfedgeError, match=r"\.json: is the result of another trial\. Choose another --out"):
        paper.Runner(tmp_path).take([dataclasses.replace(both[0], changes=(("widths", (9, 9)),))])
    file.write_text("{")
    with pytest.raises(
        FfedgeError, match=r"\.json: is no result of a trial \(.*\)\. Remove it, or choose another --out"
    ):
        paper.Runner(tmp_path).take(both)


def test_the_control_learns_otherwise(tmp_path):
    changes = (*SMALL, ("batch_size", 20), ("schedule", "interleaved"))
    own, other = paper.Runner(tmp_path).take(
        [trial(arm, changes=tuple(sorted(changes)), point="base") for arm in ("fcff", "fcff-shuffled")]
    )
    assert own.trace[0]["loss"] != other.trace[0]["loss"]
    assert own.gemm_flop is None


def test_the_document_has_a_line_a_trial(tmp_path):
    choice = Choice(data=("clusters",), seeds=(0,), epochs=2, rows=100, changes=SMALL)
    found = paper.Runner(tmp_path).take(choice.trials())
    text = paper_found.document_text(paper_found.document(choice, found, {"1 x 1 x 1": 1.0}))
    read = json.loads(text)
    assert [paper_found.Found(**each) for each in read["trials"]] == found
    assert read["benchmark"] == "paper"
    assert sum(line.lstrip().startswith('{"trial"') for line in text.splitlines()) == len(ARMS)


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
    rate = gemm_flop_per_s(64, 32, 16, 1)
    assert 1e6 < rate < 1e13
    assert time.process_time() - began >= 0.16
    assert set(paper.limits(1, (32, 16), 20)) == {"1000 x 20 x 32", "2000 x 32 x 16"}


def test_rows_beyond_the_first_are_not_trained_on(tmp_path, monkeypatch):
    asked = []

    class Spy(ArrayRows):
        def take(self, indices):
            asked.append(int(np.max(indices)))
            return super().take(indices)

    inputs = Spy(DATA.train.inputs.take(np.arange(120)))
    whole = dataclasses.replace(DATA, train=dataclasses.replace(DATA.train, inputs=inputs))
    monkeypatch.setattr(paper, "load", lambda name, folder: whole)
    paper.Runner(tmp_path).take([trial("ff", rows=50, epochs=1)])
    assert max(asked) == 49


def test_seeds_and_epochs_of_the_readings_differ_from_the_papers():
    assert paper_points.EPOCHS * paper_points.ROWS // paper_points.BATCH_SIZE == 1000 == paper_trials.EPOCHS


def test_a_stopped_comparison_leaves_what_it_found(tmp_path):
    work = {"data": "clusters", "rows": 100, "epochs": 3, "widths": (10, 8)}
    request = Request("paper", tmp_path, work, arms=("ff", "acff"), repeat=1)
    with pytest.raises(KeyboardInterrupt):
        run(request, Stops(9))  # six batches of the first arm, and half of the second's
    (kept,) = json.loads((tmp_path / "paper.json").read_text())["trials"]
    assert kept["trial"]["arm"] == "ff"
    whole = run(request, Progress())
    assert whole.document["trials"][0] == kept
    assert len(whole.document["trials"]) == 2
    assert json.loads((tmp_path / "paper.json").read_text())["trials"] == whole.document["trials"]
