"""Packed files of strangers, gz and npz: bombs, members that are cut or packed in other ways, names that mislead."""

import gzip
import io
import re
import struct
import zipfile

import numpy as np
import pytest
from refusals import IMAGES, refusal

import ffedge
from ffedge.data import read_inputs
from ffedge.errors import LONGEST_LINE, DataError


def gzipped_zeros(shape):
    head = struct.pack(f">HBB{len(shape)}I", 0, 8, len(shape), *shape)
    return gzip.compress(head + bytes(int(np.prod(shape))), 6, mtime=0)


def test_a_gzip_bomb_is_refused_before_it_is_unpacked(tmp_path):
    content = gzipped_zeros((1 << 23, 2))
    (tmp_path / "a.idx.gz").write_bytes(content)
    assert refusal(DataError, read_inputs, tmp_path / "a.idx.gz", (2,)) == (
        f"{tmp_path}/a.idx.gz: unpacks to 16 MiB, {((1 << 24) + 12) // len(content)} times its size, as a bomb would. "
        "If you trust it, unpack it and pass what comes of it."
    )
    assert not list((tmp_path / "cache").rglob("*.idx"))


def test_a_zip_bomb_is_refused_before_it_is_unpacked(tmp_path):
    np.savez_compressed(tmp_path / "d.npz", x=np.zeros((1 << 23, 1), np.uint8), y=np.zeros(1 << 23, np.uint8))
    text = refusal(DataError, ffedge.load, tmp_path / "d.npz")
    assert re.fullmatch(
        re.escape(str(tmp_path)) + r"/d.npz: unpacks to 8 MiB, \d+ times its size, as a bomb would. .*", text
    )


def test_what_packs_well_for_a_reason_is_still_read(tmp_path):
    labels = np.repeat(np.arange(10, dtype=np.uint8), 100_000)  # 1 MB, packed to 1/1000
    np.savez_compressed(tmp_path / "d.npz", x=labels[:, None], y=labels)
    assert len(ffedge.load(tmp_path / "d.npz").train.labels) == 1_000_000


def test_a_file_cut_inside_an_npz_is_named_as_the_npz(tmp_path):
    whole = io.BytesIO()
    np.save(whole, IMAGES)
    with zipfile.ZipFile(tmp_path / "d.npz", "w") as archive:
        archive.writestr("x.npy", whole.getvalue()[:-1])
    assert refusal(DataError, read_inputs, tmp_path / "d.npz", (3, 2)) == (
        f"{tmp_path}/d.npz[x]: is truncated: its header asks for 152 bytes, it has 151. Copy or download it again."
    )


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_an_npz_packed_in_another_way_is_refused(tmp_path, method):
    """LZMA's dictionary alone may take 4 GB."""
    whole = io.BytesIO()
    np.save(whole, IMAGES)
    with zipfile.ZipFile(tmp_path / "d.npz", "w", method) as archive:
        archive.writestr("x.npy", whole.getvalue())
    line = f"{tmp_path}/d.npz[x]: is packed in a way that np.savez does not use. Save it again with np.savez."
    assert refusal(DataError, read_inputs, tmp_path / "d.npz", (3, 2)) == line


def test_a_member_whose_name_is_no_text_is_refused(tmp_path):
    """Where the header inside says UTF-8 and has other bytes, zipfile raises a bare UnicodeDecodeError."""
    whole = io.BytesIO()
    np.savez(whole, x=IMAGES)
    content = whole.getvalue()
    assert content[:4] == b"PK\3\4"
    (tmp_path / "d.npz").write_bytes(content[:7] + b"\x08" + content[8:30] + b"\xff" + content[31:])
    text = refusal(DataError, read_inputs, tmp_path / "d.npz", (3, 2))
    assert text.startswith(f"{tmp_path}/d.npz: is corrupt or not supported ('utf-8' codec can't decode byte 0xff")


def test_names_in_an_npz_cannot_break_the_line_or_lead_outside(tmp_path):
    with zipfile.ZipFile(tmp_path / "d.npz", "w") as archive:
        for name in ("../../a\nb.npy", "\x1b[2J.npy"):
            archive.writestr(name, b"")
    assert refusal(DataError, ffedge.load, tmp_path / "d.npz") == (
        f"{tmp_path}/d.npz: must hold x_train and y_train (x_test, y_test), or x and y, "
        "got ../../a\\nb, \\x1b[2J. Save it again with these names."
    )
    with zipfile.ZipFile(tmp_path / "d.npz", "w") as archive:
        for number in range(5000):
            archive.writestr(f"{number}.npy", b"")
    text = refusal(DataError, ffedge.load, tmp_path / "d.npz")
    assert len(text) <= LONGEST_LINE
    assert text.endswith("Save it again with these names.")
