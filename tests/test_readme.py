"""The documents are executed: the Python runs, commands and links name what exists, README's figures were measured."""

import csv
import re
import shlex
from pathlib import Path

import numpy as np
import pytest

import ffedge
from ffedge.cli.commands import parser_of

ROOT = Path(__file__).parents[1]
DOCUMENTS = [str(file.relative_to(ROOT)) for folder in ("", "docs", "bench") for file in (ROOT / folder).glob("*.md")]
TEXTS = {name: (ROOT / name).read_text() for name in DOCUMENTS}


def blocks(language, name):
    return re.findall(rf"(?ms)^```{language}\n(.*?)^```", TEXTS[name])


def slug(heading):
    """Return the name under which GitHub links to a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def anchors(path):
    return {slug(heading) for heading in re.findall(r"^#+ (.*)", path.read_text(), re.MULTILINE)}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Go to a folder with a model of digits, readings of a sensor and pictures of two kinds."""
    image = pytest.importorskip("PIL.Image", reason="needs Pillow, which is not installed")
    monkeypatch.chdir(tmp_path)
    ffedge.train(ffedge.Spec.make(widths=(100, 50), epochs=2), "mnist-mini", "runs/digits")
    rng = np.random.default_rng(0)
    with open("readings.csv", "w", newline="") as file:
        rows = [[*rng.normal(n % 2, 0.1, 3), ("dry", "wet")[n % 2]] for n in range(100)]
        csv.writer(file).writerows([["temperature", "humidity", "pressure", "state"], *rows])
    for n, kind in enumerate(("cat", "dog")):
        (tmp_path / "photos" / kind).mkdir(parents=True)
        for i in range(20):
            shown = rng.integers(0, 100, (40, 30, 3), np.uint8)
            shown[20 * n : 20 * (n + 1)] += 100
            image.fromarray(shown).save(f"photos/{kind}/{i}.png")
    return tmp_path


def test_readmes_python_runs(folder):
    test = ffedge.load("mnist-mini").test
    names = {"images": test.inputs.take(np.arange(200))}
    for source in blocks("python", "README.md"):
        exec(source, names)
    assert (names["answer"].label == test.labels[:200]).mean() > 0.8
    assert ffedge.Predictor(names["run"].model).facts.classes == ("dry", "wet")
    assert ffedge.load("photos").classes == ("cat", "dog")
    assert ffedge.Predictor("after.onnx").facts.n_classes == 10


def test_the_python_of_tables_runs(folder):
    spec = ffedge.Spec.make(widths=(8,), epochs=2)
    run = ffedge.train(spec, "readings.csv", "runs/readings", label="state")
    names = {"ffedge": ffedge}
    for source in blocks("python", "docs/tables.md"):
        exec(source, names)
    assert names["table"].names == ("temperature", "humidity", "pressure")
    assert ffedge.Predictor(run.model).facts.classes == ("dry", "wet")


def test_the_python_of_scikit_learn_runs(tmp_path, monkeypatch):
    pytest.importorskip("sklearn", reason="needs scikit-learn, which is not installed")
    monkeypatch.chdir(tmp_path)
    names = {}
    for source in blocks("python", "docs/scikit-learn.md"):
        exec(source, names)
    assert names["search"].score(names["x_test"], names["y_test"]) > 0.9
    assert set(names["classifier"].predict(names["x_test"])) <= {0, 1, 2}


def test_the_python_of_the_fleet_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {}
    for source in blocks("python", "docs/fleet.md"):
        exec(source, names)
    assert names["after"] > names["before"] + 0.02


def commands():
    lines = (line for name in DOCUMENTS for block in blocks("sh", name) for line in block.splitlines())
    return [found for line in lines for found in re.findall(r"(?:^|/|[|&] |> )ffedge ([a-z-][^|&]*)", line)]


@pytest.mark.parametrize("command", sorted(set(commands())))
def test_a_command_names_what_exists(command):
    name, *words = shlex.split(command, comments=True)
    if not name.startswith("--"):
        known = {text for action in parser_of(name).flags() for text in action.option_strings}
        assert {word for word in words if word.startswith("--")} <= known


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_link_or_image_leads_to_what_exists(name):
    for target in re.findall(r"\]\(([^)]*)\)", TEXTS[name]):
        file, _, anchor = target.partition("#")
        path = (ROOT / name).parent / file if file else ROOT / name
        assert target.startswith("https://") or path.exists(), target
        assert not anchor or target.startswith("https://") or anchor in anchors(path), target


def test_each_figure_of_readmes_costs_stands_in_the_section_that_its_row_links_to():
    """Mended by hand where a result changed."""
    sections = re.split(r"^#+ (.*)\n", TEXTS["docs/measurements.md"], flags=re.MULTILINE)
    texts = dict(zip(map(slug, sections[1::2]), sections[2::2], strict=True))
    rows = re.findall(r"^\| (.*) \| \[.*\]\(docs/measurements\.md#([\w-]+)\) \|$", TEXTS["README.md"], re.MULTILINE)
    assert len(rows) > 5
    for row, section in rows:
        figures = set(re.findall(r"(?<![\w.-])\d+(?:\.\d+)?", texts[section]))
        assert set(re.findall(r"(?<![\w.-])\d+(?:\.\d+)?", row)) <= figures, row
