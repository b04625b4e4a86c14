"""The fuzzer's worker: does with a hostile file what a user would do, and judges what comes of it.

Run by fuzz.py in a process of its own; one JSON request a line on stdin, one JSON answer a line on stdout.
"""

import contextlib
import io
import json
import os
import resource
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import ffedge
from ffedge.cli import main
from ffedge.data import read_inputs
from ffedge.errors import FfedgeError
from ffedge.meter import PeakMeter, rss_bytes
from ffedge.spikes import SpikingPredictor
from ffedge.training.checkpoint import Checkpoints
from ffedge.training.folder import export, stored
from ffedge.training.records import Report
from ffedge.training.run import train

ADDRESS_SPACE_BYTES = 6 << 30  # so that a runaway allocation ends this process and not the machine
ROWS = 256


class Finding(Exception):
    """Something happened that must not."""


class Judge:
    """Runs one action after another on a file and notes what each came to."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.refusals: list[str] = []

    def call(self, action: Callable[[], Any], *, names_file: bool = True) -> Any:
        """Run a call of the library; None where it refused the file as it should.

        Raises
        ------
        Finding
            It raised something else, or its message is no single line that names the file.
        """
        try:
            return action()
        except (FfedgeError, ValueError) as error:
            self._line(str(error), names_file)
            if type(error).__module__ == "builtins" and type(error) is not ValueError:
                raise Finding(f"{type(error).__name__}: {error}") from error
            return None

    def command(self, *words: object, names_file: bool = True) -> bool:
        """Run a command line in this process; return whether it went well."""
        out, err = io.StringIO(), io.StringIO()
        sys.argv = ["ffedge", *map(str, words)]
        code: Any = 0
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                main()
            except SystemExit as stop:
                code = stop.code or 0
        check_exit(code, err.getvalue(), str(self.path.parent) if names_file else "")
        out.getvalue().encode()  # what cannot be printed
        return code == 0

    def _line(self, text: str, names_file: bool) -> None:
        if len(text.splitlines()) != 1:
            raise Finding(f"message of {len(text.splitlines())} lines: {text[:300]!r}")
        if len(text) > 2000:
            raise Finding(f"message of {len(text)} characters: {text[:300]!r}")
        if names_file and str(self.path.parent) not in text:
            raise Finding(f"message does not name the file: {text[:300]!r}")
        self.refusals.append(text)


def check_exit(code: Any, err: str, name: str) -> None:
    """Hold a command's exit code and standard error against the promise.

    Raises
    ------
    Finding
        The code is none of 0, 1 and 2, or standard error holds something other than one line, which names the file.
    """
    lines = err.splitlines()
    if code not in (0, 1, 2) or "Traceback" in err:
        raise Finding(f"exit code {code}: {err[-500:]!r}")
    if code and (len(lines) != 1 or not err.startswith("ffedge: ") or name not in err):
        raise Finding(f"exit code {code} with stderr {err[:500]!r}")


def use(request: dict[str, Any]) -> str:
    """Do what a user would do with the file; return ``read`` or ``refused``."""
    path = Path(request["path"])
    judge = Judge(path)
    _USES[request["kind"]](judge, path, request)
    return "refused" if judge.refusals else "read"


def _use_data(judge: Judge, path: Path, request: dict[str, Any]) -> None:
    dataset = judge.call(lambda: ffedge.load(path))
    if dataset is not None:
        judge.call(lambda: _read_all(dataset))
        if request["long"]:
            spec = ffedge.Spec.make(widths=(4,), epochs=1, batch_size=8, threads=1)
            judge.call(lambda: train(spec, dataset, Path(request["out"]), stop=lambda: True), names_file=False)
    inputs = judge.call(lambda: read_inputs(path, (6, 6), "uint8"))
    if inputs is not None:
        judge.call(lambda: list(inputs.blocks(ROWS)))
    words = (("data", "fetch", path), ("eval", request["model"], "--data", path), ("predict", request["model"], path))
    judge.command(*words[request["turn"] % 3], names_file=False)  # eval names the data set alone where it does not fit


def _read_all(dataset: ffedge.Dataset) -> None:
    for split in filter(None, (dataset.train, dataset.test)):
        for start in range(0, len(split.inputs), ROWS):
            split.inputs.take(np.arange(start, min(start + ROWS, len(split.inputs))))


def _use_image(judge: Judge, path: Path, request: dict[str, Any]) -> None:
    judge.call(lambda: read_inputs(path, (6, 6), "uint8", resize=request["turn"] % 2 == 0))
    judge.command("predict", request["model"], path, *(["--resize"] if request["turn"] % 3 else []))


def _use_model(judge: Judge, path: Path, request: dict[str, Any]) -> None:
    predictor = judge.call(lambda: ffedge.Predictor(path, threads=1))
    if predictor is not None:
        row = np.zeros(predictor.facts.shape, predictor.facts.dtype)
        judge.call(lambda: predictor.predict(row))
        judge.call(lambda: predictor.predict(np.stack([row] * 300), layers=True))
        judge.call(lambda: _learn(path), names_file=False)
    words = (
        ("info", path),
        ("info", path, "--json"),
        ("eval", path, "--data", request["data"], "--threads", 1),
        ("predict", path, request["data"].replace("data.npz", "x.npy"), "--threads", 1),
        ("eval", path, "--threads", 1),
    )
    judge.command(*words[request["turn"] % 5], names_file=False)  # where the data do not suit it, they are named


def _learn(path: Path) -> None:
    """Learn from a few rows, as a stream would."""
    learner = ffedge.Learner(path, threads=1, kept_bytes=0)
    rows = np.zeros((8, *learner.facts.shape), learner.facts.dtype)
    learner.observe(rows, np.arange(8) % len(learner.classes))
    learner.predict(rows)


def _use_nir(judge: Judge, path: Path, request: dict[str, Any]) -> None:
    _spikes(judge, path, 0.1 if request["turn"] % 2 else None)
    inputs = request["data"].replace("data.npz", "x.npy")
    words = (
        ("predict", path, inputs, "--timesteps", 4),
        ("predict", path, inputs, "--timesteps", 20, "--margin", 0.1, "--json"),
        ("eval", path, "--data", request["data"], "--timesteps", "1,4"),
        ("eval", path, "--timesteps", 2),
        ("info", path),
    )
    judge.command(*words[request["turn"] % 5], names_file=False)  # where the data do not suit it, they are named


def _spikes(judge: Judge, path: Path, margin: float | None) -> None:
    """Predict a few samples; the network, which may be of 64 MB, ends with this function."""
    predictor = judge.call(lambda: SpikingPredictor(path, timesteps=4, margin=margin))
    if predictor is not None:
        row = np.full(predictor.facts.shape, 200, predictor.facts.dtype)
        judge.call(lambda: predictor.predict(np.stack([row, row // 2, 0 * row]), layers=True))


def _use_report(judge: Judge, path: Path, request: dict[str, Any]) -> None:
    judge.call(lambda: Report.read(path))
    judge.command("report", path.parent, *(["--json"] if request["turn"] % 2 else []))


def _use_run(judge: Judge, path: Path, request: dict[str, Any]) -> None:
    judge.path = path / "checkpoint"
    checkpoints = Checkpoints(path / "checkpoint")
    judge.call(checkpoints.newest)
    judge.call(lambda: stored(path))
    judge.call(lambda: checkpoints.load(request["about"]))
    if request["long"]:
        if request["turn"] % 2:
            judge.call(lambda: export(path, Path(request["out"])))
            return
        judge.call(lambda: train(None, None, path, resume=True, stop=lambda: True), names_file=False)


_USES: dict[str, Callable[[Judge, Path, dict[str, Any]], None]] = {
    "idx": _use_data,
    "npy": _use_data,
    "npz": _use_data,
    "image": _use_image,
    "model": _use_model,
    "nir": _use_nir,
    "report": _use_report,
    "safetensors": _use_run,
}


def _answer(request: dict[str, Any]) -> dict[str, Any]:
    meter = PeakMeter()
    start, began, text = meter.start(), time.perf_counter(), ""
    try:
        outcome = use(request)
    except Finding as finding:
        outcome, text = "finding", str(finding)
    except BaseException as error:
        where = traceback.extract_tb(error.__traceback__)
        ours = [f"{Path(f.filename).name}:{f.lineno}" for f in where if "ffedge" in f.filename]
        outcome, text = "finding", f"{type(error).__name__}: {str(error)[:300]} (at {', '.join(ours[-3:])})"
    seconds, peak = time.perf_counter() - began, meter.peak()
    return {
        "outcome": outcome,
        "text": text,
        "seconds": seconds,
        "rss_start_bytes": start,
        "rss_peak_bytes": peak,
        "rss_bytes": rss_bytes(),
    }


def serve() -> None:
    """Answer requests until stdin ends."""
    answers = os.fdopen(os.dup(1), "w")  # what ffedge or a library prints must not mix with the answers
    os.dup2(2, 1)
    warnings.simplefilter("error")  # it would stand on stderr
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE_BYTES, ADDRESS_SPACE_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for line in sys.stdin:
        print(json.dumps(_answer(json.loads(line))), file=answers, flush=True)


if __name__ == "__main__":
    serve()
