"""Runs a module of ffedge in a process of its own: one JSON request in, one JSON answer out.

The other process starts anew, so what this one has imported or allocated is not in it.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ffedge.errors import FfedgeError


def ask(module: str, request: dict[str, Any], environment: dict[str, str] | None = None) -> Any:
    """Run ``python -m module`` with a request and return its answer; what ends this call, such as Ctrl-C, kills it.

    Parameters
    ----------
    environment : variables to set beside this process's.

    Raises
    ------
    OSError, FfedgeError, ValueError
        The child met one: a full disk, data or a request that it cannot use.
    RuntimeError
        The child failed; its standard error is in the text.
    """
    command, text = [sys.executable, "-m", module], json.dumps(request)
    with tempfile.TemporaryDirectory() as folder:  # what a killed child leaves there goes with it
        given = variables() | {"TMPDIR": folder} | (environment or {})
        done = subprocess.run(command, input=text, capture_output=True, text=True, check=False, env=given)
    if done.returncode:
        raise RuntimeError(f"{module} failed:\n{done.stderr}")
    result = json.loads(done.stdout.splitlines()[-1])
    if "errno" in result:
        raise OSError(result["errno"], result["strerror"])
    if "error" in result:
        raise (ValueError if result["kind"] == "ValueError" else FfedgeError)(result["error"])
    return result["answer"]


def variables() -> dict[str, str]:
    """Return the environment in which Python finds this very package."""
    path = [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, path))}


def serve(answer: Callable[[dict[str, Any]], Any]) -> None:
    """Answer the one request that stands on standard input: the child's side of `ask`."""
    try:
        result = {"answer": answer(json.load(sys.stdin))}
    except OSError as error:
        result = {"errno": error.errno, "strerror": error.strerror}
    except (FfedgeError, ValueError) as error:
        result = {"error": str(error), "kind": type(error).__name__}
    print(json.dumps(result))
