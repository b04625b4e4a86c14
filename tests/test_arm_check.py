"""The ARM check finds what differs, allows ties alone, and names what it cannot have. The emulated run is CI's."""

import json
import math
import os
import platform
import subprocess

import arm_check
import arm_root
import arm_wheels
import arm_work
import numpy as np
import pytest
from arm_compare import Agreement, compare_evaluations, compare_losses, compare_predictions
from arm_sides import Side
from arm_work import BLOCK, Case, Job, jobs
from toys import clusters, make_model, small_spec

import ffedge
from ffedge.data import load
from ffedge.errors import FfedgeError
from ffedge.spec import Spec

ROWS = 3 * BLOCK // 2


def sample(label, **scores):
    return {"label": label, "scores": scores}


def predictions(here, there):
    return compare_predictions(here, there, scores=1e-4, ties=1e-5)


@pytest.mark.parametrize(
    ("score", "allowed"), [(0.5 + 9e-5, True), (0.5 + 1.1e-4, False), (math.nan, False), (math.inf, False)]
)
def test_small_scores_are_compared_absolutely(score, allowed):
    found = predictions([sample("a", a=0.5, b=0.1)], [sample("a", a=score, b=0.1)])
    assert bool(found.faults) is not allowed


@pytest.mark.parametrize(("score", "allowed"), [(200.019, True), (200.021, False)])
def test_large_scores_are_compared_relatively(score, allowed):
    found = predictions([sample("a", a=200.0, b=0.1)], [sample("a", a=score, b=0.1)])
    assert found.worst == pytest.approx(abs(score - 200) / 200)
    assert bool(found.faults) is not allowed


def test_the_worst_score_and_the_rows_beyond_the_tolerance_are_told():
    here = [sample("a", a=1.0, b=0.0)] * 3
    there = [sample("a", a=1.0, b=0.0), sample("a", a=1.0, b=0.02), sample("a", a=1.5, b=0.01)]
    assert predictions(here, there).faults == ["scores of 2 rows differ by more than 0.0001, at most by 0.5"]


def test_another_label_is_a_fault_but_for_a_tie():
    tied = sample("a", a=1.0, b=1.0 - 9e-6), sample("b", a=1.0 - 9e-6, b=1.0)
    apart = sample("a", a=1.0, b=1.0 - 2e-5), sample("b", a=1.0 - 2e-5, b=1.0)
    found = predictions(*zip(tied, apart, tied, strict=True))
    assert (found.rows, found.labels_differ, found.ties) == (3, 3, 2)
    assert found.faults == ["1 labels differ that are not ties within 1e-05"]


def test_other_rows_or_classes_are_faults():
    row = sample("a", a=1.0, b=0.0)
    assert predictions([row, row], [row]).faults == ["1 rows instead of 2"]
    assert predictions([row], [sample("a", a=1.0, c=0.0)]).faults == ["the classes differ"]


def metrics(*losses):
    return [{"layer": i, "epoch": 0, "loss": loss} for i, loss in enumerate(losses)]


def test_losses_agree_within_their_tolerance():
    assert compare_losses(metrics(0.5, 0.25), metrics(0.50009, 0.25), 1e-4).faults == []
    found = compare_losses(metrics(0.5, 0.25), metrics(0.50011, math.nan), 1e-4)
    assert found.faults == [
        "layer 0, epoch 0: loss 0.50011 instead of 0.5",
        "layer 1, epoch 0: loss nan instead of 0.25",
    ]


@pytest.mark.parametrize("there", [metrics(0.5), metrics(0.5, 0.25)[::-1]])
def test_losses_of_other_layers_are_a_fault(there):
    assert compare_losses(metrics(0.5, 0.25), there, 1e-4).faults


def test_no_losses_at_all_are_a_fault():
    assert compare_losses([], [], 1e-4).faults


def evaluation(*confusion, layers=(0.5,)):
    rows = sum(map(sum, confusion))
    hits = sum(line[i] for i, line in enumerate(confusion))
    facts = {"rows": rows, "classes": ["a", "b"], "confusion": confusion, "layer_accuracy": list(layers)}
    return facts | {"accuracy": hits / rows}


