"""Finds the arrays of a data set from one path: a folder, an ``.npz``, a ``.npy`` or an IDX file."""

from pathlib import Path

from ffedge.data.arrays import npz_members, read_npy, read_npz
from ffedge.data.idx import read_idx
from ffedge.data.rows import Rows
from ffedge.errors import DataError

IDX_FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
JSON_TEXTS = (".jsonl", ".ndjson")
TEXTS = (".csv", ".tsv", ".tab", *JSON_TEXTS)
TYPED = (".parquet", ".feather", ".arrow")
STDIN = "-"
ARRAYS = ("x_train", "y_train", "x_test", "y_test")


def arrays_of(path: Path) -> tuple[Rows, ...]:
    """Open the arrays that `path` stands for.

    Returns
    -------
    tuple of Rows
        Train inputs, train labels and, if there is a test split, test inputs, test labels.

    Raises
    ------
    DataError
        If nothing is found, half a pair is missing, or a folder holds two data sets.
    """
    if path.is_dir():
        return _arrays_of_folder(path)
    if path.suffix == ".npz":
        return _arrays_of_npz(path)
    if path.suffix == ".npy" or is_idx(path):
        return tuple(open_array(file) for file in _files_beside(path))
    raise DataError(
        f"{path}: is no data file that ffedge reads. "
        "Pass a folder, an .npz, a .npy, a table (.csv, .tsv, .jsonl, .parquet) or an IDX file "
        "(*-images-idx3-ubyte, plain or .gz)."
    )


def holds_arrays(folder: Path) -> bool:
    """Tell whether a folder holds files of the names that are looked for, whole or not."""
    names = {f"{name}.npy" for name in ARRAYS}
    try:
        return any((file.name in names or is_idx(file)) and file.is_file() for file in folder.iterdir())
    except OSError as error:
        raise DataError(f"{folder}: cannot be read ({error.strerror}). Check its permissions.") from error


def is_idx(path: Path) -> bool:
    """Tell by its name whether a file is IDX."""
    return "ubyte" in path.name or path.name.removesuffix(".gz").endswith(".idx")


def is_array(path: Path) -> bool:
    """Tell by its name whether a file is an .npy, .npz or IDX file."""
    return path.suffix in {".npy", ".npz"} or is_idx(path)


def is_table(source: object) -> bool:
    """Tell by its name whether a path, a pattern or a list of them stands for table files; ``-`` is standard input."""
    if isinstance(source, list | tuple):
        return bool(source) and all(isinstance(one, str | Path) and is_table(one) for one in source)
    if not isinstance(source, str | Path):
        return False
    name = str(source).lower().removesuffix(".gz")  # of several, which stand in lines, the last
    return str(source) == STDIN or name.endswith(TEXTS) or str(source).lower().endswith(TYPED)


def source_text(data: object, name: str) -> str:
    """Return data as they were given, to open them again: a path, paths in lines, or else the data set's name."""
    if isinstance(data, list | tuple) and is_table(data):
        return "\n".join(map(str, data))
    return str(data) if isinstance(data, str | Path) else name


def open_array(path: Path) -> Rows:
    """Open a ``.npy`` or IDX file."""
    return read_npy(path) if path.suffix == ".npy" else read_idx(path)


def idx_file(folder: Path, name: str) -> Path | None:
    """Find an IDX file of MNIST's naming, in either spelling, plain (preferred) or gzipped."""
    dotted = name.replace("-idx", ".idx")
    spellings = (name, dotted, f"{name}.gz", f"{dotted}.gz")
    return next((folder / file for file in spellings if (folder / file).is_file()), None)


