"""A run on a toy data set, and what a form is made from."""

import numpy as np
import pytest

from ffedge import Spec, train
from ffedge.export.source import open_rows, read_trained
from tests.cli.conftest import bars


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "bars.npz"
    x, y = bars(600, 0)
    np.savez(path, x=x, y=y)
    return path


@pytest.fixture(scope="session")
def run_folder(data, tmp_path_factory):
    spec = Spec.make(widths=(24, 16), epochs=6, batch_size=32, label_scale=3.0, holdout=0.2)
    return train(spec, data, tmp_path_factory.mktemp("runs") / "bars").path


@pytest.fixture(scope="session")
def trained(run_folder):
    return read_trained(run_folder)


@pytest.fixture(scope="session")
def rows(trained):
    return open_rows(trained, None, None)
