"""The ARM check finds what differs, allows ties alone, and names what it cannot have. The emulated run is CI's."""

import json
import math
import os
import platform

import arm_check
import numpy as np
import pytest
from arm_check import SCORES, Check, Side

from ffedge.data import load
from ffedge.errors import FfedgeError


def sample(label, **scores):
    return {"label": label, "scores": scores}


def predictions(here, there):
    check = Check("m", "predict")
    check.predictions(here, there, SCORES)
    return check


@pytest.mark.parametrize(
    ("here", "there", "allowed"),
    [
        (0.5, 0.5 + 9e-6, True),
        (0.5, 0.5 + 1.1e-5, False),
        (0.5, math.nan, False),
        (0.5, math.inf, False),
        (200.0, 200.0019, True),
        (200.0, 200.0021, False),
    ],
)
def test_scores_are_compared_absolutely_where_small_and_relatively_where_large(here, there, allowed):
    check = predictions([sample("a", a=here, b=0.1)], [sample("a", a=there, b=0.1)])
    assert bool(check.faults) is not allowed


def test_another_label_is_a_fault_but_for_a_tie():
    tied = sample("a", a=1.0, b=1.0 - 9e-6), sample("b", a=1.0 - 9e-6, b=1.0)
    apart = sample("a", a=1.0, b=1.0 - 2e-5), sample("b", a=1.0, b=1.0 - 2e-5)
    check = predictions(*zip(tied, apart, tied, strict=True))
    assert (check.rows, check.labels_differ) == (3, 3)
    assert check.faults == ["1 labels differ that are no ties within 1e-05"]


def test_other_rows_or_classes_are_faults():
    row = sample("a", a=1.0, b=0.0)
    assert predictions([row, row], [row]).faults
    assert predictions([row], [sample("a", a=1.0, b=0.0, c=0.0)]).faults


class Planted:
    """A side whose commands answer what they are given."""

    def __init__(self, answer, name="arm"):
        self.name, self.ffedge = name, answer

    def samples(self, model, rows):
        return [sample("a", a=float(model.read_text()), b=0.0)]


def compared(compare, *words):
    return Check("m", "x").run(lambda check: compare(*words, check))


@pytest.mark.parametrize(
    ("losses", "model", "fault"),
    [
        ((0.5, 0.25), "1", ""),
        ((0.5, 0.2502), "1", "losses differ"),
        ((0.5,), "1", "losses"),
        ((0.5, 0.25), "2", "scores"),
    ],
)
def test_training_compares_losses_and_what_the_models_say(tmp_path, losses, model, fault):
    def trains(losses, model):
        def answer(*words):
            words[-1].mkdir()
            lines = [json.dumps({"layer": i, "epoch": 0, "loss": loss}) for i, loss in enumerate(losses)]
            (words[-1] / "metrics.jsonl").write_text("\n".join(lines))
            (words[-1] / "model.onnx").write_text(model)

        return Planted(answer)

    check = compared(arm_check.train, trains((0.5, 0.25), "1"), trains(losses, model), tmp_path, "m", (), None)
    assert check.faults[0].startswith(fault) if fault else not check.faults


def test_learning_that_fails_or_changes_nothing_or_something_else_is_told(tmp_path):
    def fails(*words):
        raise FfedgeError("arm failed: `learn`: Segmentation fault")

    def learns(text):
        return Planted(lambda command, model, *words: model.write_text(text))

    (tmp_path / "m.onnx").write_text("1")
    for i, (side, fault) in enumerate(
        [
            (Planted(fails), "arm failed: `learn`: Segmentation fault"),
            (learns("1"), "learn left the model as it was on arm"),
            (learns("3"), "scores differ by up to 0.5, more than 0.0001"),
            (learns("2"), None),
        ]
    ):
        work = tmp_path / str(i)
        work.mkdir()
        check = compared(arm_check.learn, learns("2"), side, work, tmp_path / "m.onnx", None, None)
        assert check.faults[:1] == [fault] * (fault is not None)


