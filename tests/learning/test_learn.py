"""Going on from a model file: the trainer's bits, nothing forgotten, nothing worse put in its place, and a way back."""

import dataclasses
import json
import os

import numpy as np
import onnx
import pytest
from oracle import Oracle
from toys import GROUPS, READOUT, clusters, make_loop, make_model, small_spec

from ffedge import Predictor
from ffedge.data.dataset import Dataset, Split
from ffedge.data.rows import ArrayRows
from ffedge.data.stream import split_rows
from ffedge.engine.onnx import OnnxEngine
from ffedge.errors import DataError, FfedgeError, ModelError, StoppedError, TrainingError
from ffedge.learning.files import roll_back
from ffedge.learning.learn import learn
from ffedge.model.file import Model
from ffedge.model.write import write_model
from ffedge.recipe import Recipe
from ffedge.resolve import resolve
from ffedge.training.checkpoint import Place
from ffedge.training.replay import kept_file, read_kept
from ffedge.training.train import train
from ffedge.training.watch import Watcher

DATA = clusters(noise=1.2)
NEW = clusters(rows=200, seed=0, noise=1.5)
SPECS = {
    "greedy": {},
    "interleaved": {"schedule": "interleaved", "scope": "all"},
    "ff, sgd": {"variant": "ff", "optimizer": "sgd"},
    "hard, dropout, label everywhere": {"negatives": "hard", "input_dropout": 0.25, "label_layers": "all"},
    "concat, norm, momentum": {"label_mode": "concat", "input_norm": "unit", "optimizer": "momentum"},
    "collaborative": {"prediction_weights": "collaborative", "gamma_optimizer": "adam", "loss": "logistic"},
    "in chunks": {"chunk_size": 5, "tile_bytes": 200},
    "groups": GROUPS,
    "groups, of two sizes, interleaved": {**GROUPS, "widths": (13, 10, 9), "schedule": "interleaved"},
    "groups, hard, in chunks": {**GROUPS, "n_negatives": 2, "negatives": "hard", "chunk_size": 5, "tile_bytes": 200},
    "readout": {**READOUT, "input_dropout": 0.25},
}
ANY = {"max_drop": 1.0, "kept_bytes": 0, "force": True}


def written(tmp_path, dataset=DATA, **changes):
    """Write a model file with drawn weights."""
    path = tmp_path / "model.onnx"
    path.write_bytes(make_model(small_spec(**changes), dataset)[0])
    return path


def weights(path):
    return {t.name: onnx.numpy_helper.to_array(t) for t in onnx.load(path).graph.initializer}


def gone_on(model, dataset, **changes):
    """Train on as `train` does, from a model's parameters; return every layer's."""
    before = Model(model)
    recipe = resolve(before.recipe.as_spec().with_train(**changes), before.facts, len(dataset.train.labels))
    state = [{name: np.array(value) for name, value in layer.items()} for layer in before.layers()]
    engine = OnnxEngine(recipe, before.facts, state)
    make_loop(recipe, dataset, engine, facts=before.facts).train(Place(), lambda: False)
    return engine.state()


@pytest.mark.parametrize("changes", SPECS.values(), ids=list(SPECS))
def test_learning_from_the_file_gives_the_trainers_weights_bit_for_bit(tmp_path, changes):
    path = written(tmp_path, **changes)
    plan = {name: changes[name] for name in ("chunk_size", "tile_bytes") if name in changes}
    own = {"epochs": 3, "seed": 5, "holdout": 0.1, "threads": 1, "rate": (0.02, 0.01)}
    wanted = gone_on(path, NEW, **own)
    learn(path, NEW, **own, **plan, **ANY)
    for i, layer in enumerate(wanted):
        for name in ("W", "b", "V", "A"):
            if name in layer:
                assert weights(path)[f"layers.{i}.{name}"].tobytes() == layer[name].tobytes(), (i, name)
    assert Model(path).metadata["gamma"] == [float(layer["gamma"]) for layer in wanted if "gamma" in layer]


@pytest.mark.parametrize("changes", [{}, GROUPS, READOUT], ids=["tried", "groups", "readout"])
def test_the_file_that_has_learnt_predicts_as_its_weights_say_and_learns_again(tmp_path, changes):
    path = written(tmp_path, prediction_weights="collaborative", **changes)
    for _ in range(2):
        learn(path, NEW, epochs=1, **ANY)
        onnx.checker.check_model(onnx.load(path), full_check=True)
        found, rows = Model(path), NEW.train.inputs.take(np.arange(50))
        oracle = Oracle(found.recipe, found.facts, found.layers())
        np.testing.assert_allclose(Predictor(path).predict(rows).scores, oracle.scores(rows), rtol=1e-4, atol=1e-4)
    assert [(entry["name"], entry["rows"]) for entry in found.metadata["learnt"]] == [("clusters", 200)] * 2


