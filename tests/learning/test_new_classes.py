"""Classes that a model did not know: what they begin with, that they are learnt, and that the old ones are kept."""

import numpy as np
import pytest
from oracle import Oracle
from toys import GROUPS, READOUT, TOP, clusters, make_model, small_spec

from ffedge import Learner, Predictor
from ffedge.data.dataset import Dataset, Split
from ffedge.data.rows import ArrayRows
from ffedge.errors import DataError
from ffedge.learning.classes import opened, with_classes
from ffedge.learning.files import roll_back
from ffedge.learning.learn import learn
from ffedge.network import layers_of
from ffedge.training.replay import kept_file, read_kept
from ffedge.training.train import train

FOUR = clusters(noise=1.2)
FIVE = clusters(rows=300, inputs=20, classes=5, seed=2)


def written(tmp_path, dataset=FOUR, **changes):
    """Write a model file with drawn weights."""
    path = tmp_path / "model.onnx"
    path.write_bytes(make_model(small_spec(**changes), dataset)[0])
    return path


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"label_mode": "concat"},
        {"label_layers": "all", "input_dropout": 0.2},
        {"label_mode": "concat", "label_layers": "all", "optimizer": "momentum"},
        {"scaling": "standard", "input_norm": "unit", "goodness": "sum", "norm": "unit"},
    ],
    ids=str,
)
def test_a_model_with_more_classes_has_a_place_for_them_and_what_it_knew(tmp_path, changes):
    before = opened(written(tmp_path, clusters(inputs=20), **changes))
    after = with_classes(before, ["new", "newer"])
    assert after.facts.classes == (*before.facts.classes, "new", "newer")
    for i, layer in enumerate(layers_of(after.recipe, after.facts)):
        was, now = before.layer(i), after.layer(i)
        for name, parameter in layer.parameters().items():
            assert now[name].shape == parameter.shape
            kept = {"V": now[name][:4], "W": now[name][-len(was["W"]) :]}.get(name, now[name])
            np.testing.assert_array_equal(kept, was[name][-len(kept) :] if name == "W" else was[name])
    if changes == {"label_mode": "concat"}:  # nothing that it knew has changed
        rows = clusters(inputs=20).train.inputs.take(np.arange(30))
        a, b = (Oracle(m.recipe, m.facts, [m.layer(i) for i in range(3)]).scores(rows) for m in (before, after))
        np.testing.assert_allclose(b[:, :4], a)


