"""Where a model file and its kept examples stand: the ones before beside them, the way back, and what a kill leaves.

docs/states.md draws it. What learning made and what it replaces stand aside, in the learner's folder, before the model
takes its place. From then on the rest is moved; whoever comes next moves what a killed process did not.
"""

import contextlib
import filecmp
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from ffedge.errors import FfedgeError, ModelError
from ffedge.files import atomic_file, confirm, in_turn, locked, replaceable, stands, sync, writing
from ffedge.training.replay import kept_file

PREVIOUS = ".previous"
OTHER = "another model has taken its place meanwhile, and stands. Learn from that"
ASIDE, NEXT_KEPT, OLD_KEPT, OLD = "aside", "next-kept", "old-kept", "old"


def previous_file(path: Path) -> Path:
    """Return where the one before stands: of a model file, or of its kept examples."""
    return path.with_name(path.name + PREVIOUS)


def roll_back(model: str | Path) -> Path:
    """Put the file back that the last `learn` replaced, with its kept examples; return its path.

    A process that learns from the file meanwhile leaves it as it is, and says so at its end.

    Raises
    ------
    FfedgeError
        There is none, or the folder cannot be written.
    """
    with writing(Path(model)):
        path = replaceable(Path(model))
        if not path.parent.is_dir():
            raise ModelError(f"{path}: no such file. There is nothing to go back to")
        with contextlib.suppress(FfedgeError), alone(path):
            pass  # what a killed learner left is gone; one that is at work has seen to it
        with in_turn(path):
            _settle(path, _folder(path))
            if not previous_file(path).is_file():
                raise ModelError(f"{previous_file(path)}: no such file. There is nothing to go back to")
            for file in (kept_file(path), path):
                if previous_file(file).is_file():
                    previous_file(file).replace(file)
            confirm(path)
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
            folder = _folder(path)
            if folder.is_symlink():  # what it leads to would be emptied
                raise FfedgeError(f"{folder}: is a link, and no folder of ffedge's. Remove it")
            stack.enter_context(locked(folder, f"{model}: another process learns there. Wait until it ends"))
            _clear(path, folder)
        try:
            yield path, folder
        finally:
            with contextlib.suppress(OSError):  # the next one does it
                _clear(path, folder)
                folder.rmdir()


@contextlib.contextmanager
def replaced(path: Path, folder: Path, stood: os.stat_result) -> Iterator[tuple[Path, Path]]:
    """Let a model that has learnt take its place, with its kept examples, and the ones before theirs.

    Yields
    ------
    tuple of Path
        Where to write the model, and where its kept examples, if there are new ones.

    Raises
    ------
    ModelError
        Another file has taken its place since it `stood` there; it stays.
    FfedgeError
        The disk is full. All stands as it was, unless the message says that the model stands in its place.
    """
    aside, kept = folder / ASIDE, kept_file(path)
    with writing(path):
        aside.mkdir()
        with in_turn(path):
            with atomic_file(path) as temporary:
                yield temporary, aside / NEXT_KEPT
                sync(temporary)
                check_stands(path, stood)
                if kept.is_file():
                    _link(kept, aside / OLD_KEPT)
                _link(path, aside / OLD)
                sync(aside)
            try:
                _settle(path, folder)
            except OSError as error:
                text = f"stands in its place, but not yet the one before in {previous_file(path).name}"
                raise FfedgeError(
                    f"{path}: {text} ({error.strerror}). The next `rollback` or learning sees to it"
                ) from error


def check_stands(path: Path, stood: os.stat_result) -> None:
    """Raise ModelError where a file is not the one any more that `stood` there."""
    if not stands(path, stood):
        raise ModelError(f"{path}: {OTHER}")


def standing(path: Path) -> dict[Path, os.stat_result]:
    """Return how a file stands now, by its path and by that behind its links; nothing where there is none.

    However a path is spelled, by links to folders too, it is the same.
    """
    places = (Path(os.path.realpath(path.parent)) / path.name, Path(os.path.realpath(path)))
    return {place: path.stat() for place in places if path.is_file()}


def _folder(path: Path) -> Path:
    return path.with_name(f".{path.name}.learn.tmp")


def _clear(path: Path, folder: Path) -> None:
    """Empty a learner's folder, which a killed one may have left, once what is to be moved out of it has its place."""
    for left in folder.iterdir():
        if left.name != ASIDE:
            shutil.rmtree(left) if left.is_dir() else left.unlink()
    if (folder / ASIDE).is_dir():
        with in_turn(path):
            _settle(path, folder)


def _settle(path: Path, folder: Path) -> None:
    """Move what stands aside to its place, if the model has taken its own; else remove it."""
    aside = folder / ASIDE
    if (aside / OLD).is_file() and not (path.is_file() and filecmp.cmp(aside / OLD, path, shallow=False)):
        kept = kept_file(path)
        places = {OLD_KEPT: previous_file(kept), NEXT_KEPT: kept, OLD: previous_file(path)}
        for name, place in places.items():
            if (aside / name).is_file():
                (aside / name).replace(place)
        sync(path.parent)
    if aside.is_dir():
        shutil.rmtree(aside)


def _link(path: Path, beside: Path) -> None:
    try:
        beside.hardlink_to(path)
    except OSError:  # a file system without links
        shutil.copy2(path, beside)
        sync(beside)
