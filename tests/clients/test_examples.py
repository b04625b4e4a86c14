"""The programs of docs/clients.md run as they stand, and print what onnxruntime says in Python."""

import contextlib
import json
import re
import shutil
import subprocess
import sys
import threading
import tomllib
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from engines import ENVIRONMENT, installed, need

from ffedge import Predictor, Spec, train
from tests.page.chromium import CHROMIUM, Browser

ROOT = Path(__file__).parents[2]
DOCS = (ROOT / "docs" / "clients.md").read_text()
EXAMPLES = dict(re.findall(r"^<!-- example: (\S+) -->\n```\w+\n(.*?)^```$", DOCS, re.MULTILINE | re.DOTALL))
INCLUDES = [Path("/usr/include/onnxruntime"), ENVIRONMENT / "include" / "onnxruntime"]


@pytest.fixture(scope="module", params=["images", "colours", "table", "csv"])
def model(request, digits, tmp_path_factory):
    """Return a trained model and rows for it."""
    data, rows = digits
    widths = ("10c3p2", "10c3", 20) if request.param == "colours" else (24, 20)
    spec = Spec.make(widths=widths, epochs=1, threads=1)
    run = train(spec, data[request.param], tmp_path_factory.mktemp("example") / "run")
    return run.model, rows[request.param]


@pytest.fixture
def printed(model, tmp_path):
    """Return a function that runs a program on the model and the rows, and holds its lines against the predictor's."""
    path, rows = model
    rows.tofile(tmp_path / "rows.bin")
    found = Predictor(path).predict(rows)

    def run(*program):
        words = [*map(str, program), str(path), str(tmp_path / "rows.bin")]
        done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        said = np.array([line.split() for line in done.stdout.splitlines()], float)
        assert said.shape == (len(rows), 2)
        apart = found.margin > 1e-3
        np.testing.assert_array_equal(said[apart, 0], found.label[apart])
        np.testing.assert_allclose(said[:, 1], found.margin, atol=1e-3 + 1e-4 * np.abs(found.scores).max())

    return run


def write(folder, name):
    (folder / name).write_text(EXAMPLES[name])
    return folder / name


def test_the_docs_hold_the_programs_that_are_tested_here():
    assert EXAMPLES.keys() == {
        *("predict.mjs", "predict.html", "predict.cpp", "predict_openvino.py", "predict_onnxruntime.py")
    }
    assert all(len(EXAMPLES[name].splitlines()) <= 36 for name in EXAMPLES)


def test_the_docs_name_the_versions_that_are_installed():
    pinned = json.loads((ROOT / "tests" / "clients" / "package.json").read_text())["dependencies"]
    extra = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]["clients"]
    pinned |= dict(wanted.split("==") for wanted in extra if "==" in wanted)
    assert dict(re.findall(r"^\| .* \| (?:npm|PyPI) `(\S+)` ([\d.]+)", DOCS, re.MULTILINE)) == pinned


def test_plain_onnxruntime(printed, tmp_path):
    printed(sys.executable, write(tmp_path, "predict_onnxruntime.py"))


def test_node(printed, tmp_path):
    need("onnxruntime-node", installed("onnxruntime-node"))
    (tmp_path / "node_modules").symlink_to(ENVIRONMENT / "node_modules")
    printed("node", write(tmp_path, "predict.mjs"))


@contextlib.contextmanager
def static(folder):
    """Serve a folder's files, as any host does; yield the URL."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()


def test_a_static_page_in_chromium(digits, tmp_path):
    need("onnxruntime-web", installed("onnxruntime-web"))
    need("Chromium", CHROMIUM)
    data, rows = digits
    run = train(Spec.make(widths=(24, 20), epochs=1, threads=1), data["images"], tmp_path / "run")
    folder = tmp_path / "page"
    folder.mkdir()
    write(folder, "predict.html")
    shutil.copy(run.model, folder / "model.onnx")
    (folder / "model.json").write_text(json.dumps(Predictor(run.model).metadata))  # what `ffedge info --json` prints
    for name in ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm"):
        (folder / name).symlink_to(ENVIRONMENT / "node_modules" / "onnxruntime-web" / "dist" / name)
    wanted, browser = Predictor(run.model), Browser(tmp_path / "profile")
    said = "document.getElementById('said').textContent"
    try:
        with static(folder) as url:
            browser.look(390)
            browser.open(f"{url}predict.html")
            browser.wait("document.getElementById('pad').width === 28 && document.getElementById('clear').onclick")
            left, top = browser.run("(() => { const r = pad.getBoundingClientRect(); return [r.left, r.top]; })()")
            browser.mouse((left + 60, top + 60), (left + 200, top + 70), (left + 130, top + 240))
            browser.wait(f"{said} !== 'Draw.'")
            first = "[...pad.getContext('2d').getImageData(0, 0, 28, 28).data].filter((_, i) => i % 4 === 0)"
            drawn = np.array(browser.run(first), np.uint8).reshape(28, 28)
            assert (drawn > 200).sum() > 30
            shown = [(drawn, browser.run(said))]
            for row in rows["images"][:20]:
                browser.run(
                    f"(async () => {{ const bytes = {row.ravel().tolist()}.flatMap(v => [v, v, v, 255]);"
                    "const data = new ImageData(new Uint8ClampedArray(bytes), 28, 28);"
                    "pad.getContext('2d').putImageData(data, 0, 0); await pad.onpointerup(); })()"
                )
                shown.append((row, browser.run(said)))
            assert browser.errors == []
            assert all(asked.startswith(url) for asked in browser.asked)
    finally:
        browser.close()
    for pixels, text in shown:
        found, (label, margin) = wanted.predict(pixels), text.split()
        assert float(margin) == pytest.approx(found.margin[0], abs=2e-3 * max(1, float(np.abs(found.scores).max())))
        assert found.margin[0] < 0.01 or label == wanted.classes[found.place[0]]


def test_openvino(printed, tmp_path):
    need("openvino", installed("openvino"))
    printed(sys.executable, write(tmp_path, "predict_openvino.py"))


def test_cpp(printed, tmp_path):
    """Compiled with Debian's headers, linked to the library that onnxruntime's Python package brings."""
    include = [folder for folder in INCLUDES if (folder / "onnxruntime_cxx_api.h").is_file()]
    need("g++", shutil.which("g++"))
    need("onnxruntime's C++ headers", include)
    (library,) = (Path(onnxruntime.__file__).parent / "capi").glob("libonnxruntime.so.1.*")
    for name in ("libonnxruntime.so", "libonnxruntime.so.1"):
        (tmp_path / name).symlink_to(library)
    source, program = write(tmp_path, "predict.cpp"), tmp_path / "predict"
    words = ["g++", "-std=c++17", "-Wall", "-Wextra", "-Werror", "-isystem", include[0], source, "-o", program]
    words += [f"-L{tmp_path}", f"-Wl,-rpath,{tmp_path}", "-lonnxruntime"]
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    printed(program)
