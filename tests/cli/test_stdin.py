"""ffedge predict MODEL -: a JSON line for each line of standard input, at once, until it ends or is asked to stop."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from ffedge import Predictor
from ffedge.compare.child import variables
from tests.cli.conftest import CLASSES, Ffedge, Outcome, bars, spawn

IMAGES = bars(40, 3)[0]
PATIENCE_S = 60
ENVIRONMENT = {name: value for name, value in variables().items() if name != "PYTHONUNBUFFERED"}


class Talk:
    """A command that reads lines, in a process of its own."""

    def __init__(self, *words: object) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "ffedge", *map(str, words)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=ENVIRONMENT,
        )

    def ask(self, line: object) -> dict[str, object]:
        """Write a line, and return the answer, which must come while the input stays open."""
        assert self.process.stdin
        assert self.process.stdout
        text = line if isinstance(line, bytes) else json.dumps(line).encode()
        self.process.stdin.write(text + b"\n")
        self.process.stdin.flush()
        timer = threading.Timer(PATIENCE_S, self.process.kill)
        timer.start()
        answer = self.process.stdout.readline()
        timer.cancel()
        assert answer, self.process.stderr and self.process.stderr.read()
        return dict(json.loads(answer))

    def end(self) -> tuple[int, str, str]:
        """Close the input; return the exit code and what was still printed."""
        out, err = self.process.communicate(timeout=PATIENCE_S)
        return self.process.returncode, out.decode(), err.decode()


@pytest.fixture
def model(run_folder: Path) -> Path:
    return run_folder / "model.onnx"


@pytest.fixture
def talk(model: Path) -> Iterator[Talk]:
    with Talk("predict", model, "-").process as process:
        result = Talk.__new__(Talk)
        result.process = process
        yield result
        process.kill()


def test_each_line_is_answered_before_the_next_is_written(talk: Talk, model: Path) -> None:
    wanted = Predictor(model).predict(IMAGES[:3])
    for i, image in enumerate(IMAGES[:3]):
        found = talk.ask({"input": image.tolist(), "id": f"n{i}"})
        assert found["id"] == f"n{i}"
        assert (found["class"], found["label"]) == (wanted.label[i], str(wanted.label[i]))
        assert found["score"] == pytest.approx(wanted.scores[i].max(), rel=1e-4)
        assert found["margin"] == pytest.approx(wanted.margin[i], rel=1e-3)
        assert found["known"] == wanted.known[i]
    assert talk.end() == (0, "", "")


def test_a_sample_is_nested_or_flat_with_an_id_or_without(talk: Talk) -> None:
    image = IMAGES[0]
    answers = [
        talk.ask(given)
        for given in (
            image.tolist(),
            image.ravel().tolist(),
            {"input": image.ravel().tolist()},
            {"id": None, "input": image.astype(float).tolist()},
        )
    ]
    assert answers[3].pop("id") is None
    assert answers[0] == answers[1] == answers[2] == answers[3]
    assert "id" not in answers[0]


BAD = [
    (b"{", "is no JSON (Expecting property name enclosed in double quotes at character"),
    (b"\xff\xfe", ""),
    (b"3", "must be a list of 36 numbers, got int"),
    (b'{"id": 4}', "must have input, and beside it only id, got id"),
    (b'{"input": [1], "x": 2}', "must have input, and beside it only id, got input, x"),
    (b"[1, 2]", "must have shape [6, 6] or [36], got [2]"),
    (b"[[1, 2], [3]]", "its lists are not of one length"),
    (json.dumps(["1"] * 36).encode(), "must be numbers"),
    (json.dumps([None] * 36).encode(), "its numbers are beyond 64 bits, or missing"),
    (json.dumps([True] * 36).encode(), "must be numbers"),
    (json.dumps({"id": True, "input": [[1] * 6] * 5 + [[0.5] * 5 + [False]]}).encode(), "must be numbers"),
    (json.dumps([0.5] * 36).encode(), "must be whole numbers from 0 to 255"),
    (json.dumps([256] * 36).encode(), "must be whole numbers from 0 to 255"),
    (json.dumps([float("nan")] * 36).encode(), "must be whole numbers from 0 to 255"),
    (json.dumps([10**400] * 36).encode(), "its numbers are beyond 64 bits, or missing"),
    (b"[" * 5000, "is nested too deeply"),
    (b"1" * 100_000, "longer than"),
]


def test_a_bad_line_is_answered_with_its_number_and_the_next_one_counts_again(talk: Talk) -> None:
    good = talk.ask(IMAGES[0].tolist())
    for number, (line, message) in enumerate(BAD, 2):
        found = talk.ask(line)
        assert found["line"] == number
        assert message in str(found["error"]), line[:40]
    assert talk.ask({"input": [], "id": 7})["id"] == 7
    assert talk.ask(IMAGES[0].tolist()) == good
    code, out, err = talk.end()
    assert (code, out) == (0, "")
    assert len(err.splitlines()) == len(BAD) + 1
    assert err.splitlines()[2] == "ffedge: stdin, line 4: must be a list of 36 numbers, got int"


def run(model: Path, text: str, *flags: str) -> Outcome:
    """Give a command all its input at once."""
    return spawn("predict", model, "-", *flags, text=text)


def test_strict_ends_at_the_first_bad_line_with_one_line(model: Path) -> None:
    line = json.dumps(IMAGES[0].tolist())
    done = run(model, f"{line}\n\noops\n{line}\n", "--strict")
    assert done.code == 1
    assert len(done.out.splitlines()) == 1
    assert done.line.startswith("ffedge: stdin, line 3: is no JSON (Expecting value at character 0). Leave out --st")


def test_blank_lines_are_passed_over_and_the_last_line_needs_no_end(model: Path) -> None:
    line = json.dumps(IMAGES[0].tolist())
    done = run(model, f"\n  \n{line}\n\n{line}")
    assert (done.code, len(done.out.splitlines())) == (0, 2)


def test_no_input_is_no_answer(model: Path) -> None:
    done = run(model, "")
    assert (done.code, done.out, done.err) == (0, "", "")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("idle_s", [0, 1])
def test_a_signal_ends_it_in_good_order(talk: Talk, number: int, idle_s: int) -> None:
    talk.ask(IMAGES[0].tolist())
    time.sleep(idle_s)  # it waits for a line; without, it may still be at work
    os.kill(talk.process.pid, number)
    assert talk.process.wait(PATIENCE_S) == 0
    assert talk.end() == (0, "", "")


def test_a_reader_that_has_gone_is_no_traceback(talk: Talk) -> None:
    talk.ask(IMAGES[0].tolist())
    assert talk.process.stdin
    assert talk.process.stdout
    talk.process.stdout.close()
    talk.process.stdin.write(json.dumps(IMAGES[0].tolist()).encode() + b"\n")
    talk.process.stdin.flush()
    assert talk.process.wait(PATIENCE_S) == 1
    assert talk.process.stderr
    assert talk.process.stderr.read() == b""


def test_stdin_stands_alone(ffedge: Ffedge, model: Path) -> None:
    done = ffedge("predict", model, "-", "x.npy")
    assert (done.code, done.line) == (2, "ffedge: - must stand alone: samples come from stdin or from files")


def anonymous_kb(pid: int) -> int:
    """Return the memory that no file backs: code that was given back returns when it is used again."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("RssAnon")))


def test_memory_does_not_grow_with_the_lines(talk: Talk) -> None:
    line = {"input": IMAGES[0].tolist(), "id": "x" * 100}
    for _ in range(300):
        talk.ask(line)
    before = anonymous_kb(talk.process.pid)
    for _ in range(3000):
        talk.ask(line)
    assert anonymous_kb(talk.process.pid) - before < 512


def test_an_answer_takes_only_what_it_needs(model: Path) -> None:
    done = spawn("predict", model, "-", text=json.dumps(IMAGES[0].tolist()), python=("-X", "importtime"))
    loaded = {line.rpartition("|")[2].strip() for line in done.err.splitlines()}
    assert json.loads(done.out)["class"] in range(CLASSES)
    assert {"onnxruntime", "ffedge.predict.predictor"} <= loaded
    assert not loaded & {"ffedge.data", "ffedge.training", "numpy.random", "onnx", "torch", "tempfile"}


def test_the_whole_process_stays_below_60_megabytes(talk: Talk) -> None:
    talk.ask(np.zeros(36).tolist())
    status = Path(f"/proc/{talk.process.pid}/status").read_text()
    peak = 1024 * int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))
    assert peak < 60e6
