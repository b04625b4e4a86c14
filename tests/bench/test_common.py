"""What the benchmarks share: results that are kept, files that are written, tables."""

import argparse
import importlib
import json
from pathlib import Path

import pytest

for package in ("matplotlib", "scipy", "torch"):
    pytest.importorskip(package, reason=f"needs {package}, which is not installed")

import common
import draw
from common import Lines, ffedge, table, write_results
from results import newest


def test_what_stands_in_the_lines_is_not_measured_again(tmp_path, monkeypatch):
    monkeypatch.setattr("common._commit", lambda: "c0")
    calls, path = [], tmp_path / "lines.jsonl"

    def measure():
        calls.append(1)
        return {"seconds": len(calls)}

    first = Lines(path).take({"arm": "a", "seed": 0}, measure)
    again = Lines(path)
    assert again.take({"arm": "a", "seed": 0}, measure) == first
    assert first == {"commit": "c0", "arm": "a", "seed": 0, "seconds": 1}
    assert again.take({"arm": "a", "seed": 1}, measure)["seconds"] == 2
    monkeypatch.setattr("common._commit", lambda: "c1")
    assert Lines(path).take({"arm": "a", "seed": 0}, measure)["seconds"] == 3  # measured by another program
    assert len(path.read_text().splitlines()) == 3


def test_a_result_holds_what_was_chosen_and_no_place(tmp_path, capsys):
    options = argparse.Namespace(seeds=[0, 1], rows=None, kept=Path("lines.jsonl"), data_dir=None, out=tmp_path / "new")
    write_results("speed", options, [1.5], ["numpy", "absent"], coverage=0.95)
    (path,) = (tmp_path / "new").iterdir()
    assert capsys.readouterr().out == f"{path.name}\n"
    written = json.loads(path.read_text())
    assert written["settings"] == {"seeds": [0, 1], "rows": None, "coverage": 0.95}
    assert written["results"] == [1.5]
    assert written["versions"]["absent"] is None
    assert str(tmp_path) not in path.read_text()


def test_a_command_that_fails_says_why():
    with pytest.raises(RuntimeError, match=r"ffedge info nowhere.onnx --json: .*nowhere.onnx"):
        ffedge("info", "nowhere.onnx")


def test_a_table_is_laid_out_in_columns():
    assert table(["arm", "s"], [["a", 1.5], ["long", 10]]) == "arm     s\na     1.5\nlong   10"


def test_every_script_is_imported():
    """But for the peers, which need packages that no extra brings."""
    for path in Path(common.__file__).parent.glob("*.py"):
        if path.stem not in ("peers", "launch"):
            importlib.import_module(path.stem)


@pytest.mark.parametrize("name", draw.DRAWN)
def test_a_figure_is_drawn_of_committed_results(tmp_path, name):
    (result,) = newest(name)
    draw.DRAWN[name](json.loads(result.read_text()), tmp_path / f"{name}.svg")
    assert "</svg>" in (tmp_path / f"{name}.svg").read_text()