@pytest.mark.parametrize("widths", [(12, 10, 8), (13, 10, 9)], ids=str)
def test_a_new_class_gets_a_group_of_new_units_in_each_layer_that_no_old_unit_hears(tmp_path, widths):
    spec = {**GROUPS, "widths": widths}
    before = opened(written(tmp_path, **spec))
    after = with_classes(before, ["new", "newer"])
    more = [2 * (units // 4) for units in widths]
    assert after.recipe.network.widths == tuple(map(sum, zip(widths, more, strict=True)))
    assert after.recipe.train.n_negatives == 5
    new_inputs = [0, *more]
    for i in range(3):
        was, now = before.layer(i), after.layer(i)
        W = now["W"]
        assert W.shape == (len(was["W"]) + new_inputs[i], widths[i] + more[i])
        np.testing.assert_array_equal(W[: len(was["W"]), : widths[i]], was["W"])
        assert not W[len(was["W"]) :, : widths[i]].any()
        assert np.abs(W[:, widths[i] :]).min() > 0
        np.testing.assert_array_equal(now["b"][: widths[i]], was["b"])
        assert (now["gamma"], len(now["b"])) == (was["gamma"], W.shape[1])
    rows = FOUR.train.inputs.take(np.arange(30))
    a, b = (Oracle(m.recipe, m.facts, [m.layer(i) for i in range(3)]).goodness(rows) for m in (before, after))
    np.testing.assert_allclose(b[:, 0, :4], a[:, 0])  # deeper layers read rows whose norm has changed


def test_a_new_class_gets_the_mean_of_a_readouts_columns(tmp_path):
    before = opened(written(tmp_path, **READOUT))
    after = with_classes(before, ["new"])
    assert after.recipe.network.widths == before.recipe.network.widths
    for i in range(3):
        was, now = before.layer(i), after.layer(i)
        np.testing.assert_array_equal(now["A"], np.column_stack([was["A"], was["A"].mean(axis=1)]))
        assert all(np.array_equal(now[name], was[name]) for name in ("W", "b", "gamma"))


@pytest.mark.parametrize("kind", ["tried", "groups", "top-groups", "readout"])
def test_new_classes_are_learnt_and_old_ones_kept(tmp_path, kind):
    four = np.flatnonzero(FIVE.train.labels[np.arange(300)] < 4)
    names = tuple(f"class {c}" for c in range(5))
    part = Dataset(
        "four", Split(ArrayRows(FIVE.train.inputs.take(four)), FIVE.train.labels[four]), None, names[:4], "sha"
    )
    tried = {"label_mode": "overlay", "label_scale": 3.0}
    changes = {"tried": tried, "groups": GROUPS, "top-groups": TOP, "readout": READOUT}[kind]
    run = train(small_spec(epochs=8, holdout=0.1, negatives="hard", **changes), part, tmp_path / "run")
    with pytest.raises(
        DataError, match=r"has the class 'class 4', which the model does not know.*`add_classes=\['class 4'\]`"
    ):
        learn(run.model, FIVE)
    fifth = np.setdiff1d(np.arange(300), four)
    new = Dataset("fifth", Split(ArrayRows(FIVE.train.inputs.take(fifth)), np.full(len(fifth), 4)), None, names, "sha")
    found = learn(run.model, new, epochs=20, add_classes=["class 4"], holdout=0.2, max_drop=0.1, batch_size=16)
    assert found.accepted, found.refused
    assert (found.new.before, found.new.after) == (0.0, pytest.approx(1.0, abs=0.3))
    predictor = Predictor(run.model)
    assert predictor.classes == names
    assert (predictor.predict(FIVE.train.inputs.take(np.arange(300))).label == FIVE.train.labels).mean() > 0.9
    kept, check = read_kept(kept_file(run.model), predictor.facts)
    assert (kept.labels == 4).sum() == len(fifth) - found.new.rows
    assert (check.labels == 4).sum() == found.new.rows
    assert (learn(run.model, FIVE, epochs=1, max_drop=1.0).new.before or 0) > 0.5
    roll_back(run.model)


KINDS = {"tried": {"label_layers": "all"}, "overlay": {"label_scale": 3.0}, "groups": GROUPS, "readout": READOUT}


def more_of(names):
    """Return rows of the fifth class under a name of its own, and some of the first four."""
    return Dataset("more", FIVE.train, None, names, "sha")


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_known_stands_to_the_bit_where_only_added_classes_learn(tmp_path, kind):
    path = written(tmp_path, clusters(inputs=20), **KINDS[kind])
    before = opened(path)
    started, names = with_classes(before, ["new"]), (*before.facts.classes, "new")
    rows, labels = FIVE.train.inputs.take(np.arange(64)), FIVE.train.labels[np.arange(64)]
    learner = Learner(path, force=True, anchor=1, add_classes=["new"], rate=0.02, threads=1)
    learner.observe(rows, labels)
    learner.save(tmp_path / "streamed.onnx")
    learn(path, more_of(names), add_new=True, force=True, anchor=1, epochs=1, max_drop=1.0, batch_size=32)
    for after in (opened(tmp_path / "streamed.onnx"), opened(path)):
        assert after.facts.classes == names
        moved = False
        for i in range(3):
            was, drawn, now = before.layer(i), started.layer(i), after.layer(i)
            units = len(was["b"])
            np.testing.assert_array_equal(now["W"][:, :units], drawn["W"][:, :units])
            np.testing.assert_array_equal(now["b"][:units], was["b"])
            assert now["gamma"] == was["gamma"]
            for name, known in (("V", np.s_[:4]), ("A", np.s_[:, :4])):
                if name in was:
                    np.testing.assert_array_equal(now[name][known], was[name])
            moved |= any(not np.array_equal(now[name], drawn[name]) for name in now)
        assert moved


def test_an_anchor_of_learn_draws_every_weight_back_by_its_share_as_a_learners_does(tmp_path):
    states = []
    for anchor in (0.0, 0.3):
        path = written(tmp_path)
        before = opened(path)
        old = [{name: array.copy() for name, array in before.layer(i).items()} for i in range(3)]
        one = {"batch_size": "full", "epochs": 1, "holdout": 0.0}  # a step of each layer
        learn(path, FOUR, force=True, anchor=anchor, layers=[0], kept_bytes=0, replay_share=0, max_drop=1.0, **one)
        states.append(opened(path).layer(0))
    free, held = states
    for name in ("W", "b"):
        np.testing.assert_allclose(held[name], free[name] + 0.3 * (old[0][name] - free[name]), atol=1e-6)
        assert not np.array_equal(free[name], old[0][name])


def test_all_unknown_classes_of_the_rows_are_added_at_once_and_no_others(tmp_path):
    path = written(tmp_path, clusters(inputs=20))
    names = ("class 0", "b", "class 2", "class 3", "a", "no row has this")
    with pytest.raises(DataError, match=r"`add_classes=\['b', 'a'\]`, or `add_new=True` for all 2 such classes$"):
        learn(path, more_of(names), force=True)
    found = learn(path, more_of(names), add_classes=["a"], add_new=True, force=True, epochs=1, max_drop=1.0)
    assert found.classes_added == ["a", "b"]
    assert opened(path).facts.classes == ("class 0", "class 1", "class 2", "class 3", "a", "b")
    again = learn(path, more_of(names), add_new=True, force=True, epochs=1, max_drop=1.0)
    assert again.classes_added == []


def test_a_model_that_lost_too_much_for_new_classes_says_what_helps(tmp_path):
    run = train(small_spec(epochs=8, holdout=0.2, label_scale=3.0), FOUR, tmp_path / "run")
    rows = FOUR.train.inputs.take(np.arange(40))
    new = Dataset("new", Split(ArrayRows(rows), np.zeros(40, np.int64)), None, ("new",), "sha")  # rows like the old
    words = {"add_new": True, "max_drop": 0.0, "epochs": 30, "batch_size": 8, "replay_share": 0.0, "holdout": 0.0}
    found = learn(run.model, new, **words)
    assert "by which only the added classes learn, or a larger `max_drop`" in (found.refused or "")


def test_a_learner_adds_classes_and_what_it_saves_knows_them(tmp_path):
    path = written(tmp_path, clusters(inputs=20), label_scale=3.0)
    learner = Learner(path, force=True, add_classes=["new"], rate=0.05, threads=1)
    rows, labels = FIVE.train.inputs.take(np.arange(300)), FIVE.train.labels[np.arange(300)]
    for _ in range(30):
        learner.observe(rows, labels)
    learner.save(path)
    predictor = Predictor(path)
    assert predictor.classes[-1] == "new"
    assert (predictor.predict(rows[labels == 4]).label == 4).mean() > 0.8
    assert set(read_kept(kept_file(path), predictor.facts)[0].labels) == set(range(5))
    with pytest.raises(DataError, match=r"got 'newer'. Open the file with `add_classes`$"):
        Learner(path).observe(rows[:1], ["newer"])


def test_a_class_must_be_new_and_fit(tmp_path):
    path = written(tmp_path, clusters(inputs=6))
    with pytest.raises(ValueError, match=r"^`add_classes` must name a new class, but the model knows 'class 1'$"):
        learn(path, FOUR, add_classes=["class 1"])
    room = r"^`add_classes` would make 6 classes, but this model has room for 5, as the label takes the place of inputs"
    with pytest.raises(ValueError, match=room):
        learn(path, FOUR, add_classes=["a", "b"])
    with pytest.raises(ValueError, match="names that differ"):
        learn(written(tmp_path), FOUR, add_classes=["a", "a"])


def test_a_text_is_no_list_of_names(tmp_path):
    with pytest.raises(ValueError, match=r"^`add_classes` must be a list of names, got 'wet'. Use \['wet'\]$"):
        Learner(written(tmp_path), add_classes="wet", force=True)
