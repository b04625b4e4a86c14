"""Minibatches from anywhere become a data set: the same as if their rows had been saved, or one line says why not."""

import gc
import os
import resource
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file
from toys import small_spec

import ffedge
from ffedge.data import load
from ffedge.errors import DataError, StoppedError

X = np.random.default_rng(0).integers(0, 256, (50, 4, 3), dtype=np.uint8)
Y = np.arange(50) % 3
NAMES = np.array(["cow", "ant", "bee or wasp"])[Y]


def files(folder):
    return sorted(path.name for path in folder.rglob("*") if path.is_file()) if folder.exists() else []


def cut(x, y, *sizes):
    """Cut rows into minibatches of these sizes, again and again."""
    start, turn = 0, 0
    while start < len(x):
        size = sizes[turn % len(sizes)]
        yield x[start : start + size], y[start : start + size]
        start, turn = start + size, turn + 1


def saved(folder, x, y):
    folder.mkdir(exist_ok=True)
    np.save(folder / "x_train.npy", x)
    np.save(folder / "y_train.npy", y)
    return load(folder)


def check_same(found, wanted):
    count = len(wanted.train.labels)
    rows = np.random.default_rng(1).permutation(count)
    assert len(found.train.inputs) == len(found.train.labels) == count
    np.testing.assert_array_equal(found.train.inputs.take(rows), wanted.train.inputs.take(rows))
    np.testing.assert_array_equal(found.train.labels[rows], wanted.train.labels[rows])
    for name in ("classes", "input_shape", "input_dtype", "sha256"):
        assert getattr(found, name) == getattr(wanted, name)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(
    st.lists(st.integers(1, 60), min_size=1, max_size=4), st.sampled_from(["numbers", "names", "many"]), st.booleans()
)
def test_minibatches_are_the_data_set_that_their_rows_would_be(tmp_path, sizes, kind, floats):
    x = X.astype(np.float32) / 7 if floats else X
    y = {"numbers": Y.astype(np.uint8), "names": NAMES, "many": (Y * 400).astype(np.uint16)}[kind]
    found = load(cut(x, y, *sizes))
    assert (found.name, found.test) == ("minibatches", None)
    check_same(found, saved(tmp_path / "saved", x, y))


SHAPES = {
    "a list": lambda: [(X[:20], Y[:20]), [X[20:], Y[20:, None]]],
    "lists of numbers": lambda: [(X[:20].tolist(), Y[:20].tolist()), (X[20:].tolist(), Y[20:].tolist())],
    "an iterator": lambda: iter([(X[:20], Y[:20]), (X[20:], Y[20:])]),
    "a function": lambda: lambda: cut(X, Y, 7),
    "an empty minibatch between": lambda: [(X[:20], Y[:20]), (X[:0], Y[:0]), (X[20:], Y[20:])],
    "other types": lambda: [(X[:20].astype(float), Y[:20] > 0), (X[20:].astype(np.int16), (Y[20:] > 0).astype("f4"))],
}


@pytest.mark.parametrize("shape", SHAPES)
def test_what_yields_pairs_is_an_iterable_of_minibatches(tmp_path, shape):
    found = load(SHAPES[shape]())
    np.testing.assert_array_equal(found.train.inputs.take(np.arange(50)), X)
    np.testing.assert_array_equal(found.train.labels[np.arange(50)], Y > 0 if shape == "other types" else Y)
    assert found.input_dtype == ("float32" if shape in {"lists of numbers", "other types"} else "uint8")


@pytest.mark.torch
def test_a_data_loader_is_an_iterable_of_minibatches(tmp_path):
    from torch import from_numpy
    from torch.utils.data import DataLoader, TensorDataset

    loader = DataLoader(TensorDataset(from_numpy(X).float(), from_numpy(Y)), batch_size=16)
    check_same(load(loader), saved(tmp_path / "saved", X.astype(np.float32), Y.astype(np.uint8)))


@pytest.mark.torch
def test_a_tensor_that_numpy_cannot_take_is_one_line():
    from torch import ones

    with pytest.raises(DataError, match=r"^minibatch 0 \(from 0\): cannot become arrays \(Can't call numpy\(\) on"):
        load([(ones(3, 2, requires_grad=True), Y[:3])])


def bad(*batches):
    return [(X[:5], Y[:5]), (X[5:10], Y[5:10]), *batches]


