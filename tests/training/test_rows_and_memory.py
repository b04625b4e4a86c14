"""Training takes the same memory whatever the number of rows: the peak of a whole process of its own."""

import json
import os
import struct

import numpy as np
import pytest
from toys import in_child

FEW, MANY, INPUTS, CLASSES = 300_000, 3_000_000, 64, 5  # the few fill every buffer that grows to a limit
TRAIN = """
import json, sys
from pathlib import Path
import ffedge

data, out, changes = sys.argv[1:]
run = ffedge.train(ffedge.Spec.make(**json.loads(changes)), Path(data), Path(out))
print((run.path / "report.json").read_text())
"""
STREAM = """
import json, sys
from pathlib import Path
import numpy as np
import ffedge

def minibatches(rows):
    rng = np.random.default_rng(0)
    for start in range(0, rows, 2000):
        y = rng.integers(0, 5, 2000)
        yield (rng.integers(0, 99, (2000, 64)) + 30 * y[:, None]).astype(np.uint8), y

rows, out, changes = sys.argv[1:]
run = ffedge.train(ffedge.Spec.make(**json.loads(changes)), minibatches(int(rows)), Path(out))
print((run.path / "report.json").read_text())
"""


def rows_of(count):
    rng = np.random.default_rng(0)
    y = rng.integers(0, CLASSES, count)
    return rng.integers(0, 99, (count, INPUTS), dtype=np.uint8) + (30 * y[:, None]).astype(np.uint8), y


def write_npy(folder, x, y):
    np.save(folder / "x_train.npy", x)
    np.save(folder / "y_train.npy", np.array(["ape", "bee", "cat", "dog", "eel"])[y])


def write_idx(folder, x, y):
    for name, array in (("train-images-idx3-ubyte", x), ("train-labels-idx1-ubyte", y.astype(np.uint8))):
        header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
        (folder / name).write_bytes(header + array.tobytes())


@pytest.mark.parametrize(
    ("write", "changes"),
    [
        pytest.param(write_npy, {"batch_size": 4000, "negatives": "fresh"}, id="names in npy, minibatches"),
        pytest.param(write_idx, {"batch_size": "full", "negatives": "fixed"}, id="idx, one batch of all"),
        pytest.param(
            None,
            {"widths": [8, 8], "batch_size": 4000, "negatives": "hard", "schedule": "interleaved"},
            id="an iterable",
        ),
    ],
)
@pytest.mark.slow
def test_ten_times_the_rows_move_the_peak_by_less_than_3_percent(tmp_path, monkeypatch, write, changes):
    monkeypatch.setenv("FFEDGE_CACHE", str(tmp_path / "cache"))
    changes = {"widths": [8], "epochs": 1, "chunk_size": 500, "threads": 1, **changes}
    peaks = []
    for count in (FEW, MANY):
        folder = tmp_path / str(count)
        folder.mkdir()
        if write:
            write(folder, *rows_of(count))
        words = [str(folder) if write else str(count), str(folder / "run"), json.dumps(changes)]
        report = json.loads(in_child(TRAIN if write else STREAM, *words))
        assert report["train_accuracy"] > 0.3  # by chance: 0.2
        peaks.append(report["rss_peak_bytes"])
        for path in folder.glob("*"):
            if path.is_file():
                os.unlink(path)
    assert abs(peaks[1] / peaks[0] - 1) < 0.03, peaks
