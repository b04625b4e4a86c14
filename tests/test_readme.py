"""README is executed: its Python runs, and its commands name what exists."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from typer.main import get_command

from ffedge import load
from ffedge.cli.app import app

README = (Path(__file__).parents[1] / "README.md").read_text()


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def test_the_python_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    test = load("mnist-mini").test
    names = {"images": test.inputs.take(np.arange(200))}
    for source in blocks("python"):
        exec(source, names)
    assert names["found"].scores.shape == (200, 10)
    assert (names["found"].label == test.labels[:200]).mean() > 0.9


@pytest.mark.parametrize("line", [line for b in blocks("sh") for line in b.splitlines() if "ffedge " in line])
def test_a_command_names_what_exists(line):
    for command in re.findall(r"(?:^|/)ffedge (.*)", line):
        name, *words = shlex.split(command, comments=True)
        known = {flag for parameter in get_command(app).commands[name].params for flag in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= known