def test_a_model_written_again_from_what_is_read_of_it_has_its_bytes(tmp_path):
    path = written(tmp_path)
    found = Model(path)
    write_model(tmp_path / "again.onnx", found.recipe, found.facts, found.layers(), found.metadata, found.calibration)
    assert (tmp_path / "again.onnx").read_bytes() == path.read_bytes()


def test_only_the_layers_that_are_named_learn(tmp_path):
    for schedule in ("greedy", "interleaved"):
        path = written(tmp_path)
        before = weights(path)
        found = learn(path, NEW, epochs=1, layers=[2, 1], schedule=schedule, **ANY)
        changed = [i for i in range(3) if not np.array_equal(weights(path)[f"layers.{i}.W"], before[f"layers.{i}.W"])]
        assert changed == [1, 2]
        assert [record.index for record in found.layers] == [1, 2]
    with pytest.raises(ValueError, match=r"^`layers` must be numbers from 0 to 2, got 3$"):
        learn(path, NEW, layers=[3], force=True)


def test_what_is_inside_the_step_cannot_change(tmp_path):
    path = written(tmp_path)
    for name, value in (("optimizer", "sgd"), ("input_dropout", 0.5), ("variant", "ff")):
        with pytest.raises(ValueError, match=f"^{name} is part of the model's learning step and cannot change"):
            learn(path, NEW, **{name: value})


def test_a_model_that_got_worse_does_not_replace_the_one_before(tmp_path):
    run = train(
        small_spec(holdout=0.2, epochs=6, label_scale=3.0), clusters(rows=400), tmp_path / "run", kept_bytes=10_000
    )
    before = run.model.read_bytes(), kept_file(run.model).read_bytes()
    rng = np.random.default_rng(0)
    noise = Split(ArrayRows(rng.normal(size=(300, 16)).astype(np.float32)), rng.integers(0, 4, 300))
    lies = Dataset("lies", noise, None, DATA.classes, "sha")
    found = learn(run.model, lies, epochs=4, holdout=0.2, replay_share=0.1, rate=(0.1,))
    assert not found.accepted
    assert found.kept.drop > 0.01
    assert found.refused.startswith(f"{run.model}: stands as it was: accuracy on {found.kept.rows} kept examples")
    assert f"{100 * found.kept.before:.2f} % to {100 * found.kept.after:.2f} %" in found.refused
    assert (run.model.read_bytes(), kept_file(run.model).read_bytes()) == before
    names = {"checkpoint", "metrics.jsonl", "model.kept.safetensors", "model.onnx", "report.json"}
    assert {path.name for path in run.path.iterdir()} == names


def test_accuracy_before_and_after_is_that_of_the_held_out_rows(tmp_path):
    path = written(tmp_path)
    was = Predictor(path.read_bytes())
    found = learn(path, NEW, epochs=2, holdout=0.3, **ANY)
    assert found.new.rows == 60
    held, _ = split_rows(200, Recipe.from_dict(found.spec))
    rows, true = NEW.train.inputs.take(held), NEW.train.labels[held]
    assert found.new.before == pytest.approx((was.predict(rows).label == true).mean())
    assert found.new.after == pytest.approx((Predictor(path).predict(rows).label == true).mean())


def test_the_one_before_can_be_put_back_once(tmp_path):
    run = train(small_spec(), clusters(rows=400), tmp_path / "run")
    before = run.model.read_bytes(), kept_file(run.model).read_bytes()
    found = learn(run.model, NEW, epochs=1, max_drop=1.0)
    assert found.previous == f"{run.model}.previous"
    assert run.model.read_bytes() != before[0]
    assert kept_file(run.model).read_bytes() != before[1]
    assert roll_back(run.model) == run.model
    assert (run.model.read_bytes(), kept_file(run.model).read_bytes()) == before
    with pytest.raises(ModelError, match=r"model.onnx.previous: no such file. There is nothing to go back to"):
        roll_back(run.model)


