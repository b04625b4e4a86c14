"""Data sets by name or path: the embedded sample, known sets found or downloaded, the user's own files."""

import difflib
import os
from pathlib import Path

from ffedge.data.cache import cache_folder
from ffedge.data.dataset import Dataset, Split, assemble
from ffedge.data.download import fetch
from ffedge.data.files import IDX_FILES, idx_file, open_part, parts_of
from ffedge.data.known import NAMES, KnownDataset
from ffedge.errors import DataError

__all__ = ["NAMES", "Dataset", "KnownDataset", "Split", "load"]

SYSTEM_FOLDER = Path("/usr/share/datasets")


def load(
    name_or_path: str | Path = "mnist-mini", data_dir: str | Path | None = None, *, progress: bool = False
) -> Dataset:
    """Open a data set.

    Parameters
    ----------
    name_or_path : str or Path
        One of `NAMES`, or a folder, an ``.npz``, ``.npy`` or IDX file. A known name is never a path.
    data_dir : str or Path, optional
        Where to look first for a known name: in its subfolder of that name, then in itself.
    progress : bool
        Show a bar on stderr while downloading.

    Raises
    ------
    DataError
        If it is not found, not complete, or cannot be trained on.
    """
    if isinstance(name_or_path, str) and name_or_path in NAMES:
        known = NAMES[name_or_path]
        folder = _find(known, data_dir, progress)
        files = [idx_file(folder, name) for name in IDX_FILES]
        return assemble(known.name, tuple(open_part(file) for file in files if file is not None), known)
    path = Path(name_or_path)
    if not path.exists():
        raise DataError(_unknown(str(name_or_path)))
    name = path.resolve().name if path.is_dir() else path.name.partition(".")[0] or path.name
    return assemble(name, parts_of(path), None)


def _unknown(text: str) -> str:
    near = difflib.get_close_matches(text, NAMES, n=1)
    hint = f"Did you mean {near[0]}?" if near else "Pass one of these names, or a path that exists."
    return f"{text}: is neither a known data set ({', '.join(NAMES)}) nor a path that exists. {hint}"


def _find(known: KnownDataset, data_dir: str | Path | None, progress: bool) -> Path:
    """Return a folder that holds all files of a known data set, downloaded if need be."""
    if known.url is None:
        return Path(__file__).with_name(known.name.replace("-", "_"))
    places = _places(known.name, data_dir)
    for place in places:
        if all(idx_file(place, name) for name in IDX_FILES):
            return place
    try:
        return fetch(known.name, known.url, known.sha256, progress=progress)
    except OSError as error:  # requests' errors are OSErrors
        raise DataError(
            f"{known.name}: was not found in {', '.join(map(str, places))}, and downloading from {known.url} "
            f"failed ({type(error).__name__}). Put {', '.join(IDX_FILES)} (plain or .gz) into one of these "
            "folders, or use --data mnist-mini, which needs no network."
        ) from error


def _places(name: str, data_dir: str | Path | None) -> list[Path]:
    places = []
    if data_dir is not None:
        if not Path(data_dir).is_dir():
            raise DataError(f"{data_dir}: is not a folder. Check --data-dir.")
        places += [Path(data_dir) / name, Path(data_dir)]
    if root := os.environ.get("FFEDGE_DATA"):
        places.append(Path(root) / name)
    return [*places, cache_folder() / name, SYSTEM_FOLDER / name]
