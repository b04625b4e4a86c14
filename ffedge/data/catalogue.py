"""Data sets by name or path: the embedded sample, known sets found or downloaded, the user's own files."""

import dataclasses
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

from ffedge.columns import Table
from ffedge.data.cache_folder import cache_folder
from ffedge.data.copy_batches import NAME, Batches, copied
from ffedge.data.dataset import Dataset, assemble
from ffedge.data.download import fetch
from ffedge.data.files import IDX_FILES, arrays_of, idx_file, is_table, open_array
from ffedge.data.known import NAMES, KnownDataset
from ffedge.errors import DataError

SYSTEM_FOLDER = Path("/usr/share/datasets")
Data = str | Path | Sequence[str | Path] | Batches | Dataset


def load(
    source: Data = "mnist-mini",
    data_dir: str | Path | None = None,
    *,
    progress: bool = False,
    folder: str | Path | None = None,
    one_class: bool = False,
    finite: bool = True,
    label: str | None = None,
    leave_out: Sequence[str] = (),
    table: Table | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Dataset:
    """Open a data set: a known one, the user's files, or minibatches from anywhere.

    Parameters
    ----------
    source : one of `NAMES`; a folder, an ``.npz``, ``.npy`` or IDX file (a known name is never a path); a table
        (``.csv``, ``.tsv``, ``.jsonl``, ``.parquet``, ``.feather``), a pattern such as ``logs/*.csv`` or a list of
        such, read as one set, or ``-``, a table on standard input; or an iterable
        of minibatches ``(x, y)``, or a callable that returns one: a generator, a list, a DataLoader. x is ``[n,
        *row_shape]``, y ``[n]`` as in files, arrays or what numpy makes arrays of; n may differ. An open data set is
        returned as it is.
    data_dir : where to look first for a known name: in its subfolder of that name, then in itself.
    progress : show a bar on stderr while downloading.
    folder : where the copy of minibatches is kept, as ``x_train.npy`` and ``y_train.npy``. Without it, it goes with the
        process.
    one_class : take rows of one class, too, and numbers of whatever values as labels: for a model that knows its
        classes already.
    label, leave_out : of a table, the name of the label's column (None: the last one), and of columns not to take.
    table : of a model (`ffedge.network.InputFacts`): the columns that are taken, by their names.
    stop : asked while a table is read; True ends that with a StoppedError.
    finite : refuse files that hold NaN or infinity; else these are rows like others, which a model calls odd.

    Notes
    -----
    Minibatches are copied once, in one pass, to a file: inputs as uint8 or float32, labels as a byte or two or as
    names, in `folder` or else in ``$FFEDGE_CACHE`` (`ffedge.data.copy_batches` says why). The data set's checksum is
    that of the same arrays saved by `numpy.save`. Members of ``.gz`` and ``.npz`` files are unpacked to the cache.

    Raises
    ------
    DataError
        If it is not found, not complete, or cannot be trained on; or the disk is full.
    ValueError
        If `source` is none of these.
    """
    if isinstance(source, Dataset):
        return source
    if is_table(source):
        from ffedge.data.tables import load_table

        return load_table(
            cast(Any, source),
            label=label,
            leave_out=leave_out,
            table=table,
            one_class=one_class,
            stop=stop,
        )
    if label is not None or leave_out:
        raise ValueError("`label` and `leave_out` are for table files. Leave them out")
    if not isinstance(source, str | Path):
        return _load_batches(source, None if folder is None else Path(folder), one_class)
    if isinstance(source, str) and source in NAMES:
        known = NAMES[source]
        place = _find(known, data_dir, progress)
        files = [idx_file(place, name) for name in IDX_FILES]
        return assemble(known.name, tuple(open_array(file) for file in files if file is not None), known)
    path = Path(source)
    if not path.exists():
        raise DataError(_unknown(str(source)))
    return assemble(_name(path), arrays_of(path), None, one_class=one_class, finite=finite)


def _load_batches(batches: Batches, folder: Path | None, one_class: bool) -> Dataset:
    if not (callable(batches) or hasattr(batches, "__iter__") or hasattr(batches, "__getitem__")):
        raise ValueError(f"data must be a name, a path or minibatches (x, y), got {type(batches).__name__}")
    with copied(batches, folder) as (parts, sample):
        dataset = assemble(NAME if folder is None else _name(folder), parts, None, one_class=one_class)
        return dataclasses.replace(dataset, sample=sample)


def _name(path: Path) -> str:
    return path.resolve().name if path.is_dir() else path.name.partition(".")[0] or path.name


def _unknown(text: str) -> str:
    import difflib  # 0.15 MiB that a run does not need

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
    except OSError as error:
        raise DataError(
            f"{known.name}: was not found in {', '.join(map(str, places))}, and downloading from {known.url} "
            f"failed ({error}). Put {', '.join(IDX_FILES)} (plain or .gz) into one of these "
            "folders, or use `data='mnist-mini'`, which needs no network."
        ) from error


def _places(name: str, data_dir: str | Path | None) -> list[Path]:
    places = []
    if data_dir is not None:
        if not Path(data_dir).is_dir():
            raise DataError(f"{data_dir}: is not a folder. Check `data_dir`.")
        places += [Path(data_dir) / name, Path(data_dir)]
    if root := os.environ.get("FFEDGE_DATA"):
        places.append(Path(root) / name)
    return [*places, cache_folder() / name, SYSTEM_FOLDER / name]
