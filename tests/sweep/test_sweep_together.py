"""What trials that run at once share: cores and a memory budget; and what is compared: rungs, points, held-out rows."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from sweep_toys import SLOW, until
from toys import in_child

import ffedge
from ffedge.compare.child import variables
from ffedge.sweeps import run, worker
from ffedge.sweeps.log import read_log
from ffedge.sweeps.points import ranked, varied
from ffedge.sweeps.show import table, write_page

MIB = 1 << 20
GIVEN = {"widths": [[n] for n in range(1, 9)]}


@pytest.fixture
def pretend(monkeypatch):
    """Put threads that sleep in the place of trials; return each one's bytes, first and last moment, and its job."""
    spans, lock = [], threading.Lock()
    plan = {"bytes": lambda job: 90 * MIB}

    def child(job, stop):
        if job["out"] is None:
            return {"status": "planned", "bytes": plan["bytes"](job)}
        began = time.perf_counter()
        time.sleep(0.05)
        with lock:
            spans.append((plan["bytes"](job), began, time.perf_counter(), job))
        return {"status": "done", "accuracy": job["fields"]["widths"][0] / 100, "seconds": 0.05, "peak_bytes": 1}

    monkeypatch.setattr(worker, "_in_child", child)
    return spans, plan


def most(spans):
    """Return the most bytes, and the most trials, at any moment."""
    at = [[span for span in spans if span[1] <= moment < span[2]] for _, moment, _, _ in spans]
    return max(sum(span[0] for span in now) for now in at), max(map(len, at))


@pytest.mark.parametrize(("budget", "together"), [(179 * MIB, 1), (180 * MIB, 2), ("1GiB", 3), (None, 3)])
def test_the_plans_of_trials_that_run_at_once_stay_within_the_budget(tmp_path, pretend, budget, together):
    records = ffedge.sweep(GIVEN, tmp_path / "out", jobs=3, memory_budget=budget, progress=False)
    assert [record["status"] for record in records] == ["done"] * 8
    assert most(pretend[0])[1] == together


def test_plans_of_all_sizes_never_exceed_the_budget_and_what_does_alone_is_refused(tmp_path, pretend):
    spans, plan = pretend
    plan["bytes"] = lambda job: 15 * MIB * job["fields"]["widths"][0]
    records = ffedge.sweep(GIVEN, tmp_path / "out", jobs=4, memory_budget=100 * MIB, progress=False)
    assert [record["status"] for record in records] == ["done"] * 6 + ["refused"] * 2
    assert records[-1]["reason"] == (
        "it needs 120.0 MiB, more than the 100.0 MiB of all trials together. "
        "Give it a `memory_budget` or narrower layers"
    )
    assert [record.get("planned_bytes") for record in records[:6]] == [15 * MIB * n for n in range(1, 7)]
    assert most(spans)[0] <= 100 * MIB
    assert most(spans)[1] >= 2


def test_each_trial_gets_its_share_of_the_cores_unless_it_says_how_many(tmp_path, pretend, monkeypatch):
    monkeypatch.setattr(run.os, "cpu_count", lambda: 8)
    ffedge.sweep(GIVEN, tmp_path / "a", jobs=3, progress=False)
    assert {(job["threads"], job["fields"]["threads"]) for *_, job in pretend[0]} == {(2, 2)}
    pretend[0].clear()
    ffedge.sweep(GIVEN | {"threads": 5}, tmp_path / "b", jobs=16, progress=False)
    assert {(job["threads"], job["fields"]["threads"]) for *_, job in pretend[0]} == {(5, 5)}
    pretend[0].clear()
    ffedge.sweep(GIVEN | {"engine": "torch"}, tmp_path / "c", jobs=16, progress=False)
    assert {(job["threads"], job["fields"].get("threads")) for *_, job in pretend[0]} == {(1, None)}


def test_a_real_plan_is_asked_for_and_kept(tmp_path):
    given = {"widths": [[8]], "epochs": 1, "batch_size": 500, "threads": 1}
    words = ["train", "--plan", "--json", "--widths", "8", "--epochs", "1", "--batch-size", "500", "--threads", "1"]
    (record,) = ffedge.sweep(given, tmp_path / "a", memory_budget="2GiB", progress=False)
    planned = json.loads(in_child("import sys; from ffedge.cli import main; main(sys.argv[1:])", *words))["peak_bytes"]
    assert record["planned_bytes"] == pytest.approx(planned, rel=0.1)
    assert record["peak_bytes"] <= record["planned_bytes"]
    (record,) = ffedge.sweep(given, tmp_path / "b", memory_budget="8MiB", progress=False)
    assert record["status"] == "refused"
    (record,) = ffedge.sweep(given | {"memory_budget": "96MiB"}, tmp_path / "c", memory_budget="2GiB", progress=False)
    assert record["planned_bytes"] == 96 * MIB
    (record,) = ffedge.sweep(given | {"memory_budget": "1MiB"}, tmp_path / "d", memory_budget="2GiB", progress=False)
    assert (record["status"], record["reason"][:40]) == ("failed", "`memory_budget='1.0MiB'`: this network n")


