"""A model does not forget in silence: where no kept example of a class would show it, learning is refused."""

import shutil

import numpy as np
import pytest
from toys import clusters, small_spec

from ffedge import Predictor
from ffedge.data.dataset import Dataset, Split
from ffedge.data.rows import ArrayRows
from ffedge.errors import ModelError, TrainingError
from ffedge.learning.learn import learn
from ffedge.learning.learner import Learner
from ffedge.model.file import Model
from ffedge.training.replay import kept_file, read_kept
from ffedge.training.train import train

OLD = clusters(rows=600, noise=0.9)
CLASSES = len(OLD.classes)


def only(*classes, data=OLD, rows=None):
    """Return the rows of some classes alone."""
    places = np.flatnonzero(np.isin(data.train.labels[np.arange(len(data.train.labels))], classes))[:rows]
    split = Split(ArrayRows(data.train.inputs.take(places)), data.train.labels[places])
    return Dataset("a day", split, None, data.classes, "sha")


def observed(learner, data, times=20):
    rows, labels = data.train.inputs.take(np.arange(len(data.train.labels))), data.train.labels
    for _ in range(times):
        learner.observe(rows, labels)
    return learner


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run whose kept examples are some to learn and some to check by."""
    return train(small_spec(epochs=8, holdout=0.2, label_scale=3.0), OLD, tmp_path_factory.mktemp("run") / "run").path


@pytest.fixture
def model(trained, tmp_path):
    """A model with its kept examples."""
    for name in ("model.onnx", "model.kept.safetensors"):
        shutil.copy(trained / name, tmp_path)
    return tmp_path / "model.onnx"


@pytest.fixture
def bare(model):
    """A model that was copied without them."""
    kept_file(model).unlink()
    return model


@pytest.mark.parametrize(
    "day",
    [only(2), only(0, 1, 2, 3), only(2, rows=5), clusters(rows=200, seed=9)],
    ids=["one class", "all classes", "a handful of rows", "far from the old ones"],
)
def test_a_model_without_kept_examples_does_not_learn_unless_it_is_forced_to(bare, day):
    before = bare.read_bytes()
    text = (
        r"stands as it was: no kept examples of 4 of its 4 classes \('class 0', .*Copy model.kept.safetensors beside it"
    )
    with pytest.raises(ModelError, match=text):
        learn(bare, day, epochs=1)
    with pytest.raises(ModelError, match=text):
        Learner(bare)
    assert bare.read_bytes() == before
    assert [path.name for path in bare.parent.iterdir()] == ["model.onnx"]
    found = learn(bare, day, epochs=1, max_drop=1.0, force=True)
    assert found.accepted
    assert found.unchecked == list(OLD.classes)


def test_kept_examples_of_one_class_do_not_tell_that_others_are_forgotten(bare):
    learn(bare, only(2), epochs=1, max_drop=1.0, force=True)
    assert set(read_kept(kept_file(bare), Model(bare).facts)[0].labels) == {2}
    with pytest.raises(ModelError, match=r"no kept examples of 3 of its 4 classes \('class 0', 'class 1', 'class 3'\)"):
        learn(bare, OLD, epochs=1)
    found = learn(bare, OLD, epochs=1, max_drop=1.0, replay_from=only(0, 1, 3))
    assert found.unchecked == []
    assert set(read_kept(kept_file(bare), Model(bare).facts)[0].labels) == set(range(CLASSES))


def test_a_class_that_is_new_need_not_have_kept_examples(trained, tmp_path):
    part = Dataset("three", only(0, 1, 2).train, None, OLD.classes[:3], "sha")
    run = train(small_spec(epochs=4, holdout=0.2, label_scale=3.0), part, tmp_path / "run")
    found = learn(run.model, only(3), epochs=1, max_drop=1.0, add_classes=["class 3"])
    assert found.unchecked == []
    assert learn(run.model, only(1), epochs=1, max_drop=1.0).accepted  # few as they were, it has some now


def test_classes_without_examples_to_check_by_are_measured_on_those_that_are_learnt_again(tmp_path):
    run = train(small_spec(epochs=4, holdout=0.0, label_scale=3.0), OLD, tmp_path / "run")
    kept, check = read_kept(kept_file(run.model), Model(run.model).facts)
    assert not len(check)
    rows, was = kept.take(np.arange(len(kept))), Predictor(run.model.read_bytes())
    found = learn(run.model, only(2), epochs=2, max_drop=1.0, replay_share=0.0)
    for accuracy, predictor in ((found.kept.before, was), (found.kept.after, Predictor(run.model))):
        assert accuracy == pytest.approx((predictor.predict(rows).label == kept.labels).mean())
    assert found.kept.rows == len(kept)


def test_a_day_of_one_class_that_costs_the_others_does_not_replace_the_model(model):
    before = model.read_bytes()
    found = learn(model, only(2), epochs=10, replay_share=0.0, rate=(0.1,))
    assert found.kept.drop > 0.1
    assert "kept examples would fall from" in found.refused
    assert model.read_bytes() == before


def test_a_learner_that_lost_what_it_knew_is_not_saved(model, tmp_path):
    before, rows = model.read_bytes(), clusters(rows=400, seed=0, noise=0.9)
    harmless = observed(Learner(model, threads=1), only(2), times=2)
    harmless.save(tmp_path / "good.onnx")
    learner = observed(Learner(model, replay_share=0.0, rate=0.1, threads=1), only(2))
    with pytest.raises(TrainingError, match=r"model.onnx: stands as it was: accuracy on \d+ kept examples would fall"):
        learner.save(model)
    assert model.read_bytes() == before
    with pytest.raises(TrainingError):
        learner.save(tmp_path / "new.onnx")
    assert not (tmp_path / "new.onnx").exists()
    x = rows.train.inputs.take(np.arange(400))
    assert (learner.predict(x).label == rows.train.labels).mean() < 0.5  # it answers as it learnt
    observed(Learner(model, replay_share=0.0, rate=0.1, max_drop=1.0, threads=1), only(2)).save(model)
    assert model.read_bytes() != before


def test_what_counts_as_known_is_not_chosen_on_a_day_that_lacks_classes(bare, tmp_path):
    before = Model(bare).calibration
    assert before is not None
    learner = observed(Learner(bare, force=True, threads=1), only(2), times=1)
    learner.save(tmp_path / "stream.onnx")
    assert Model(tmp_path / "stream.onnx").calibration == before
    learn(bare, only(2), epochs=1, max_drop=1.0, force=True)
    assert Model(bare).calibration == before


def test_an_anchor_draws_every_weight_back_by_its_share(bare):
    stood, plain, anchored = (
        Learner(bare, force=True, kept_bytes=0, rate=0.02, threads=1, anchor=a) for a in (0.0, 0.0, 0.3)
    )
    rows, labels = OLD.train.inputs.take(np.arange(16)), OLD.train.labels[np.arange(16)]
    plain.observe(rows, labels)
    anchored.observe(rows, labels)
    for old, free, held in zip(*(learner._engine.state() for learner in (stood, plain, anchored)), strict=True):
        for name in ("W", "b"):
            wanted = free[name] + 0.3 * (old[name] - free[name])
            np.testing.assert_allclose(held[name], wanted, atol=1e-6)
            assert not np.allclose(held[name], free[name], atol=1e-4)


def test_an_anchored_learner_forgets_less_of_what_a_day_lacks(bare):
    others = only(0, 1, 3)
    rows, labels = others.train.inputs.take(np.arange(len(others.train.labels))), others.train.labels
    kept = []
    for anchor in (0.0, 0.3):
        learner = Learner(bare, force=True, kept_bytes=0, rate=0.02, threads=1, anchor=anchor)
        kept.append((observed(learner, only(2)).predict(rows).label == labels).mean())
    assert kept[1] > kept[0] + 0.2, kept


def test_an_anchor_is_a_share(bare):
    with pytest.raises(ValueError, match=r"^`anchor` must be in \[0, 1\], got 1.5$"):
        Learner(bare, force=True, anchor=1.5)
    for open_or_learn in (Learner, lambda *words, **more: learn(*words, OLD, **more)):
        with pytest.raises(ValueError, match=r"^`anchor=1` lets nothing learn but classes that are added\. Add some"):
            open_or_learn(bare, force=True, anchor=1)
