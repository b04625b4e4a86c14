"""What stands in a run's folder already: nothing is lost, and nothing of anybody else's is touched."""

import os
import shutil
from pathlib import Path

import pytest
from toys import CONTENT, clusters, small_spec

from ffedge.errors import FfedgeError, TrainingError
from ffedge.training.train import train
from ffedge.training.watch import Watcher


def test_a_run_that_was_killed_before_its_first_checkpoint_is_begun_anew(tmp_path):
    folder = tmp_path / "run"
    (folder / "checkpoint").mkdir(parents=True)
    (folder / "metrics.jsonl").write_text("half a li")
    (folder / "checkpoint" / ".000001.safetensors.tmp").write_bytes(b"half")
    with pytest.raises(FfedgeError, match=r"holds no checkpoint\. Train anew, with `force` instead of `resume`"):
        train(small_spec(epochs=1), clusters(), folder, resume=True)
    train(small_spec(epochs=1), clusters(), folder)
    assert len((folder / "metrics.jsonl").read_text().splitlines()) == 3  # of each layer one
    assert not list(folder.rglob("*.tmp"))


def test_force_replaces_a_run_and_nothing_else(tmp_path):
    spec = small_spec(widths=(4,), epochs=1)
    first = train(spec, clusters(), tmp_path / "run").model.read_bytes()
    second = train(spec.with_train(seed=1), clusters(), tmp_path / "run", force=True).model.read_bytes()
    assert first != second
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.tex").write_text("years of work")
    (tmp_path / "home" / "report.json").write_text("mine")
    text = rf"^{tmp_path / 'home'}: is no run folder \(it holds thesis.tex\). Choose another `out`$"
    with pytest.raises(FfedgeError, match=text):
        train(spec, clusters(), tmp_path / "home", force=True)
    assert (tmp_path / "home" / "thesis.tex").read_text() == "years of work"
    assert (tmp_path / "home" / "report.json").read_text() == "mine"


def files_of(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_run_stands_until_the_one_that_replaces_it_has_a_checkpoint(tmp_path):
    spec, out = small_spec(widths=(4,), epochs=2), tmp_path / "run"
    train(spec, clusters(), out)
    stood = files_of(out)
    with pytest.raises(TrainingError, match=rf"the loss is not a number .*\. {out} stands as it was$"):
        train(spec.with_train(rate=(1e30,), weight_decay=0.0), clusters(), out, force=True)
    assert files_of(out) == stood

    class Killed(Watcher):
        def batch(self, progress):
            if not (tmp_path / "killed").exists():
                assert not (out / "model.onnx").exists()
                shutil.copytree(out, tmp_path / "killed")

    train(spec.with_train(seed=1), clusters(), out, force=True, watcher=Killed(), checkpoint_every="1000000")
    assert sorted(os.listdir(out)) == CONTENT
    assert (out / "model.onnx").read_bytes() != stood[Path("model.onnx")]
    with pytest.raises(FfedgeError, match="exists already"):
        train(spec, clusters(), tmp_path / "killed")
    assert files_of(tmp_path / "killed") == stood


def test_a_link_in_the_place_of_what_stands_aside_is_not_followed(tmp_path):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "report.json").write_text("mine")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".before.tmp").symlink_to(tmp_path / "home")
    train(small_spec(widths=(4,), epochs=1), clusters(), tmp_path / "run")
    assert (tmp_path / "home" / "report.json").read_text() == "mine"
    assert sorted(os.listdir(tmp_path / "run")) == CONTENT


def test_force_leaves_someone_elses_folder_called_checkpoint(tmp_path):
    """Other programs keep a `checkpoint` too: what is in it must be ffedge's."""
    (tmp_path / "other" / "checkpoint").mkdir(parents=True)
    (tmp_path / "other" / "checkpoint" / "best.pt").write_text("a week of training")
    with pytest.raises(FfedgeError, match=r"is no run folder .*Choose another `out`$"):
        train(small_spec(), clusters(), tmp_path / "other", force=True)
    assert (tmp_path / "other" / "checkpoint" / "best.pt").read_text() == "a week of training"


def test_force_removes_what_a_killed_run_left_half_written(tmp_path):
    spec = small_spec(widths=(4,), epochs=1)
    train(spec, clusters(), tmp_path / "run")
    (tmp_path / "run" / ".model.onnx.tmp").write_bytes(b"half")
    train(spec, clusters(), tmp_path / "run", force=True)
    assert sorted(os.listdir(tmp_path / "run")) == CONTENT


def test_an_empty_folder_is_as_good_as_none(tmp_path):
    (tmp_path / "run").mkdir()
    train(small_spec(widths=(4,), epochs=1), clusters(), tmp_path / "run")


def test_a_file_where_the_folder_should_be_is_named(tmp_path):
    (tmp_path / "run").write_text("a file")
    with pytest.raises(FfedgeError, match=f"^{tmp_path / 'run'}: cannot be made .*Choose another `out`$"):
        train(small_spec(), clusters(), tmp_path / "run")
    with pytest.raises(FfedgeError, match=f"^{tmp_path / 'run' / 'x'}: cannot be made .*Choose another `out`$"):
        train(small_spec(), clusters(), tmp_path / "run" / "x")


def test_a_link_to_a_folder_that_is_gone_is_named(tmp_path):
    (tmp_path / "run").symlink_to(tmp_path / "card" / "run")
    with pytest.raises(FfedgeError, match=rf"/run: cannot be made \(it is a link to {tmp_path}/card/run, which is not"):
        train(small_spec(), clusters(), tmp_path / "run")
    assert not (tmp_path / "card").exists()
