"""What the tests of hostile files share: small arrays in files, the line of a refusal, the end of a command."""

import numpy as np
import pytest

from ffedge.cli import main

LABELS = np.array([0, 1, 2, 0])
IMAGES = np.arange(24, dtype=np.uint8).reshape(4, 3, 2)


def refusal(error, call, *words, **options):
    with pytest.raises(error) as caught:
        call(*words, **options)
    return str(caught.value)


def command(monkeypatch, capfd, *words):
    """Run a command; return its exit code and what it printed to stdout and stderr."""
    return main([str(word) for word in words]), *capfd.readouterr()


def saved(folder, x=IMAGES, y=LABELS):
    folder.mkdir(exist_ok=True)
    np.save(folder / "x.npy", x)
    np.save(folder / "y.npy", y)
    return folder / "x.npy"
