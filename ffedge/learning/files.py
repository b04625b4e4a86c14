"""Where a model file and its kept examples stand: one process at a time, the ones before beside them, the way back."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from ffedge.errors import ModelError
from ffedge.files import locked, replaceable, sync, writing
from ffedge.training.replay import kept_file

PREVIOUS = ".previous"


def previous_file(path: Path) -> Path:
    """Return where the one before stands: of a model file, or of its kept examples."""
    return path.with_name(path.name + PREVIOUS)


def set_aside(path: Path, stood: os.stat_result | None = None) -> None:
    """Let a file stand under its previous name too.

    Raises
    ------
    ModelError
        It is not the file any more that `stood` there.
    """
    if stood is not None and _which(path.stat()) != _which(stood):
        raise ModelError(f"{path}: another model has taken its place meanwhile, and stands. Learn from that")
    beside = path.with_name(f".{path.name}.previous.tmp")
    beside.unlink(missing_ok=True)
    try:
        beside.hardlink_to(path)
    except OSError:  # a file system without links
        shutil.copy2(path, beside)
        sync(beside)
    beside.replace(previous_file(path))


def roll_back(model: str | Path) -> Path:
    """Put the file back that the last `learn` replaced, with its kept examples; return its path.

    Raises
    ------
    FfedgeError
        There is none, or a process learns from the file.
    """
    with alone(Path(model)) as (path, _):
        if not previous_file(path).is_file():
            raise ModelError(f"{previous_file(path)}: no such file. There is nothing to go back to")
        with writing(path):
            for file in (path, kept_file(path)):
                if previous_file(file).is_file():
                    previous_file(file).replace(file)
            sync(path.absolute().parent)
        return path


@contextlib.contextmanager
def alone(model: Path) -> Iterator[tuple[Path, Path]]:
    """Keep other processes that learn out.

    Yields
    ------
    tuple of Path
        The file that will be replaced, behind its links, and an empty folder beside it for what is in the making.

    Raises
    ------
    FfedgeError
        Another process learns from the file, its folder cannot be written, or it is a file that cannot be replaced.
    """
    with contextlib.ExitStack() as stack:
        with writing(model):
            path = replaceable(model)
            folder = path.with_name(f".{path.name}.learn.tmp")
            stack.enter_context(locked(folder, f"{model}: another process learns there. Wait until it ends"))
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            for left in folder.iterdir():  # by a process that was killed
                shutil.rmtree(left) if left.is_dir() else left.unlink()
        yield path, folder


def _which(file: os.stat_result) -> tuple[int, ...]:
    return file.st_dev, file.st_ino, file.st_size, file.st_mtime_ns
