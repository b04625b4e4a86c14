"""ffedge sweep: the table, the exit codes, and one line for what a user can mend."""

import re
import sys
from importlib.util import find_spec

import pytest

from tests.cli.conftest import spawn

JOBLIB = pytest.mark.skipif(find_spec("joblib") is None, reason="needs joblib, which is not installed")
QUICK = "widths = [[8], [12, 8]]\nepochs = 1\nbatch_size = 500\n"


@pytest.fixture
def asked(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "quick.toml").write_text(QUICK)
    return tmp_path


@JOBLIB
def test_the_best_is_printed_and_shown_again(ffedge, asked):
    done = ffedge("sweep", "quick.toml")
    assert done.code == 0
    table = re.findall(r"^(\d+\.\d\d) .* ([\d,]+)  (t[0-9a-f]{11})$", done.out, re.MULTILINE)
    assert sorted(widths for _, widths, _ in table) == ["12,8", "8"]
    assert [float(row[0]) for row in table] == sorted((float(row[0]) for row in table), reverse=True)
    assert f"model sweeps/quick/trials/{table[0][2]}/model.onnx\n" in done.out
    assert re.search(r"(?m)^t[0-9a-f]{11}  \d+\.\d\d% held out, .* s  widths .*\(2 of 2, best .*%\)$", done.err)
    assert (asked / "sweeps/quick/sweep.html").is_file()
    shown = ffedge("sweep", "--show", "sweeps/quick")
    assert (shown.code, shown.out, shown.err) == (0, done.out, "")
    assert ffedge("eval", f"sweeps/quick/trials/{table[0][2]}/model.onnx", "--data", "mnist-mini").code == 0


@JOBLIB
def test_a_trial_that_fails_makes_the_exit_code_1(ffedge, asked):
    (asked / "quick.toml").write_text(QUICK.replace("500", "[500, 1000000]").replace(", [12, 8]", ""))
    done = ffedge("sweep", "quick.toml", "--test-accuracy")
    assert done.code == 1
    assert "test\n" not in done.out
    assert " test " in done.out
    assert re.search(
        r"ffedge: 1 of 2 trials failed, the first of them t[0-9a-f]+: batch_size must be at most", done.err
    )


@JOBLIB
def test_data_that_changed_between_two_starts_are_told(ffedge, asked):
    def begin(first, *more):
        rows = "\n".join(f"{n % 2 + 0.001 * n},{n % 7},{('dry', 'wet')[n % 2]}" for n in range(first, first + 200))
        (asked / "a.csv").write_text(f"level,noise,state\n{rows}\n")
        (asked / "a.toml").write_text("\n".join(["data = 'a.csv'", "widths = [[8]]", "epochs = 1", *more]))
        return ffedge("sweep", "a.toml")

    assert "note" not in begin(0, "holdout = [0.2, 0.3]").out
    done = begin(2, "holdout = [0.2, 0.3, 0.4]")
    assert done.out.count("note: a.csv changed between the trials, which compare no more. Sweep it anew") == 1
    assert ffedge("sweep", "--show", "sweeps/a").out == done.out


@pytest.mark.parametrize(
    ("words", "code", "line"),
    [
        (("missing.toml",), 1, "missing.toml: cannot be read (No such file or directory). Pass a TOML file"),
        (("--show", "."), 1, ".: holds no trials that have ended. Pass the folder of a sweep"),
        (("quick.toml", "--jobs", 0), 2, "--jobs must be a whole number from 1, got '0'"),
        (("quick.toml", "--memory-budget", "lots"), 2, "--memory-budget must be a size as in 4GiB, got 'lots'"),
        (("quick.toml", "--out", "."), 1, ".: is no sweep's folder (it holds quick.toml). Choose another --out"),
        ((".", "--show", "--jobs", 2), 2, "--jobs plays no part with --show. Leave it out"),
        (("quick.toml", "--backend", "dask", "--jobs", 2), 2, "--jobs plays no part with --backend. Leave it out"),
    ],
)
def test_what_a_user_can_mend_is_one_line(ffedge, asked, words, code, line):
    done = ffedge("sweep", *words)
    assert done.code == code
    assert done.line.startswith(f"ffedge: {line}")


@pytest.mark.parametrize(
    ("address", "line"),
    [
        ("", "--backend dask needs the address of a scheduler. Set DASK_SCHEDULER_ADDRESS"),
        ("tcp://127.0.0.1:9", "tcp://127.0.0.1:9: no dask cluster answers (Timed out trying to connect"),
        ("x", "x: no dask cluster answers (missing port number in address 'x'). Check DASK_SCHEDULER_ADDRESS"),
    ],
)
def test_a_cluster_that_does_not_answer_is_one_line(asked, monkeypatch, address, line):
    pytest.importorskip("distributed", reason="needs distributed, which is not installed")
    monkeypatch.setenv("DASK_SCHEDULER_ADDRESS", address)
    monkeypatch.setenv("DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT", "1s")
    done = spawn("sweep", "quick.toml", "--backend", "dask")
    assert (done.code, done.out) == (1, "")
    assert done.line.startswith(f"ffedge: {line}")


def test_joblib_is_asked_for_where_it_is_missing(ffedge, asked, monkeypatch):
    monkeypatch.setitem(sys.modules, "joblib", None)
    done = ffedge("sweep", "quick.toml")
    assert (done.code, done.line) == (
        1,
        "ffedge: a sweep needs joblib, which is not installed. Run: pip install 'ffedge[sweep]'",
    )
