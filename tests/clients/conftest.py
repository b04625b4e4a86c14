"""Models that `ffedge train` wrote for all that changes the graph, and what engines make of them."""

import csv
from functools import cache

import numpy as np
import pytest
from cases import CASES
from engines import IN_PYTHON, in_node, in_python, installed, need

from ffedge import load, train


@pytest.fixture(scope="session")
def digits(tmp_path_factory):
    """Return data sets by name, and the 1,000 test digits as each gives them: pictures, or a table of 49 columns."""
    whole, folder = load("mnist-mini"), tmp_path_factory.mktemp("digits")
    splits = [(s.inputs.take(np.arange(n)), s.labels[:n]) for s, n in ((whole.train, 3000), (whole.test, 1000))]
    data, rows = {}, {}
    for name, shown in {"images": lambda x: x, "colours": coloured, "table": pooled}.items():
        (x_train, y_train), (x_test, y_test) = ((shown(x), y) for x, y in splits)
        data[name], rows[name] = folder / f"{name}.npz", x_test
        np.savez(data[name], x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test)
    for name in ("csv", "clock"):
        files = [folder / f"{name}-{split}.csv" for split in ("train", "test")]
        for (x, y), file in zip(splits, files, strict=True):
            write_csv(file, pooled(x), y, clock=name == "clock")
        table = load(files[0]).table
        data[name], rows[name] = files[0], load(files[1], table=table, finite=False).train.inputs.take(np.arange(1000))
    return data, rows


def pooled(images):
    """Return the means of 4 x 4 pixels as float32 columns in [0, 1]."""
    return (images.reshape(-1, 7, 4, 7, 4).mean(axis=(2, 4)).reshape(-1, 49) / 255).astype(np.float32)


def coloured(images):
    """Return the means of 2 x 2 pixels in drawn colours on drawn grounds, as uint8 [N, 14, 14, 3]."""
    grey = images.reshape(-1, 14, 2, 14, 2).mean(axis=(2, 4))[..., None] / 255
    ground, ink = np.random.default_rng(0).uniform([[0], [140]], [[90], [255]], (len(grey), 2, 3)).transpose(1, 0, 2)
    return (ground[:, None, None] * (1 - grey) + ink[:, None, None] * grey).astype(np.uint8)


def write_csv(file, columns, labels, *, clock):
    """Write a table with a category, which is missing in some rows and new in some for testing, and gaps in a column.

    With a clock, a column holds seconds since 1970, whose last digits tell something of the label.
    """
    sides, test = np.array(["left", "right", "neither"]), "test" in file.name
    heavier = np.sign(columns[:, 3::7].sum(axis=1) - columns[:, 2::7].sum(axis=1)).astype(int)
    times = 1.75e9 + 4 * labels + np.random.default_rng(0).normal(0, 8, len(labels))
    with file.open("w", newline="") as out:
        lines = csv.writer(out)
        lines.writerow([*["time"] * clock, *(f"cell {i}" for i in range(49)), "side", "digit"])
        for row, (cells, side, label) in enumerate(zip(columns, sides[heavier], labels, strict=True)):
            told = ["" if row % 11 == 0 and i == 24 else f"{v:.4f}" for i, v in enumerate(cells)]
            strange = {0: "", 1: "unheard" if test else side}.get(row % 13, side)
            lines.writerow([*[f"{times[row]:.3f}"] * clock, *told, strange, label])


@pytest.fixture(scope="session")
def models(digits, tmp_path_factory):
    """Train a small network for each case; return the model files by the case's name."""
    folder, (data, _) = tmp_path_factory.mktemp("models"), digits

    return {name: train(case.spec(), data[case.data], folder / name).model for name, case in CASES.items()}


@pytest.fixture(scope="session")
def outputs(request, digits, tmp_path_factory):
    """Return a function: an engine's outputs for all test digits, a dictionary a case, or its error's text."""

    @cache
    def of(engine):
        need(engine, installed(engine))
        models = request.getfixturevalue("models")  # not trained where there is no engine
        if engine in IN_PYTHON:
            return {name: in_python(IN_PYTHON[engine], model, rows(name)) for name, model in models.items()}
        return in_node(engine, models, rows, tmp_path_factory.mktemp(engine))

    def rows(name):
        return digits[1][CASES[name].data]

    return of
