"""Data sets by name or path: the embedded sample, known sets found or downloaded, the user's own files."""

import dataclasses
import hashlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from ffedge.columns import Table, numbered
from ffedge.data.cache_folder import cache_folder, sha256_of
from ffedge.data.copy_batches import NAME, Batches, copied
from ffedge.data.dataset import Dataset, assemble
from ffedge.data.download import fetch
from ffedge.data.files import IDX_FILES, arrays_of, holds_arrays, idx_file, is_table, open_array, source_text
from ffedge.data.frames import is_frame, pairs_of
from ffedge.data.known import NAMES, KnownDataset
from ffedge.data.merged import KEPT_DOUBLE
from ffedge.data.reading import Listener, Reading
from ffedge.data.rows import Rows
from ffedge.errors import DataError, one_line, refuse_text

SYSTEM_FOLDER = Path("/usr/share/datasets")
Data = str | Path | Sequence[str | Path] | Batches | Dataset  # or a table in memory


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
    reading: Reading | None = None,
    shape: tuple[int, ...] | None = None,
    hear: Listener | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Dataset:
    """Open a data set: a known one, the user's files, or minibatches from anywhere.

    Parameters
    ----------
    source : one of `NAMES`; a folder of arrays, or with a folder of pictures or of event recordings for each class
        (`ffedge.data.class_folders`); an ``.npz``, ``.npy`` or IDX file (a known name is never a path); a table
        (``.csv``, ``.tsv``, ``.jsonl``, ``.parquet``, ``.feather``), a pattern such as ``logs/*.csv`` or a list of
        such, read as one set, or ``-``, a table on standard input; a table in memory, of pandas, polars, pyarrow or
        Hugging Face's datasets; or an iterable
        of minibatches ``(x, y)``, or a callable that returns one: a generator, a list, a DataLoader. x is ``[n,
        *row_shape]``, y ``[n]`` as in files, arrays or what numpy makes arrays of; n may differ. A minibatch may be
        ``(x, y, w)``: w ``[n]``, 0 or more, is what each row counts in the loss (1 in the mean over all). An open data
        set is returned as it is.
    data_dir : where to look first for a known name: in its subfolder of that name, then in itself.
    progress : show a bar on stderr while downloading.
    folder : where the copy of minibatches is kept, as ``x_train.npy`` and ``y_train.npy``. Without it, it goes with the
        process.
    one_class : take rows of one class, too, and numbers of whatever values as labels: for a model that knows its
        classes already.
    label, leave_out : of a table, the name of the label's column (None: the last one), and of columns not to take.
    table : of a model (`ffedge.network.InputFacts`): the columns that are taken, by their names.
    stop : asked while a table or class folders are read; True ends that with a StoppedError.
    finite : refuse files that hold NaN or infinity; else these are rows like others, which a model calls odd.
    reading : what the files leave open: the size of pictures, the time bins of events, rows to test on.
    shape : of a row, where a model has one that files in class folders are to be brought to.
    hear : is told how the reading of a table or of class folders goes.

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
        If `source` is none of these, or `reading` asks for what plays no part for it.
    """
    reading, hear = reading or Reading(), hear or Listener()
    frame = is_frame(source)
    if (pairs := pairs_of(source, label)) is not None:
        source, label, frame = pairs, None, False
    tabular = frame or is_table(source)
    refuse_text(leave_out, "leave_out")
    if (label is not None or leave_out) and not tabular:
        raise ValueError("`label` and `leave_out` are for tables. Leave them out")
    if tabular and table is None and shape is not None:
        told = one_line(source_text(source, NAME))
        raise DataError(f"{told}: is a table, but the model learns from arrays. Pass a .npz file")
    files = _class_folders(source, reading, shape, hear, stop)
    if files is not None:
        dataset = assemble(_name(Path(str(source))), files, None, one_class=one_class)
    elif (idle := reading.of_files) and not _is_missing(source):
        name = source if isinstance(source, str | Path) else NAME
        raise ValueError(
            f"`{idle[0]}` plays no part for {name}, which is no folder of pictures or recordings. Leave it out"
        )
    elif tabular:
        from ffedge.data.tables import load_table

        dataset = load_table(
            source, label=label, leave_out=leave_out, table=table, one_class=one_class, hear=hear, stop=stop
        )
    else:
        where = None if folder is None else Path(folder)
        dataset = _of_arrays(source, data_dir, progress, where, table, one_class=one_class, finite=finite)
    if reading.test is None:
        return dataset
    if dataset.test is not None:
        raise ValueError(f"`test` plays no part for {dataset.name}, which has a test split. Leave it out")
    from ffedge.data.test_split import with_other, with_share

    if isinstance(reading.test, float):
        return with_share(dataset, reading.test)
    test = load(
        reading.test,
        data_dir,
        one_class=True,
        label=label if is_table(reading.test) else None,
        table=dataset.table,
        reading=Reading(skip_broken=reading.skip_broken and files is not None),
        shape=dataset.input_shape,
        hear=hear,
        stop=stop,
    )
    return with_other(dataset, test)


