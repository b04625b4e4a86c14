"""Where a model file and its kept examples stand: one process at a time, the ones before beside them, the way back."""

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from ffedge.errors import FfedgeError, ModelError
from ffedge.training.kept import kept_file
from ffedge.training.records import sync, writing

PREVIOUS = ".previous"


def previous_file(path: Path) -> Path:
    """Return where the one before stands: of a model file, or of its kept examples."""
    return path.with_name(path.name + PREVIOUS)


def set_aside(path: Path) -> None:
    """Let a file stand under its previous name too."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.previous.tmp")
    beside.unlink(missing_ok=True)
    try:
        beside.hardlink_to(path)
    except OSError:  # a file system without links
        shutil.copyfile(path, beside)
        sync(beside)
    beside.replace(previous_file(path))


def roll_back(model: str | Path) -> Path:
    """Put the file back that the last `learn` replaced, with its kept examples; return its path.

    Raises
    ------
    ModelError
        There is none.
    """
    path = Path(model)
    before = previous_file(path)
    if not before.is_file():
        raise ModelError(f"{before}: no such file. There is nothing to go back to")
    with writing(path):
        before.replace(path)
        if previous_file(kept_file(path)).is_file():
            previous_file(kept_file(path)).replace(kept_file(path))
        sync(path.absolute().parent)
    return path


@contextlib.contextmanager
def alone(path: Path) -> Iterator[Path]:
    """Keep other processes that learn out, and yield a folder beside the model for what is in the making.

    Raises
    ------
    FfedgeError
        Another process learns from the file, or its folder cannot be written.
    """
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # goes with the process, however it ends
        except OSError as error:
            raise FfedgeError(f"{path}: another process learns there. Wait until it ends") from error
        with contextlib.ExitStack() as stack:
            with writing(path):
                folder = stack.enter_context(tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent))
            yield Path(folder)
