"""A sweep's trials are what `ffedge train` makes; it goes on after any death; its records are whole lines."""

import json
import os
import signal
import sys
from pathlib import Path

import faults
import pytest
from sweep_toys import QUICK, SLOW, until

import ffedge
from ffedge.errors import FfedgeError, StoppedError
from ffedge.sweeps import run, worker
from ffedge.sweeps.asked import read
from ffedge.sweeps.log import append, mend, read_log


def children(process):
    """Return the processes that a process has started."""
    files = Path(f"/proc/{process.pid}/task").glob("*/children")
    return [int(pid) for file in files for pid in file.read_text().split()]


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def checkpoints(out):
    return list(out.glob("trials/*/checkpoint/*.safetensors"))


def test_records_hold_what_was_asked_and_what_came_of_it(swept):
    out, records = swept
    trials = read(QUICK | {"seeds": [0, 1]}).trials
    assert [record["trial"] for record in records] == [trial.id for trial in trials]
    for record, trial in zip(records, trials, strict=True):
        assert {name: record[name] for name in trial.fields} == trial.fields
        report = json.loads((out / "trials" / trial.id / "report.json").read_text())
        assert record["accuracy"] == report["layers"][-1]["accuracy_sum"]
        assert record["seconds"] == pytest.approx(sum(layer["seconds"] for layer in report["layers"]), abs=1e-3)
        assert record["peak_bytes"] == report["rss_peak_bytes"] < 100 << 20
        assert (record["status"], record["data_sha256"]) == ("done", report["data"]["sha256"])
        assert "test_accuracy" not in record
    assert sorted(read_log(out).values(), key=str) == sorted(records, key=str)


def test_a_trial_is_the_training_that_it_describes(swept, tmp_path):
    out, records = swept
    spec = ffedge.Spec.make(widths=(12, 8), epochs=1, batch_size=500, seed=1)
    run = ffedge.train(spec, "mnist-mini", tmp_path / "run", progress=False)
    record = next(r for r in records if r["widths"] == [12, 8] and r["seed"] == 1)
    assert record["accuracy"] == run.report.layers[-1].accuracy_sum
    weights = [
        ffedge.Predictor(path / "model.onnx").predict(ffedge.load("mnist-mini").test.inputs.take(range(50)))
        for path in (run.path, out / "trials" / record["trial"])
    ]
    assert (weights[0].goodness == weights[1].goodness).all()


def test_pandas_reads_the_records(swept):
    pandas = pytest.importorskip("pandas", reason="needs pandas, which is not installed")
    out, records = swept
    frame = pandas.read_json(out / "trials.jsonl", lines=True)
    assert sorted(frame["trial"]) == sorted(record["trial"] for record in records)
    means = frame.groupby(frame["widths"].astype(str))["accuracy"].mean()
    wanted = [record["accuracy"] for record in records if record["widths"] == [8]]
    assert means["[8]"] == pytest.approx(sum(wanted) / 2)


def test_a_wider_sweep_in_the_same_folder_runs_what_is_new_and_the_test_rows_count_where_asked(swept, tmp_path):
    out, _ = swept
    before = (out / "trials.jsonl").read_text()
    again = ffedge.sweep(QUICK | {"seeds": [0, 1]}, out, progress=False)
    assert (out / "trials.jsonl").read_text() == before
    tested = ffedge.sweep(QUICK, out, test=True, progress=False)
    report = json.loads((out / "trials" / tested[0]["trial"] / "report.json").read_text())
    assert tested[0]["test_accuracy"] == report["test_accuracy"]
    assert tested[0] | {"test_accuracy": 0} == again[0] | {"test_accuracy": 0}


