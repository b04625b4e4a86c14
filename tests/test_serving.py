"""docs/serving.md's program as it stands there: right answers under load, faults, a new model and a stop."""

import contextlib
import json
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from toys import clusters

pytest.importorskip("starlette", reason="needs starlette, which is not installed")
pytest.importorskip("uvicorn", reason="needs uvicorn, which is not installed")

import serving

from ffedge import Predictor, Spec, train

BODY_S = 5
PATHS = ("model.onnx", "model.kept.safetensors")
ROWS = clusters(rows=400).train.inputs.take(np.arange(8))
NAMES = clusters(rows=400).classes


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Train two models that differ."""
    folder = tmp_path_factory.mktemp("trained")
    for seed, name in enumerate("ab"):
        train(Spec.make(widths=(24, 20), epochs=3, seed=seed, threads=1), clusters(rows=400), folder / name)
    return folder


def put(source, folder):
    """Put a model in its place in one step, its kept examples first."""
    for name in reversed(PATHS):
        shutil.copy(source / name, folder / f".new-{name}")
        (folder / f".new-{name}").replace(folder / name)


@contextlib.contextmanager
def serves(trained, folder):
    put(trained / "a", folder)
    with serving.served(folder / "model.onnx", folder) as server:
        yield server


@pytest.fixture(scope="module")
def shared(trained, tmp_path_factory):
    """Serve model a to the tests that leave the server as it was."""
    with serves(trained, tmp_path_factory.mktemp("shared")) as server:
        yield server


@pytest.fixture
def server(trained, tmp_path):
    """Serve model a from a folder of its own."""
    with serves(trained, tmp_path) as server:
        yield server


def asks(rows):
    return json.dumps({"input": np.asarray(rows).tolist()}).encode()


def refused(server, path, sent):
    """Return the status of what is refused, and its one line."""
    with pytest.raises(urllib.error.HTTPError) as found:
        server.ask(path, sent)
    text = found.value.read().decode()
    with contextlib.suppress(ValueError):
        text = json.loads(text)["error"]
    assert text
    assert "\n" not in text
    return found.value.code, text


def not_known(server, sent):
    """Tell whether a sample is refused, or answered as not known, in JSON."""
    try:
        said = server.ask("predict", sent)
    except urllib.error.HTTPError as error:
        return error.code == 400
    return not any(said["known"]) and bool(json.dumps(said, allow_nan=False))


def begun(server, path, sent, length):
    """Begin a request over a plain socket; return the socket."""
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=3 * BODY_S)
    connection.sendall(f"POST /{path} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n".encode() + sent)
    return connection


def status(connection):
    with connection, connection.makefile("rb") as answer:
        return int(answer.readline().split()[1])


def same(said, model):
    """Tell whether an answer is just what a model says of ROWS."""
    found = Predictor(model, threads=1).predict(ROWS)
    names = [NAMES[label] for label in found.label]
    return said == {"label": names, "margin": found.margin.tolist(), "known": found.known.tolist(), "odd": {}}


def test_the_program_is_short():
    lines = [line for line in serving.example("serve.py").splitlines() if line]
    assert len([line for line in lines if not line.startswith(("import ", "from "))]) <= 46


def test_answers_are_the_models_own(shared, trained):
    assert same(shared.ask("predict", asks(ROWS)), trained / "a" / "model.onnx")
    assert shared.ask("health") == {"classes": list(NAMES), "fault": None}


BAD = {
    "no JSON": b'{"input": [[1, 2',
    "no UTF-8": b'{"input": "\xff"}',
    "no object": b"[1, 2]",
    "another field": b'{"input": [], "more": 1}',
    "no input": b"{}",
    "words": b'{"input": ["a", "b"]}',
    "uneven": b'{"input": [[1], [1, 2]]}',
    "another shape": asks(ROWS[:, :3]),
    "nested deeply": b'{"input": ' + b"[" * 100_000 + b"}",
    "a long number": b'{"input": ' + b"9" * 10_000 + b"}",
}


@pytest.mark.parametrize("kind", BAD)
def test_what_cannot_be_used_is_refused_in_one_line(shared, kind):
    assert refused(shared, "predict", BAD[kind])[0] == 400
    assert refused(shared, "learn", BAD[kind])[0] == 400
    assert shared.ask("predict", asks(ROWS))


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-1e999"])
def test_a_number_that_is_none_is_not_known_and_the_answer_is_json(shared, value):
    sent = asks([[None, *ROWS[0, 1:].tolist()]]).replace(b"null", value.encode())
    assert not_known(shared, sent)
    assert shared.ask("predict", sent)["odd"]["0"].startswith("input 0 is ")
    learnt = sent.replace(b"{", b'{"label": ["' + NAMES[0].encode() + b'"], ', 1)
    assert refused(shared, "learn", learnt) == (400, "every row is odd, and none was learnt from")


def test_a_body_that_is_too_large_is_refused_before_it_is_read(shared):
    with begun(shared, "predict", b"{", 10**9) as connection:
        assert status(connection) == 413
    assert refused(shared, "predict", b" " * 2**18)[0] == 413


def test_a_slow_client_is_sent_away_and_keeps_nobody_waiting(shared):
    slow = [begun(shared, "predict", b"{", 100) for _ in range(10)]
    silent = [socket.create_connection(("127.0.0.1", shared.port)) for _ in range(10)]
    began = time.monotonic()
    shared.ask("predict", asks(ROWS))
    assert time.monotonic() - began < BODY_S / 2
    assert [status(connection) for connection in slow] == [408] * 10
    assert BODY_S - 1 < time.monotonic() - began < 3 * BODY_S
    for connection in silent:
        connection.close()


def test_a_new_model_is_taken_up_and_no_answer_is_of_two(server, trained, tmp_path):
    assert not same(server.ask("predict", asks(ROWS)), trained / "b" / "model.onnx")
    over = threading.Event()

    def ask():
        found = []
        while not over.is_set():
            found.append(server.ask("predict", asks(ROWS)))
        return found

    with ThreadPoolExecutor(4) as pool:
        answers = [pool.submit(ask) for _ in range(4)]
        for name in "babab":
            time.sleep(0.2)
            put(trained / name, tmp_path)
            assert same(server.ask("predict", asks(ROWS)), trained / name / "model.onnx")
        over.set()
        found = [answer for future in answers for answer in future.result()]
    kinds = [answer for number, answer in enumerate(found) if answer not in found[:number]]
    assert len(kinds) == 2
    assert all(any(same(kind, trained / name / "model.onnx") for name in "ab") for kind in kinds)


def test_a_file_that_cannot_be_read_leaves_the_model_in_place_and_is_told(server, trained, tmp_path):
    model = tmp_path / "model.onnx"
    for spoil in (lambda: model.write_bytes(model.read_bytes()[:1000]), model.unlink):
        spoil()
        assert same(server.ask("predict", asks(ROWS)), trained / "a" / "model.onnx")
        assert "model.onnx" in server.ask("health")["fault"]
        assert refused(server, "learn", json.dumps({"input": ROWS.tolist(), "label": [0] * 8}).encode())[0] == 503
        put(trained / "a", tmp_path)
        assert server.ask("health")["fault"] is None


def test_what_is_learnt_is_on_disk_and_answers_from_then_on(server, tmp_path):
    model = tmp_path / "model.onnx"
    true = clusters(rows=400).train.labels[: len(ROWS)]
    sent = {"input": ROWS.tolist(), "label": [NAMES[label] for label in true]}

    def lead():
        scores = Predictor(model).predict(ROWS).scores
        return (scores[np.arange(len(ROWS)), true] - scores.mean(axis=1)).mean()

    before = lead()
    for _ in range(10):
        assert server.ask("learn", sent)["rows"] == len(ROWS)
    assert lead() > before
    assert same(server.ask("predict", asks(ROWS)), model)


def test_what_must_not_be_learnt_leaves_the_file_as_it_stands(server, tmp_path):
    model, sent = tmp_path / "model.onnx", {"input": ROWS.tolist(), "label": [0] * len(ROWS)}
    stood = model.read_bytes()
    assert "storm" in refused(server, "learn", sent | {"label": ["storm"] * len(ROWS)})[1]
    assert refused(server, "learn", sent | {"label": [0]})[0] == 400
    assert refused(server, "learn", sent | {"input": (ROWS * np.nan).tolist()})[0] == 400
    assert model.read_bytes() == stood


def test_what_would_cost_accuracy_is_refused_and_the_file_stands(server, tmp_path):
    data = clusters(rows=400).train
    rows = data.inputs.take(np.arange(300)).round(3).astype(float)
    sent = {"input": rows.tolist(), "label": ((data.labels[:300] + 1) % 4).tolist()}
    for _ in range(30):
        stood = (tmp_path / "model.onnx").read_bytes()
        try:
            server.ask("learn", sent)
        except urllib.error.HTTPError as error:
            found = error.code, json.load(error)["error"]
            break
    assert found[0] == 409
    assert "stands as it was" in found[1]
    assert (tmp_path / "model.onnx").read_bytes() == stood


def test_odd_rows_are_told_and_the_others_learnt_from(server):
    rows = np.where(np.arange(8)[:, None] == 3, np.nan, ROWS)
    said = server.ask("predict", asks(rows))
    assert (said["known"][3], list(said["odd"])) == (False, ["3"])
    said = server.ask("learn", {"input": rows.tolist(), "label": [0, 1] * 4})
    assert (said["rows"], said["odd_rows"]) == (7, 1)


def test_clients_that_learn_at_once_wait_for_each_other(server, tmp_path):
    sent = {"input": ROWS.tolist(), "label": list(range(4)) * 2}
    with ThreadPoolExecutor(4) as pool:
        said = list(pool.map(lambda _: server.ask("learn", sent), range(12)))
    assert all(answer["loss"] > 0 for answer in said)
    assert same(server.ask("predict", asks(ROWS)), tmp_path / "model.onnx")


def test_metrics_are_prometheus_text_and_count_what_was_asked(server):
    for _ in range(3):
        server.ask("predict", asks(ROWS))
    refused(server, "predict", b"{")
    text = server.ask("metrics")
    assert all(re.fullmatch(r'[a-z_]+\{[a-z]+="[^"\\]*"\} \d+(\.\d+)?(e-\d+)?', line) for line in text.splitlines())
    assert 'ffedge_requests_total{path="/predict"} 4\n' in text
    assert 'ffedge_refused_total{status="400"} 1\n' in text


def test_more_clients_than_allowed_are_turned_away(server):
    limit = int(re.search(r"--limit-concurrency (\d+)", serving.example("ffedge-http.service"))[1])
    idle = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(limit)]
    time.sleep(0.2)
    assert refused(server, "predict", asks(ROWS))[0] == 503
    for connection in idle:
        connection.close()
    time.sleep(0.2)
    assert server.ask("predict", asks(ROWS))


def test_a_stop_lets_what_has_begun_end(server):
    body = asks(ROWS)
    with begun(server, "predict", body[:10], len(body)) as connection:
        time.sleep(0.5)
        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(("127.0.0.1", server.port))
        connection.sendall(body[10:])
        assert status(connection) == 200
    assert server.process.wait(BODY_S) in (0, -signal.SIGTERM)


@pytest.mark.skipif(not shutil.which("hey"), reason="needs hey: apt install hey")
def test_under_load_every_request_is_answered_whatever_happens_beside_it(server, trained, tmp_path):
    (tmp_path / "body").write_bytes(asks(ROWS))
    with ThreadPoolExecutor(1) as pool:
        load = pool.submit(serving.loaded, server, tmp_path / "body", 4000, 8)
        slow = begun(server, "predict", b"{", 100)
        for name in "bab":
            assert refused(server, "predict", b'{"input": [[')[0] == 400
            assert refused(server, "predict", b" " * 2**18)[0] == 413
            assert not_known(server, asks(ROWS * np.nan))
            put(trained / name, tmp_path)
            time.sleep(0.1)
        found = load.result()
        assert status(slow) == 408
    assert found["statuses"] == {"200": 4000}
    assert found["p99_s"] < 1
    assert same(server.ask("predict", asks(ROWS)), trained / "b" / "model.onnx")


def words_of(name, start):
    (line,) = re.findall(rf"(?m)^{start}(.*)$", serving.example(name))
    return line


def test_the_unit_and_the_image_start_the_program_alike():
    unit = shlex.split(words_of("ffedge-http.service", "ExecStart="))
    image = json.loads(words_of("Dockerfile", "CMD "))
    assert [word for word in image if word not in ("--host", "0.0.0.0")] == unit
    pairs = " ".join(re.findall(r"(?m)^ENV (.*)$", serving.example("Dockerfile"))).split()
    assert set(serving.environment().items()) <= {tuple(pair.split("=")) for pair in pairs}
    assert re.search(r"(?m)^USER [1-9]", serving.example("Dockerfile"))


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")
def test_systemd_accepts_the_unit(tmp_path):
    unit = tmp_path / "ffedge-http.service"
    unit.write_text(serving.example(unit.name).replace("/opt/ffedge/bin/uvicorn", sys.executable))
    done = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


READ_ONLY = 'mount --bind "$0" "$0" && mount -o remount,ro,bind / && ! touch /tmp/x 2>/dev/null && exec "$@"'


@pytest.mark.skipif(
    subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False).returncode != 0,
    reason="needs the right to mount",
)
def test_with_a_read_only_root_and_without_a_home_it_predicts_and_learns(trained, tmp_path, monkeypatch):
    put(trained / "a", tmp_path)
    monkeypatch.setenv("HOME", "/nonexistent")
    monkeypatch.setenv("FFEDGE_CACHE", str(tmp_path / ".cache"))
    before = ["unshare", "-m", "sh", "-c", READ_ONLY, str(tmp_path)]
    with serving.served(tmp_path / "model.onnx", tmp_path, before=before) as server:
        assert server.ask("learn", {"input": ROWS.tolist(), "label": [0] * len(ROWS)})["loss"] > 0
        assert same(server.ask("predict", asks(ROWS)), tmp_path / "model.onnx")
