"""Data sets by name: where they are looked for, how they are downloaded, and what is said if they are not."""

import gzip
import hashlib
import struct
import threading
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from ffedge.data import catalogue
from ffedge.data.catalogue import NAMES, load
from ffedge.data.files import IDX_FILES
from ffedge.errors import DataError

NOWHERE = "http://127.0.0.1:9/"


def idx(array):
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


IMAGES = np.arange(5 * 6, dtype=np.uint8).reshape(5, 2, 3)
LABELS = np.array([1, 0, 2, 1, 1], np.uint8)
CONTENT = dict(zip(IDX_FILES, [idx(IMAGES), idx(LABELS), idx(IMAGES[:2] + 100), idx(LABELS[:2])], strict=True))


def written(folder, packed=True, names=IDX_FILES):
    folder.mkdir(parents=True, exist_ok=True)
    for name, file in zip(IDX_FILES, names, strict=True):
        data = gzip.compress(CONTENT[name], mtime=0) if packed else CONTENT[name]
        (folder / (f"{file}.gz" if packed else file)).write_bytes(data)
    return folder


@pytest.fixture(autouse=True)
def small_mnist(tmp_path, monkeypatch):
    """A cache of one's own, no system folder, no network, and a `mnist` of five images."""
    monkeypatch.setenv("FFEDGE_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("FFEDGE_DATA", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(catalogue, "SYSTEM_FOLDER", tmp_path / "system")
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in CONTENT.items()}
    known = replace(NAMES["mnist"], url=NOWHERE, sha256=digests, classes=("zero", "one", "two"))
    monkeypatch.setitem(NAMES, "mnist", known)


class Quiet(SimpleHTTPRequestHandler):
    drops = 0  # answers to cut short

    def log_message(self, *args):
        pass

    def copyfile(self, source, out):
        dropped, Quiet.drops = Quiet.drops > 0, max(0, Quiet.drops - 1)
        out.write(source.read()[: 20 if dropped else None])


