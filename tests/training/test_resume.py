"""Stop and go on, or be killed and go on: the same weights and the same metrics in the end, bit for bit."""

import json
import os
import random
import signal
import subprocess
import sys
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file
from toys import GROUPS, READOUT, clusters, small_spec

import ffedge
from ffedge.errors import DataError, FfedgeError, ModelError, StoppedError
from ffedge.training.train import train

DATA = clusters(rows=100, noise=1.5, test_rows=40)
NOT_COMPUTED = {"seconds", "rss_start_bytes", "rss_peak_bytes"}


def spec_of(**changes):
    base = {
        "widths": (10, 8),
        "batch_size": 20,
        "epochs": 3,
        "negatives": "hard",
        "input_dropout": 0.2,
        "holdout": 0.1,
        "gamma_optimizer": "adam",
        "loss": "logistic",
        "label_scale": "auto",
    }
    return small_spec(**(base | changes))


def outcome(path):
    """Return what a run leaves that was computed: the last checkpoint's tensors, the metrics, the model, the report."""
    files = [*(path / "checkpoint").glob("layer-*.safetensors"), generations(path)[-1]]
    tensors = {
        (file.name if "layer" in file.name else "newest", name): (array.dtype.str, array.tobytes())
        for file in files
        for name, array in load_file(file).items()
    }
    lines = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    metrics = [{key: value for key, value in line.items() if key not in NOT_COMPUTED} for line in lines]
    report = json.loads((path / "report.json").read_text())
    accuracies = report["test_accuracy"], report["train_accuracy"], [layer["epochs"] for layer in report["layers"]]
    return tensors, metrics, (path / "model.onnx").read_bytes(), accuracies, report["chosen"]


def generations(path):
    return sorted(file for file in (path / "checkpoint").glob("*.safetensors") if file.stem.isdecimal())


def stopping_after(*batches):
    """Return a `stop` for each part of a run, and a last one that never stops."""

    def after(count):
        left = iter(range(count - 1, -1, -1))
        return lambda: next(left) == 0

    return [*(after(count) for count in batches), lambda: False]


def run_in_parts(spec, path, stops):
    for part, stop in enumerate(stops):
        try:
            train(spec, DATA, path, resume=part > 0, stop=stop)
        except StoppedError:
            continue
        return part
    return None


SETTINGS = [
    pytest.param(*setting, marks=[pytest.mark.torch] if setting[0] == "torch" else [], id="-".join(setting))
    for setting in product(("onnx", "torch"), ("greedy", "interleaved"), ("adam", "momentum"))
]


@pytest.mark.parametrize(("engine", "schedule", "optimizer"), SETTINGS)
def test_a_run_that_stopped_anywhere_ends_as_one_that_did_not(tmp_path, engine, schedule, optimizer):
    """An epoch has 5 batches (90 rows by 20): 30 in a greedy run, 15 in an interleaved one."""
    spec = spec_of(engine=engine, schedule=schedule, optimizer=optimizer)
    train(spec, DATA, tmp_path / "whole")
    wanted = outcome(tmp_path / "whole")
    assert set(wanted[-1]) == {"label_scale", "scaling"}
    batches = 30 if schedule == "greedy" else 15
    draw = random.Random(f"{engine} {schedule} {optimizer}")
    first = draw.randrange(1, batches - 1)
    second = draw.randrange(1, batches - first)
    assert run_in_parts(spec, tmp_path / "parts", stopping_after(first, second)) == 2
    assert outcome(tmp_path / "parts") == wanted


@pytest.mark.parametrize("schedule", ["greedy", "interleaved"])
def test_a_run_that_stopped_after_each_of_its_batches_ends_as_one_that_did_not(tmp_path, schedule):
    """So every place is tried: within an epoch, at its end, between stages."""
    spec = spec_of(schedule=schedule, epochs=2, shift=0)
    train(spec, DATA, tmp_path / "whole")
    parts = 20 if schedule == "greedy" else 10
    assert run_in_parts(spec, tmp_path / "parts", stopping_after(*[1] * parts)) == parts
    assert outcome(tmp_path / "parts") == outcome(tmp_path / "whole")