@pytest.mark.parametrize(
    ("batches", "message"),
    [
        (bad((X[:5, :3], Y[:5])), r"holds uint8 inputs of shape \[3, 3\] .*, but those before .* \[4, 3\] with"),
        (
            bad((X[:5] / 9, Y[:5])),
            r"holds float32 inputs of .*, but those before it uint8 inputs of .* Make them alike.",
        ),
        (bad((X[:5], NAMES[:5])), r"holds .* with names as labels, but .* with numbers as labels. Make them alike."),
        (bad((X[:5], Y[:4])), r"holds 5 inputs, but labels of shape \[4\]. Give each row one label."),
        (bad((X[:5], 1)), r"holds 5 inputs, but labels of shape \[\]. Give each row one label."),
        (bad((X[:5], np.ones((5, 3)))), r"labels must be one a row, got shape \[5, 3\]. ffedge classifies"),
        (bad((X[:5], [0, 1, 0.5, 0, 0])), r"row 2 \(from 0\) has label 0.5, no whole number. ffedge classifies"),
        (bad((X[:5], np.array([None] * 5))), r"y: row 0 \(from 0\) holds None, no number and no text"),
        (bad((X[:5].astype(str), Y[:5])), r"must hold numbers, got <U3. Convert it first."),
        (bad((np.arange(5), Y[:5])), r"x must be \[n, …\], got shape \[5\]. Reshape it."),
        (bad((np.ones((5, 0)), Y[:5])), r"x must be \[n, …\], got shape \[5, 0\]. Reshape it."),
        (bad(([[1, 2], [3]], [0, 1])), r"cannot become arrays \(setting an array element"),
        (bad(X[:5]), r"must be a pair \(x, y\), got ndarray. For arrays in memory pass \[\(x, y\)\]."),
        (bad((X[:5], Y[:5], Y[:5], Y[:5])), r"must be a pair \(x, y\), got tuple."),
        (bad((X[:5], Y[:5], np.ones(5))), r"holds .* and weights, but those before .* Make them alike."),
    ],
)
@pytest.mark.parametrize("kept", [False, True])
def test_a_minibatch_that_cannot_be_used_is_named_and_leaves_no_file(tmp_path, batches, message, kept):
    folder = tmp_path / "kept" if kept else None
    with pytest.raises(DataError, match=rf"^minibatch 2 \(from 0\)[:,] {message}") as caught:
        load(batches, folder=folder)
    assert "\n" not in str(caught.value)
    assert files(tmp_path) == []


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_a_value_that_is_not_finite_is_named_by_minibatch_and_row(value):
    x = X / 9
    x[17, 2, 1] = value
    message = r"^minibatch 1 \(from 0\): row 7 \(from 0\) holds a value that is not a finite float32. Remove"
    with pytest.raises(DataError, match=message):
        load(cut(x, Y, 10))


def test_more_names_than_classes_are_refused_before_all_is_read():
    seen = []

    def words():
        for start in range(0, 10_000, 100):
            seen.append(start)
            yield np.zeros((100, 2)), np.arange(start, start + 100).astype(str)

    with pytest.raises(DataError, match=r"^minibatch 10 \(from 0\): is where more than 1000 labels differ."):
        load(words)
    assert len(seen) == 11


def test_nothing_or_a_generator_used_before_is_one_line():
    used = cut(X, Y, 10)
    load(used)
    for batches in ([], used, [(X[:0], Y[:0])]):
        with pytest.raises(DataError, match=r"^minibatches: there are none. Pass pairs \(x, y\), and not a generator"):
            load(batches)


def test_one_class_is_one_line():
    with pytest.raises(DataError, match=r"^minibatches, y: all labels are 2, but training needs 2 classes or more."):
        load([(X, np.full(50, 2))])


def test_what_is_no_data_is_a_wrong_argument():
    with pytest.raises(ValueError, match=r"^data must be a name, a path or minibatches \(x, y\), got int$"):
        load(3)


def test_what_an_iterable_raises_is_its_own(tmp_path):
    def broken():
        yield X[:5], Y[:5]
        raise OSError(5, "the sensor is gone")

    for folder in (None, tmp_path / "kept"):
        with pytest.raises(OSError, match="the sensor is gone"):
            load(broken, folder=folder)
    assert files(tmp_path) == []


def in_folder(folder):
    """Count the descriptors of this process that stand for files in a folder, with or without a name."""
    links = [f"/proc/self/fd/{name}" for name in os.listdir("/proc/self/fd")]
    return sum(os.readlink(link).startswith(str(folder)) for link in links if os.path.lexists(link))


def test_a_copy_without_a_folder_has_no_name_and_goes_with_the_data_set(tmp_path):
    assert in_folder(tmp_path) == 0
    dataset = load(cut(X, Y, 10))
    assert files(tmp_path) == []
    np.testing.assert_array_equal(dataset.train.inputs.take(np.arange(50)), X)
    assert in_folder(tmp_path) == 1  # the inputs; so few labels are in memory
    del dataset
    gc.collect()
    assert in_folder(tmp_path) == 0


