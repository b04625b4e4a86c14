"""IDX files: bytes built by hand are read back; whatever is wrong with them is said."""

import gzip
import os
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import ffedge
from ffedge.data import cache_folder
from ffedge.data.idx import read_idx
from ffedge.errors import DataError

IMAGES = bytes(range(24))
FILE = struct.pack(">BBBBIII", 0, 0, 8, 3, 4, 3, 2) + IMAGES


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FFEDGE_CACHE", str(tmp_path / "cache"))


def all_rows(rows):
    return rows.take(np.arange(len(rows)))


@pytest.mark.parametrize("packed", [False, True])
def test_images_are_read_as_stored(tmp_path, packed):
    path = tmp_path / ("images.gz" if packed else "images")
    path.write_bytes(gzip.compress(FILE, mtime=0) if packed else FILE)
    rows = read_idx(path)
    assert (rows.shape, rows.dtype) == ((4, 3, 2), np.uint8)
    np.testing.assert_array_equal(all_rows(rows), np.frombuffer(IMAGES, np.uint8).reshape(4, 3, 2))


def test_gzip_is_told_by_content_not_by_name(tmp_path):
    (tmp_path / "plain.gz").write_bytes(FILE)
    (tmp_path / "packed").write_bytes(gzip.compress(FILE, mtime=0))
    np.testing.assert_array_equal(all_rows(read_idx(tmp_path / "plain.gz")), all_rows(read_idx(tmp_path / "packed")))


@pytest.mark.parametrize(
    ("code", "letter", "dtype"),
    [(9, "b", "i1"), (11, "h", "i2"), (12, "i", "i4"), (13, "f", "f4"), (14, "d", "f8")],
)
def test_other_types_are_big_endian(tmp_path, code, letter, dtype):
    (tmp_path / "a").write_bytes(struct.pack(f">BBBBI3{letter}", 0, 0, code, 1, 3, 1, -2, 3))
    np.testing.assert_array_equal(all_rows(read_idx(tmp_path / "a")), np.array([1, -2, 3], dtype))


def test_a_gzip_file_is_unpacked_once(tmp_path, monkeypatch):
    (tmp_path / "a.gz").write_bytes(gzip.compress(FILE, mtime=0))
    read_idx(tmp_path / "a.gz")
    monkeypatch.setattr(cache_folder, "write_whole", None)
    assert len(read_idx(tmp_path / "a.gz")) == 4


def test_a_changed_source_is_never_served_from_the_cache(tmp_path):
    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress(FILE, mtime=0))
    times = path.stat()
    assert all_rows(read_idx(path))[0, 0, 0] == 0
    changed = FILE[:16] + IMAGES[::-1]
    path.write_bytes(gzip.compress(changed, mtime=0))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert all_rows(read_idx(path))[0, 0, 0] == 23


def test_a_file_whose_name_another_takes_meanwhile_is_unpacked_as_it_was(tmp_path, monkeypatch):
    path, new = tmp_path / "a.gz", tmp_path / "new.gz"
    old = gzip.compress(FILE, mtime=0)
    path.write_bytes(old)
    new.write_bytes(gzip.compress(FILE[:16] + IMAGES[::-1], mtime=0))
    write = cache_folder.write_whole
    monkeypatch.setattr(cache_folder, "write_whole", lambda *given: new.replace(path) and write(*given))
    assert all_rows(read_idx(path))[0, 0, 0] == 0
    monkeypatch.undo()
    monkeypatch.setenv("FFEDGE_CACHE", str(tmp_path / "cache"))
    assert all_rows(read_idx(path))[0, 0, 0] == 23
    path.write_bytes(old)
    assert all_rows(read_idx(path))[0, 0, 0] == 0


@pytest.mark.parametrize("damaged", ["a", "a.sha256"])
def test_a_file_that_was_damaged_in_the_cache_is_unpacked_again(tmp_path, damaged):
    (tmp_path / "a.gz").write_bytes(gzip.compress(FILE, mtime=0))
    kept = read_idx(tmp_path / "a.gz").path.with_name(damaged)
    whole = kept.read_bytes()
    kept.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert all_rows(read_idx(tmp_path / "a.gz")).tobytes() == IMAGES
    assert kept.read_bytes() == whole


