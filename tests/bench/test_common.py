"""What the benchmarks share: results that are kept, files that are written, tables."""

import argparse
import json
from pathlib import Path

import pytest
from common import Lines, ffedge, table, write_results


def test_what_stands_in_the_lines_is_not_measured_again(tmp_path):
    calls, path = [], tmp_path / "lines.jsonl"

    def measure():
        calls.append(1)
        return {"seconds": len(calls)}

    first = Lines(path).take({"arm": "a", "seed": 0}, measure)
    again = Lines(path)
    assert again.take({"arm": "a", "seed": 0}, measure) == first == {"arm": "a", "seed": 0, "seconds": 1}
    assert again.take({"arm": "a", "seed": 1}, measure)["seconds"] == 2
    assert len(path.read_text().splitlines()) == 2


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