def test_torch_has_no_plan(tmp_path):
    with pytest.raises(ValueError, match=r"^`memory_budget` needs plans, which the torch engine has none of"):
        ffedge.sweep({"engine": "torch"}, tmp_path / "out", memory_budget="1GiB")


def test_halving_lets_the_best_go_on_by_the_mean_of_their_seeds_and_each_data_set_by_itself(tmp_path, pretend):
    given = {"widths": [[n] for n in range(1, 10)], "epochs": 18, "seeds": [0, 1], "halving": 3}
    records = ffedge.sweep(given | {"data": ["mnist-mini", "mnist"]}, tmp_path / "out", jobs=4, progress=False)
    for rung, (widths, epochs) in enumerate([(range(1, 10), 2), ((7, 8, 9), 6), ((9,), 18)]):
        for data in ("mnist-mini", "mnist"):
            mine = [r for r in records if (r["rung"], r["data"]) == (rung, data)]
            assert sorted((r["widths"][0], r["seed"], r["epochs"]) for r in mine) == [
                (width, seed, epochs) for width in widths for seed in (0, 1)
            ]
    assert len(records) == 2 * 2 * (9 + 3 + 1)
    assert ranked(records)[0].asked["widths"] == [9]


def test_a_rung_is_that_of_the_sweep_that_asks_now(tmp_path, pretend):
    """A record of an earlier sweep in the folder, with its rung, won over better ones, and lost its own place."""
    few, out = {"widths": [[3], [2], [1]], "epochs": 9}, tmp_path / "out"
    ffedge.sweep(few | {"halving": 3}, out, progress=False)
    whole = ffedge.sweep(few | {"widths": [[1], [2], [3], [5], [8]]}, out, progress=False)
    assert ranked(whole)[0].asked["widths"] == [8]
    assert not any("rung" in record for record in whole)
    assert ranked(read_log(out).values())[0].asked["widths"] == [8]
    nine = few | {"widths": [[n] for n in range(1, 10)], "halving": 3}
    records = ffedge.sweep(nine, out, progress=False)
    assert ranked(records)[0].asked["widths"] == [9]
    anew = ffedge.sweep(nine, tmp_path / "anew", progress=False)
    assert {(r["trial"], r["rung"]) for r in records} == {(r["trial"], r["rung"]) for r in anew}


def test_what_two_trials_share_in_a_rung_is_trained_and_counted_once(tmp_path, pretend):
    given = {"widths": [[1], [2], [3]], "epochs": [9, 10], "halving": 3}
    records = ffedge.sweep(given, tmp_path / "out", progress=False)
    assert sorted(r["widths"][0] for r in records if r["rung"] == 0) == [1, 2, 3]
    assert {len(point.records) for point in ranked(records)} == {1}


def test_a_seed_that_diverged_counts_in_every_figure_of_its_point():
    done = {
        "trial": "t1",
        "status": "done",
        "accuracy": 0.42,
        "test_accuracy": 0.4,
        "seconds": 1.0,
        "peak_bytes": 2**20,
    }
    heads, (row,) = table(ranked([done | {"seed": 0}, {"trial": "t2", "status": "diverged", "seed": 1}]), 5)
    shown = dict(zip(heads, row, strict=True))
    assert [shown[name] for name in ("held\nout %", "least", "most", "test\n%")] == ["21.00", "0.00", "42.00", "-"]


def test_halving_counts_a_seed_that_diverged_as_nothing_and_drops_what_failed(tmp_path, pretend, monkeypatch):
    good = worker._in_child

    def child(job, stop):
        width, seed = job["fields"]["widths"][0], job["fields"]["seed"]
        if width == 9:
            return {"status": "failed", "reason": "x"}
        return {"status": "diverged", "reason": "y"} if (width, seed) == (8, 1) else good(job, stop)

    monkeypatch.setattr(worker, "_in_child", child)
    given = {"widths": [[n] for n in range(4, 10)], "epochs": 2, "seeds": [0, 1], "halving": 2}
    records = ffedge.sweep(given, tmp_path / "out", progress=False)
    assert sorted({r["widths"][0] for r in records if r["rung"] == 1}) == [5, 6, 7]


