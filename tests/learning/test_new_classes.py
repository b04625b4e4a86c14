"""Classes that a model did not know: what they begin with, that they are learnt, and that the old ones are kept."""

import numpy as np
import pytest
from oracle import Oracle
from toys import GROUPS, READOUT, clusters, make_model, small_spec

from ffedge import Predictor
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


@pytest.mark.parametrize("kind", ["tried", "groups", "readout"])
def test_new_classes_are_learnt_and_old_ones_kept(tmp_path, kind):
    four = np.flatnonzero(FIVE.train.labels[np.arange(300)] < 4)
    names = tuple(f"class {c}" for c in range(5))
    part = Dataset(
        "four", Split(ArrayRows(FIVE.train.inputs.take(four)), FIVE.train.labels[four]), None, names[:4], "sha"
    )
    tried = {"label_mode": "overlay", "label_scale": 3.0}
    changes = {"tried": tried, "groups": GROUPS, "readout": READOUT}[kind]
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


def test_a_class_must_be_new_and_fit(tmp_path):
    path = written(tmp_path, clusters(inputs=6))
    with pytest.raises(ValueError, match=r"^`add_classes` must name a new class, but the model knows 'class 1'$"):
        learn(path, FOUR, add_classes=["class 1"])
    room = r"^`add_classes` would make 6 classes, but this model has room for 5, as the label takes the place of inputs"
    with pytest.raises(ValueError, match=room):
        learn(path, FOUR, add_classes=["a", "b"])
    with pytest.raises(ValueError, match="names that differ"):
        learn(written(tmp_path), FOUR, add_classes=["a", "a"])
