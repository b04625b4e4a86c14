"""trials.jsonl: a line for each trial that has ended, appended so that a kill in the middle of one harms nothing."""

import contextlib
import os
from pathlib import Path
from typing import Any

from ffedge import json_text
from ffedge.errors import FfedgeError
from ffedge.fields import is_double, is_whole
from ffedge.files import regular_file, writing

NAME = "trials.jsonl"
NUMBERS = ("accuracy", "seconds", "peak_bytes")  # of each trial that is done
Record = dict[str, Any]


def read_log(folder: Path) -> dict[str, Record]:
    """Return the last record of each trial of a sweep's folder, by its id; none where there is no file yet.

    What stands behind the last line's end was being written when its process died, and is no line.

    Raises
    ------
    FfedgeError
        It cannot be read, or a line is none that ffedge writes.
    """
    path, records = folder / NAME, dict[str, Record]()
    if not path.exists():
        return records
    try:
        with regular_file(path) as file:
            for number, line in enumerate(file, 1):
                if line.endswith(b"\n"):
                    record = _record(line, f"{path}, line {number}")
                    records.pop(record["trial"], None)  # so that the order is that of the last words
                    records[record["trial"]] = record
    except OSError as error:
        raise FfedgeError(f"{path}: cannot be read ({error.strerror}). Pass the folder of a sweep") from error
    return records


def mend(folder: Path) -> None:
    """Take off what a killed process left of a line; FfedgeError where the file cannot be written."""
    path = folder / NAME
    if path.exists() and _end(path) < path.stat().st_size:
        with writing(path):
            os.truncate(path, _end(path))


def append(folder: Path, record: Record) -> None:
    """Add a record, on the disk when this returns.

    Raises
    ------
    FfedgeError
        The disk is full or the file cannot be written; the records that it held stand.
    """
    path, line = folder / NAME, (json_text.text(record) + "\n").encode()
    mend(folder)
    try:
        with writing(path), path.open("ab", buffering=0) as file:
            while line:
                line = line[file.write(line) :]
            os.fsync(file.fileno())
    except FfedgeError:
        with contextlib.suppress(FfedgeError):  # else the next one does
            mend(folder)
        raise


def _end(path: Path) -> int:
    """Return where the last whole line ends."""
    if not path.exists():
        return 0
    with path.open("rb") as file:
        at = end = file.seek(0, os.SEEK_END)
        while at:
            at = max(0, at - 4096)
            file.seek(at)
            found = file.read(end - at).rfind(b"\n")
            if found >= 0:
                return at + found + 1
    return 0


def _record(line: bytes, where: str) -> Record:
    try:
        record: Record = json_text.parse(line.decode())
        named = isinstance(record, dict) and all(isinstance(record.get(name), str) for name in ("trial", "status"))
        named = named and is_whole(record.get("rung", 0)) and isinstance(record.get("data_sha256", ""), str | None)
        if not named or (record["status"] == "done" and not all(is_double(record.get(name)) for name in NUMBERS)):
            raise ValueError("it is no trial's record")
    except ValueError as error:
        raise FfedgeError(f"{where}: is damaged ({error}). Remove it: the trial's result is in its folder") from error
    return record