def test_a_killed_process_leaves_no_copy(tmp_path):
    script = """
import numpy as np, time
from ffedge.data import load
def batches():
    for _ in range(100):
        yield np.zeros((1000, 100)), np.arange(1000) % 2
    print("here", flush=True)
    time.sleep(60)
load(batches)
"""
    path = os.pathsep.join([str(Path(ffedge.__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    child = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": path}
    )
    assert child.stdout.readline() == "here\n"
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    assert files(tmp_path) == []


def test_a_copy_in_a_folder_is_a_data_set_of_its_own(tmp_path):
    found = load(cut(X, NAMES, 8, 3), folder=tmp_path / "a" / "kept")
    assert files(tmp_path) == ["x_train.npy", "y_train.npy"]
    np.testing.assert_array_equal(np.load(tmp_path / "a/kept/x_train.npy"), X)
    np.testing.assert_array_equal(np.load(tmp_path / "a/kept/y_train.npy"), NAMES)
    check_same(found, load(tmp_path / "a" / "kept"))
    assert found.name == load(tmp_path / "a" / "kept").name == "kept"
    with pytest.raises(DataError, match=r"kept/x_train.npy: exists already. Load it by its path, or pass another"):
        load(cut(X, Y, 8), folder=tmp_path / "a" / "kept")


@contextmanager
def small_disk(size):
    """Let no file grow beyond a size: writing fails as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("size", [100, 300, 5000])
@pytest.mark.parametrize("kept", [False, True])
def test_a_full_disk_is_one_line_and_leaves_no_file(tmp_path, own_cache, kept, size):
    folder = tmp_path / "kept" if kept else None
    many = [(np.zeros((1000, 6), np.uint8), np.arange(1000) % 2)] * 4
    place, remedy = (
        (folder, "pass another folder") if kept else (own_cache / "temporary", "set FFEDGE_CACHE to another")
    )
    message = rf"^{place}: cannot be written \(File too large\). Free space there, or {remedy}"
    with small_disk(size), pytest.raises(DataError, match=message):
        load(many, folder=folder)
    assert files(tmp_path) == []


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"file/kept: cannot be written \(Not a directory\). Pass"):
        load(cut(X, Y, 8), folder=tmp_path / "file" / "kept")


def test_copying_takes_no_more_than_a_minibatch():
    """Of 40 MB in 200 minibatches; the process's own peak, as the file's pages do not count."""
    import tracemalloc

    def batches():
        for start in range(0, 200_000, 1000):
            labels = np.arange(start, start + 1000) % 5
            yield np.zeros((1000, 200), np.uint8) + labels[:, None].astype(np.uint8), labels

    tracemalloc.start()
    try:
        load(batches)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4 * 2**20


def test_training_on_minibatches_is_training_on_their_file_and_goes_on_by_checksum(tmp_path):
    from ffedge.training.train import train

    x, spec = X.astype(np.float32), small_spec(widths=(8,), batch_size=16, holdout=0.1)
    folder = tmp_path / "saved"
    saved(folder, x, Y.astype(np.uint8))
    whole = train(spec, folder, tmp_path / "whole")
    streamed = train(spec, cut(x, Y, 7), tmp_path / "streamed")
    assert streamed.report.data["name"] == "minibatches"
    assert streamed.report.data["sha256"] == whole.report.data["sha256"]
    count = iter(range(100))
    with pytest.raises(StoppedError):
        train(spec, cut(x, Y, 7), tmp_path / "stopped", stop=lambda: next(count) == 3)
    with pytest.raises(ffedge.FfedgeError, match="was made with another data"):
        train(spec, cut(x[::-1], Y[::-1], 7), tmp_path / "stopped", resume=True)
    resumed = train(spec, cut(x, Y, 9), tmp_path / "stopped", resume=True)
    for run in (streamed, resumed):
        for name, wanted in last_weights(whole).items():
            np.testing.assert_array_equal(last_weights(run)[name], wanted)


def last_weights(run):
    return load_file(max((run.path / "checkpoint").glob("*.safetensors")))


def test_no_minibatches_are_not_taken_for_no_data(tmp_path):
    with pytest.raises(DataError, match=r"^minibatches: there are none"):
        ffedge.train(small_spec(), [], tmp_path / "run")


def test_labels_in_order_of_their_class_are_shuffled_all_the_same():
    """What a block shuffle cannot do: of data sorted by class, each minibatch has every class."""
    from ffedge.data.stream import OtherRows, Stream

    labels = np.repeat(np.arange(4), 5000)
    dataset = load(cut(labels[:, None].astype(np.uint8), labels, 64))
    rows = OtherRows(20_000, np.array([], np.int64))
    stream = Stream(
        dataset.train.inputs, dataset.train.labels, rows, small_spec(batch_size=100, chunk_size=100).train, 1
    )
    for step in range(0, 200, 10):
        (chunk,) = stream.chunks(0, 0, step)
        assert (np.bincount(chunk.labels, minlength=4) > 5).all()


def test_a_list_of_folders_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"a: stands in a list, which is for tables alone. Pass one folder or file of"):
        load([str(tmp_path / "a"), str(tmp_path / "b")])
