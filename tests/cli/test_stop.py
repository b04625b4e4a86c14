"""A signal while ffedge starts ends it as a signal does, whatever is being imported."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ffedge.compare.child import variables

LIBRARY = """
import os, signal
try:
    os.kill(os.getpid(), signal.{name})
    print("went on")
except BaseException as error:
    raise ImportError("cannot be loaded") from error
"""


@pytest.mark.parametrize(
    ("name", "entered"), [("SIGINT", "interruptible()"), ("SIGINT", "Stop()"), ("SIGTERM", "Stop()")]
)
def test_a_signal_while_a_library_is_imported_is_not_taken_for_a_library_that_cannot_be(
    tmp_path: Path, name: str, entered: str
) -> None:
    (tmp_path / "library.py").write_text(LIBRARY.format(name=name))
    code = f"from ffedge.cli.stop import Stop, interruptible\nwith {entered}: import library"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=variables(), capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (-getattr(signal, name), b"", b"")


def test_work_that_must_not_be_broken_off_goes_on_over_an_import(tmp_path: Path) -> None:
    (tmp_path / "library.py").write_text(LIBRARY.format(name="SIGTERM"))
    code = "from ffedge.cli.stop import Stop\nwith Stop(busy=True) as stop: import library; print(stop.number)"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=variables(), capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (0, f"went on\n{int(signal.SIGTERM)}\n".encode())
