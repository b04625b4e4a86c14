"""Files that take their place whole, and the report."""

import json
import os
from pathlib import Path

import pytest

from ffedge.errors import FfedgeError
from ffedge.training.records import EpochRecord, append_line, atomic_file, machine, versions


def test_a_file_takes_its_place_whole(tmp_path):
    path = tmp_path / "report.json"
    path.write_text("old")
    with atomic_file(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert os.listdir(tmp_path) == ["report.json"]


@pytest.mark.parametrize("error", [RuntimeError("bug"), KeyboardInterrupt()])
def test_an_error_on_the_way_leaves_the_old_file_and_no_other(tmp_path, error):
    path = tmp_path / "report.json"
    path.write_text("old")

    def write():
        with atomic_file(path) as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(type(error)):
        write()
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["report.json"]


def test_the_file_is_on_the_disk_before_it_takes_its_place(tmp_path, monkeypatch):
    order, replace, fsync = [], Path.replace, os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: order.append("sync") or fsync(fd))
    monkeypatch.setattr(Path, "replace", lambda self, target: order.append("replace") or replace(self, target))
    with atomic_file(tmp_path / "a") as temporary:
        temporary.write_text("content")
    assert order == ["sync", "replace", "sync"]  # the file, and then the folder's new entry


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path):
    path = tmp_path / "none" / "report.json"
    text = f"^{path}: cannot be written \\(No such file or directory\\). Free space or choose another --out$"
    with pytest.raises(FfedgeError, match=text), atomic_file(path) as temporary:
        temporary.write_text("content")


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