def test_a_failed_unpacking_leaves_nothing_behind(tmp_path):
    (tmp_path / "a.gz").write_bytes(gzip.compress(FILE, mtime=0)[:-4])
    with pytest.raises(DataError):
        read_idx(tmp_path / "a.gz")
    assert [path for path in (tmp_path / "cache").rglob("*") if path.is_file()] == []


def test_a_read_only_cache_is_replaced_by_a_folder_removed_at_exit(tmp_path):
    (tmp_path / "a.gz").write_bytes(gzip.compress(FILE, mtime=0))
    (tmp_path / "cache").write_text("a file, in which no folder can be made")
    program = "import sys; from pathlib import Path; from ffedge.data.idx import read_idx\n"
    program += "rows = read_idx(Path(sys.argv[1])); assert len(rows) == 4; print(rows.path)"
    child = subprocess.run(
        [sys.executable, "-W", "error", "-c", program, str(tmp_path / "a.gz")],
        env={**os.environ, "PYTHONPATH": str(Path(ffedge.__file__).parents[1]), "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    used = Path(child.stdout.strip())
    assert tmp_path in used.parents
    assert not used.exists()
    assert list(tmp_path.glob("ffedge-*")) == []


def corrupted(data: bytes) -> bytes:
    return data[:20] + bytes([data[20] ^ 0xFF]) + data[21:]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is too short for an IDX file (0 bytes). Copy or download it again."),
        (b"\x00\x00", "is too short for an IDX file (2 bytes). Copy or download it again."),
        (b"\x89PNG1234", "is not an IDX file (it begins with 89 50 4e 47). Check the file."),
        (b"\x00\x00\x07\x01\0\0\0\x01", "is not an IDX file (it begins with 00 00 07 01). Check the file."),
        (FILE[:12], "is truncated within its header. Copy or download it again."),
        (FILE[:-1], "is truncated: its header asks for 40 bytes, it has 39. Copy or download it again."),
        (FILE + b"12", "has 2 bytes more than its header says. Copy or download it again."),
        (FILE[:4] + b"\0\0\0\0" + FILE[8:16], "holds no rows (its shape is [0, 3, 2]). Check the file."),
        (
            struct.pack(">BBBB255I", 0, 0, 8, 255, *[2**32 - 1] * 255),
            "has 255 axes, more than 8. Check the file.",
        ),
        (
            gzip.compress(FILE + b"1" * 100_000, mtime=0),
            "is corrupt: it should unpack to 40 bytes, it has more. Copy or download it again.",
        ),
        (
            gzip.compress(FILE[:-3], mtime=0),
            "is corrupt: it should unpack to 40 bytes, it has 37. Copy or download it again.",
        ),
        (
            gzip.compress(FILE, mtime=0)[:-9],
            "is no complete gzip file (Compressed file ended before the end-of-stream marker was reached). "
            "Copy or download it again.",
        ),
    ],
)
def test_a_wrong_file_is_refused_in_one_line(tmp_path, content, message):
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_idx(tmp_path / "a")
    assert str(caught.value) == f"{tmp_path}/a: {message}"


def test_a_flipped_bit_in_a_gzip_file_is_found(tmp_path):
    (tmp_path / "a.gz").write_bytes(corrupted(gzip.compress(FILE, compresslevel=0, mtime=0)))
    with pytest.raises(DataError, match="is no complete gzip file"):
        read_idx(tmp_path / "a.gz")


def test_an_absent_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"nothing: was not found. Check the path."):
        read_idx(tmp_path / "nothing")


def test_a_full_disk_is_said_with_a_remedy(tmp_path, monkeypatch):
    (tmp_path / "a.gz").write_bytes(gzip.compress(FILE, mtime=0))

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    message = r"a: cannot be written \(No space left on device\). Free space there, or set .*: it takes 1 MiB"
    with pytest.raises(DataError, match=message):
        read_idx(tmp_path / "a.gz")
    assert [path for path in (tmp_path / "cache").rglob("*") if path.is_file()] == []