def _arrays_of_folder(folder: Path) -> tuple[Rows, ...]:
    idx = [idx_file(folder, name) for name in IDX_FILES]
    if not any(idx) and (named := _idx_of_other_names(folder)):
        return tuple(open_array(file) for file in _files_beside(named))
    npy = [file if (file := folder / f"{name}.npy").is_file() else None for name in ARRAYS]
    if any(idx) and any(npy):
        raise DataError(f"{folder}: holds both IDX and .npy files. Pass the file of train inputs instead.")
    if not any(idx) and not any(npy):
        raise DataError(
            f"{folder}: holds no data set; looked for {IDX_FILES[0]}[.gz], {ARRAYS[0]}.npy "
            "and a folder of pictures or event recordings for each class. Pass another folder, or the file itself."
        )
    wanted = IDX_FILES if any(idx) else tuple(f"{name}.npy" for name in ARRAYS)
    files = _complete(dict(zip(wanted, idx if any(idx) else npy, strict=True)), str(folder))
    return tuple(open_array(file) for file in files)


def _idx_of_other_names(folder: Path) -> Path | None:
    """Find the train images of a folder whose IDX files have names like emnist-letters-train-images-idx3-ubyte."""
    found = [file for file in folder.glob("*train-images*") if is_idx(file) and file.is_file()]
    plain = {file.name.removesuffix(".gz"): file for file in sorted(found, reverse=True)}  # a plain one before a .gz
    if len(plain) > 1:
        raise DataError(
            f"{folder}: holds {len(plain)} data sets ({', '.join(sorted(plain))}). Pass one of these files."
        )
    return next(iter(plain.values()), None)


def _complete(files: dict[str, Path | None], place: str) -> list[Path]:
    """Drop an absent test split; refuse half a pair."""
    names = list(files)
    needed = names if any(files[name] for name in names[2:]) else names[:2]
    if missing := [name for name in needed if files[name] is None]:
        raise DataError(f"{place}: lacks {', '.join(missing)}. Put it beside the others.")
    return [file for file in files.values() if file is not None]


def _arrays_of_npz(path: Path) -> tuple[Rows, ...]:
    members = npz_members(path)
    for wanted in (ARRAYS, ARRAYS[:2], ("x", "y")):
        if set(wanted) <= set(members):
            if half := [name for name in ARRAYS[2:] if name in members and name not in wanted]:
                other = next(name for name in ARRAYS[2:] if name not in half)
                raise DataError(f"{path}: holds {half[0]}, but no {other}. Save it again with both, or with neither.")
            return tuple(read_npz(path, member) for member in wanted)
    raise DataError(
        f"{path}: must hold x_train and y_train (x_test, y_test), or x and y, "
        f"got {', '.join(members) or 'nothing'}. Save it again with these names."
    )


def _files_beside(inputs: Path) -> list[Path]:
    labels = _labels_of(inputs)
    files: dict[str, Path | None] = {}
    for split in ((inputs, labels), _test_of(inputs, labels)):
        files |= {file.name: file if file.is_file() else None for file in split}
    if files[inputs.name] is None:
        raise DataError(f"{inputs}: was not found. Check the path.")
    return _complete(files, str(inputs.parent))


def _labels_of(inputs: Path) -> Path:
    name = inputs.name
    if "images" in name:
        return inputs.with_name(name.replace("images", "labels").replace("idx3", "idx1"))
    if inputs.stem == "x" or name.startswith("x_"):
        return inputs.with_name("y" + name[1:])
    raise DataError(
        f"{inputs}: its name does not tell where its labels are. "
        "Name the pair x.npy and y.npy, or NAME_images.npy and NAME_labels.npy."
    )


def _test_of(inputs: Path, labels: Path) -> list[Path]:
    """Name the test files beside the train files.

    x_test.npy of x_train.npy; t10k-images of train-images, or as EMNIST has it: emnist-letters-test-images.
    """
    if "train" not in inputs.name:
        return []
    for word in ("t10k", "test") if is_idx(inputs) else ("test",):
        files = [file.with_name(file.name.replace("train", word)) for file in (inputs, labels)]
        if any(file.is_file() for file in files):
            break
    return files
