"""The lines of metrics.jsonl, and the report."""

import json
import os

from ffedge.training.records import EpochRecord, append_line, machine, versions

RECORD = EpochRecord(0, 1, 0.5, 2.0, 1.0, 0.9, None, None, 0.25, 0.01, 100, 200)


def test_each_record_is_a_line_of_json(tmp_path):
    for _ in range(2):
        append_line(tmp_path / "metrics.jsonl", RECORD)
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [EpochRecord(**json.loads(line)) for line in lines] == [RECORD, RECORD]


def test_a_report_says_what_computed_and_where():
    assert set(versions()) == {"ffedge", "python", "numpy", "onnxruntime"}
    found = machine()
    assert found["cores"] == os.cpu_count()
    assert {"processor", "architecture", "system"} <= set(found)
    json.dumps(found)
