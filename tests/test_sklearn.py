"""ffedge as a classifier of scikit-learn: its own checks, and what its tools make of it."""

import pickle
import pickletools

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="needs scikit-learn, which is not installed")

from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_iris
from sklearn.metrics import recall_score
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import ffedge
from ffedge.errors import FfedgeError
from ffedge.sklearn import FFClassifier

X, Y = load_iris(return_X_y=True)
NAMES = np.array(["setosa", "versicolor", "virginica"])[Y]


def small(**changes):
    return FFClassifier(**{"widths": (16, 16), "epochs": 8, "random_state": 0} | changes)


NOT_EQUAL = "a weight multiplies a row's part in its step; a row that comes twice is in two steps, or held out once"


@parametrize_with_checks(
    [FFClassifier()], expected_failed_checks=lambda _: {"check_sample_weight_equivalence_on_dense_data": NOT_EQUAL}
)
def test_scikit_learns_own_checks(estimator, check):
    check(estimator)


@pytest.mark.parametrize("variant", ["ff", "fcff", "acff"])
def test_a_table_is_learnt_as_well_as_others_learn_it(variant):
    rows, labels = load_breast_cancer(return_X_y=True)
    assert cross_val_score(FFClassifier(variant, random_state=0, epochs=10), rows, labels, cv=3).mean() > 0.95


def test_pipelines_searches_and_clones_take_it():
    search = GridSearchCV(
        make_pipeline(MinMaxScaler(), small(epochs=30)),
        {"ffclassifier__widths": [(8,), (16, 16)]},
        cv=2,
        error_score="raise",
    ).fit(X, NAMES)
    assert search.score(X, NAMES) > 0.9
    copy = clone(search.best_estimator_[-1])
    assert copy.get_params() == search.best_estimator_[-1].get_params()
    assert not hasattr(copy, "classes_")


def test_a_seed_gives_the_same_model_each_time_and_none_another():
    assert small().fit(X, Y).to_onnx() == small().fit(X, Y).to_onnx()
    assert small(random_state=None).fit(X, Y).to_onnx() != small(random_state=None).fit(X, Y).to_onnx()


@pytest.mark.parametrize("learn", [lambda c: c.fit(X, NAMES), lambda c: c.partial_fit(X, NAMES, np.unique(NAMES))])
def test_a_pickle_holds_a_model_file_and_goes_on(learn):
    classifier = learn(small())
    stored = pickle.dumps(classifier)
    loaded = {text for op, text, _ in pickletools.genops(stored) if "UNICODE" in op.name and "ffedge" in str(text)}
    assert loaded <= {"ffedge.sklearn", "ffedge.format", "ffedge.spec"}
    other = pickle.loads(stored)
    np.testing.assert_array_equal(other.decision_function(X), classifier.decision_function(X))
    assert other.to_onnx() == classifier.to_onnx()
    other.partial_fit(X[:20], NAMES[:20])
    assert (other.decision_function(X) != classifier.decision_function(X)).any()


@pytest.mark.parametrize("labels", [Y, 10 * Y + 10, NAMES, NAMES.astype(object), Y == 0])
def test_to_onnx_is_a_model_of_the_same_classes(labels, tmp_path):
    classifier = small().fit(X, labels)
    content = classifier.to_onnx(tmp_path / "model.onnx")
    assert (tmp_path / "model.onnx").read_bytes() == content
    predictor = ffedge.Predictor(tmp_path / "model.onnx")
    answers = predictor.predict(X)
    assert predictor.classes == tuple(map(str, classifier.classes_))
    np.testing.assert_array_equal(classifier.classes_[answers.place], classifier.predict(X))
    assert np.isfinite(
        ffedge.Learner(tmp_path / "model.onnx", force=True).observe(X, np.array(predictor.classes)[Y % 2])
    )


