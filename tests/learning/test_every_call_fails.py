"""docs/states.md holds at every edge: each file-system call of learning and of the way back fails, or is the last."""

import shutil

import pytest
from faults import DONE, FULL, KILL, trials
from toys import clusters, small_spec

from ffedge.learning.files import alone, replaced, roll_back
from ffedge.learning.learn import learn
from ffedge.training.replay import kept_file
from ffedge.training.train import train

STANDS = "model.onnx: stands in its place"
SMALL = {"widths": (6,), "epochs": 1}
OLD, NEW, NEXT = (clusters(rows=60, seed=seed, noise=1.5) for seed in (0, 1, 2))


def pair(folder, suffix=""):
    """Return the bytes of the model and of its kept examples; None where there is none."""
    paths = (folder / f"model.onnx{suffix}", folder / f"model.kept.safetensors{suffix}")
    return tuple(path.read_bytes() if path.exists() else None for path in paths)


def put(folder, step):
    """Let a model and its examples take their places as `learn` does."""
    with alone(folder / "model.onnx") as (path, own), replaced(path, own, path.stat()) as (model, kept):
        model.write_text(f"model {step}")
        kept.write_text(f"kept {step}")


def text_states(folder):
    """Put the first pair, and a second over it; return those two, and what a third will be."""
    folder.mkdir(exist_ok=True)
    (folder / "model.onnx").write_text("model 0")
    (folder / "model.kept.safetensors").write_text("kept 0")
    put(folder, 1)
    return tuple((f"model {step}".encode(), f"kept {step}".encode()) for step in range(3))


def learn_once(folder, data=NEXT):
    return learn(folder / "model.onnx", data, epochs=1, max_drop=1.0, kept_bytes=2000)


def learnt_states(folder):
    """Do the same by learning."""
    run = train(small_spec(**SMALL), OLD, folder / "run", kept_bytes=2000)
    for path in (run.model, kept_file(run.model)):
        shutil.copy(path, folder)
    shutil.rmtree(run.path)
    found = [pair(folder)]
    learn_once(folder, NEW)
    found.append(pair(folder))
    shutil.copytree(folder, folder.with_name("third"))
    learn_once(folder.with_name("third"))
    return (*found, pair(folder.with_name("third")))


BY_LEARNING = pytest.param(learnt_states, learn_once, marks=pytest.mark.slow)
WAYS = [(text_states, lambda folder, step=2: put(folder, step)), BY_LEARNING]


@pytest.mark.parametrize("kind", [FULL, KILL])
@pytest.mark.parametrize(("states", "work"), WAYS, ids=["files", "learn"])
def test_wherever_learning_fails_one_model_stands_whole_and_the_next_command_works(tmp_path, states, work, kind):
    first, second, third = states(tmp_path / "states")
    count = 0
    prepare = lambda folder: shutil.copytree(tmp_path / "states", folder, dirs_exist_ok=True)  # noqa: E731
    for trial in trials(kind, prepare, work, tmp_path):
        count, about = count + 1, f"{trial.call} {trial.name}: {trial.said}"
        before, new = (first, second) if pair(trial.folder)[0] == second[0] else (second, third)
        assert pair(trial.folder)[0] == new[0], about
        if kind == FULL:
            assert (new == third) == (trial.said == DONE or STANDS in trial.said), about
        again = trial.folder / "again"
        shutil.copytree(trial.folder, again)
        work(again, 3 if states is text_states else OLD)
        assert not [path for path in again.iterdir() if path.name.startswith(".")], about
        roll_back(again / "model.onnx")
        assert pair(again) == new, about
        roll_back(trial.folder / "model.onnx")
        assert pair(trial.folder) == before, about
    assert count > 20


@pytest.mark.parametrize("kind", [FULL, KILL])
def test_wherever_the_way_back_fails_it_can_be_gone_again(tmp_path, kind):
    first, second, _ = text_states(tmp_path / "states")
    count = 0
    prepare = lambda folder: shutil.copytree(tmp_path / "states", folder, dirs_exist_ok=True)  # noqa: E731
    for trial in trials(kind, prepare, lambda folder: roll_back(folder / "model.onnx"), tmp_path):
        count, about = count + 1, f"{trial.call} {trial.name}: {trial.said}"
        model = pair(trial.folder)[0]
        assert model in (first[0], second[0]), about
        if kind == FULL:
            assert (model == first[0]) == (trial.said == DONE or STANDS in trial.said), about
        if model == second[0]:
            roll_back(trial.folder / "model.onnx")
        assert pair(trial.folder) == first, about
        put(trial.folder, 2)
    assert count > 5
