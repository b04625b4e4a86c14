"""docs/sweeps.md is executed: the files are sweeps, the first one runs, and the Python reads what it wrote."""

import re
import tomllib
from pathlib import Path

import pytest

from ffedge.cli import main
from ffedge.sweeps.asked import read

TEXT = (Path(__file__).parents[2] / "docs" / "sweeps.md").read_text()
FILES = re.findall(r"(?ms)^```toml\n(.*?)^```", TEXT)


def test_the_example_runs(tmp_path, monkeypatch, capsys):
    pytest.importorskip("pandas", reason="needs pandas, which is not installed")
    monkeypatch.chdir(tmp_path)
    Path("digits.toml").write_text(FILES[0])
    (command,) = re.findall(r"(?m)^ffedge (sweep .*)", TEXT)
    assert main(command.split()) == 0
    assert "the best of 4, by the mean of their seeds" in capsys.readouterr().out
    names = {}
    for source in re.findall(r"(?ms)^```python\n(.*?)^```", TEXT):
        exec(source, names)
    assert names["best"]["accuracy"] == max(record["accuracy"] for record in names["records"])
    assert len(names["trials"]) == 12
    assert names["model"].facts.n_classes == 10


@pytest.mark.parametrize(("number", "trials"), [(0, 12), (1, 5), (2, 30), (3, 9)])
def test_each_file_is_a_sweep(number, trials):
    assert len(read(tomllib.loads(FILES[number])).trials) == trials


def test_halving_takes_what_is_said():
    asked = read(tomllib.loads(FILES[3]))
    count, rungs = len(asked.trials), asked.rungs()
    epochs = sum(count // (rungs[0] // divisor) * (27 // divisor) for divisor in rungs)
    assert (rungs, epochs, count) == ([9, 3, 1], 3 * 27, 9)
