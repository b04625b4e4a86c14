"""`tools/fuzz.py` tries thousands of hostile files: a few hundred here, and that it sees a broken promise."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ffedge.errors import DataError

ROOT = Path(__file__).parents[2]


def fuzz(*words):
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(ROOT / "tools/fuzz.py"), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


def test_three_hundred_hostile_files_are_read_or_refused(tmp_path):
    pytest.importorskip("PIL", reason="needs Pillow")
    pytest.importorskip("nir", reason="needs ffedge[nir]")
    done = fuzz("--files", 304, "--seed", 7, "--seconds", 60, "--findings", tmp_path, "--out", tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    (written,) = tmp_path.glob("fuzz-*.json")
    kinds = json.loads(written.read_text())["results"]["kinds"]
    assert [tally["files"] for tally in kinds.values()] == [38] * 8
    assert all(tally["read"] + tally["refused"] == 38 and tally["refused"] > 0 for tally in kinds.values())


@pytest.fixture
def judge(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(ROOT / "tools")
    import fuzz_worker

    return fuzz_worker, fuzz_worker.Judge(tmp_path / "case" / "x.npy")


def failing(error):
    def call():
        raise error

    return call


@pytest.mark.parametrize(
    ("error", "found"),
    [
        (DataError("nothing of the file"), "message does not name the file: 'nothing of the file'"),
        (ValueError("{0}: one\ntwo"), "message of 2 lines: '{0}: one\\ntwo'"),
        (ValueError("{0} " + "x" * 3000), "message of 3"),
        (UnicodeDecodeError("utf-8", b"", 0, 1, "x"), "message does not name the file"),
    ],
)
def test_the_fuzzer_sees_a_message_that_breaks_the_promise(judge, tmp_path, error, found):
    worker, judged = judge
    error.args = tuple(a.replace("{0}", str(tmp_path / "case")) if isinstance(a, str) else a for a in error.args)
    with pytest.raises(worker.Finding) as caught:
        judged.call(failing(error))
    assert str(caught.value).startswith(found.replace("{0}", str(tmp_path / "case")))


def test_the_fuzzer_sees_another_exception_and_another_exit(judge):
    worker, judged = judge
    with pytest.raises(KeyError):
        judged.call(failing(KeyError("x")))
    for code, err in ((3, ""), (1, "ffedge: a\nb\n"), (1, "no name"), (0, "Traceback (most recent call last):")):
        with pytest.raises(worker.Finding, match="exit code"):
            worker.check_exit(code, err, "")
    worker.check_exit(1, "ffedge: a.npy: is no file\n", "a.npy")
