"""README and docs/measurements.md are executed: the Python runs, commands and links name what exists."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from ffedge import load
from ffedge.cli.commands import parser_of

ROOT = Path(__file__).parents[1]
DOCUMENTS = ("README.md", "docs/measurements.md")
TEXTS = {name: (ROOT / name).read_text() for name in DOCUMENTS}


def blocks(language):
    return [found for text in TEXTS.values() for found in re.findall(rf"(?ms)^```{language}\n(.*?)^```", text)]


def anchors(path):
    """Return the names under which GitHub links to a document's headings."""
    headings = re.findall(r"^#+ (.*)", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


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
        known = {text for action in parser_of(name).flags() for text in action.option_strings}
        assert {word for word in words if word.startswith("--")} <= known


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_link_or_image_leads_to_what_exists(name):
    targets = [target for target in re.findall(r"\]\(([^)]*)\)", TEXTS[name]) if not target.startswith("https://")]
    assert targets
    for target in targets:
        file, _, anchor = target.partition("#")
        path = (ROOT / name).parent / file if file else ROOT / name
        assert path.is_file(), target
        assert not anchor or anchor in anchors(path), target