def test_probabilities_are_those_of_the_model_in_the_order_of_the_scores():
    classifier = small().fit(X, Y)
    shares, scores = classifier.predict_proba(X), classifier.decision_function(X)
    assert shares.shape == scores.shape == (150, 3)
    np.testing.assert_allclose(shares.sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_array_equal(classifier.classes_[shares.argmax(axis=1)], classifier.predict(X))
    np.testing.assert_array_equal(shares, ffedge.Predictor(classifier.to_onnx()).predict(X).proba)
    two = small().fit(X, Y > 0)
    np.testing.assert_array_equal(two.decision_function(X) > 0, two.predict(X))


def test_a_clock_in_seconds_keeps_its_signal():
    seconds = 1.8e9 + np.arange(200) / 4  # float32 takes all for one
    rows, later = np.column_stack([seconds, np.zeros(200)]), seconds > seconds[100]
    assert len(set(seconds.astype(np.float32))) == 1
    assert small(epochs=30).fit(rows, later).score(rows, later) > 0.97


def test_a_missing_value_is_the_median_of_the_training_rows():
    rows = np.tile(X, (2, 1))
    rows[::7, 2] = np.nan
    classifier = small().fit(rows, np.tile(Y, 2))
    asked, filled = X[:5].copy(), X[:5].copy()
    asked[:, 2], filled[:, 2] = np.nan, np.nanmedian(rows[:, 2])
    np.testing.assert_allclose(classifier.decision_function(asked), classifier.decision_function(filled), rtol=1e-5)


def test_rows_far_from_all_others_are_left_out_and_told():
    rows = X.copy()
    rows[3, 1] = -1e6
    with pytest.warns(RuntimeWarning, match=r"1 of 150 rows are odd and not learnt from, the first of them row 3"):
        small().fit(rows, Y)


def test_frames_give_the_columns_their_names():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=["a", "b", "c d", "é"])
    classifier = small().fit(frame, pandas.Series(NAMES))
    assert classifier.feature_names_in_.tolist() == ["a", "b", "c d", "é"]
    predictor = ffedge.Predictor(classifier.to_onnx())
    assert predictor.facts.table.names == ("a", "b", "c d", "é")
    wanted = classifier.decision_function(frame)
    np.testing.assert_array_equal(predictor.predict(frame[["é", "b", "a", "c d"]]).scores, wanted)
    with pytest.raises(ValueError, match="feature names"):
        classifier.predict(frame[["é", "b", "a", "c d"]])


def test_a_stream_is_learnt_a_part_at_a_time():
    order = np.random.default_rng(0).permutation(150)
    classifier = FFClassifier(random_state=0)
    for _ in range(40):
        for part in np.split(order, 3):
            classifier.partial_fit(X[part], NAMES[part], classes=np.unique(NAMES))
    assert classifier.score(X, NAMES) > 0.9
    before = classifier.to_onnx()
    assert classifier.to_onnx() == before
    assert ffedge.Predictor(before).classes == ("setosa", "versicolor", "virginica")


def rare(rows, seed):
    rng = np.random.default_rng(seed)
    faults = rng.random(rows) < 0.04
    return rng.normal(size=(rows, 6)) + 1.2 * faults[:, None], np.where(faults, "fault", "fine")


@pytest.mark.parametrize("learn", ["fit", "partial_fit"])
def test_weights_of_classes_and_of_rows_find_what_is_rare(learn):
    (rows, labels), (test_rows, wanted) = rare(1500, 0), rare(3000, 1)
    own = np.where(labels == "fault", 24.0, 1.0)
    found = {}
    for name, changes, weights in (
        ("none", {}, None),
        ("balanced", {"class_weight": "balanced"}, None),
        ("named", {"class_weight": {"fault": 24}}, None),
        ("rows", {}, own),
    ):
        classifier = small(epochs=10, rate=0.02, **changes)
        if learn == "fit":
            classifier.fit(rows, labels, sample_weight=weights)
        else:
            for part in np.split(np.arange(1500), 15) * 2:
                classifier.partial_fit(
                    rows[part], labels[part], ["fault", "fine"], None if weights is None else weights[part]
                )
        found[name] = recall_score(wanted, classifier.predict(test_rows), pos_label="fault")
    assert min(found["balanced"], found["named"], found["rows"]) > max(0.5, found["none"] + 0.2), found


def test_weights_go_by_the_classes_of_y():
    by_class, by_row = small(class_weight={0: 5.0}).fit(X, Y), small().fit(X, Y, np.where(Y == 0, 5.0, 1.0))
    np.testing.assert_array_equal(by_class.decision_function(X), by_row.decision_function(X))
    cross_val_score(small(class_weight="balanced"), X, NAMES, cv=2)
    assert small(class_weight={True: 2}).fit(X, Y == 0).score(X, Y == 0) > 0.9


@pytest.mark.parametrize(
    ("work", "message"),
    [
        (lambda: small(class_weight={"a": 2}).fit(X, Y), r"class_weight must name classes of y, \[0, 1, 2\], got 'a'"),
        (lambda: small(class_weight={0: -1}).fit(X, Y), "`class_weight` must be none, balanced, or name=X"),
        (lambda: small(class_weight="heavy").fit(X, Y), "`class_weight` must be none, balanced, or name=X"),
        (lambda: small().fit(X, Y, np.ones(3)), "sample_weight: holds 150 inputs, but weights of shape"),
        (lambda: small().fit(X, Y, -np.ones(150)), "sample_weight: row 0 has weight -1.0, must be 0 or more"),
        (lambda: small().fit(X, Y, np.zeros(150)), "sample_weight must be above 0 for some row"),
        (lambda: small().partial_fit(X, Y), "`classes` must name all classes at the first call"),
        (lambda: small().partial_fit(X, Y, [0, 1]), r"y must hold classes of the first call, \[0, 1\], got 2$"),
        (
            lambda: small().partial_fit(X, np.array(["a", "b", "c"])[Y], ["a", "b"]),
            r"first call, \['a', 'b'\], got 'c'$",
        ),
        (lambda: small().partial_fit(X, Y, [0, 1, 2]).partial_fit(X, Y, [0, 1]), "must be those of the first call"),
        (lambda: small().fit(X, np.zeros(150)), "needs rows of 2 classes or more, got 1 class"),
        (lambda: small(variant="bp").fit(X, Y), "`variant` must be one of"),
        (lambda: small(options={"banana": 1}).fit(X, Y), "a spec has no field 'banana'"),
        (lambda: small().fit(X, X[:, 0]), "Unknown label type"),
        (lambda: small().fit(np.where(X > 7, np.inf, X), Y), "infinity"),
    ],
)
def test_what_cannot_be_is_a_value_error(work, message):
    with pytest.raises(ValueError, match=message):
        work()


