"""Reports of strangers: what ffedge cannot have written is refused, what it wrote is read."""

import json

import pytest
from refusals import command, refusal

from ffedge.errors import ModelError
from ffedge.training.records import REPORT_FORMAT, LayerRecord, Report


def report_of(model, **changes):
    recipe, facts = model[1].to_dict(), model[2].to_dict()
    layer = LayerRecord(0, 1, 1.0, 1, 1, 1, 0.5, None, None, None)
    data = {"name": "toy", "sha256": "x"}
    made = Report(recipe, data, facts, [layer], None, 0.5, 10, 1.0, 1, 1, "x", 1, True)
    return json.loads(made.to_json()) | changes


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"train_accuracy": "high"}, "train_accuracy must be float, got 'high'"),
        ({"seconds": [1]}, "seconds must be float, got [1]"),
        ({"in_place": 1}, "in_place must be bool, got 1"),
        ({"model_bytes": True}, "model_bytes must be int, got True"),
        ({"model_bytes": 10**400}, "model_bytes must fit 64 bits, got a number of 1329"),
        ({"format": 99}, f"it has report format 99, this ffedge reads {REPORT_FORMAT}"),
        ({"data": {}}, "data must have a name"),
        ({"spec": {}}, "network must have just the fields "),
        ({"layers": [[]]}, "ffedge.training.records.LayerRecord() argument after ** must be a mapping, not list"),
    ],
)
def test_a_report_that_ffedge_cannot_have_written_is_refused(model, tmp_path, monkeypatch, capfd, changes, why):
    path = tmp_path / "report.json"
    path.write_text(json.dumps(report_of(model, **changes)))
    text = refusal(ModelError, Report.read, path)
    assert text.startswith(f"{path}: is no report that this ffedge can read ({why}")
    code, _, err = command(monkeypatch, capfd, "report", tmp_path)
    assert (code, err) == (1, f"ffedge: {text}\n")


@pytest.mark.parametrize("index", [-1, 3])
def test_a_report_of_a_layer_that_the_network_has_not_is_refused(model, tmp_path, index):
    content = report_of(model)
    content["layers"][0]["index"] = index
    (tmp_path / "report.json").write_text(json.dumps(content))
    text = refusal(ModelError, Report.read, tmp_path / "report.json")
    assert text.endswith(f"(it has a layer {index}, but the network 3)")


@pytest.mark.parametrize("levels", [20, 100_000])
def test_a_report_nested_without_end_is_refused(model, tmp_path, levels):
    text = json.dumps(report_of(model, machine="@")).replace('"@"', "[" * levels + "]" * levels)
    (tmp_path / "report.json").write_text(text)
    line = refusal(ModelError, Report.read, tmp_path / "report.json")
    assert line.startswith(f"{tmp_path}/report.json: is no report that this ffedge can read (it ")
