"""The work of deploy.py's children: time ways to predict with each form of a model file, and processes that do."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ffedge.compare.child import serve
from ffedge.compare.inference import labels_of, rounds, ways
from ffedge.compare.runner import thread_variables
from ffedge.data import load

FLOORS = {  # what onnxruntime takes alone: timed beside `ffedge predict`
    "import": "import onnxruntime",
    "import, load, one row": (
        "import sys, numpy, onnxruntime\n"
        "session = onnxruntime.InferenceSession(sys.argv[1])\n"
        "shape = [size if isinstance(size, int) else 1 for size in session.get_inputs()[0].shape]\n"
        "session.run(['label'], {'input': numpy.zeros(shape, numpy.uint8)})"
    ),
}
LAUNCH = str(Path(__file__).with_name("launch.py"))
WAYS = {"ffedge-session": "session", "ffedge-predictor": "predictor"}


def picture(request: dict[str, Any]) -> dict[str, Any]:
    """Write the first test sample as a PNG."""
    from PIL import Image

    split = load(request["data"]).test
    Image.fromarray(split.inputs.take(np.arange(1))[0]).save(request["picture"])
    return {"label": int(split.labels[0])}


def timings(request: dict[str, Any]) -> dict[str, Any]:
    """Time all forms and ways in turns, by batch size; tell each form's bytes and accuracy."""
    split = load(request["data"]).test
    samples = next(split.inputs.blocks(len(split.labels)))
    arms, forms, first = {}, {}, None
    for form, path in request["models"].items():
        found = ways({"model": path, "threads": request["threads"], "arms": list(WAYS)})
        arms |= {f"{form} {name}": found[way] for way, name in WAYS.items()}
        labels = labels_of(found["ffedge-predictor"], samples)
        first = labels if first is None else first
        content = Path(path).read_bytes()
        forms[form] = {
            "bytes": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
            "accuracy": float((labels == split.labels).mean()),
            "labels_unlike_the_first": int((labels != first).sum()),
        }
    sizes = request["batch_sizes"]
    return {
        "forms": forms,
        "samples": len(samples),
        "call_s": {str(n): rounds(arms, samples, n, request) for n in sizes},
    }


def processes(request: dict[str, Any]) -> dict[str, Any]:
    """Run each form's ``ffedge predict`` and the floors in turns; return seconds and peaks of every run."""
    models, picture = request["models"], request["shown"]
    first = next(iter(models.values()))
    commands = {name: [sys.executable, "-c", text, first] for name, text in FLOORS.items()}
    for form, path in models.items():
        commands[form] = [sys.executable, "-m", "ffedge", "predict", path, picture]
    found: dict[str, Any] = {name: {"seconds": [], "rss_peak_bytes": []} for name in commands}
    for turn in range(request["processes"] + 1):
        for name, command in commands.items():
            measured = launched(command, f"{picture}.txt")
            if turn:  # the first turn brings the files into the page cache
                for key, values in found[name].items():
                    values.append(measured[key])
    return found


def launched(command: Sequence[str], output: str) -> dict[str, float]:
    """Run a command by launch.py.

    Raises
    ------
    RuntimeError
        It failed, or took less memory than launch.py itself, so that its peak is not known.
    """
    words = [sys.executable, "-I", "-S", LAUNCH, output, *command]
    plain = {name: value for name, value in os.environ.items() if name not in thread_variables(1)}  # as a user runs it
    done = subprocess.run(words, capture_output=True, text=True, check=True, env=plain)
    measured: dict[str, float] = json.loads(done.stdout)
    if measured["code"] != 0:
        raise RuntimeError(f"{' '.join(command)}: failed\n{done.stderr}")
    if measured["rss_peak_bytes"] <= measured["own_peak_bytes"]:
        raise RuntimeError(f"{' '.join(command)}: its peak cannot be told from launch.py's own")
    return measured


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Do what is asked for."""
    if "picture" in request:
        return picture(request)
    return processes(request) if "processes" in request else timings(request)


if __name__ == "__main__":
    serve(answer)
