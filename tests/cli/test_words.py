"""Words that are plainly right are read without typer, just as typer reads them; the rest is left to typer."""

import inspect
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer
from typer.main import get_command

from ffedge.cli import LIGHT, predict
from ffedge.cli.app import app
from ffedge.cli.words import Argument, Flag, for_typer, read


def command(
    model: Annotated[Path, Argument("A file.")],
    files: Annotated[list[Path], Argument("More files.")],
    quick: Annotated[bool, Flag("--quick", "Hurry.")] = False,
    threads: Annotated[int, Flag("--threads", "Cores.", least=0)] = 0,
    share: Annotated[float, Flag("--share", "Of all.")] = 0.5,
    name: Annotated[str | None, Flag("--name", "A name.", metavar="TEXT")] = None,
) -> None:
    """Do it."""
    SEEN.append(dict(locals()))


SEEN: list[dict[str, Any]] = []
RIGHT = [
    ["m", "a"],
    ["m", "a", "b", "--quick"],
    ["--quick", "m", "-"],
    ["m", "--threads", "3", "a", "--share=0.25"],
    ["--name", "x y", "m", "a"],
    ["m", "--name=", "a"],
    ["m", "--", "--quick"],
    ["m", "a", "--threads", "1", "--threads", "2"],
]
LEFT = [
    [],
    ["m"],
    ["m", "a", "--help"],
    ["m", "a", "-q"],
    ["m", "a", "--unknown"],
    ["m", "a", "--threads"],
    ["m", "a", "--threads", "x"],
    ["m", "a", "--threads", "-1"],
    ["m", "a", "--quick=yes"],
]


@pytest.mark.parametrize("words", RIGHT, ids=" ".join)
def test_words_are_read_as_typer_reads_them(words: list[str]) -> None:
    other = typer.Typer()
    other.command()(for_typer(command))
    SEEN.clear()
    get_command(other).main(words, standalone_mode=False)
    values = read(command, words)
    assert values is not None
    command(**values)
    assert SEEN[0] == SEEN[1]


@pytest.mark.parametrize("words", LEFT, ids=" ".join)
def test_help_and_mistakes_are_left_to_typer(words: list[str]) -> None:
    assert read(command, words) is None


def test_typer_shows_what_the_words_say() -> None:
    for name in LIGHT:
        shown = {p.name: p for p in get_command(app).commands[name].params}  # type: ignore[attr-defined]
        module = __import__(f"ffedge.cli.{name}", fromlist=["command"])
        parameters = inspect.signature(module.command).parameters
        assert set(shown) == set(parameters)
        for key, parameter in parameters.items():
            described = parameter.annotation.__metadata__[0]
            assert shown[key].help == described.help
            if isinstance(described, Flag):
                assert shown[key].opts == [described.name]
                assert shown[key].default == parameter.default


def test_predict_is_read_without_typer() -> None:
    values = read(predict.command, ["m.onnx", "-", "--reject", "--threads", "1"])
    assert values == {"model": Path("m.onnx"), "files": [Path("-")], "reject": True, "threads": 1}