@pytest.mark.parametrize(
    "changes",
    [
        {"batch_size": 45, "chunk_size": 20},
        {"batch_size": "full", "chunk_size": 33, "epochs": 8},
        {"negatives": "fixed", "variant": "ff"},
        {"negatives": "hard-sum", "variant": "fcff", "schedule": "interleaved"},
        {"optimizer": "sgd", "label_layers": "all"},
        GROUPS,
        {**GROUPS, "widths": (13, 9), "n_negatives": 2, "schedule": "interleaved", "batch_size": 45, "chunk_size": 20},
        READOUT,
        {"norm": "fixed", "bound": 0.9, "sparsity": 0.1},
        {"norm": "fixed", "sparsity": 0.1, "batch_size": 45, "chunk_size": 20, "schedule": "interleaved"},
    ],
    ids=str,
)
@pytest.mark.parametrize("engine", ["onnx", pytest.param("torch", marks=pytest.mark.torch)])
def test_other_options_resume_too(tmp_path, engine, changes):
    spec = spec_of(engine=engine, **changes)
    train(spec, DATA, tmp_path / "whole")
    assert run_in_parts(spec, tmp_path / "parts", stopping_after(3, 2)) == 2
    assert outcome(tmp_path / "parts") == outcome(tmp_path / "whole")


def test_a_stop_says_how_to_go_on(tmp_path):
    with pytest.raises(StoppedError) as caught:
        train(spec_of(), DATA, tmp_path / "run", stop=lambda: True)
    path = tmp_path / "run"
    assert str(caught.value) == (f"{path}: stopped at a checkpoint. Go on with `resume=True`")


def test_a_finished_run_resumes_to_the_same_files(tmp_path):
    train(spec_of(), DATA, tmp_path / "run")
    before = outcome(tmp_path / "run")
    train(spec_of(), DATA, tmp_path / "run", resume=True)
    assert outcome(tmp_path / "run") == before


def test_seconds_and_peak_of_a_run_that_was_resumed_hold_all_its_processes(tmp_path):
    with pytest.raises(StoppedError):
        train(spec_of(), DATA, tmp_path / "run", stop=stopping_after(12)[0])
    metrics = tmp_path / "run" / "metrics.jsonl"
    first, *others = metrics.read_text().splitlines()
    first = json.dumps(json.loads(first) | {"seconds": 1000.0, "rss_peak_bytes": 2**40})
    metrics.write_text("".join(f"{line}\n" for line in (first, *others)))
    report = train(spec_of(), DATA, tmp_path / "run", resume=True).report
    assert 1000 <= report.seconds < 1060
    assert report.rss_peak_bytes == 2**40


def test_without_a_spec_a_run_resumes_with_its_own(tmp_path):
    train(spec_of(), DATA, tmp_path / "whole")
    with pytest.raises(StoppedError):
        train(spec_of(), DATA, tmp_path / "run", stop=stopping_after(7)[0])
    train(None, DATA, tmp_path / "run", resume=True)
    assert outcome(tmp_path / "run") == outcome(tmp_path / "whole")


@pytest.fixture
def stopped(tmp_path):
    with pytest.raises(StoppedError):
        train(spec_of(), DATA, tmp_path / "run", stop=stopping_after(12)[0])
    return tmp_path / "run"


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"seed": 1}, r"another spec \(seed 0, now 1\)"),
        ({"rate": (0.5,)}, r"another spec \(rate \[0.01\], now \[0.5\]\)"),
        ({"widths": (10, 9)}, r"another spec \(widths \[10, 8\], now \[10, 9\]\)"),
        ({"variant": "fcff"}, r"another spec \(variant 'acff', now 'fcff'\)"),
        ({"engine": "torch"}, r"another spec \(engine 'onnx', now 'torch'\)"),
    ],
    ids=str,
)
def test_another_spec_is_refused_with_the_field_named(stopped, changes, text):
    before = {path: path.read_bytes() for path in stopped.rglob("*") if path.is_file()}
    with pytest.raises(ModelError, match=f"was made with {text}. Resume with what the run began with"):
        train(spec_of(**changes), DATA, stopped, resume=True)
    assert {path: path.read_bytes() for path in stopped.rglob("*") if path.is_file()} == before


def test_other_data_are_refused(stopped):
    with pytest.raises(ModelError, match=r"was made with another data. Resume with what the run began with"):
        train(spec_of(), clusters(rows=100, noise=1.5, test_rows=40, seed=9), stopped, resume=True)


def test_a_torn_newest_checkpoint_costs_an_epoch_and_nothing_else(stopped, tmp_path):
    train(spec_of(), DATA, tmp_path / "whole")
    newest = sorted((stopped / "checkpoint").iterdir())[-1]
    newest.write_bytes(newest.read_bytes()[:200])
    train(spec_of(), DATA, stopped, resume=True)
    assert outcome(stopped) == outcome(tmp_path / "whole")


