"""Rare classes are found where they count more; weights by class and by row are one thing, and resume, and learn on."""

import json

import numpy as np
import pytest
from toys import small_spec

import ffedge
from ffedge.data.dataset import Split
from ffedge.data.rows import ArrayRows
from ffedge.data.stream import OtherRows
from ffedge.data.weights import row_weights
from ffedge.errors import DataError, FfedgeError
from ffedge.model.file import Model

ALL = OtherRows(3000, np.empty(0, np.int64))


def rare(rows, seed):
    """Draw two clouds that overlap; one row in 40 is of the second."""
    rng = np.random.default_rng(seed)
    y = (rng.random(rows) < 0.025).astype(int)
    return (rng.normal(size=(rows, 8)) + 1.1 * y[:, None] * np.eye(8)[:4].sum(axis=0)).astype(np.float32), y


X, Y = rare(3000, 0)
TEST = rare(4000, 1)
BASE = {"widths": (24, 16), "epochs": 4, "batch_size": 64, "holdout": 0.1, "label_mode": "concat", "n_negatives": 1}
SPEC = small_spec(**BASE, rate=(0.01,), optimizer="adam")


def weights_of(run):
    return Model(run.model).layers()


def same(one, other):
    return all(np.array_equal(a[n], b[n]) for a, b in zip(weights_of(one), weights_of(other), strict=True) for n in a)


def found(run):
    place = ffedge.Predictor(run.model, 1).predict(TEST[0]).place
    return [(place[TEST[1] == c] == c).mean() for c in (0, 1)]


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return ffedge.train(SPEC, [(X, Y)], tmp_path_factory.mktemp("plain") / "run")


@pytest.fixture(scope="module")
def balanced(tmp_path_factory):
    return ffedge.train(SPEC.with_train(class_weight="balanced"), [(X, Y)], tmp_path_factory.mktemp("balanced") / "run")


@pytest.mark.parametrize("changes", [{}, {"class_goodness": "groups"}, {"class_goodness": "readout"}], ids=str)
def test_rare_rows_are_found_more_often(tmp_path, changes):
    base = {"widths": (24, 16), "epochs": 4, "batch_size": 64, "threads": 1} | changes
    before, after = (
        found(ffedge.train(ffedge.Spec.make(**base, class_weight=how), [(X, Y)], tmp_path / how))
        for how in ("none", "balanced")
    )
    assert after[1] > before[1] + 0.2
    assert np.mean(after) > np.mean(before) + 0.08


def test_balanced_is_scikit_learns_and_the_mean_is_1():
    class_weight = pytest.importorskip("sklearn.utils.class_weight")
    weights = row_weights(Split(ArrayRows(X), Y), ALL, "balanced", ("a", "b"))[np.arange(3000)]
    np.testing.assert_allclose(weights, class_weight.compute_sample_weight("balanced", Y), rtol=1e-6)
    own = np.random.default_rng(0).random(3000).astype(np.float32)
    weights = row_weights(Split(ArrayRows(X), Y, own), ALL, "balanced", ("a", "b"))[np.arange(3000)]
    wanted = class_weight.compute_sample_weight("balanced", Y) * own
    np.testing.assert_allclose(weights, wanted / wanted.mean(), rtol=1e-5)


def test_only_rows_that_learn_count_and_a_class_may_have_none():
    held = np.flatnonzero(Y == 1)
    weights = row_weights(Split(ArrayRows(X), Y), OtherRows(3000, held), "balanced", ("a", "b", "c"))
    np.testing.assert_array_equal(weights[np.flatnonzero(Y == 0)], 1.0)
    assert row_weights(Split(ArrayRows(X), Y), ALL, "none", ("a", "b")) is None


def test_weights_by_class_and_by_row_learn_the_same_bits(tmp_path):
    by_class = ffedge.train(SPEC.with_train(class_weight={"1": 4}), [(X, Y)], tmp_path / "class")
    parts = [(X[at], Y[at], np.where(Y[at] == 1, 4, 1)) for at in (slice(1000), slice(1000, 3000))]
    by_row = ffedge.train(SPEC, parts, tmp_path / "row")
    assert same(by_class, by_row)
    twice = ffedge.train(SPEC, [(x, y, 2.5 * w[:, None]) for x, y, w in parts], tmp_path / "twice")
    assert found(twice) == pytest.approx(found(by_row), abs=0.02)


def test_rows_of_weight_1_learn_as_rows_without(plain, tmp_path):
    run = ffedge.train(SPEC, [(X, Y, np.ones(3000))], tmp_path / "run")
    assert found(run) == pytest.approx(found(plain), abs=0.02)
    assert run.report.data["sha256"] != plain.report.data["sha256"]


def test_rows_of_weight_0_teach_nothing(tmp_path):
    lies, spec = X.copy(), SPEC.with_train(holdout=0.0)
    lies[1500:] = X[1500:][::-1] * 3
    half = (np.arange(3000) < 1500).astype(np.float32)
    one, other = (
        ffedge.train(spec, [(X, np.where(half > 0, Y, 1 - Y) if lie else Y, half)], tmp_path / str(lie))
        for lie in (False, True)
    )
    assert found(one) == pytest.approx(found(other), abs=0.1)


