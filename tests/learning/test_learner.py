"""A learner of a stream: the interleaved step, memory that stays flat, and what it refuses."""

from pathlib import Path

import numpy as np
import pytest
from oracle import Oracle
from toys import GROUPS, READOUT, clusters, in_child, learnt, make_model, small_spec

from ffedge import Predictor
from ffedge.errors import DataError, FfedgeError, ModelError, TrainingError
from ffedge.labels import wrong_labels
from ffedge.learning.learner import Learner
from ffedge.model.file import Model
from ffedge.seeds import Draw, key
from ffedge.training.replay import kept_file, read_kept

DATA = clusters(noise=1.2)
ROWS, LABELS = DATA.train.inputs.take(np.arange(160)), np.asarray(DATA.train.labels)
ONE_PASS = [GROUPS, {**GROUPS, "n_negatives": 2}, READOUT]


def written(tmp_path, **changes):
    path = tmp_path / "model.onnx"
    path.write_bytes(make_model(small_spec(**changes), DATA)[0])
    return path


@pytest.mark.parametrize(
    "changes", [{}, {"label_layers": "all", "variant": "ff"}, {"scope": "all", "n_negatives": 1}, *ONE_PASS]
)
def test_each_minibatch_is_one_step_of_every_layer_as_the_oracle_takes_it(tmp_path, changes):
    path = written(tmp_path, **changes)
    found = Model(path)
    oracle = Oracle(found.recipe, found.facts, found.layers())
    learner = Learner(path, rate=0.01, kept_bytes=0, threads=1, force=True)
    start, drawn = 0, key(2, 0, Draw.NEGATIVES, 0, 0)
    for step, count in enumerate((16, 1, 7, 12)):
        x, y = ROWS[start : start + count], LABELS[start : start + count]
        wrong = wrong_labels(y, start + np.arange(count), found.recipe.train.n_negatives, 4, drawn)
        wanted = oracle.learn([0, 1, 2], x, y, wrong, None, step, dict.fromkeys(range(3), 0.01))
        assert learner.observe(x, y) == pytest.approx(np.mean(list(wanted.values())), rel=1e-4)
        start += count
    np.testing.assert_allclose(learner.predict(ROWS).scores, oracle.scores(ROWS), rtol=1e-4, atol=1e-4)
    assert (learner.steps, learner.rows) == (4, 36)


@pytest.mark.parametrize("changes", [GROUPS, READOUT, {"n_negatives": 3}])
def test_a_weight_is_as_good_as_so_many_rows(tmp_path, changes):
    path, weights = written(tmp_path, **changes), np.array([2, 0, 1, 3, 0, 1, 0, 1])
    assert weights.sum() == len(weights)
    one, other = (Learner(path, rate=0.01, kept_bytes=0, threads=1, force=True) for _ in range(2))
    again = np.repeat(np.arange(8), weights)
    for _ in range(3):
        loss = one.observe(ROWS[:8], LABELS[:8], weights[:, None])
        assert loss == pytest.approx(other.observe(ROWS[again], LABELS[again]), rel=1e-4)
    np.testing.assert_allclose(one.predict(ROWS).scores, other.predict(ROWS).scores, rtol=1e-3, atol=1e-4)


