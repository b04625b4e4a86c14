"""A system without onnxruntime is told so in one line, by every command that needs it."""

import os
import platform
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from toys import clusters, in_child, make_model, small_spec

from ffedge.engine.missing import missing

ABSENT = ModuleNotFoundError("No module named 'onnxruntime'", name="onnxruntime")
BROKEN = ImportError("libstdc++.so.6: version `GLIBCXX_3.4.30' not found", name="onnxruntime_pybind11_state")


@pytest.mark.parametrize(("machine", "error"), [("armv7l", ABSENT), ("aarch64", ABSENT), ("i686", BROKEN)])
def test_a_32_bit_python_is_told_that_there_is_no_wheel(monkeypatch, machine, error):
    monkeypatch.setattr(struct, "calcsize", lambda _: 4)
    monkeypatch.setattr(platform, "machine", lambda: machine)
    assert str(missing(error)) == (
        "ffedge needs onnxruntime, which has no wheel for 32-bit systems (this Python is 32-bit, "
        f"on {machine}). Use a 64-bit system, such as Raspberry Pi OS (64-bit)"
    )


def test_a_64_bit_system_is_told_what_to_install():
    assert str(missing(ABSENT)) == ("ffedge needs onnxruntime, which is not installed. Run: pip install onnxruntime")


def test_an_onnxruntime_that_does_not_load_is_told_with_the_reason():
    said = str(missing(BROKEN))
    assert "is installed but cannot be loaded (libstdc++.so.6: version `GLIBCXX_3.4.30' not found)" in said
    assert said.endswith("Run: pip install --force-reinstall onnxruntime")


@pytest.mark.parametrize(
    "words", [("train", "--out", "run"), ("predict", "model.onnx", "x.npy"), ("eval", "model.onnx")], ids=lambda w: w[0]
)
def test_a_command_says_it_in_one_line(tmp_path, words):
    """In a process that finds another onnxruntime first: one that is not there."""
    (tmp_path / "model.onnx").write_bytes(make_model(small_spec(), clusters())[0])
    (tmp_path / "onnxruntime.py").write_text("raise ModuleNotFoundError('No', name='onnxruntime')")
    paths = [str(tmp_path), str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
    done = subprocess.run(
        [sys.executable, "-m", "ffedge", *words],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == "ffedge: ffedge needs onnxruntime, which is not installed. Run: pip install onnxruntime\n"


def test_the_library_raises_an_error_that_names_the_remedy():
    printed = in_child(
        """
        import ffedge
        try:
            ffedge.Predictor
        except ffedge.FfedgeError as error:
            print(error)
        """,
        hidden={"onnxruntime"},
    )
    assert printed.endswith("pip install onnxruntime\n")


def test_a_normal_start_does_not_load_the_explanation():
    printed = in_child("import sys, ffedge.predict.predictor; print('ffedge.engine.missing' in sys.modules)")
    assert printed == "False\n"