@pytest.fixture
def server(tmp_path):
    """Serve the folder `web`; yield its address."""

    (tmp_path / "web").mkdir()
    serving = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=tmp_path / "web"))
    thread = threading.Thread(target=serving.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{serving.server_port}/"
    serving.shutdown()
    thread.join()
    serving.server_close()


def check_is_small_mnist(dataset):
    np.testing.assert_array_equal(dataset.train.inputs.take(np.arange(5)), IMAGES)
    np.testing.assert_array_equal(dataset.test.inputs.take(np.arange(2)), IMAGES[:2] + 100)
    assert dataset.train.labels.tolist() == LABELS.tolist()
    assert dataset.test.labels.dtype == np.uint8


def test_the_embedded_sample_loads_with_no_network(tmp_path):
    dataset = load()
    known = NAMES[dataset.name]
    assert (dataset.input_shape, dataset.input_dtype, dataset.n_classes) == ((28, 28), "uint8", 10)
    assert (len(dataset.train.inputs), len(dataset.test.inputs)) == (known.train_rows, known.test_rows)
    assert dataset.train.labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert dataset.test.labels[:5].tolist() == [7, 2, 1, 0, 4]


def test_known_sets_say_what_they_are():
    assert list(NAMES) == ["mnist-mini", "mnist", "fashion-mnist"]
    assert NAMES["fashion-mnist"].classes[9] == "Ankle boot"
    for known in NAMES.values():
        assert known.description
        assert known.licence
        assert list(known.sha256) == list(IDX_FILES)


@pytest.mark.parametrize("place", ["given/mnist", "given", "env/mnist", "cache/mnist", "system/mnist"])
def test_a_known_name_is_found_in_each_place(tmp_path, monkeypatch, place):
    written(tmp_path / place)
    (tmp_path / "given").mkdir(exist_ok=True)
    monkeypatch.setenv("FFEDGE_DATA", str(tmp_path / "env"))
    dataset = load("mnist", tmp_path / "given")
    check_is_small_mnist(dataset)
    assert (dataset.name, dataset.classes) == ("mnist", ("zero", "one", "two"))


def test_the_hash_is_the_same_in_every_spelling(tmp_path):
    dotted = [name.replace("-idx", ".idx") for name in IDX_FILES]
    found = {
        load(written(tmp_path / "packed")).sha256,
        load(written(tmp_path / "plain", packed=False)).sha256,
        load(written(tmp_path / "dotted", names=dotted)).sha256,
        load(written(tmp_path / "plain_dotted", packed=False, names=dotted) / dotted[0]).sha256,
        load("mnist", tmp_path / "packed").sha256,
    }
    lines = "".join(hashlib.sha256(data).hexdigest() + "\n" for data in CONTENT.values())
    assert found == {hashlib.sha256(lines.encode()).hexdigest()}


def test_an_idx_file_brings_its_labels_and_test_split(tmp_path):
    folder = written(tmp_path / "d")
    dataset = load(str(folder / "train-images-idx3-ubyte.gz"))
    check_is_small_mnist(dataset)
    assert dataset.name == "train-images-idx3-ubyte"
    assert load(folder / "t10k-images-idx3-ubyte.gz").test is None


def test_a_folder_is_never_taken_for_a_known_name(tmp_path, monkeypatch):
    written(tmp_path / "mnist-mini")
    monkeypatch.chdir(tmp_path)
    assert len(load("mnist-mini").train.inputs) == 6000
    assert len(load("./mnist-mini").train.inputs) == 5
    assert len(load(Path("mnist-mini")).train.inputs) == 5


def test_other_content_under_a_known_name_is_refused(tmp_path):
    folder = written(tmp_path / "mnist", packed=False)
    (folder / IDX_FILES[3]).write_bytes(idx(LABELS[1:3]))
    with pytest.raises(DataError, match=r"mnist/t10k-labels-idx1-ubyte: is not mnist's \(its unpacked sha256 is"):
        load("mnist", tmp_path)
    assert load(folder).test.labels.tolist() == [0, 2]


@pytest.mark.parametrize("progress", [False, True])
def test_a_download_is_unpacked_to_the_cache_once(tmp_path, server, monkeypatch, capfd, progress):
    web = written(tmp_path / "web")
    monkeypatch.setitem(NAMES, "mnist", replace(NAMES["mnist"], url=server))
    check_is_small_mnist(load("mnist", progress=progress))
    for file in web.iterdir():
        file.unlink()
    check_is_small_mnist(load("mnist"))
    assert sorted(path.name for path in (tmp_path / "cache" / "mnist").iterdir()) == sorted(IDX_FILES)
    captured = capfd.readouterr()
    assert captured.out == ""
    assert ("train-images-idx3-ubyte.gz 100 % of 0.0 MB\n" in captured.err) is progress
    assert bool(captured.err) is progress


def test_a_broken_download_leaves_the_cache_without_it(tmp_path, server, monkeypatch):
    web = written(tmp_path / "web")
    monkeypatch.setitem(NAMES, "mnist", replace(NAMES["mnist"], url=server))
    (web / "t10k-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(IMAGES[:2]), mtime=0))
    with pytest.raises(DataError, match=r"/t10k-images-idx3-ubyte.gz: is not the expected file"):
        load("mnist")
    (web / "t10k-images-idx3-ubyte.gz").write_bytes(gzip.compress(CONTENT[IDX_FILES[2]], mtime=0)[:-5])
    with pytest.raises(DataError, match="is no complete gzip file"):
        load("mnist")
    kept = sorted(path.name for path in (tmp_path / "cache" / "mnist").iterdir())
    assert kept == ["train-images-idx3-ubyte", "train-labels-idx1-ubyte"]
    written(tmp_path / "web")
    check_is_small_mnist(load("mnist"))


@pytest.mark.parametrize(("drops", "loads"), [(2, True), (3, False)])
def test_a_line_that_drops_is_tried_three_times(tmp_path, server, monkeypatch, drops, loads):
    written(tmp_path / "web")
    monkeypatch.setitem(NAMES, "mnist", replace(NAMES["mnist"], url=server))
    monkeypatch.setattr(Quiet, "drops", drops)
    if loads:
        check_is_small_mnist(load("mnist"))
        return
    with pytest.raises(DataError, match=r"failed \(the line dropped after 20 of \d+ bytes\)\. Put"):
        load("mnist")
    assert list((tmp_path / "cache" / "mnist").iterdir()) == []


def test_without_network_one_line_says_where_it_looked_and_what_to_do(tmp_path, monkeypatch):
    (tmp_path / "given").mkdir()
    monkeypatch.setenv("FFEDGE_DATA", str(tmp_path / "env"))
    with pytest.raises(DataError) as caught:
        load("mnist", tmp_path / "given")
    places = [tmp_path / name for name in ("given/mnist", "given", "env/mnist", "cache/mnist", "system/mnist")]
    assert str(caught.value) == (
        f"mnist: was not found in {', '.join(map(str, places))}, and downloading from {NOWHERE} failed "
        "([Errno 111] Connection refused). Put train-images-idx3-ubyte, train-labels-idx1-ubyte, "
        "t10k-images-idx3-ubyte, t10k-labels-idx1-ubyte (plain or .gz) into one of these folders, or use "
        "`data='mnist-mini'`, which needs no network."
    )


def test_a_page_not_found_is_no_traceback(server, monkeypatch):
    monkeypatch.setitem(NAMES, "mnist", replace(NAMES["mnist"], url=server))
    with pytest.raises(DataError, match=r"downloading from http://127.* failed \(File not found\)"):
        load("mnist")


def test_the_cache_follows_xdg_then_home(tmp_path, monkeypatch):
    monkeypatch.delenv("FFEDGE_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert catalogue.cache_folder() == tmp_path / ".cache" / "ffedge"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert catalogue.cache_folder() == tmp_path / "xdg" / "ffedge"


@pytest.mark.parametrize(
    ("name", "hint"),
    [("mnsit", "Did you mean mnist?"), ("zzz", "Pass one of these names, or a path that exists.")],
)
def test_an_unknown_name_lists_the_known_ones(name, hint):
    with pytest.raises(DataError) as caught:
        load(name)
    known = "mnist-mini, mnist, fashion-mnist"
    assert str(caught.value) == f"{name}: is neither a known data set ({known}) nor a path that exists. {hint}"


def test_a_wrong_data_dir_is_said(tmp_path):
    with pytest.raises(DataError, match=r"typo: is not a folder. Check `data_dir`."):
        load("mnist", tmp_path / "typo")


def test_a_folder_without_data_says_what_was_looked_for(tmp_path):
    with pytest.raises(DataError, match=r"looked for train-images-idx3-ubyte\[.gz\], x_train.npy and a folder of pict"):
        load(tmp_path)


def test_a_folder_with_two_data_sets_is_refused(tmp_path):
    np.save(written(tmp_path / "d") / "x_train.npy", IMAGES)
    with pytest.raises(DataError, match=r"d: holds both IDX and .npy files. Pass the file of train inputs instead."):
        load(tmp_path / "d")


def test_a_folder_without_a_test_split_has_none(tmp_path):
    folder = written(tmp_path / "d")
    (folder / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(DataError, match=r"d: lacks t10k-labels-idx1-ubyte. Put it beside the others."):
        load(folder)
    (folder / "t10k-images-idx3-ubyte.gz").unlink()
    assert load(folder).test is None


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "table.xls",
            "table.xls: is no data file that ffedge reads. Pass a folder, an .npz, a .npy, a table",
        ),
        ("data.npy", "data.npy: its name does not tell where its labels are. Name the pair x.npy and y.npy"),
        ("train-ubyte", "train-ubyte: its name does not tell where its labels are."),
    ],
)
def test_a_file_that_is_no_data_set_is_refused(tmp_path, name, message):
    (tmp_path / name).write_bytes(b"1,2\n")
    with pytest.raises(DataError, match=message):
        load(tmp_path / name)


def test_an_open_data_set_is_returned_as_it_is(tmp_path):
    opened = load(written(tmp_path / "mine"))
    assert load(opened) is opened