def _is_missing(source: Data) -> bool:
    """Tell whether this is neither a known name nor a table, and no path that exists."""
    named = isinstance(source, str | Path) and source not in NAMES and not is_table(source)
    return named and not Path(str(source)).exists()


def _class_folders(
    source: Data, reading: Reading, shape: tuple[int, ...] | None, hear: Listener, stop: Callable[[], bool]
) -> tuple[Rows, ...] | None:
    """Open a folder of class folders; None where it is none."""
    if not isinstance(source, str | Path) or (isinstance(source, str) and source in NAMES):
        return None
    path = Path(source)
    if not path.is_dir() or holds_arrays(path):
        return None
    from ffedge.data.class_folders import arrays_of_classes, holds_folders

    return arrays_of_classes(path, reading, shape, hear, stop) if holds_folders(path) else None


def _of_arrays(
    source: Data,
    data_dir: str | Path | None,
    progress: bool,
    folder: Path | None,
    table: Table | None,
    *,
    one_class: bool,
    finite: bool,
) -> Dataset:
    """Open what is neither a folder of class folders nor a table."""
    if isinstance(source, Dataset):
        return source
    if not isinstance(source, str | Path):
        return _load_batches(source, folder, table, one_class)
    if isinstance(source, str) and source in NAMES:
        known = NAMES[source]
        place = _find(known, data_dir, progress)
        files = [idx_file(place, name) for name in IDX_FILES]
        return assemble(known.name, tuple(open_array(file) for file in files if file is not None), known)
    path = Path(source)
    if not path.exists():
        raise DataError(_unknown(str(source)))
    return assemble(_name(path), arrays_of(path), None, one_class=one_class, finite=finite, table=table)


def _load_batches(batches: Batches, folder: Path | None, table: Table | None, one_class: bool) -> Dataset:
    if not (callable(batches) or hasattr(batches, "__iter__") or hasattr(batches, "__getitem__")):
        raise ValueError(f"data must be a name, a path or minibatches (x, y), got {type(batches).__name__}")
    wide = table is not None if one_class else table is not None or None
    with copied(batches, folder, wide) as (parts, weights, sample):
        told = parts[0].dtype == np.float64 and table is None
        table = numbered(parts[0].row_shape[0]) if told else table
        name = NAME if folder is None else _name(folder)
        dataset = assemble(name, parts, None, one_class=one_class, table=table)
        dataset = dataclasses.replace(dataset, notes=(*dataset.notes, KEPT_DOUBLE)) if told else dataset
        if weights is not None:
            digest = hashlib.sha256(f"{dataset.sha256}\n{weights.sha256 or sha256_of(weights.path)}\n".encode())
            train = dataclasses.replace(dataset.train, weights=weights)
            dataset = dataclasses.replace(dataset, train=train, sha256=digest.hexdigest())
        return dataclasses.replace(dataset, sample=None if dataset.table else sample)


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
