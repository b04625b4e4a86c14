"""ffedge doctor: says whether training would work here, what is missing, and never falls over itself."""

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from ffedge.cli import doctor
from ffedge.compare.child import variables
from tests.cli.conftest import Ffedge, Outcome

ROOT = Path(__file__).parents[2]


def with_packages(folder: Path, words: list[str] | None = None, **modules: str) -> Outcome:
    """Run the doctor in a process of its own, where some packages are others."""
    for name, code in modules.items():
        (folder / f"{name}.py").write_text(code)
    path = os.pathsep.join([str(folder), str(ROOT), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-m", "ffedge", "doctor", *(words or [])]
    env = variables() | {"PYTHONPATH": path}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env, cwd=folder)
    return Outcome(done.returncode, done.stdout, done.stderr)


def test_where_training_works_it_says_so_and_what_it_needs(ffedge: Ffedge) -> None:
    done = ffedge("doctor")
    assert (done.code, done.err) == (0, "")
    lines = dict(line.split(maxsplit=1) for line in done.out.splitlines())
    assert lines["training"].startswith("works: a small training took ")
    assert "needs a budget of " in lines["training"]
    assert {"machine", "numpy", "onnxruntime", "/proc", "/sys", "memory", "cache", "training"} <= set(lines)


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("import os, signal\nos.kill(os.getpid(), signal.SIGILL)", "ended by SIGILL"),
        ("import os\nos.abort()", "ended by SIGABRT"),
        ("import nothing_of_that_name", "failed: "),
        ("raise SystemExit(3)", "failed: without a word"),
    ],
    ids=["illegal instruction", "abort", "does not load", "exits"],
)
def test_an_onnxruntime_that_dies_does_not_take_the_doctor_with_it(tmp_path: Path, code: str, text: str) -> None:
    done = with_packages(tmp_path, ["--json"], onnxruntime=code)
    told = json.loads(done.out)
    training = told["findings"][-1]
    assert (done.code, done.err, told["works"]) == (1, "", False)
    assert training["name"] == "training"
    assert training["found"].startswith(text)
    assert training["mend"]


def test_it_needs_neither_numpy_nor_onnxruntime_itself(tmp_path: Path) -> None:
    broken = "raise ModuleNotFoundError('No module named numpy', name='numpy')"
    done = with_packages(tmp_path, numpy=broken, onnxruntime=broken)
    assert (done.code, done.err) == (1, "")
    assert "training     failed: " in done.out


def test_hidden_folders_a_read_only_cache_and_no_home_are_told_and_survived(
    ffedge: Ffedge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "PROC", tmp_path / "proc")
    monkeypatch.setattr(doctor, "CPUS", tmp_path / "sys")
    monkeypatch.setattr(doctor, "CGROUP", tmp_path / "cgroup")
    monkeypatch.setattr(doctor, "_trial", lambda: ("works", ""))
    monkeypatch.setattr(os, "access", lambda *_: False)
    monkeypatch.delenv("HOME")
    done = ffedge("doctor", "--json")
    found = {each["name"]: each for each in json.loads(done.out)["findings"]}
    assert (done.code, done.err) == (0, "")  # nothing of it keeps it from training
    for name, mend in (("/proc", "Mount /proc"), ("/sys", "Mount /sys read-only"), ("cache", "FFEDGE_CACHE")):
        assert "cannot be read" in found[name]["found"] or "not writable" in found[name]["found"]
        assert mend in found[name]["mend"]
    assert found["memory"]["found"] == "is not told"


def test_a_folder_that_is_gone_and_no_room_for_a_trial_are_told(
    ffedge: Ffedge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()

    def none(*_: object, **__: object) -> None:
        raise FileNotFoundError(2, "No usable temporary directory found")

    monkeypatch.setattr(doctor.tempfile, "TemporaryDirectory", none)
    done = ffedge("doctor")
    assert done.code == 1
    assert "this folder  cannot be looked at (FileNotFoundError" in done.out
    assert "training     there is no folder that can be written\n             -> Name one in TMPDIR" in done.out


@pytest.mark.parametrize(
    ("version", "found", "mend"),
    [
        ("1.21.0", "1.21.0, which dies on a Raspberry Pi 4", "pip install 'onnxruntime!=1.21.0'"),
        ("1.19.2", "1.19.2", "pip install --upgrade onnxruntime"),
        ("1.20.0", "1.20.0", ""),
    ],
)
def test_versions_that_do_not_work_are_told(
    monkeypatch: pytest.MonkeyPatch, version: str, found: str, mend: str
) -> None:
    monkeypatch.setattr(doctor.importlib.metadata, "version", lambda _: version)
    told = doctor.LOOKS["onnxruntime"]()
    assert (told[0], mend in told[1], bool(mend)) == (found, True, bool(told[1]))


def test_what_it_takes_for_a_bad_version_is_what_pip_does_not_install() -> None:
    needs = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    least = {name: ".".join(map(str, version)) for name, version in doctor.LEAST.items()}
    assert needs == [f"numpy>={least['numpy']}", f"onnxruntime>={least['onnxruntime']},!={doctor.BAD_ORT}"]