def test_a_stopped_run_goes_on_with_its_weights(balanced, tmp_path):
    spec, asked = SPEC.with_train(class_weight="balanced"), iter([False] * 60 + [True])
    with pytest.raises(FfedgeError, match="stopped at a checkpoint"):
        ffedge.train(spec, [(X, Y)], tmp_path / "run", stop=lambda: next(asked))
    assert same(ffedge.train(None, [(X, Y)], tmp_path / "run", resume=True), balanced)
    with pytest.raises(FfedgeError, match="made with another spec \\(class_weight 'balanced', now 'none'\\)"):
        ffedge.train(SPEC, [(X, Y)], tmp_path / "run", resume=True)


def test_a_model_that_was_weighed_learns_on_weighed(balanced, tmp_path):
    new = rare(1000, 5)
    learnt = []
    for name, changes in (("stored", {}), ("none", {"class_weight": "none"})):
        model = tmp_path / f"{name}.onnx"
        model.write_bytes(balanced.model.read_bytes())
        done = ffedge.learn(model, [new], force=True, max_drop=1.0, epochs=3, threads=1, **changes)
        learnt.append(done.spec["train"]["class_weight"])
    assert learnt == ["balanced", "none"]
    before, after = (ffedge.Predictor(tmp_path / f"{n}.onnx", 1).predict(TEST[0]).place for n in ("none", "stored"))
    assert (after == 1).sum() > (before == 1).sum()


def test_learning_on_takes_weights_of_rows(balanced, tmp_path):
    model, (x, y) = tmp_path / "m.onnx", rare(500, 6)
    model.write_bytes(balanced.model.read_bytes())
    assert ffedge.learn(model, [(x, y, 1.0 + y)], force=True, max_drop=1.0, epochs=1, threads=1).accepted


def test_the_report_says_balanced_accuracy(plain, balanced, tmp_path):
    written = json.loads((plain.path / "report.json").read_text())
    assert written["train_balanced_accuracy"] == plain.report.train_balanced_accuracy
    assert written["test_balanced_accuracy"] is None
    place = ffedge.Predictor(plain.model, 1).predict(X).place
    wanted = np.mean([(place[c == Y] == c).mean() for c in (0, 1)])
    assert plain.report.train_balanced_accuracy == pytest.approx(wanted, abs=0.01)
    assert balanced.report.train_balanced_accuracy > plain.report.train_balanced_accuracy + 0.1


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (np.ones(2999), r"holds 3000 inputs, but weights of shape \[2999\]. Give each row one"),
        (np.full(3000, -1.0), r"row 0 has weight -1.0, must be 0 or more. Mend it"),
        (np.where(np.arange(3000) == 7, np.nan, 1), r"row 7 has weight nan, must be 0 or more"),
        (np.full(3000, 1e300), r"row 0 has weight 1e\+300, must be 0 or more"),
        (np.array(["a"] * 3000), r"weights must be numbers, got <U1"),
    ],
)
def test_what_are_no_weights_of_rows_is_one_line(weights, message):
    with pytest.raises(DataError, match=rf"^minibatch 0 \(from 0\): {message}"):
        ffedge.load([(X, Y, weights)])


def test_weights_of_nothing_and_of_some_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"^minibatches: all rows have weight 0. Give some"):
        ffedge.train(SPEC, [(X, Y, np.zeros(3000))], tmp_path / "run")
    with pytest.raises(DataError, match=r"minibatch 1 .*Make them alike"):
        ffedge.load([(X, Y, np.ones(3000)), (X, Y)])
    with pytest.raises(DataError, match=r"which a `folder` does not keep. Leave `folder` out"):
        ffedge.load([(X, Y, np.ones(3000))], folder=tmp_path / "copy")
    assert not list(tmp_path.glob("copy/*"))
    with pytest.raises(ValueError, match="`class_weight` names 'fault', but the classes are 0, 1"):
        ffedge.train(SPEC.with_train(class_weight="fault=3"), [(X, Y)], tmp_path / "other")


def test_rows_of_weight_0_are_neither_kept_nor_calibrated_by(tmp_path):
    wrong = np.arange(len(X)) % 3 == 0
    spec = SPEC.with_train(holdout=0.2)
    y = np.where(wrong, (Y + 1) % (Y.max() + 1), Y)
    weighted = ffedge.train(spec, [(X, y, 1.0 - wrong)], tmp_path / "weighted")
    absent = ffedge.train(spec, [(X[~wrong], Y[~wrong], np.ones((~wrong).sum()))], tmp_path / "absent")
    assert same(weighted, absent)
    kept = [(run.path / "model.kept.safetensors").read_bytes() for run in (weighted, absent)]
    assert kept[0] == kept[1]
    with pytest.raises(DataError, match=r"^minibatches: all rows have weight 0"):
        ffedge.load([(X, Y, np.zeros(len(X)))])
