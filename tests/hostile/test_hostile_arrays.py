"""Arrays of strangers, in npy, npz and IDX files: code, labels, shapes and headers that no honest file has."""

import gzip
import io
import os
import pickle
import struct
import zipfile

import numpy as np
import pytest
from refusals import IMAGES, LABELS, command, refusal, saved

import ffedge
from ffedge.data import read_inputs
from ffedge.errors import DataError


class Payload:
    """Writes a file where its pickle is loaded."""

    def __init__(self, marker):
        self.marker = str(marker)

    def __reduce__(self):
        return open, (self.marker, "w")


def test_no_pickle_in_a_file_is_ever_loaded(tmp_path, monkeypatch, capfd):
    """npy and npz are the formats that can hold one: those of checkpoints (safetensors), models and reports cannot."""
    marker = tmp_path / "code-was-run"
    objects, payload = np.array([Payload(marker)] * 4, object), pickle.dumps(Payload(marker))
    inner = io.BytesIO()
    np.save(inner, objects)
    pickle.loads(payload).close()  # the payload works
    assert marker.exists()
    marker.unlink()
    contents = {"objects": inner.getvalue(), "bare": payload, "behind": inner.getvalue() + payload}
    for name, content in contents.items():
        folder = tmp_path / name
        folder.mkdir()
        for file in ("x.npy", "y.npy"):
            (folder / file).write_bytes(content)
        with zipfile.ZipFile(folder / "d.npz", "w") as archive:
            archive.writestr("x.npy", content)
            archive.writestr("y.npy", content)
        for path in (folder / "x.npy", folder / "d.npz"):
            for call in (ffedge.load, lambda path: read_inputs(path, (3, 2))):
                assert "npy" in (text := refusal(DataError, call, path)) or "objects" in text
            code, _, err = command(monkeypatch, capfd, "data", "fetch", path)
            assert (code, len(err.splitlines())) == (1, 1)
    assert not marker.exists()
    assert refusal(DataError, ffedge.load, tmp_path / "objects" / "x.npy") == (
        f"{tmp_path}/objects/x.npy: holds Python objects, which ffedge never unpickles. "
        "Save it again as np.asarray(names, dtype=str) or np.asarray(numbers, dtype=float)."
    )


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "x.npy")
    saved(tmp_path / "other")
    os.symlink(tmp_path / "other" / "y.npy", tmp_path / "y.npy")
    line = f"{tmp_path}/x.npy: is no regular file. Pass a file, not a folder, a device or a pipe."
    assert refusal(DataError, read_inputs, tmp_path / "x.npy", (3, 2)) == line


def test_a_folder_that_is_named_like_a_file_is_refused(tmp_path):
    for name in ("a.npy", "a.npz", "a.idx", "a.png"):
        (tmp_path / name).mkdir()
        line = f"{tmp_path}/{name}: is no regular file. Pass a file, not a folder, a device or a pipe."
        assert refusal(DataError, read_inputs, tmp_path / name, (3, 2)) == line


def test_a_header_that_python_2_wrote_is_read_without_a_remark(tmp_path):
    """Numpy's remark would stand on stderr, beside the line of an error; here it would be an error itself."""
    path = saved(tmp_path / "d")
    path.write_bytes(path.read_bytes().replace(b"(4, 3, 2), ", b"(4L,3,2),  "))
    assert ffedge.load(path).input_shape == (3, 2)


def test_a_file_that_shrinks_in_the_cache_is_named_as_its_source(tmp_path):
    path = tmp_path / "a.idx.gz"
    path.write_bytes(gzip.compress(struct.pack(">HBB3I", 0, 8, 3, 4, 3, 2) + IMAGES.tobytes()))
    rows = read_inputs(path, (3, 2))
    (unpacked,) = (tmp_path / "cache").rglob("a.idx")
    unpacked.write_bytes(unpacked.read_bytes()[:-1])
    assert refusal(DataError, rows.take, np.arange(4)) == (
        f"{path}: has shrunk to 39 bytes while in use. Restore it and go on."
    )


def test_an_array_that_asks_for_more_than_any_file_has_is_refused(tmp_path):
    path = saved(tmp_path / "d")
    content = path.read_bytes()
    path.write_bytes(content.replace(b"(4, 3, 2), }" + b" " * 30, b"(9" + b"0" * 29 + b", 3, 2), }  "))
    assert refusal(DataError, ffedge.load, path) == (
        f"{path}: asks for more bytes than a file can have. Check the file."
    )


@pytest.mark.parametrize("label", ["a\nb", "\x1b[31m", "\ud800", "x" * 2000])
def test_a_label_that_is_no_plain_text_is_refused(tmp_path, label):
    path = saved(tmp_path / "d", y=np.array([label, "b", "c", "b"]))
    text = refusal(DataError, ffedge.load, path)
    assert text.startswith(f"{tmp_path}/d/y.npy: has a label '")
    assert text.endswith("which is no line of plain text. Rename it.")


@pytest.mark.parametrize("order", ["<", ">"])
def test_labels_beyond_unicode_are_refused(tmp_path, order):
    """Numpy makes strings of them at which Python breaks (SystemError)."""
    labels = np.array(["a", "\U0010ffff", "c", "d"], f"{order}U1")
    path = saved(tmp_path / "d", y=labels)
    assert ffedge.load(path).classes == ("a", "c", "d", "\U0010ffff")
    labels.view(f"{order}u4")[1] = 0x110000
    for split in ({"x": IMAGES, "y": labels}, {"x_train": IMAGES, "y_train": LABELS.astype(str)}):
        more = {"x_test": IMAGES, "y_test": labels} if "x_train" in split else {}
        np.savez(tmp_path / "d.npz", **split, **more)
        text = refusal(DataError, ffedge.load, tmp_path / "d.npz")
        assert text == f"{tmp_path}/d.npz[{'y_test' if more else 'y'}]: holds text that is no Unicode. Save it again."


def test_more_axes_than_eight_are_refused(tmp_path):
    path = saved(tmp_path / "d", x=IMAGES.reshape(4, 3, 2, 1, 1, 1, 1, 1, 1))
    assert refusal(DataError, ffedge.load, path) == f"{path}: has 9 axes, more than 8. Reshape it."
