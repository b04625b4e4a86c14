"""ffedge merge: what it prints and writes, and what it refuses in one line."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from ffedge import Predictor, learn
from tests.cli.conftest import Ffedge, bars


@pytest.fixture(scope="module")
def boards(run_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Let three boards learn on from one model, from 100, 200 and 300 rows."""
    folder, paths = tmp_path_factory.mktemp("boards"), []
    for board in (1, 2, 3):
        path = folder / f"{board}.onnx"
        shutil.copy(run_folder / "model.onnx", path)
        shutil.copy(run_folder / "model.kept.safetensors", folder / f"{board}.kept.safetensors")
        images, labels = bars(100 * board, board)
        np.savez(folder / f"{board}.npz", x=images, y=labels)
        learn(path, folder / f"{board}.npz", epochs=1, max_drop=1.0, progress=False)
        paths.append(path)
    return paths


def test_it_says_whose_rows_count_and_the_model_predicts_and_learns_on(
    ffedge: Ffedge, boards: list[Path], run_folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "all.onnx"
    done = ffedge("merge", *boards, "--out", out)
    assert (done.code, done.err) == (0, "")
    assert [line.split()[1:4] for line in done.out.splitlines() if line.startswith(str(boards[0].parent))] == [
        ["100", "16.7", "%"],
        ["200", "33.3", "%"],
        ["300", "50.0", "%"],
    ]
    assert done.out.endswith(f"model {out}\n")
    images, labels = bars(200, 9)
    assert (Predictor(out).predict(images).label == labels).mean() > 0.9
    assert "3 models, merged (mean)" in ffedge("info", out).out
    shutil.copy(run_folder / "model.kept.safetensors", tmp_path / "all.kept.safetensors")
    assert ffedge("learn", out, "--data", boards[0].with_suffix(".npz"), "--epochs", 1, "--max-drop", 1).code == 0


def test_a_file_that_exists_is_replaced_by_force_alone(ffedge: Ffedge, boards: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "all.onnx"
    out.write_bytes(b"mine")
    done = ffedge("merge", *boards, "--out", out)
    assert (done.code, done.out) == (1, "")
    assert done.err == f"ffedge: {out}: exists already. Choose another --out, or use --force\n"
    assert out.read_bytes() == b"mine"
    assert ffedge("merge", *boards, "--out", out, "--force").code == 0
    assert len(Predictor(out).classes) == len(Predictor(boards[0]).classes)


def test_json_holds_the_same(ffedge: Ffedge, boards: list[Path], tmp_path: Path) -> None:
    words = ["--out", tmp_path / "all.onnx", "--rows", 5, 3, 0, "--json"]
    found = json.loads(ffedge("merge", *boards, *words).out)
    assert (found["models"], found["rows"], found["shares"]) == ([*map(str, boards)], [5, 3, 0], [0.625, 0.375, 0.0])
    assert (found["method"], len(found["moved"])) == ("mean", 3)


@pytest.mark.parametrize(
    ("words", "code", "line"),
    [
        (["A", "B"], 2, "the following arguments are required: --out. Try `ffedge merge --help`"),
        (["A", "--out", "C"], 2, "`models` must be two or more, got 1"),
        (["A", "A", "--out", "C"], 2, "`models` must each be there once, but A and A are one file"),
        (["A", "B", "--out", "A"], 2, "--out must be none of the models, got A"),
        (["A", "B", "--out", "C", "--rows", "1"], 2, "--rows must be a number for each of the 2 models, got 1"),
        (["A", "B", "--out", "C", "--rows", "x", "1"], 2, "--rows must be a whole number from 0, got 'x'"),
        (["A", "B", "--out", "C", "--most-norm", "nan"], 2, "--most-norm must be a number from 1, got nan"),
        (["A", "B", "--out", "C", "--method", "median"], 2, "--method median must have three models or more, got 2"),
        (
            ["A", "B", "D", "--out", "C", "--method", "trimmed", "--most-norm", "3"],
            2,
            "--most-norm plays no part where",
        ),
        (
            ["A", "B", "--out", "nowhere/C"],
            1,
            "nowhere/C: cannot be written (No such file or directory)",
        ),
        (["A", "readme.txt", "--out", "C"], 1, "readme.txt: is no model that ffedge can run"),
        (["A", "--out", "C", "gone.onnx"], 1, "gone.onnx: no such file"),
    ],
)
def test_what_cannot_be_merged_is_one_line(
    ffedge: Ffedge,
    boards: list[Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    code: int,
    line: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, path in zip("ABD", boards, strict=True):
        shutil.copy(path, name)
    Path("readme.txt").write_text("hello")
    done = ffedge("merge", *words)
    assert (done.code, done.out, Path("C").exists()) == (code, "", False)
    assert done.line.startswith(f"ffedge: {line}")