def test_an_evaluation_may_differ_by_one_row():
    def evaluates(confusion, accuracy):
        found = {"rows": 100, "confusion": confusion, "accuracy": accuracy, "layer_accuracy": [0.5]}
        return Planted(lambda *words: json.dumps(found))

    here = evaluates([[50, 0], [0, 50]], 1.0)
    for there, allowed in (
        (here, True),
        (evaluates([[49, 1], [0, 50]], 0.99), True),
        (evaluates([[48, 2], [0, 50]], 0.98), False),
        (evaluates([[49, 1], [1, 49]], 1.0), False),
    ):
        assert bool(compared(arm_check.evaluate, here, there, None, None).faults) is not allowed


def test_a_side_tells_the_last_line_of_a_crash(tmp_path):
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho first >&2\necho 'uncaught target signal 11' >&2\nexit 139\n")
    python.chmod(0o755)
    with pytest.raises(FfedgeError, match=r"^arm failed: `.* ffedge info m`: uncaught target signal 11$"):
        Side("arm", python, os.environ).ffedge("info", "m")


@pytest.mark.parametrize("here", [True, False])
def test_a_model_gets_test_rows_of_its_data_where_they_are(monkeypatch, tmp_path, here):
    """MNIST's, else the embedded ones, which stand for either here; nothing is fetched. Other shapes are drawn."""
    (tmp_path / "data" / "mnist").mkdir(parents=True)
    monkeypatch.setenv("FFEDGE_DATA", str(tmp_path / "data") if here else str(tmp_path / "elsewhere"))
    asked = []
    monkeypatch.setattr(arm_check, "load", lambda name: asked.append(name) or load("mnist-mini"))
    about = {"data": {"name": "mnist"}, "input": {"shape": [28, 28], "dtype": "uint8", "classes": ["a", "b"]}}
    inputs, labels = arm_check.rows_for(about, 10)
    assert asked == ["mnist" if here else "mnist-mini"]
    assert (inputs.shape, labels.tolist()) == ((10, 28, 28), load("mnist-mini").test.labels[:10].tolist())
    about["input"]["shape"] = [3]
    inputs, labels = arm_check.rows_for(about, 10)
    assert (inputs.shape, inputs.dtype, labels.tolist()) == ((10, 3), np.uint8, [0, 1] * 5)


def said_by_main(capsys, *words):
    assert arm_check.main(list(words)) == 1
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_it_runs_on_x86_64_alone(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    assert said_by_main(capsys, "--cache", str(tmp_path)).endswith(
        "this machine is aarch64. Run the tests here instead"
    )


def test_tools_that_are_not_there_are_named(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert said_by_main(capsys, "--cache", str(tmp_path / "cache")).startswith(
        "arm_check: apt-get, dpkg-deb must be there"
    )


def test_a_package_that_cannot_be_had_is_named_and_nothing_is_left_behind(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    for name in ("apt-get", "dpkg-deb"):
        (tmp_path / name).write_text(
            '#!/bin/sh\ncase "$*" in *install*) echo "E: Unable to locate x" >&2; exit 100;; esac\n'
        )
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert said_by_main(capsys, "--cache", str(tmp_path / "cache")) == (
        "arm_check: Debian's packages cannot be had: `apt-get install python3 libstdc++6 libgomp1`: "
        "E: Unable to locate x"
    )
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_user_space_in_the_cache_serves_again_and_for_its_packages_alone(monkeypatch, tmp_path):
    def run(command, failed, **options):
        words = list(map(str, command))
        if words[0] == "dpkg-deb":
            for name in ("usr/bin/python3.11", "usr/bin/qemu-aarch64-static"):
                (command[-1] / name).parent.mkdir(parents=True, exist_ok=True)
                (command[-1] / name).touch()
            (command[-1] / "usr/bin/python3").symlink_to("python3.11")
        if "download" in words:
            (options["cwd"] / "qemu.deb").touch()
            (options["cwd"] / "cache/archives/python3.deb").touch()
        made.append(words)
        return ""

    made = []
    monkeypatch.setattr(arm_check, "_run", run)
    monkeypatch.setattr(arm_check.shutil, "which", lambda name: name)
    first, second = (arm_check.userspace(tmp_path, ["numpy"]) for _ in range(2))
    assert first == second
    assert os.access(first / "python", os.X_OK)
    assert "--python-version=3.11" in made[-1]
    assert arm_check.userspace(tmp_path, ["numpy", "onnxruntime"]) != first
    assert sum(words[0] == "dpkg-deb" for words in made) == 4