def test_a_batch_takes_its_share_of_kept_examples_and_held_out_ones_never(tmp_path, monkeypatch):
    from ffedge.training.step import BatchLearner

    run = train(small_spec(holdout=0.1), clusters(rows=400), tmp_path / "run")
    (kept, check), seen, batch = read_kept(kept_file(run.model), Model(run.model).facts), [], BatchLearner.batch
    old, never = ({row.tobytes() for row in part.rows.take(np.arange(len(part)))} for part in (kept, check))

    def told(self, chunks, samples, turn):
        chunks = list(chunks)
        seen.append([row.tobytes() in old for chunk in chunks for row in chunk.raw])
        assert not any(row.tobytes() in never for chunk in chunks for row in chunk.raw)
        return batch(self, chunks, samples, turn)

    monkeypatch.setattr(BatchLearner, "batch", told)
    found = learn(run.model, NEW, epochs=1, batch_size=20, replay_share=0.25, holdout=0.1, max_drop=1.0)
    assert found.kept_rows == len(kept) == 360
    assert found.kept.rows == len(check) == 40
    learnt, new = 200 - found.new.rows, -(-(200 - found.new.rows) // 15)
    assert len(seen) == 3 * new
    assert all(sum(batch) == 5 for batch in seen)
    assert [len(batch) for batch in seen[: new - 1]] == [20] * (new - 1)
    assert sum(len(batch) - sum(batch) for batch in seen[:new]) == learnt
    assert found.new.rows == 20


def test_examples_are_taken_from_a_data_set_where_none_are_kept(tmp_path):
    path = written(tmp_path)
    found = learn(path, NEW, epochs=1, replay_from=DATA, max_drop=1.0, kept_bytes=4000)
    assert (found.kept_rows, found.kept.rows) == (128, 32)
    learn_again, check = read_kept(kept_file(path), Model(path).facts)
    assert (len(learn_again), len(check)) == (3200 // 68, 800 // 68)
    assert (learn_again.seen.sum(), check.seen.sum()) == (128 + 200 - found.new.rows, 32 + found.new.rows)


def test_labels_that_are_numbers_of_an_array_name_classes_by_their_place(tmp_path):
    path = written(tmp_path)
    numbered = dataclasses.replace(NEW, classes=("0", "1", "2", "3"), by_number=True)
    assert learn(path, numbered, epochs=1, **ANY).rows == 200
    with pytest.raises(DataError, match="has the class '0', which the model does not know"):
        learn(path, dataclasses.replace(numbered, by_number=False), epochs=1)
    other = dataclasses.replace(NEW, classes=("a", "b", "c", "d"))
    with pytest.raises(DataError, match="has the class 'a', which the model does not know"):
        learn(path, other, epochs=1)


def test_rows_that_do_not_fit_are_refused(tmp_path):
    path = written(tmp_path)
    with pytest.raises(DataError, match=r"has rows of shape \[20\], but the model takes \[16\]"):
        learn(path, clusters(inputs=20))
    with pytest.raises(DataError, match="holds uint8, but the model takes float32"):
        learn(path, clusters(uint8=True))
    with pytest.raises(ModelError, match="no such file"):
        learn(tmp_path / "none.onnx", NEW)
    with pytest.raises(ValueError, match=r"^`replay_share` must be in \[0, 1\), got 1"):
        learn(path, NEW, replay_share=1)


@pytest.mark.filterwarnings("ignore:.*encountered:RuntimeWarning")  # on the way to a loss that is no number
def test_what_stops_learning_leaves_the_file_alone(tmp_path):
    path = written(tmp_path, weight_decay=0.0)
    before = path.read_bytes()
    with pytest.raises(StoppedError, match="learning was stopped; the file stands as it was"):
        learn(path, NEW, force=True, stop=lambda: True)
    with pytest.raises(TrainingError, match="stands as it was: layer 0, epoch 0: the loss is not a number"):
        learn(path, NEW, force=True, rate=(1e25,))
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["model.onnx"]


def test_two_do_not_learn_from_one_file_at_a_time(tmp_path):
    path = written(tmp_path)
    (tmp_path / "link.onnx").symlink_to(path)

    def second():
        for other in (path, tmp_path / "link.onnx"):
            with pytest.raises(FfedgeError, match=f"{other.name}: another process learns there"):
                learn(other, NEW)
        return True

    with pytest.raises(StoppedError):
        learn(path, NEW, force=True, stop=second)


def test_a_model_behind_a_link_learns_with_its_own_kept_examples(tmp_path):
    run = train(small_spec(), clusters(rows=400), tmp_path / "run")
    run.model.chmod(0o600)
    link = tmp_path / "now.onnx"
    link.symlink_to(run.model)
    found = learn(link, NEW, epochs=1, max_drop=1.0)
    assert found.kept_rows > 0
    assert (found.model, link.is_symlink()) == (str(run.model), True)
    assert run.model.stat().st_mode & 0o777 == 0o600
    assert set(os.listdir(tmp_path)) == {"run", "now.onnx"}
    roll_back(link)
    assert link.is_symlink()


def test_what_a_killed_learner_left_goes_with_the_next(tmp_path):
    path = written(tmp_path)
    left = tmp_path / ".model.onnx.learn.tmp"
    (left / "layers").mkdir(parents=True)
    (left / "layers" / "layer-00.safetensors").write_bytes(b"half")
    learn(path, NEW, epochs=1, **ANY)
    assert not left.exists()


def test_a_memory_budget_is_kept_to_or_refused(tmp_path):
    path = written(tmp_path)
    text = r"^`memory_budget='8.0MiB'`: this network needs at least [0-9.]+ MiB"
    with pytest.raises(FfedgeError, match=text):
        learn(path, NEW, memory_budget=8 * 2**20)
    found = learn(path, NEW, memory_budget=2**31, epochs=1, **ANY)
    assert found.spec["train"]["memory_budget"] == 2**31
    assert json.loads(found.to_json())["accepted"]


def test_the_trainer_writes_a_file_that_learns(tmp_path):
    run = train(small_spec(epochs=1), clusters(rows=400), tmp_path / "run")
    assert learn(run.model, NEW, epochs=1, max_drop=1.0).accepted
    bare = train(small_spec(epochs=1), clusters(rows=400), tmp_path / "bare", kept_bytes=0)
    assert not kept_file(bare.model).exists()


@pytest.mark.parametrize("value", [np.nan, -np.inf, 1e300, 65535.0])
def test_odd_rows_are_told_and_counted_and_nothing_is_learnt_from_them(tmp_path, value):
    x, y = NEW.train.inputs.take(np.arange(200)).astype(np.float64), np.asarray(NEW.train.labels)
    odd = [0, 57, 199]
    np.savez(tmp_path / "good.npz", x=np.delete(x, odd, axis=0), y=np.delete(y, odd))
    x[odd, 4] = value
    np.savez(tmp_path / "odd.npz", x=x, y=y)
    path, found, models = written(tmp_path), [], []
    start = path.read_bytes()
    for name in ("good", "odd"):
        path.write_bytes(start)
        kept_file(path).unlink(missing_ok=True)
        found.append(learn(path, tmp_path / f"{name}.npz", epochs=2, holdout=0.1, **ANY | {"kept_bytes": 10_000}))
        models.append((weights(path), kept_file(path).read_bytes()))
    for name, array in models[0][0].items():
        np.testing.assert_array_equal(models[1][0][name], array)
    assert models[1][1] == models[0][1]
    assert [(one.rows, one.odd_rows) for one in found] == [(197, 0), (197, 3)]
    assert found[0].odd is None
    assert found[1].odd.startswith(
        "odd: 3 of 200 rows are odd and not learnt from, the first of them row 0: input 4 is "
    )
    assert Model(path).metadata["learnt"][-1]["odd_rows"] == 3


def test_rows_that_are_all_odd_are_refused_and_the_model_stands(tmp_path):
    path = written(tmp_path)
    before = path.read_bytes()
    np.savez(tmp_path / "new.npz", x=np.full((50, 16), -9999.0), y=np.arange(50) % 4)
    with pytest.raises(DataError, match=r"^new: 50 of 50 rows are odd .*Check the sensor or the units, or train anew$"):
        learn(path, tmp_path / "new.npz", **ANY)
    assert path.read_bytes() == before


def test_few_rows_are_told_how_few_steps_they_make(tmp_path):
    class Heard(Watcher):
        def __init__(self):
            self.notes = []

        def note(self, text):
            self.notes.append(text)

    path = written(tmp_path)
    for changes, told in (({}, 1), ({"epochs": 1}, 0), ({"epochs": "auto", "batch_size": "auto"}, 0)):
        heard = Heard()
        learn(path, clusters(rows=30), max_drop=1.0, force=True, watcher=heard, **changes)
        few = [text for text in heard.notes if "steps a layer" in text]
        assert len(few) == told, changes
        assert all(text.startswith("30 rows make ") and "auto for both" in text for text in few)
