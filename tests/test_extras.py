"""What is installed: README says it, and what an extra brings is asked for in one line where it is missing."""

import re
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
from toys import clusters, small_spec

from ffedge.data.stream import OtherRows
from ffedge.errors import FfedgeError
from ffedge.export.forms import Forms
from ffedge.export.source import HeldOut, read_trained
from ffedge.training.train import train

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
FOR_WORK_ON_FFEDGE = {"clients", "dev", "simulators", "spikingjelly", "spyx"}


def names(requirements):
    """Name the packages of some requirements; extras of ffedge's own stand for what they bring."""
    found = set()
    for text in requirements:
        if own := re.fullmatch(r"ffedge\[([\w,]+)\]", text):
            found |= names(brings for extra in own[1].split(",") for brings in PROJECT["optional-dependencies"][extra])
        else:
            found.add(re.match(r"[\w-]+", text)[0])
    return found


def test_readme_tells_what_is_installed_and_what_each_extra_brings():
    section = (ROOT / "README.md").read_text().partition("What is installed, and why\n")[2].partition("\n#")[0]
    told, table = section.split("| extra |")
    assert names(PROJECT["dependencies"]) == set(re.findall(r"\*\*(\w+)\*\*", told)) == {"numpy", "onnxruntime"}
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \|", table, re.MULTILINE)
    extras = {name: names(brings) for name, brings in PROJECT["optional-dependencies"].items()}
    assert {name: set(brings.split(", ")) for name, brings in rows} == {
        name: brings for name, brings in extras.items() if name not in FOR_WORK_ON_FFEDGE
    }


def test_an_int8_form_without_onnx_is_one_line(tmp_path, monkeypatch):
    data = clusters(rows=200)
    trained = read_trained(train(small_spec(epochs=1), data, tmp_path / "run").path)
    held_out = np.arange(20)
    forms = Forms(trained, HeldOut(data.train, held_out, OtherRows(200, held_out)), 100.0)
    monkeypatch.delitem(sys.modules, "ffedge.export.int8", raising=False)
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(FfedgeError, match=r"^the form int8 needs onnx, .*\. Run: pip install 'ffedge\[int8\]'$"):
        forms.make("int8")
