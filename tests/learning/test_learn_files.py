"""What `learn` leaves in a folder: the model and its kept examples, or what stood there before."""

import os

import pytest
from toys import clusters, small_spec

from ffedge.errors import FfedgeError, ModelError
from ffedge.learning import files
from ffedge.learning.learn import learn
from ffedge.learning.learner import Learner
from ffedge.model.file import Model
from ffedge.training.replay import kept_file, read_kept
from ffedge.training.train import train
from ffedge.training.watch import Watcher

NEW = clusters(rows=200, seed=0, noise=1.5)


@pytest.fixture
def run(tmp_path):
    return train(small_spec(), clusters(rows=400), tmp_path / "run")


def test_where_the_kept_examples_find_no_room_the_model_stands(run, monkeypatch):
    before = run.model.read_bytes(), kept_file(run.model).read_bytes()

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("ffedge.training.replay.write_tensors", full)
    with pytest.raises(FfedgeError, match="cannot be written"):
        learn(run.model, NEW, epochs=1, max_drop=1.0)
    assert (run.model.read_bytes(), kept_file(run.model).read_bytes()) == before
    assert not files.previous_file(run.model).exists()


def test_a_model_that_another_puts_there_meanwhile_is_not_replaced(run, tmp_path):
    class Admin(Watcher):
        def epoch(self, records):
            (tmp_path / "new").write_bytes(b"another")
            os.replace(tmp_path / "new", run.model)

    with pytest.raises(ModelError, match="another model has taken its place meanwhile, and stands"):
        learn(run.model, NEW, epochs=1, max_drop=1.0, kept_bytes=0, watcher=Admin())
    assert run.model.read_bytes() == b"another"


def test_going_back_while_another_learns_holds_and_the_learner_says_so(run):
    first = run.model.read_bytes(), kept_file(run.model).read_bytes()
    learn(run.model, NEW, epochs=1, max_drop=1.0)

    class Operator(Watcher):
        def epoch(self, records):
            files.roll_back(run.model)

    with pytest.raises(ModelError, match="another model has taken its place meanwhile, and stands"):
        learn(run.model, NEW, epochs=1, max_drop=1.0, layers=[0], watcher=Operator())
    assert (run.model.read_bytes(), kept_file(run.model).read_bytes()) == first
    names = {"checkpoint", "metrics.jsonl", "model.kept.safetensors", "model.onnx", "report.json"}
    assert {path.name for path in run.path.iterdir()} == names


def test_the_way_back_to_a_model_without_examples_leads_to_none(tmp_path):
    model = train(small_spec(), clusters(rows=400), tmp_path / "run", kept_bytes=0).model
    learn(model, NEW, epochs=1, max_drop=1.0, force=True)
    assert len(read_kept(kept_file(model), Model(model).facts)[0])
    files.roll_back(model)
    assert not len(read_kept(kept_file(model), Model(model).facts)[0])


def test_where_the_examples_of_a_stream_find_no_room_the_model_stands(run, monkeypatch):
    def full(*args):
        raise OSError(28, "No space left on device")

    before = run.model.read_bytes(), kept_file(run.model).read_bytes()
    monkeypatch.setattr("ffedge.training.replay.write_tensors", full)
    with pytest.raises(FfedgeError, match="cannot be written"):
        Learner(run.model).save(run.model)
    assert (run.model.read_bytes(), kept_file(run.model).read_bytes()) == before


def test_the_first_examples_of_a_private_model_are_private(tmp_path):
    model = train(small_spec(), clusters(rows=400), tmp_path / "run", kept_bytes=0).model
    model.chmod(0o600)
    learn(model, NEW, epochs=1, max_drop=1.0, force=True)
    assert kept_file(model).stat().st_mode & 0o777 == 0o600
