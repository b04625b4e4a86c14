"""A toy data set on disk, a run of the command line, and one trained model for all tests here."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from ffedge.cli import main
from ffedge.compare.child import variables

CLASSES = 3


@dataclass(frozen=True)
class Outcome:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def line(self) -> str:
        """The one line of an error."""
        lines = self.err.strip().splitlines()
        assert len(lines) == 1, self.err
        return lines[0]


Ffedge = Callable[..., Outcome]


@pytest.fixture
def ffedge(capfd: pytest.CaptureFixture[str]) -> Ffedge:
    """Run the command line in this process."""

    def run(*words: object) -> Outcome:
        capfd.readouterr()
        code = main([str(word) for word in words])
        out, err = capfd.readouterr()
        return Outcome(code, out, err)

    return run


def spawn(*words: object, text: str = "", python: tuple[str, ...] = ()) -> Outcome:
    """Run the command line in a process of its own, with something on its standard input."""
    command = [sys.executable, *python, "-m", "ffedge", *map(str, words)]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False, env=variables())
    return Outcome(done.returncode, done.stdout, done.stderr)


def bars(rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw images [rows, 6, 6] with a bright row that tells the class; the first row stays empty."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, CLASSES, rows)
    images = rng.integers(0, 60, (rows, 6, 6))
    images[:, 0] = 0
    images[np.arange(rows), labels + 2] += 150
    return images.astype(np.uint8), labels


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the toy data set as an .npz."""
    path = tmp_path_factory.mktemp("data") / "bars.npz"
    x_train, y_train = bars(600, 0)
    x_test, y_test = bars(200, 1)
    np.savez(path, x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test)
    return path


@pytest.fixture(scope="session")
def run_folder(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train on the toy data set once."""
    from ffedge import Spec, train

    spec = Spec.make(widths=(24, 16), epochs=6, batch_size=32, label_scale=3.0)
    return train(spec, data, tmp_path_factory.mktemp("runs") / "bars").path
