"""Models that `ffedge train` wrote for all that changes the graph, and what engines make of them."""

from functools import cache

import numpy as np
import pytest
from cases import CASES
from digits import coloured, pooled, write_csv
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
            write_csv(file, x, y, clock=name == "clock", news=file is files[1])
        table = load(files[0]).table
        data[name], rows[name] = files[0], load(files[1], table=table, finite=False).train.inputs.take(np.arange(1000))
    return data, rows


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