def test_a_killed_sweep_goes_on_from_the_checkpoint(start, tmp_path):
    (tmp_path / "a.toml").write_text(SLOW.replace("400", "25").replace(", 1", ""))
    out = tmp_path / "out"
    sweep = start(tmp_path / "a.toml", "--out", out)
    until(lambda: checkpoints(out))
    child = children(sweep)[0]
    sweep.kill()
    until(lambda: not alive(child))  # by itself, at a checkpoint
    assert not read_log(out)
    records = ffedge.sweep(tmp_path / "a.toml", out, progress=False)
    spec = ffedge.Spec.make(widths=(20,), epochs=25, batch_size=100)
    run = ffedge.train(spec, out=tmp_path / "whole", progress=False)
    assert records[0]["accuracy"] == run.report.layers[-1].accuracy_sum
    epochs = [(out / "trials" / records[0]["trial"], "metrics.jsonl"), (run.path, "metrics.jsonl")]
    losses = [[json.loads(line)["loss"] for line in (a / b).read_text().splitlines()] for a, b in epochs]
    assert losses[0] == losses[1]


def test_what_a_killed_sweep_finished_unnoticed_is_read_from_its_folder(swept, tmp_path):
    out, records = swept
    (tmp_path / "other").mkdir()
    os.symlink(out / "trials", tmp_path / "other" / "trials")
    again = ffedge.sweep(QUICK | {"seeds": [0, 1]}, tmp_path / "other", progress=False)
    assert [record["seconds"] for record in again] == [record["seconds"] for record in records]


def test_a_killed_trial_is_recorded_the_others_run_and_the_next_start_takes_it_up(start, tmp_path):
    (tmp_path / "a.toml").write_text(SLOW.replace("400", "20"))
    out = tmp_path / "out"
    sweep = start(tmp_path / "a.toml", "--out", out)
    until(lambda: checkpoints(out))
    os.kill(children(sweep)[0], signal.SIGKILL)
    _, said = sweep.communicate(timeout=60)
    assert sweep.returncode == 1
    assert "1 of 2 trials failed" in said
    first, second = read_log(out).values()
    assert (first["status"], second["status"]) == ("failed", "done")
    assert first["reason"].startswith("its process was killed (SIGKILL), as Linux does where memory runs out")
    records = ffedge.sweep(tmp_path / "a.toml", out, progress=False)
    assert [record["status"] for record in records] == ["done", "done"]
    assert records[1] == second


def test_ctrl_c_ends_the_trials_at_checkpoints_and_says_how_to_go_on(start, tmp_path):
    (tmp_path / "a.toml").write_text(SLOW)
    out = tmp_path / "out"
    sweep = start(tmp_path / "a.toml", "--out", out, "--jobs", 2)
    until(lambda: len({path.parents[1] for path in checkpoints(out)}) == 2)
    begun = children(sweep)
    os.killpg(sweep.pid, signal.SIGINT)
    printed, said = sweep.communicate(timeout=60)
    assert (sweep.returncode, printed) == (130, "")
    assert said.splitlines()[-1] == (f"ffedge: {out}: stopped, 0 of 2 trials have ended. Go on with the same command")
    assert not any(map(alive, begun))
    assert not read_log(out)


def test_two_sweeps_do_not_share_a_folder(start, tmp_path):
    (tmp_path / "a.toml").write_text(SLOW)
    out = tmp_path / "out"
    start(tmp_path / "a.toml", "--out", out)
    until((out / "sweep.json").exists)
    with pytest.raises(FfedgeError, match=r"another sweep runs there\. Choose another `out`, or wait$"):
        ffedge.sweep(QUICK, out)