def test_an_evaluation_may_differ_by_one_row():
    here = evaluation([50, 0], [0, 50])
    assert compare_evaluations(here, here).faults == []
    assert compare_evaluations(here, evaluation([49, 1], [0, 50])).faults == []
    assert compare_evaluations(here, evaluation([48, 2], [0, 50])).faults
    assert compare_evaluations(evaluation([49, 1], [0, 50]), evaluation([50, 0], [1, 49])).faults  # the same accuracy
    assert compare_evaluations(here, evaluation([50, 0], [0, 50], layers=(0.52,))).faults
    assert compare_evaluations(here, evaluation([50, 0], [0, 51])).faults


class Planted:
    """A side whose commands answer what they are given."""

    def __init__(self, name, answer, knows=True):
        self.name, self._answer, self.knows = name, answer, lambda _: knows

    def ffedge(self, *words):
        return self._answer(*words)


def case(tmp_path, name="m", labels=None):
    (tmp_path / f"{name}.onnx").write_bytes(b"model")
    return Case(name, tmp_path / f"{name}.onnx", np.zeros((ROWS, 2), np.uint8), labels, "drawn")


def the_job(check, *sides_and_rest):
    (job,) = [job for job in jobs(*sides_and_rest) if job.check == check and not job.further]
    return job


def test_each_model_gets_its_first_rows_before_any_gets_further_ones(tmp_path):
    side = Planted("x", lambda *_: "")
    given = [case(tmp_path, "a"), case(tmp_path, "b", np.zeros(ROWS))]
    found = [(job.model, job.check, job.rows, job.further) for job in jobs(side, side, given, tmp_path)]
    assert found == [
        ("a", "train", ROWS, False),
        ("a", "learn", ROWS, False),
        ("a", "predict", BLOCK, False),
        ("b", "predict", BLOCK, False),
        ("b", "eval", 1000, False),
        ("a", "predict", ROWS - BLOCK, True),
        ("b", "predict", ROWS - BLOCK, True),
    ]


def test_a_label_that_one_side_alone_gives_is_found(tmp_path):
    """The sides get the same rows, and the second is wrong about the last."""

    def answers(last):
        def predict(command, model, rows, *_):
            assert command == "predict"
            count = len(np.load(rows))
            labels = ["a"] * (count - 1) + [last]
            return json.dumps({"samples": [sample(x, a=1.0, b=0.0) for x in labels]})

        return predict

    here, there = Planted("x", answers("a")), Planted("y", answers("b"))
    assert the_job("predict", here, here, [case(tmp_path)], tmp_path).run()[0].faults == []
    found, _ = the_job("predict", here, there, [case(tmp_path)], tmp_path).run()
    assert (found.rows, found.labels_differ) == (BLOCK, 1)
    assert found.faults == ["1 labels differ that are not ties within 1e-05"]


def test_learning_that_fails_on_arm_is_told(tmp_path):
    def fails(*words):
        raise FfedgeError("`-m ffedge learn` failed on y: Segmentation fault")

    def learns(command, model, *_):
        model.write_bytes(b"new")

    found, _ = the_job("learn", Planted("x", learns), Planted("y", fails), [case(tmp_path)], tmp_path).run()
    assert found.faults == ["`-m ffedge learn` failed on y: Segmentation fault"]


def test_learning_that_changes_nothing_is_told(tmp_path):
    idle = Planted("x", lambda *_: "")
    found, _ = the_job("learn", idle, idle, [case(tmp_path)], tmp_path).run()
    assert found.faults == ["`ffedge learn` left the model as it was on x"]


def test_a_command_that_does_not_exist_yet_is_left_out(tmp_path):
    side = Planted("x", lambda *_: "", knows=False)
    assert "learn" not in {job.check for job in jobs(side, side, [case(tmp_path)], tmp_path)}


def test_a_side_tells_the_last_line_of_a_crash(tmp_path):
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho first >&2\necho 'uncaught target signal 11' >&2\nexit 139\n")
    python.chmod(0o755)
    with pytest.raises(FfedgeError, match=r"^`-m ffedge info m` failed on arm: uncaught target signal 11$"):
        Side("arm", python, {}).ffedge("info", "m")


def test_a_side_knows_the_commands_of_ffedge(tmp_path):
    side = arm_check.native(tmp_path)
    assert side.knows("predict")
    assert not side.knows("banana")


