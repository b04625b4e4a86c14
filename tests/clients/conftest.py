"""Models that `ffedge train` wrote for all that changes the graph, and what engines make of them."""

from functools import cache

import numpy as np
import pytest
from cases import CASES
from engines import IN_PYTHON, in_node, in_python, installed, need

from ffedge import load, train


@pytest.fixture(scope="session")
def digits(tmp_path_factory):
    """Return the data sets by name, and the 1,000 test digits as each gives them: images, or a table of 49 columns."""
    whole, folder = load("mnist-mini"), tmp_path_factory.mktemp("digits")
    data, rows = {}, {}
    for name, shown in {"images": lambda x: x, "table": pooled}.items():
        train_x, test_x = (shown(s.inputs.take(np.arange(n))) for s, n in ((whole.train, 3000), (whole.test, 1000)))
        labels = {"y_train": whole.train.labels[:3000], "y_test": whole.test.labels}
        np.savez(folder / f"{name}.npz", x_train=train_x, x_test=test_x, **labels)
        data[name], rows[name] = folder / f"{name}.npz", test_x
    return data, rows


def pooled(images):
    """Return the means of 4 x 4 pixels as float32 columns in [0, 1]."""
    return (images.reshape(-1, 7, 4, 7, 4).mean(axis=(2, 4)).reshape(-1, 49) / 255).astype(np.float32)


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
