"""What `learn` leaves in a folder: the model and its kept examples, or what stood there before."""

import os
import subprocess
import sys

import pytest
from toys import clusters, learnt, make_model, small_spec

from ffedge.compare.child import variables
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


TEACH = """
import sys
import numpy as np
import ffedge
learner = ffedge.Learner("model.onnx", threads=1, force=True)
print("open", flush=True)
sys.stdin.readline()
rng = np.random.default_rng(0)
learner.observe(rng.normal(size=(8, 16)).astype(np.float32), rng.integers(0, 4, 8))
try:
    learner.save("model.onnx")
    print("saved")
    learner.save("model.onnx")
    print("saved again")
except ffedge.FfedgeError as error:
    print(error)
    learner.save("mine.onnx")
"""


@pytest.fixture
def two_learners(tmp_path):
    """Begin to learn on one file in two processes."""
    (tmp_path / "model.onnx").write_bytes(make_model(small_spec(), NEW)[0])
    command = [sys.executable, "-c", TEACH]
    pipe = subprocess.PIPE
    settings = {"cwd": tmp_path, "env": variables(), "stdin": pipe, "stdout": pipe, "text": True}
    children = [subprocess.Popen(command, **settings) for _ in range(2)]
    for child in children:
        assert child.stdout.readline() == "open\n"
    yield children
    for child in children:
        child.kill()
        child.communicate()


def test_of_two_processes_that_learn_on_one_file_the_second_is_refused_in_one_line(two_learners, tmp_path):
    first, second = (child.communicate("\n", timeout=60)[0] for child in two_learners)
    assert first == "saved\nsaved again\n"
    assert second == "model.onnx: another model has taken its place meanwhile, and stands. Learn from that\n"
    assert learnt(tmp_path / "model.onnx") == [{"name": "stream", "rows": 8}]
    assert learnt(tmp_path / "mine.onnx") == [{"name": "stream", "rows": 8}]


def test_two_processes_that_save_at_once_lose_nothing_unsaid(two_learners):
    for child in two_learners:
        child.stdin.write("\n")
        child.stdin.flush()
    refused, saved = sorted(child.communicate(timeout=60)[0] for child in two_learners)
    assert saved == "saved\nsaved again\n"
    assert refused == "model.onnx: another model has taken its place meanwhile, and stands. Learn from that\n"


def test_a_learner_that_began_before_a_rollback_or_through_a_link_that_moved_is_refused(run, tmp_path):
    learn(run.model, NEW, epochs=1, max_drop=1.0)
    learner = Learner(run.model, threads=1)
    files.roll_back(run.model)
    stands = run.model.read_bytes()
    with pytest.raises(ModelError, match="another model has taken its place meanwhile, and stands"):
        learner.save(run.model)
    link = tmp_path / "current.onnx"
    link.symlink_to(run.model)
    learner = Learner(link, threads=1)
    (tmp_path / "other.onnx").write_bytes(stands)
    link.unlink()
    link.symlink_to(tmp_path / "other.onnx")
    with pytest.raises(ModelError, match="another model has taken its place meanwhile, and stands"):
        learner.save(link)
    assert run.model.read_bytes() == (tmp_path / "other.onnx").read_bytes() == stands
    learner.save(run.model)
    learner.save(run.model)


def test_what_a_learner_took_from_a_file_that_is_gone_is_saved_there(run):
    learner = Learner(run.model, threads=1)
    run.model.unlink()
    learner.save(run.model)
    assert learnt(run.model) == [{"name": "stream", "rows": 0}]


def test_a_link_where_a_learner_works_is_not_emptied(run, tmp_path):
    (tmp_path / "precious").touch()
    run.model.with_name(f".{run.model.name}.learn.tmp").symlink_to(tmp_path)
    with pytest.raises(FfedgeError, match=r"learn\.tmp: is a link, and no folder of ffedge's\. Remove it"):
        learn(run.model, NEW, epochs=1)
    assert (tmp_path / "precious").exists()