def test_the_parts_of_a_check_become_one_line_and_rows_left_out_are_told():
    def job(rows, *, further):
        return Job("m", "predict", "mnist", rows, Agreement, further)

    todo = [job(10, further=False), job(10, further=True), job(5, further=True)]
    done = [(Agreement(10, 1, 1, 0.25), 2.0), (Agreement(10, 2, 0, 0.125, ["bad"]), 3.0), None]
    (line,) = arm_check.summed(todo, done)
    assert line == arm_check.Line("m", "predict", "mnist", 25, Agreement(20, 3, 1, 0.25, ["bad"]), 5.0)
    assert arm_check.row(line) == ["m, predict", "mnist", "20 of 25", "3 (1)", "2.5e-01", "5", "differs"]


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
    said = said_by_main(capsys, "--cache", str(tmp_path / "cache"))
    assert said.startswith("arm_check: apt-get, apt-cache, dpkg-deb must be there")


def test_a_debian_package_that_cannot_be_had_is_named_and_nothing_is_left_behind(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    apt = tmp_path / "apt-get"
    apt.write_text(
        '#!/bin/sh\ncase "$*" in *install*) echo "E: Unable to locate package python3" >&2; exit 100;; esac\n'
    )
    apt.chmod(0o755)
    for name, text in {"apt-cache": "", "dpkg-deb": "", "apt-config": f"echo \"parts='{tmp_path}/none'\""}.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert said_by_main(capsys, "--cache", str(tmp_path / "cache")) == (
        "arm_check: Debian's packages cannot be had: `apt-get install python3 libstdc++6 libgomp1` failed: "
        "E: Unable to locate package python3"
    )
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_wheel_that_cannot_be_had_is_named(monkeypatch, tmp_path):
    text = "WARNING: x\nERROR: Could not find a version that satisfies the requirement onnxruntime==9\nERROR: No\n"
    failed = subprocess.CompletedProcess([], 1, "", text)
    monkeypatch.setattr(arm_wheels.subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(FfedgeError) as told:
        arm_wheels.download(["numpy", "onnxruntime==9"], "3.11", tmp_path)
    assert str(told.value) == (
        "pip cannot have the aarch64 wheels for Python 3.11 of numpy, onnxruntime==9: "
        "Could not find a version that satisfies the requirement onnxruntime==9"
    )


def test_a_user_space_in_the_cache_serves_again_and_for_its_packages_alone(monkeypatch, tmp_path):
    made = []

    def unpack_debian(folder, new):
        made.append(new)
        (new / "root/usr/bin").mkdir(parents=True)
        (new / "root/usr/bin/python3").symlink_to("python3.11")

    monkeypatch.setattr(arm_root, "_unpack_debian", unpack_debian)
    monkeypatch.setattr(arm_root, "NEEDED", ())
    monkeypatch.setattr(arm_wheels, "download", lambda wanted, python, folder: [])
    first, second = (arm_root.build(tmp_path, ["numpy==2"]) for _ in range(2))
    assert first == second
    assert os.access(first.python, os.X_OK)
    assert arm_root.build(tmp_path, ["numpy==3"]) != first
    assert len(made) == 2


def test_a_model_without_a_data_set_gets_drawn_rows(tmp_path):
    (tmp_path / "toy").mkdir()
    content = make_model(small_spec(), clusters())[0]
    (tmp_path / "toy" / "model.onnx").write_bytes(content)
    (tmp_path / "model.onnx").write_bytes(content)
    found = arm_check.cases(tmp_path, tmp_path, most=50)
    assert [(c.name, c.rows_are, len(c.inputs), c.labels) for c in found] == [
        ("trained here", "drawn", 1000, None),  # fewer than models/ gets in the real check
        ("toy", "drawn", 50, None),
    ]
    assert found[0].inputs.std() > 0


@pytest.mark.parametrize("here", [True, False])
def test_a_model_of_digits_gets_test_images_from_where_they_are(monkeypatch, tmp_path, here):
    """MNIST's, else the embedded ones, which stand for either here; nothing is fetched."""
    spec = Spec.make(widths=(4,), epochs=1, batch_size=1000)
    run = ffedge.train(spec, "mnist-mini", tmp_path / "own")
    (tmp_path / "data" / "mnist").mkdir(parents=True)
    monkeypatch.setattr(arm_work, "load", lambda _: load("mnist-mini"))
    monkeypatch.setenv("FFEDGE_DATA", str(tmp_path / "data") if here else str(tmp_path / "elsewhere"))
    (found,) = arm_check.cases(run.path, tmp_path / "none", most=10)
    assert (found.rows_are, len(found.inputs)) == ("mnist, test" if here else "mnist-mini, test", 10)
    assert found.labels.tolist() == load("mnist-mini").test.labels[:10].tolist()