def test_more_settings_go_by_their_names():
    classifier = small(class_goodness="readout", batch_size=1000, options={"loss": "symmetric"}).fit(X, Y)
    recipe = ffedge.Predictor(classifier.to_onnx()).recipe
    assert (recipe.network.class_goodness, recipe.rule.loss) == ("readout", "symmetric")


def test_without_scikit_learn_it_says_what_to_install(monkeypatch):
    import importlib
    import sys

    monkeypatch.delitem(sys.modules, "ffedge.sklearn")
    monkeypatch.setitem(sys.modules, "sklearn.base", None)
    with pytest.raises(FfedgeError, match=r"needs scikit-learn .* Run: pip install 'ffedge\[sklearn\]'"):
        importlib.import_module("ffedge.sklearn")


def test_a_row_of_weight_0_is_as_one_that_is_not_there():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 300)
    x, wrong = rng.normal(size=(300, 3)) + 2 * y[:, None], rng.random(300) < 0.5
    given = np.where(wrong, 1 - y, y)
    weighted = FFClassifier(epochs=3, random_state=0).fit(x, given, sample_weight=1.0 - wrong)
    one = np.ones((~wrong).sum())
    absent = FFClassifier(epochs=3, random_state=0).fit(x[~wrong], y[~wrong], sample_weight=one)
    np.testing.assert_array_equal(weighted.predict_proba(x), absent.predict_proba(x))


def test_columns_of_bools_and_settings_of_numpy_are_taken():
    y = np.arange(200) % 2
    x = np.stack([y > 0, y < 1, np.arange(200) % 3 > 1], axis=1)
    found = FFClassifier(epochs=np.int64(3)).fit(x, y)
    assert found.score(x, y) == 1.0
    np.testing.assert_array_equal(found.predict(x), found.predict(x.astype(float)))


def test_a_fit_that_fails_leaves_the_classifier_as_it_was():
    y = np.arange(200) % 3
    x = np.eye(3)[y] + np.random.default_rng(0).normal(scale=0.1, size=(200, 3))
    found = FFClassifier(epochs=3, random_state=0).fit(x, np.array(["a", "b", "c"])[y])
    before = found.predict(x)
    with pytest.raises(ValueError, match="rate"):
        found.set_params(rate=-1).fit(x[:, :2], np.array(["z", "y", "x"])[y])
    np.testing.assert_array_equal(found.predict(x), before)


def test_a_preset_for_pictures_is_refused():
    with pytest.raises(ValueError, match=r"`preset` must be one for rows of numbers, got 'pictures-small'\. Use"):
        FFClassifier(preset="pictures-small").fit(np.eye(4, dtype=np.float32).repeat(9, 0), np.arange(36) % 2)


@pytest.mark.parametrize(
    ("way", "same"),
    [
        ({"rate": np.float64(0.01)}, {"rate": 0.01}),
        ({"rate": np.float32(0.25)}, {"rate": (0.25,)}),
        ({"rate": np.array([0.25, 0.125])}, {"rate": (0.25, 0.125)}),
        ({"rate": np.int64(1), "options": {"weight_decay": 0.0}}, {"rate": 1.0, "options": {"weight_decay": 0.0}}),
        ({"widths": 12}, {"widths": (12,)}),
        ({"widths": np.array([12, 8])}, {"widths": [12, 8]}),
    ],
)
def test_numbers_of_numpy_and_a_number_alone_are_taken(way, same):
    np.testing.assert_array_equal(
        *(small(**{"epochs": 1} | each).fit(X, Y).decision_function(X) for each in (way, same))
    )


@pytest.mark.torch
def test_torch_takes_its_own_threads_where_n_jobs_says_nothing():
    assert small(options={"engine": "torch"}).fit(X, Y).score(X, Y) > 0.8
    with pytest.raises(ValueError, match="`threads` plays no part where `engine` is torch"):
        small(options={"engine": "torch"}, n_jobs=1).fit(X, Y)