def test_a_torn_last_line_of_the_metrics_costs_nothing(stopped, tmp_path):
    """The line was being written when the power failed; the checkpoint of that epoch was not there yet."""
    train(spec_of(), DATA, tmp_path / "whole")
    with (stopped / "metrics.jsonl").open("a") as file:
        file.write('{"layer": 0, "epoch": 2, "loss": 0.6')
    train(spec_of(), DATA, stopped, resume=True)
    assert outcome(stopped) == outcome(tmp_path / "whole")


def test_metrics_of_epochs_after_the_checkpoint_are_not_told_twice(stopped, tmp_path):
    train(spec_of(), DATA, tmp_path / "whole")
    lines = (tmp_path / "whole" / "metrics.jsonl").read_text().splitlines(keepends=True)
    (stopped / "metrics.jsonl").write_text("".join(lines[:4]))
    train(spec_of(), DATA, stopped, resume=True)
    assert outcome(stopped) == outcome(tmp_path / "whole")


def test_what_a_kill_left_half_written_is_removed(stopped):
    """A small disk would fill up with checkpoints that nobody reads."""
    left = stopped / ".model.onnx.tmp", stopped / "checkpoint" / ".000009.safetensors.tmp"
    for path in left:
        path.write_bytes(b"half")
    train(spec_of(), DATA, stopped, resume=True)
    assert [path for path in left if path.exists()] == []


def test_there_must_be_something_to_resume(tmp_path):
    text = f"^{tmp_path / 'run' / 'checkpoint'}: holds no checkpoint. Train anew, with `force` instead of `resume`$"
    with pytest.raises(FfedgeError, match=text):
        train(spec_of(), DATA, tmp_path / "run", resume=True)


KILLED = """
import sys
from pathlib import Path

sys.path.insert(0, sys.argv[1])
from test_resume import DATA, spec_of

from ffedge.training.train import train
from ffedge.training.watch import Watcher

class Telling(Watcher):
    def batch(self, progress):
        sys.stdout.write(".")
        sys.stdout.flush()

path = Path(sys.argv[2])
train(spec_of(epochs=40), DATA, path, resume=(path / "checkpoint").exists(), watcher=Telling())
"""


def test_a_run_that_is_killed_again_and_again_ends_as_one_that_was_not(tmp_path):
    """SIGKILL after a random number of batches and a random moment, three times; a greedy run of 400 batches."""
    spec, path = spec_of(epochs=40), tmp_path / "killed"
    train(spec, DATA, tmp_path / "whole")
    here = Path(__file__).parent
    paths = [str(here.parents[1]), str(here.parent), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}
    draw = random.Random(7)
    for batches in (draw.randrange(5, 120), draw.randrange(5, 120), draw.randrange(5, 120)):
        child = subprocess.Popen(
            [sys.executable, "-c", KILLED, str(here), str(path)], stdout=subprocess.PIPE, env=environment
        )
        with child:
            assert len(child.stdout.read(batches)) == batches  # it is at work
            child.send_signal(signal.SIGKILL)
        assert child.returncode == -signal.SIGKILL
    train(spec, DATA, path, resume=True)
    assert outcome(path) == outcome(tmp_path / "whole")


def test_an_engine_that_goes_on_has_the_moments_of_before(tmp_path):
    """Guards the tests above: without its moments a resumed run ends elsewhere."""
    spec = spec_of()
    train(spec, DATA, tmp_path / "whole")
    with pytest.raises(StoppedError):
        train(spec, DATA, tmp_path / "run", stop=stopping_after(7)[0])
    tensors = load_file(generations(tmp_path / "run")[-1])
    assert {"layers.0.W.m", "layers.0.W.v", "layers.0.gamma.v"} <= set(tensors)
    assert all(np.abs(tensors[name]).max() > 0 for name in ("layers.0.W.m", "layers.0.W.v"))
    assert "layers.1.W.m" not in tensors


def of_many_inputs(count):
    x = np.random.default_rng(0).normal(size=(8, count)).astype(np.float32)
    return ffedge.load([(x, np.arange(8) % 2)]), ffedge.Spec.make(widths=(4,), epochs=1, holdout=0.0)


def test_more_inputs_than_a_checkpoint_holds_are_refused_before_training(tmp_path):
    data, spec = of_many_inputs(250_000)
    with pytest.raises(DataError, match=r"^minibatches: has 250,000 inputs, and an offset or a scale of each is"):
        train(spec, data, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_as_many_as_it_holds_can_be_resumed(tmp_path):
    data, spec = of_many_inputs(140_000)
    train(spec, data, tmp_path / "run")
    train(None, data, tmp_path / "run", resume=True)
