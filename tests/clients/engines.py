"""Engines that run a model.onnx, and whether they are installed: a model file and rows in, all outputs out."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

ENVIRONMENT = Path(sys.prefix)  # of tests/clients/install
RUN_MJS = Path(__file__).parent / "run.mjs"
BATCHES = (1, 7, 992)


def need(what, there):
    """Skip a test without its engine, or fail it where all must be there."""
    if not there:
        wanted = os.environ.get("FFEDGE_ALL_CLIENTS")
        (pytest.fail if wanted else pytest.skip)(f"needs {what}, not installed here (tests/clients/install FOLDER)")


def installed(engine):
    """Tell whether an engine's package is there."""
    return bool(find_spec(engine)) if engine in IN_PYTHON else (ENVIRONMENT / "node_modules" / engine).is_dir()


def in_python(make, model, rows):
    """Run a model batch by batch; return its outputs by name, or the text of what went wrong."""
    try:
        run, parts = make(str(model)), []
        for end, count in zip(np.cumsum(BATCHES), BATCHES, strict=True):
            parts.append(run(rows[end - count : end]))
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def onnxruntime(model):
    """Plain onnxruntime, as a stranger would load a model."""
    import onnxruntime as ort

    session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return lambda rows: dict(zip(names, session.run(names, {"input": rows}), strict=True))


def openvino(model):
    """OpenVINO in float32: some processors are given bfloat16 otherwise."""
    import openvino as ov

    compiled = ov.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    names = [output.any_name for output in compiled.outputs]

    def run(rows):
        found = compiled(rows)
        return {name: np.array(found[name]) for name in names}

    return run


def tract(model):
    """Run by tract, whose outputs have the order of the graph's, and no names."""
    import onnxruntime as ort
    import tract as engine

    names = [output.name for output in ort.InferenceSession(model).get_outputs()]
    runnable = engine.onnx().load(model).into_model().into_runnable()
    return lambda rows: dict(zip(names, [t.to_numpy() for t in runnable.run([rows])], strict=True))


IN_PYTHON = {"onnxruntime": onnxruntime, "openvino": openvino, "tract": tract}
ENGINES = ("onnxruntime-node", "onnxruntime-web", "openvino", "tract")


def in_node(engine, models, rows, folder):
    """Run all models in one process of Node."""
    (folder / "run.mjs").write_text(RUN_MJS.read_text())  # Node looks for packages beside the file
    (folder / "node_modules").symlink_to(ENVIRONMENT / "node_modules")
    jobs = []
    for number, (name, model) in enumerate(models.items()):
        values = rows(name)
        values.tofile(folder / f"{number}.input")
        shape = {"type": values.dtype.name, "shape": values.shape[1:], "batches": BATCHES}
        paths = {"model": str(model), "input": str(folder / f"{number}.input"), "out": str(folder / str(number))}
        jobs.append(shape | paths)
    done = subprocess.run(
        ["node", "run.mjs", engine], input=json.dumps(jobs), cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    told = [json.loads(line) for line in done.stdout.splitlines()]
    return {name: of_node(answer, job["out"]) for name, answer, job in zip(models, told, jobs, strict=True)}


def of_node(answer, out):
    """Read what run.mjs wrote."""
    if "error" in answer:
        return answer["error"]
    return {name: np.fromfile(f"{out}.{name}", told["type"]).reshape(told["dims"]) for name, told in answer.items()}
