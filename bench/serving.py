"""Requests a second on one core, and how long they take: docs/serving.md's program under the load tool hey.

    python bench/serving.py         # needs the extra serve, and hey: apt install hey

The server runs on one core, hey on another. Clients ask again as soon as they are answered. README.md says how to read
the result.
"""

import contextlib
import csv
import io
import json
import os
import re
import shlex
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from common import ROOT, arguments, ffedge, table, write_results

from ffedge.data import load

PAGE = ROOT / "docs" / "serving.md"
SERVER_CORE, CLIENT_CORE = 0, 1
START_S = 30


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--data", default="mnist-mini")
    parser.add_argument("--widths", default="500,500")
    parser.add_argument("--requests", type=int, default=4000, help="of one round")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 24])
    parser.add_argument("--rows", type=int, nargs="+", default=[1, 20], help="pictures of a request")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        spec = ["--data", options.data, "--widths", options.widths, "--epochs", 1]
        ffedge("train", *spec, "--out", folder / "run")
        bodies = {rows: body(folder, options.data, rows) for rows in options.rows}
        arms = [(rows, clients) for rows in options.rows for clients in options.clients]
        with served(folder / "run" / "model.onnx", folder, pinned(SERVER_CORE)) as server:
            for rows, clients in arms:  # so that nothing is done for the first time when it is measured
                loaded(server, bodies[rows], 20 * clients, clients)
            rounds = [
                {"rows": rows, "clients": clients, "learning": False}
                | loaded(server, bodies[rows], options.requests // rows, clients)
                for _ in range(options.rounds)
                for rows, clients in arms
            ]
            rounds += [learning(server, bodies, options) for _ in range(options.rounds)]
            peak = server.peak_bytes()
        plain = ["env", *(word for name in environment() if "MALLOC" in name for word in ("-u", name))]
        with served(folder / "run" / "model.onnx", folder, [*pinned(SERVER_CORE), *plain]) as server:
            learnt = sum(learning(server, bodies, options)["learnt"] for _ in range(options.rounds))
            found = {"rounds": rounds, "rss_peak_bytes": peak, "plain_malloc": {"learnt": learnt}}
            found["plain_malloc"]["rss_peak_bytes"] = server.peak_bytes()
    print(report(rounds))
    print(f"peak {peak / 1e6:.0f} MB; with malloc as it comes {found['plain_malloc']['rss_peak_bytes'] / 1e6:.0f} MB")
    write_results("serving", options, found, ["starlette", "uvicorn"])


def example(name: str) -> str:
    """Return a block of docs/serving.md."""
    return re.findall(rf"^<!-- example: {re.escape(name)} -->\n```\w+\n(.*?)^```$", PAGE.read_text(), re.M | re.S)[0]


def environment() -> dict[str, str]:
    """Return the variables of docs/serving.md's unit, but for those that name its folders."""
    lines = re.findall(r"^Environment=(.*)$", example("ffedge-http.service"), re.M)
    pairs = dict(pair.split("=", 1) for line in lines for pair in line.split())
    return {name: value for name, value in pairs.items() if not value.startswith("/")}


class Server:
    """The program of docs/serving.md in a process of its own, started by the words of its unit."""

    def __init__(self, process: subprocess.Popen[str], port: int) -> None:
        self.process, self.port, self.url = process, port, f"http://127.0.0.1:{port}"

    def ask(self, path: str, sent: Any = None) -> Any:
        """Send JSON, or bytes as they are; return the JSON that comes, or the text where it is none."""
        data = sent if isinstance(sent, bytes) or sent is None else json.dumps(sent).encode()
        with urllib.request.urlopen(urllib.request.Request(f"{self.url}/{path}", data), timeout=START_S) as answer:
            text = answer.read().decode()
        return json.loads(text) if answer.headers.get_content_type() == "application/json" else text

    def peak_bytes(self) -> int:
        """Return the most memory that the process has taken."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return 1024 * int(re.search(r"VmHWM:\s+(\d+)", status)[1])


@contextlib.contextmanager
def served(model: Path, folder: Path, before: Sequence[str] = ()) -> Iterator[Server]:
    """Serve a model by docs/serving.md from a folder, `before` standing before its words; it ends by SIGTERM."""
    (folder / "serve.py").write_text(example("serve.py"))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    line = re.search(r"^ExecStart=\S+/uvicorn (.*)$", example("ffedge-http.service"), re.M)[1]
    words = [*before, sys.executable, "-m", "uvicorn", *shlex.split(line.replace("--port 8000", f"--port {port}"))]
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    variables = os.environ | environment() | {"MODEL": str(model.resolve()), "PYTHONPATH": path}
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(words, cwd=folder, env=variables, stdout=log, stderr=log, text=True)
    try:
        server, until = Server(process, port), time.monotonic() + START_S
        while True:
            with contextlib.suppress(OSError):
                server.ask("health")
                break
            if process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"the server did not start:\n{(folder / 'log').read_text()}")
            time.sleep(0.05)
        yield server
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(START_S)


def loaded(server: Server, body: Path, requests: int, clients: int) -> dict[str, Any]:
    """Send a body to /predict many times by hey; return requests a second, how long they took, and their statuses."""
    requests = max(1, requests // clients) * clients
    words = [*pinned(CLIENT_CORE), "hey", "-n", str(requests), "-c", str(clients), "-m", "POST", "-D", str(body)]
    words += ["-T", "application/json", "-o", "csv", f"{server.url}/predict"]
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    seconds = sorted(float(row["response-time"]) for row in rows)
    statuses = [int(row["status-code"]) for row in rows]
    return {
        "sent": requests,
        "statuses": {str(status): statuses.count(status) for status in sorted(set(statuses))},
        "requests_per_s": len(rows) / max(float(row["offset"]) + float(row["response-time"]) for row in rows),
        "p50_s": statistics.median(seconds),
        "p99_s": float(np.quantile(seconds, 0.99)),
        "most_s": seconds[-1],
    }


def pinned(core: int) -> list[str]:
    """Return the words that keep a command to one core."""
    return ["taskset", "--cpu-list", str(core % (os.cpu_count() or 1))]


def body(folder: Path, data: str, rows: int) -> Path:
    """Write a request to predict some pictures."""
    path = folder / f"{rows}.json"
    path.write_text(json.dumps({"input": load(data).train.inputs.take(np.arange(rows)).tolist()}))
    return path


def learning(server: Server, bodies: dict[int, Path], options: Any) -> dict[str, Any]:
    """Measure 8 clients that predict one picture while another teaches 20 others as often as it is answered."""
    train, seconds, learnt, over = load(options.data).train, list[float](), list[int](), threading.Event()

    def teach() -> None:
        while not over.is_set():
            places, began = np.arange(20) + 20 * len(seconds), time.perf_counter()
            sent = {"input": train.inputs.take(places).tolist(), "label": train.labels[places].tolist()}
            with contextlib.suppress(urllib.error.HTTPError):  # 409: it cost accuracy, and the model stands as it was
                server.ask("learn", sent)
                learnt.append(len(places))
            seconds.append(time.perf_counter() - began)

    teacher = threading.Thread(target=teach)
    teacher.start()
    try:
        found = loaded(server, bodies[options.rows[0]], options.requests, 8)
    finally:
        over.set()
        teacher.join()
    return {"rows": options.rows[0], "clients": 8, "learning": True, "learn_s": seconds, "learnt": len(learnt)} | found


def report(found: list[dict[str, Any]]) -> str:
    """Lay out the medians of all rounds."""
    arms = dict.fromkeys((one["rows"], one["clients"], one["learning"]) for one in found)
    lines = []
    for rows, clients, learns in arms:
        mine = [one for one in found if (one["rows"], one["clients"], one["learning"]) == (rows, clients, learns)]
        figures = {name: statistics.median(one[name] for one in mine) for name in ("requests_per_s", "p50_s", "p99_s")}
        times = (f"{1e3 * figures[name]:.1f}" for name in ("p50_s", "p99_s"))
        lines.append(
            (f"{rows} rows{', learning' if learns else ''}", clients, f"{figures['requests_per_s']:,.0f}", *times)
        )
    return table(("request", "clients", "requests/s", "p50 ms", "p99 ms"), lines)


if __name__ == "__main__":
    main()
