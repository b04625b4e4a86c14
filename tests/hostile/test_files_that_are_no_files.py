"""A path that is a pipe, or a file without a byte, is refused in one line, at once."""

import os
from pathlib import Path

import pytest

from ffedge.cli import main
from ffedge.errors import ModelError
from ffedge.model.file import Model
from ffedge.tensors import TensorFile


@pytest.mark.parametrize("words", [["info"], ["eval"], ["predict"]])
def test_a_pipe_is_not_waited_for(words: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    os.mkfifo(tmp_path / "model.onnx")
    rest = ["-"] if words == ["predict"] else []
    assert main([*words, str(tmp_path / "model.onnx"), *rest]) == 1
    assert capfd.readouterr().err.endswith("model.onnx: no such file. Train one with `ffedge train`\n")


@pytest.mark.parametrize("words", [["info"], ["eval"], ["predict"], ["learn"], ["merge"]])
def test_a_run_folder_is_no_model_but_holds_one(
    words: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    rest = {"predict": ["-"], "learn": ["--data", "mnist-mini"], "merge": ["b.onnx", "--out", "c.onnx"]}
    assert main([*words, str(tmp_path), *rest.get(words[0], [])]) == 1
    assert capfd.readouterr().err == f"ffedge: {tmp_path}: is a folder. Pass the model.onnx in it\n"


def test_an_empty_file_is_called_so(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").touch()
    with pytest.raises(ModelError, match="it is empty"):
        Model(tmp_path / "model.onnx")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("checkpoint/000001.safetensors", ["train", "--resume", "--out"]),
        ("checkpoint/000001.safetensors", ["export"]),
        ("report.json", ["report"]),
    ],
)
def test_a_pipe_in_a_run_folder_is_not_waited_for(
    name: str, words: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "checkpoint").mkdir()
    os.mkfifo(tmp_path / name)
    assert main([*words, str(tmp_path)]) == 1
    assert "it is no regular file" in capfd.readouterr().err


def test_a_pipe_in_the_place_of_kept_examples_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "m.kept.safetensors")
    with pytest.raises(OSError, match="it is no regular file"):
        TensorFile(tmp_path / "m.kept.safetensors")