def test_a_real_halving_trains_each_rung_by_itself(tmp_path):
    given = {"widths": [[4], [16]], "epochs": 2, "batch_size": 500, "halving": 2}
    records = ffedge.sweep(given, tmp_path / "out", progress=False)
    assert [(r["rung"], r["epochs"], r["widths"]) for r in records[:2]] == [(0, 1, [4]), (0, 1, [16])]
    run = ffedge.train(ffedge.Spec.make(widths=records[2]["widths"], epochs=2, batch_size=500), out=tmp_path / "run")
    assert (records[2]["rung"], records[2]["accuracy"]) == (1, run.report.layers[-1].accuracy_sum)


def test_points_are_ranked_by_the_mean_of_their_seeds_and_the_last_rung_first():
    def of(width, accuracy, **more):
        return {
            "trial": f"{width}{accuracy}",
            "status": "done",
            "accuracy": accuracy,
            "widths": [width],
            "seconds": 1.0,
            "peak_bytes": MIB,
            **more,
        }

    found = ranked([of(1, 0.9), of(1, 0.5), of(2, 0.8), of(2, 0.7), {"trial": "x", "status": "failed", "reason": "r"}])
    assert [(p.asked, p.accuracy, len(p.records)) for p in found] == [
        ({"widths": [2]}, 0.75, 2),
        ({"widths": [1]}, 0.7, 2),
    ]
    assert found[0].records[0]["trial"] == "20.8"
    assert varied(found) == ["widths"]
    heads, rows = table(found, 1)
    assert dict(zip(heads, rows[0], strict=True)) == {
        "held\nout %": "75.00",
        "least": "70.00",
        "most": "80.00",
        "seeds": "2",
        "secs": "1.0",
        "peak\nMiB": "1",
        "widths": "2",
        "trial": "20.8",
    }
    rungs = ranked([of(1, 0.9, rung=0), of(2, 0.8, rung=1)])
    assert [p.rung for p in rungs] == [1, 0]


def test_the_page_shows_the_best_and_what_each_value_gives(tmp_path):
    records = [
        {
            "trial": f"t{n}",
            "status": "done",
            "accuracy": n / 10,
            "seconds": 1.0,
            "peak_bytes": 1,
            "data": "<b>",
            "norm": ("rms", "unit")[n % 2],
            "widths": [n // 2],
        }
        for n in range(8)
    ]
    write_page(tmp_path, records)
    page = (tmp_path / "sweep.html").read_text()
    assert "<svg" in page
    assert "70.00%" in page
    assert "Mean over all trials of each norm: unit 40.00%, rms 30.00%" in page
    assert "<b>" not in page.replace("<b></b>", "").replace("<b>7", "")


def test_another_back_end_of_joblib_runs_the_trials(tmp_path):
    joblib = pytest.importorskip("joblib", reason="needs joblib, which is not installed")
    given = {"widths": [[8]], "epochs": 1, "batch_size": 500, "seeds": [0, 1]}
    with joblib.parallel_config(backend="loky"):
        records = ffedge.sweep(given, tmp_path / "out", jobs=2, progress=False)
        with pytest.raises(ValueError, match=r"^`memory_budget` plays no part with `backend`"):
            ffedge.sweep(given, tmp_path / "other", memory_budget="1GiB", progress=False)
    assert [record["status"] for record in records] == ["done", "done"]


def test_a_dask_cluster_loses_a_worker_and_the_trial_goes_on(start, tmp_path, monkeypatch):
    pytest.importorskip("distributed", reason="needs distributed, which is not installed")
    (tmp_path / "a.toml").write_text(SLOW.replace("400", "25"))
    out, file = tmp_path / "out", tmp_path / "scheduler.json"
    how = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "start_new_session": True, "env": variables()}

    def run(kind, *words):
        command = [sys.executable, "-m", f"distributed.cli.dask_{kind}", "--scheduler-file", file, "--no-dashboard"]
        return subprocess.Popen([*map(str, command), *words], **how)

    begun = [run("scheduler", "--port", "0")]
    try:
        until(file.exists)
        one = ("--nthreads", "1", "--nworkers", "1")
        begun += [run("worker", *one)]
        monkeypatch.setenv("DASK_SCHEDULER_ADDRESS", until(lambda: address(file)))
        sweep = start(tmp_path / "a.toml", "--out", out, "--backend", "dask")
        until(lambda: list(out.glob("trials/*/checkpoint/*.safetensors")))
        os.killpg(begun[-1].pid, signal.SIGKILL)
        begun += [run("worker", *one)]
        printed, said = sweep.communicate(timeout=120)
        assert sweep.returncode == 0, said
        assert [record["status"] for record in read_log(out).values()] == ["done", "done"]
        assert "the best of 1, by the mean of their seeds" in printed
    finally:
        for process in begun:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def address(file):
    with contextlib.suppress(ValueError):
        return json.loads(file.read_text())["address"]