def test_balanced_weighs_by_the_rows_so_far_and_a_kept_example_counts_1(tmp_path):
    path, some = written(tmp_path), np.r_[np.flatnonzero(LABELS == 0)[:12], np.flatnonzero(LABELS == 1)[:4]]
    learners = [
        Learner(path, rate=0.01, kept_bytes=0, threads=1, force=True, class_weight=how)
        for how in ("balanced", {"class 1": 3}, "none")
    ]
    own = np.where(LABELS[some] == 0, 2 / 3, 2)  # balanced over 12 and 4 rows; 3 times as much is the same
    for learner in learners:
        learner.observe(ROWS[some], LABELS[some], own if learner is learners[-1] else None)
    balanced, named, weighed = (learner.predict(ROWS).scores for learner in learners)
    np.testing.assert_allclose(balanced, weighed, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(named, weighed, rtol=1e-4, atol=1e-4)
    replaying = Learner(path, rate=0.01, threads=1, force=True)
    for _ in range(4):
        assert np.isfinite(replaying.observe(ROWS[some], LABELS[some], own))


@pytest.mark.parametrize("weights", [[1.0], -np.ones(8), np.full(8, np.nan), ["a"] * 8, [[1], [1, 2]]], ids=str)
def test_what_are_no_weights_teaches_nothing(tmp_path, weights):
    learner = Learner(written(tmp_path), force=True)
    with pytest.raises(DataError, match=r"^the minibatch: .*weight"):
        learner.observe(ROWS[:8], LABELS[:8], weights)
    assert learner.rows == 0


@pytest.mark.parametrize("name", ["epochs", "shift", "holdout", "schedule", "chunk_size", "moments"])
def test_what_plays_no_part_in_a_learner_is_refused(tmp_path, name):
    with pytest.raises(ValueError, match=f"'{name}' plays no part in it"):
        Learner(written(tmp_path), force=True, **{name: 3})


@pytest.mark.parametrize(("size", "rule"), [(5000, "at most 2048"), (1, "2 or more")])
def test_a_batch_that_a_learner_cannot_take_is_refused(tmp_path, size, rule):
    with pytest.raises(ValueError, match=f"`batch_size` must be {rule}"):
        Learner(written(tmp_path), force=True, batch_size=size)


@pytest.mark.parametrize(("size", "share"), [(1, 0.0), (2, 0.5), (3, 0.9), (4, 0.9), (7, 0.1)])
def test_any_batch_and_share_of_kept_examples_fit_together(tmp_path, size, share):
    learner = Learner(written(tmp_path, widths=(8,)), batch_size=size, replay_share=share, force=True)
    assert np.isfinite([learner.observe(ROWS[:9], LABELS[:9]) for _ in range(3)]).all()


BUDGETED = """
import sys
import numpy as np
from ffedge import Learner
from ffedge.errors import FfedgeError
from ffedge.meter import rss_peak_bytes

path, rows = sys.argv[1], np.random.default_rng(0).normal(size=(300, 16)).astype(np.float32)
try:
    Learner(path, memory_budget=2**20, threads=5, force=True)
except FfedgeError as error:
    floor = float(str(error).partition("at least ")[2].partition(" MiB")[0]) * 2**20
budget = int(1.1 * floor)
learner = Learner(path, memory_budget=budget, threads=5, force=True)
for _ in range(5):
    learner.observe(rows, np.arange(300) % 4)
learner.predict(rows)
learner.save(path)
print(rss_peak_bytes() / budget, learner.plan.threads)
"""


def test_a_learner_keeps_its_memory_budget_or_refuses_it(tmp_path):
    path = written(tmp_path, widths=(400, 300, 20))
    measured, threads = map(float, in_child(BUDGETED, str(path)).split())
    assert 0.7 < measured <= 1
    assert threads == 5


@pytest.mark.parametrize("changes", [{}, *ONE_PASS], ids=str)
def test_what_is_saved_predicts_and_goes_on_as_the_learner_did(tmp_path, changes):
    learner = Learner(written(tmp_path, **changes), threads=1, force=True)
    for start in range(0, 160, 16):
        learner.observe(ROWS[start : start + 16], LABELS[start : start + 16])
    learner.save(tmp_path / "after.onnx")
    mine, theirs = learner.predict(ROWS), Predictor(tmp_path / "after.onnx").predict(ROWS, layers=True)
    np.testing.assert_allclose(mine.scores, theirs.scores, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(mine.goodness, theirs.goodness, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(mine.margin, theirs.margin, rtol=1e-4, atol=1e-4)
    assert mine.label.tolist() == theirs.label.tolist()
    kept, _ = read_kept(kept_file(tmp_path / "after.onnx"), learner.facts)
    assert len(kept) == 160
    again = Learner(tmp_path / "after.onnx", threads=1, force=True)
    assert again.predict(ROWS).scores.tobytes() == mine.scores.tobytes()
    assert learnt(tmp_path / "after.onnx") == [{"name": "stream", "rows": 160}]


@pytest.mark.parametrize("changes", [{}, *ONE_PASS], ids=str)
def test_a_stream_is_learnt(tmp_path, changes):
    path = written(tmp_path, negatives="hard", input_dropout=0.2, **changes)
    learner, data = Learner(path, rate=0.01, threads=1, force=True), clusters(rows=4000)
    rows, labels = data.train.inputs.take(np.arange(4000)), data.train.labels
    before = (learner.predict(rows).label == labels).mean()
    for start in range(0, 4000, 20):
        learner.observe(rows[start : start + 20], labels[start : start + 20])
    assert before < 0.6
    assert (learner.predict(rows).label == labels).mean() > 0.95


def test_kept_examples_keep_a_class_that_does_not_come_any_more(tmp_path):
    data = clusters(rows=3000, noise=0.9)
    rows, labels = data.train.inputs.take(np.arange(3000)), np.asarray(data.train.labels)
    accuracy = []
    for share in (0.5, 0.0):
        learner = Learner(written(tmp_path), rate=0.01, replay_share=share, threads=1, force=True)
        for known in (range(4), (0, 1)):
            of = np.flatnonzero(np.isin(labels, known))
            for start in range(0, len(of), 20):
                learner.observe(rows[of[start : start + 20]], labels[of[start : start + 20]])
        gone = labels >= 2
        accuracy.append((learner.predict(rows[gone]).label == labels[gone]).mean())
    assert accuracy[0] > 0.9
    assert accuracy[1] < accuracy[0] - 0.1


def test_only_the_layers_that_are_named_learn(tmp_path):
    path = written(tmp_path)
    learner, before = Learner(path, layers=[1], threads=1, force=True), Model(path).layers()
    learner.observe(ROWS, LABELS)
    changed = [not np.array_equal(a["W"], b["W"]) for a, b in zip(learner._engine.state(), before, strict=True)]
    assert changed == [False, True, False]


def test_rows_are_taken_by_number_or_by_name_one_or_many(tmp_path):
    learner = Learner(written(tmp_path), threads=1, force=True)
    assert np.isfinite(learner.observe(ROWS[0], LABELS[0]))
    assert np.isfinite(learner.observe(ROWS[:2], ["class 3", "class 0"]))
    assert np.isnan(learner.observe(ROWS[:0], LABELS[:0]))
    many = np.tile(ROWS, (8, 1))
    learner.observe(many, np.tile(LABELS, 8))
    assert learner.rows == 3 + 8 * 160
    assert learner.predict(many).scores.shape == (8 * 160, 4)


@pytest.mark.parametrize(
    ("x", "y", "text"),
    [
        (ROWS[:2, :5], LABELS[:2], "inputs must have shape"),
        ([[1, 2], [3]], LABELS[:2], "inputs must be numbers in rows of one length"),
        (np.full((2, 16), "1"), LABELS[:2], "inputs must be numbers, got <U1"),
        (ROWS[:2], LABELS[:3], r"labels must number 2, one a row, got shape \[3\]"),
        (ROWS[:2], [[0], [1, 2]], "labels must number 2, one a row, got lists of several lengths"),
        (ROWS[:2], [True, False], "labels must be numbers from 0 to 3, or names"),
        (ROWS[:2], [None, 1], "labels must be numbers from 0 to 3, or names"),
        (ROWS[:2], [0, 10**400], "labels must be numbers from 0 to 3, or names"),
        (ROWS[:2], [0, 4], "labels must be numbers from 0 to 3, or names"),
        (ROWS[:2], [0.0, 1.0], "labels must be numbers from 0 to 3, or names"),
        (ROWS[:2], ["class 0", "x"], "labels must name the model's classes, got 'x'"),
    ],
)
def test_rows_that_do_not_fit_are_refused_and_change_nothing(tmp_path, x, y, text):
    learner = Learner(written(tmp_path), threads=1, force=True)
    before = learner.predict(ROWS).scores.tobytes()
    with pytest.raises(DataError, match=text):
        learner.observe(x, y)
    assert learner.predict(ROWS).scores.tobytes() == before


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e20, 3e38, 1e300, -65535.0])
def test_odd_rows_are_told_and_counted_and_not_learnt_from(tmp_path, value):
    path, odd = written(tmp_path), ROWS[:20].astype(np.float64)
    odd[[3, 17], 5] = value
    learner, other = (Learner(path, threads=1, force=True) for _ in range(2))
    good = np.delete(np.arange(20), [3, 17])
    with pytest.warns(
        RuntimeWarning, match="^2 of 20 rows are odd and not learnt from, the first of them row 3: input 5 "
    ):
        loss = learner.observe(odd, LABELS[:20])
    assert loss == other.observe(ROWS[good], LABELS[good])
    assert (learner.rows, learner.odd_rows) == (18, 2)
    assert learner.predict(ROWS).scores.tobytes() == other.predict(ROWS).scores.tobytes()
    answers = learner.predict(odd)
    assert sorted(answers.odd) == [3, 17]
    assert np.flatnonzero(~answers.known).tolist() == [3, 17]
    assert np.isfinite(answers.scores).all()
    learner.save(tmp_path / "after.onnx")
    assert learnt(tmp_path / "after.onnx") == [{"name": "stream", "rows": 18, "odd_rows": 2}]
    assert len(read_kept(kept_file(tmp_path / "after.onnx"), learner.facts)[0]) == 18


def test_a_minibatch_of_odd_rows_changes_nothing(tmp_path):
    learner = Learner(written(tmp_path), threads=1, force=True)
    before = learner.predict(ROWS).scores.tobytes()
    with pytest.warns(RuntimeWarning, match="^2 of 2 rows are odd"):
        assert np.isnan(learner.observe(np.full((2, 16), np.nan), LABELS[:2]))
    assert (learner.rows, learner.odd_rows, learner.steps) == (0, 2, 0)
    assert learner.predict(ROWS).scores.tobytes() == before


def test_weights_that_are_not_finite_are_not_saved_over_a_model(tmp_path):
    path = written(tmp_path, weight_decay=0.0)
    before = path.read_bytes()
    learner = Learner(path, rate=1e30, threads=1, force=True)
    learner.observe(ROWS[:8], LABELS[:8])
    with pytest.raises(TrainingError, match=r"the loss is not a number at rate 1e\+30. Go on from the file"):
        learner.observe(ROWS[:8], LABELS[:8])
    with pytest.raises(TrainingError, match=r"stands as it was: the weights are not finite. Go on from the file"):
        learner.save(path)
    assert path.read_bytes() == before
    assert not learner.predict(ROWS).known.any()


def test_wrong_arguments_are_refused(tmp_path):
    path = written(tmp_path)
    with pytest.raises(ModelError, match="no such file"):
        Learner(tmp_path / "none.onnx")
    for wrong, text in (
        ({"layers": [3]}, "`layers` must be numbers from 0 to 2"),
        ({"layers": []}, "`layers` must be numbers"),
        ({"replay_share": 1.0}, "`replay_share` must be in"),
        ({"variant": "ff"}, "'variant' plays no part in it"),
        ({"rate": -1.0}, "`rate` must be positive"),
    ):
        with pytest.raises(ValueError, match=text):
            Learner(path, **wrong)


@pytest.mark.slow
def test_memory_stays_flat_over_many_small_batches_of_any_size(tmp_path):
    """Of 5,000 batches of 1 to 40 rows; the first 2,500 fill what is kept, and the allocator's rooms."""
    written(tmp_path)
    printed = in_child(
        """
        import numpy as np
        import ffedge
        from ffedge.meter import rss_bytes
        learner = ffedge.Learner("model.onnx", threads=1, kept_bytes=20_000, force=True)
        rng, seen = np.random.default_rng(0), []
        for step in range(5000):
            count = int(rng.integers(1, 40))
            learner.observe(rng.normal(size=(count, 16)).astype(np.float32), rng.integers(0, 4, count))
            if step in (2500, 4999):
                seen.append(rss_bytes())
        print(*seen)
        """,
        hidden={"onnx", "torch"},
        cwd=tmp_path,
    )
    first, last = map(int, printed.split())
    assert last - first < 2**20


def test_a_row_of_weight_0_is_not_kept(tmp_path):
    learner, counts = Learner(written(tmp_path), force=True), np.arange(90) % 3 > 0
    for own in np.array_split(np.arange(90), 5):
        learner.observe(ROWS[own], LABELS[own], counts[own])
    learner.save(tmp_path / "other.onnx")
    kept, _ = read_kept(kept_file(tmp_path / "other.onnx"), learner.facts)
    found = {row.tobytes() for row in kept.take(np.arange(len(kept)))}
    assert found == {row.tobytes() for row in ROWS[:90][counts]}


@pytest.mark.parametrize("spelled", ["link/m.onnx", "dir/../dir/m.onnx", "dir/m.onnx"])
def test_another_learners_model_stays_however_its_path_is_spelled(tmp_path, spelled):
    model = written(tmp_path)
    (tmp_path / "dir").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "dir")
    place = tmp_path / "dir" / "m.onnx"
    place.write_bytes(model.read_bytes())
    one, other = (Learner(path, force=True) for path in (place, tmp_path / spelled))
    one.save(place)
    with pytest.raises(FfedgeError, match="another"):
        other.save(tmp_path / spelled)
    with pytest.raises(FfedgeError, match="another"):
        other.save(place)


def test_kept_examples_of_names_with_a_point_stand_apart():
    assert kept_file(Path("model-0.1")) != kept_file(Path("model-0.2"))
    assert kept_file(Path("model.onnx")) == Path("model.kept.safetensors")
