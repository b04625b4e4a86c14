"""A fleet in Flower's own deployment, on this machine: what a board's processes take, and a round's seconds.

    python bench/fleet_flower.py

Needs ``ffedge[fleet]``. It follows docs/fleet.md to the letter, but for names of hosts, ports and folders:
certificates, a SuperLink that asks for keys, SuperNodes with one each, and the app. The boards share 3,000 rows of
mnist-mini.
"""

import contextlib
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from common import ROOT, arguments, write_results

import ffedge

FIRST, ROWS, LIMIT_S = 300, 3000, 240
BLOCKS = dict(re.findall(r"(?ms)^<!-- fleet: (\w+) -->\n```\w+\n(.*?)^```", (ROOT / "docs" / "fleet.md").read_text()))


def main() -> None:
    """Run a fleet and write the result."""
    parser = arguments(__doc__)
    parser.add_argument("--boards", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=4)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = run(Path(folder), options.boards, options.rounds)
    print("\n".join(result.pop("said")))
    print(result)
    write_results("fleet-flower", options, result, ["flwr", "onnxruntime"])


def run(folder: Path, boards: int, rounds: int, **settings: object) -> dict[str, Any]:
    """Let boards learn together in a folder; return what was measured, and what the server said.

    Raises
    ------
    RuntimeError
        It took too long, or a command failed; its output is in the text.
    """
    digits = _prepare(folder, boards)
    before = _accuracy(folder / "model.onnx", digits)
    port, ports = _free_port(), [_free_port() for _ in range(boards)]
    names = {"fleet.example": "localhost", "8000": str(port), "/srv/fleet": str(folder)}
    names["rounds = 10"] = "\n".join([f"rounds = {rounds}", *(f"{k} = {v!r}" for k, v in settings.items())])
    blocks = {name: _replaced(text, names) for name, text in BLOCKS.items()}
    for name, place in (("app", "boards/pyproject.toml"), ("config", "home/config.toml")):
        (folder / place).parent.mkdir(exist_ok=True)
        (folder / place).write_text(blocks[name])
    _sh(blocks["certificate"], folder)
    with contextlib.ExitStack() as stack:
        stack.enter_context(_background(blocks["server"], folder, "server.log"))
        _wait_for(port)
        nodes = []
        for board, own in enumerate(ports):
            key = {
                "board-key": f"board-{board}",
                "/home/pi/model": f"{folder}/{board}",
                "/home/pi/today": f"{folder}/{board}",
            }
            _sh(_replaced(blocks["key"], key), folder)
            _sh(_replaced(blocks["run"].splitlines()[0], key), folder)
            started = f"{_replaced(blocks['board'], key).rstrip()} --port {own}\n"
            nodes.append(stack.enter_context(_background(started, folder, f"board-{board}.log")))
        began, peak, file = time.perf_counter(), 0, folder / "run.log"
        with _background(blocks["run"].splitlines()[1], folder, file.name) as running:
            while running.poll() is None:
                if time.perf_counter() - began > LIMIT_S:
                    raise RuntimeError(f"the run took longer than {LIMIT_S} s: {file.read_text()[-2000:]}")
                peak = max(peak, _bytes_of_tree(nodes[0].pid))
                time.sleep(0.3)
        seconds = time.perf_counter() - began
    said = re.sub(r"\x1b\[\d+m", "", file.read_text())
    if not (folder / "next.onnx").exists():
        raise RuntimeError(f"no model was written: {said[-3000:]}")
    return {
        "accuracy_before": before,
        "accuracy_after": _accuracy(folder / "next.onnx", digits),
        "seconds": seconds,
        "board_peak_pss_bytes": peak,
        "model_bytes": (folder / "model.onnx").stat().st_size,
        "rounds": re.findall(r"round \d+: .* up", said),
        "said": said.splitlines(),
    }


def _prepare(folder: Path, boards: int) -> Any:
    """Train what all begin from, and give each board a copy with its kept examples, and rows of its own."""
    digits = ffedge.load("mnist-mini")
    images, labels = digits.train.inputs.take(np.arange(ROWS)), np.array(digits.train.labels[:ROWS])
    spec = ffedge.Spec.make(widths=(100, 100), epochs=5)
    first = ffedge.train(spec, [(images[:FIRST], labels[:FIRST])], out=folder / "first", progress=False)
    shutil.copy(first.model, folder / "model.onnx")
    for board in range(boards):
        part = slice(FIRST + board, None, boards)
        np.savez(folder / f"{board}.npz", x=images[part], y=labels[part])
        shutil.copy(first.model, folder / f"{board}.onnx")
        shutil.copy(first.path / "model.kept.safetensors", folder / f"{board}.kept.safetensors")
    return digits


def _accuracy(model: Path, digits: Any) -> float:
    return ffedge.evaluate(ffedge.Predictor(model), digits).accuracy


def _replaced(text: str, names: dict[str, str]) -> str:
    for name, other in names.items():
        text = text.replace(name, other)
    return text


def _environment(folder: Path) -> dict[str, str]:
    paths = {"PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])}
    paths["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    return os.environ | paths | {"FLWR_HOME": str(folder / "home"), "FLWR_DISABLE_UPDATE_CHECK": "1"}


def _sh(text: str, folder: Path) -> None:
    done = subprocess.run(
        ["sh", "-ec", text],
        cwd=folder,
        env=_environment(folder),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{text}: {done.stdout[-1000:]}{done.stderr[-1000:]}")


@contextlib.contextmanager
def _background(text: str, folder: Path, log: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run commands of a shell until the block ends; the last one takes the shell's place."""
    *before, last = text.replace("\\\n", " ").strip().splitlines()
    script = "\n".join([*before, f"exec {last}"])
    with (folder / log).open("wb") as file:
        process = subprocess.Popen(
            ["sh", "-ec", script], cwd=folder, env=_environment(folder), stdout=file, stderr=subprocess.STDOUT
        )
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def _wait_for(port: int) -> None:
    for _ in range(300):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.2)
    raise RuntimeError("the SuperLink does not answer")


def _bytes_of_tree(pid: int) -> int:
    """Return the proportional resident memory of a process and all its children."""
    total = 0
    with contextlib.suppress(OSError, ValueError, StopIteration):
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        total = 1024 * next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            total += sum(_bytes_of_tree(int(child)) for child in (task / "children").read_text().split())
    return total


if __name__ == "__main__":
    main()
