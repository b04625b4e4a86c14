"""Names that a terminal cannot show, or that would command it, are shown escaped; JSON holds them as they are."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import ffedge
from ffedge.compare.child import variables
from ffedge.errors import CONTROL

NAMES = ("снег", "été")
WILD = "a\x1b[2J\x1b]0;title\x07\x9b31m\r\n\u202eb.onnx"
X = np.random.default_rng(0).normal(size=(200, 4)).astype(np.float32)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train a model whose classes and data set have such names."""
    folder = tmp_path_factory.mktemp("names")
    np.savez(folder / f"{WILD}.npz", x=X, y=np.array(NAMES)[(X[:, 0] > 0).astype(int)])
    spec = ffedge.Spec.make(widths=(8, 6), epochs=2, threads=1)
    return ffedge.train(spec, folder / f"{WILD}.npz", folder / "run").model


def printed(encoding: str, *words: str | Path) -> str:
    """Run a command whose streams have an encoding; return both as they are read by it."""
    asked = variables() | {"PYTHONIOENCODING": encoding}
    done = subprocess.run([sys.executable, "-m", "ffedge", *words], capture_output=True, check=False, env=asked)
    assert done.returncode == 0, done.stderr
    return (done.stdout + done.stderr).decode(encoding.partition(":")[0])


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8", "ascii:strict", "cp1251"])
def test_a_class_is_shown_by_its_letters_or_their_escapes(model: Path, tmp_path: Path, encoding: str) -> None:
    np.save(tmp_path / "new.npy", X[:20])
    predictor = ffedge.Predictor(model)
    label = [predictor.classes[number] for number in predictor.predict(X[:20]).label]
    letters = encoding.partition(":")[0]
    wanted = [name.encode(letters, "backslashreplace").decode(letters) for name in label]
    lines = printed(encoding, "predict", model, tmp_path / "new.npy").splitlines()[1:]
    assert [line.split()[2] for line in lines] == wanted
    assert "\\x1b" in printed(encoding, "info", model)


@pytest.mark.parametrize("words", [("info",), ("eval", "--data"), ("predict",)])
def test_no_name_commands_a_terminal(model: Path, tmp_path: Path, words: tuple[str, ...]) -> None:
    copy = tmp_path / WILD
    copy.write_bytes(model.read_bytes())
    data = tmp_path / f"{WILD}.npy"
    np.save(data, X[:5])
    more: dict[str, list[Path]] = {"info": [], "eval": [model.parents[1] / f"{WILD}.npz"], "predict": [data]}
    said = printed("utf-8", words[0], copy, *words[1:], *more[words[0]])
    assert not CONTROL.search(said.replace("\n", ""))
    if words != ("eval", "--data"):
        assert re.search(r"^\S*\s*\S*a\\x1b\[2J\\x1b\]0;title\\x07\\x9b31m\\r\\n\\u202eb\.onnx", said, re.MULTILINE)


def test_training_names_its_data_escaped_on_both_streams(model: Path, tmp_path: Path) -> None:
    data = model.parents[1] / f"{WILD}.npz"
    said = printed("utf-8", "train", "--data", data, "--widths", "8", "--epochs", "1", "--out", tmp_path / WILD)
    assert not CONTROL.search(said.replace("\n", ""))
    assert "\\x1b[2J" in said


def test_json_holds_a_name_as_it_is(model: Path, tmp_path: Path) -> None:
    data = tmp_path / f"{WILD}.npy"
    np.save(data, X[:5])
    (sample, *_) = json.loads(printed("ascii", "predict", model, data, "--json"))["samples"]
    assert (sample["file"], sample["label"] in NAMES) == (str(data), True)


def test_json_is_strict_where_a_name_is_no_unicode(model: Path, tmp_path: Path) -> None:
    data = tmp_path / "\udcff\U0001f600.npy"
    np.save(data, X[:5])
    (sample, *_) = json.loads(printed("ascii", "predict", model, data, "--json"))["samples"]
    assert sample["file"].encode().decode() == str(tmp_path / "\\udcff\U0001f600.npy")
