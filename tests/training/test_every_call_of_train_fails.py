"""Each file-system call of a run fails, or is the last: it goes on or begins anew, to the same end."""

import shutil

import pytest
from faults import FULL, KILL, trials
from toys import clusters, small_spec

from ffedge.errors import FfedgeError
from ffedge.training.train import train

DATA = clusters(rows=40, noise=1.5, test_rows=20)


def trained(folder, **how):
    train(small_spec(widths=(6,), epochs=1, batch_size=20), DATA, folder / "run", kept_bytes=1000, **how)


def outcome(folder):
    return (folder / "run" / "model.onnx").read_bytes(), {path.name for path in (folder / "run").iterdir()}


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "again"), [(FULL, False), (KILL, True)], ids=["full", "killed, with force"])
def test_wherever_a_run_fails_it_can_be_resumed_or_begun_anew(tmp_path, kind, again):
    whole, count = tmp_path / "whole", 0
    whole.mkdir()
    trained(whole)
    prepare = lambda folder: again and shutil.copytree(whole, folder, dirs_exist_ok=True)  # noqa: E731
    for trial in trials(kind, prepare, lambda folder: trained(folder, force=again), tmp_path):
        count += 1
        try:
            trained(trial.folder, resume=True)
        except FfedgeError:
            trained(trial.folder)
        assert outcome(trial.folder) == outcome(whole), f"{trial.call} {trial.name}: {trial.said}"
    assert count > 50