def test_a_folder_of_other_things_is_refused(tmp_path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(FfedgeError, match=r"is no sweep's folder \(it holds thesis.tex\)\. Choose another `out`"):
        ffedge.sweep(QUICK, tmp_path)
    with pytest.raises(FfedgeError, match=r"thesis.tex: cannot be made \(.*\)\. Choose another `out`"):
        ffedge.sweep(QUICK, tmp_path / "thesis.tex")


def test_what_only_the_data_can_tell_fails_alone(tmp_path):
    given = {"widths": [[8]], "epochs": 1, "batch_size": [500, 10**6]}
    fails, done = sorted(ffedge.sweep(given, tmp_path / "out", progress=False), key=lambda r: -r["batch_size"])
    assert (fails["status"], done["status"]) == ("failed", "done")
    assert fails["reason"].startswith("`batch_size` must be at most the ")


def test_a_trial_that_diverges_is_an_end_with_a_reason(tmp_path):
    given = {"widths": [[8]], "epochs": 2, "rate": [[1e30]], "optimizer": "sgd", "weight_decay": 0.0}
    records = ffedge.sweep(given, tmp_path / "out", progress=False)
    assert records[0]["status"] == "diverged"
    assert "the loss is not a number at rate 1e+30. Use a smaller `rate`" in records[0]["reason"]
    assert ffedge.sweep(given, tmp_path / "out", progress=False) == records


def test_a_damaged_checkpoint_begins_anew_and_says_so(start, tmp_path):
    (tmp_path / "a.toml").write_text(SLOW.replace("400", "20").replace(", 1", ""))
    out = tmp_path / "out"
    sweep = start(tmp_path / "a.toml", "--out", out)
    until(lambda: checkpoints(out))
    os.killpg(sweep.pid, signal.SIGINT)
    sweep.communicate(timeout=60)
    for path in checkpoints(out):
        path.write_bytes(path.read_bytes()[:100])
    (record,) = ffedge.sweep(tmp_path / "a.toml", out, progress=False)
    assert record["status"] == "done"
    assert record["note"].startswith("began anew: ")


def test_python_may_stop_it(tmp_path):
    with pytest.raises(StoppedError, match=r"stopped, 0 of 2 trials have ended\. Go on with the same command"):
        ffedge.sweep(QUICK, tmp_path / "out", stop=lambda: True, progress=False)


def test_a_torn_line_is_no_record_and_goes_at_the_next(tmp_path):
    append(tmp_path, {"trial": "a", "status": "new"})
    whole = (tmp_path / "trials.jsonl").read_bytes()
    for torn in (b'{"trial": "b"', b"\xff" * 10_000):
        (tmp_path / "trials.jsonl").write_bytes(whole + torn)
        assert list(read_log(tmp_path)) == ["a"]
        mend(tmp_path)
        assert (tmp_path / "trials.jsonl").read_bytes() == whole
    (tmp_path / "trials.jsonl").write_bytes(whole + b'{"trial"')
    append(tmp_path, {"trial": "c", "status": "failed"})
    append(tmp_path, {"trial": "a", "status": "new"})
    assert {name: record["status"] for name, record in read_log(tmp_path).items()} == {"c": "failed", "a": "new"}


@pytest.mark.parametrize(
    "line",
    [
        b"{\n",
        b"[]\n",
        b'{"trial": 3}\n',
        b'{"trial": "a", "status": "done", "accuracy": "1"}\n',
        b'{"trial": "a", "status": "failed", "rung": "x"}\n',
        b'{"trial": "a", "status": "failed", "data_sha256": []}\n',
        b"\xff\n",
        b"[" * 10**5 + b"\n",
    ],
)
def test_a_damaged_line_is_named(tmp_path, line):
    (tmp_path / "trials.jsonl").write_bytes(b'{"trial": "a", "status": "new"}\n' + line)
    with pytest.raises(FfedgeError, match=r"trials.jsonl, line 2: is damaged \(.*\)\. Remove it"):
        read_log(tmp_path)


@pytest.mark.parametrize("kind", [faults.FULL, faults.KILL])
def test_a_full_disk_or_a_kill_costs_no_record(tmp_path, kind):
    def begin(folder):
        append(folder, {"trial": "a", "status": "new"})

    count = 0
    for trial in faults.trials(kind, begin, lambda folder: append(folder, {"trial": "b", "status": "x"}), tmp_path):
        assert next(iter(read_log(trial.folder))) == "a"
        if kind == faults.FULL and trial.said != faults.DONE:
            assert "trials.jsonl: cannot be written (No space left on device). Free space there" in trial.said
        append(trial.folder, {"trial": "c", "status": "new"})
        assert {"a", "c"} <= set(read_log(trial.folder)) <= {"a", "b", "c"}
        count += 1
    assert count > 2


def test_too_few_rows_to_hold_any_out_are_said(tmp_path):
    rows = "\n".join(f"{n % 2 + 0.1 * n},{n % 2}" for n in range(12))
    (tmp_path / "few.csv").write_text(f"a,b\n{rows}\n")
    given = {"data": str(tmp_path / "few.csv"), "widths": [[4]], "epochs": 1}
    (record,) = ffedge.sweep(given, tmp_path / "out", progress=False)
    assert (record["status"], record["reason"]) == (
        "failed",
        "`holdout` leaves none of 12 rows to compare trials by. Use a larger share",
    )
    (record,) = ffedge.sweep(given | {"holdout": 0.25}, tmp_path / "out", progress=False)
    assert record["status"] == "done"


def test_a_table_is_read_as_the_description_says(tmp_path):
    rows = "\n".join(f"{('dry', 'wet')[n % 2]},{n % 2 + 0.001 * n},{n % 7}" for n in range(200))
    (tmp_path / "a.csv").write_text(f"state,level,noise\n{rows}\n")
    given = {"data": str(tmp_path / "a.csv"), "label": "state", "leave_out": ["noise"], "reading": {"test": 0.2}}
    given |= {"widths": [[8]], "epochs": 5}
    (record,) = ffedge.sweep(given, tmp_path / "out", test=True, progress=False)
    facts = ffedge.Predictor(tmp_path / "out" / "trials" / record["trial"] / "model.onnx").facts
    assert ([column.name for column in facts.table.columns], facts.classes) == (["level"], ("dry", "wet"))
    assert record["test_accuracy"] == 1.0
    assert (record["label"], record["leave_out"], record["reading"]) == ("state", ["noise"], {"test": 0.2})


def test_a_full_disk_ends_the_sweep_in_one_line_and_the_trials_at_their_checkpoints(tmp_path, monkeypatch):
    ended = []

    def child(job, stop):
        if job["fields"]["seed"]:
            until(stop)
            ended.append(job["trial"])
            return {"status": "stopped"}
        return {"status": "done", "accuracy": 0.5, "seconds": 1.0, "peak_bytes": 1}

    def full(folder, record):
        raise FfedgeError("trials.jsonl: cannot be written (No space left on device). Free space there")

    monkeypatch.setattr(worker, "_in_child", child)
    monkeypatch.setattr(run, "append", full)
    with pytest.raises(FfedgeError, match="No space left on device"):
        ffedge.sweep({"widths": [[8]], "seeds": [0, 1]}, tmp_path / "out", jobs=2, progress=False)
    until(lambda: ended)


@pytest.mark.parametrize("script", ["import os; os._exit(3)", "raise RuntimeError('odd')", "print('no JSON')", "pass"])
def test_a_process_that_gives_no_answer_is_a_failure_with_a_reason(tmp_path, monkeypatch, script):
    fake = tmp_path / "python"
    fake.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{script}"\n')
    fake.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(fake))
    (record,) = ffedge.sweep({"widths": [[8]]}, tmp_path / "out", progress=False)
    assert record["status"] == "failed"
    assert record["reason"].startswith("its process ended with ")


def test_a_process_that_cannot_be_started_is_a_failure_with_a_reason(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "executable", str(tmp_path / "missing"))
    (record,) = ffedge.sweep({"widths": [[8]]}, tmp_path / "out", progress=False)
    assert record["reason"].startswith("its process cannot be started (No such file or directory). Run fewer trials")
