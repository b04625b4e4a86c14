"""Files that take their place whole, and locks."""

import errno
import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

import ffedge.files
from ffedge.errors import FfedgeError
from ffedge.files import atomic_file, locked, nameless_file


def test_a_file_takes_its_place_whole(tmp_path):
    path = tmp_path / "report.json"
    path.write_text("old")
    with atomic_file(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert os.listdir(tmp_path) == ["report.json"]


@pytest.mark.parametrize("error", [RuntimeError("bug"), KeyboardInterrupt()])
def test_an_error_on_the_way_leaves_the_old_file_and_no_other(tmp_path, error):
    path = tmp_path / "report.json"
    path.write_text("old")

    def write():
        with atomic_file(path) as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(type(error)):
        write()
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["report.json"]


def test_the_file_is_on_the_disk_before_it_takes_its_place(tmp_path, monkeypatch):
    order, replace, fsync = [], Path.replace, os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: order.append("sync") or fsync(fd))
    monkeypatch.setattr(Path, "replace", lambda self, target: order.append("replace") or replace(self, target))
    with atomic_file(tmp_path / "a") as temporary:
        temporary.write_text("content")
    assert order == ["sync", "replace", "sync"]  # the file, and then the folder's new entry


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path):
    path = tmp_path / "none" / "report.json"
    text = f"^{path}: cannot be written \\(No such file or directory\\). Choose another place$"
    with pytest.raises(FfedgeError, match=text), atomic_file(path) as temporary:
        temporary.write_text("content")


def write(path, text):
    with atomic_file(path) as temporary:
        temporary.write_text(text)


def test_what_a_killed_process_was_writing_goes_when_the_file_is_written_again(tmp_path):
    begin = "with atomic_file(Path(sys.argv[1])) as f: f.write_text(9 * 'half'); os.kill(os.getpid(), 9)"
    code = f"import os, sys; from pathlib import Path; from ffedge.files import atomic_file\n{begin}"
    subprocess.run([sys.executable, "-c", code, tmp_path / "a"], check=False)
    assert os.listdir(tmp_path) == [".a.tmp"]
    with atomic_file(tmp_path / "a") as temporary:
        assert temporary.read_text() == ""
        temporary.write_text("whole")
    assert os.listdir(tmp_path) == ["a"]


def test_a_second_writer_waits_for_the_first(tmp_path):
    begin = "import sys; from pathlib import Path; from ffedge.files import atomic_file\n"
    code = begin + "with atomic_file(Path(sys.argv[1])) as f: f.write_text('2')"
    with atomic_file(tmp_path / "a") as temporary:
        other = subprocess.Popen([sys.executable, "-c", code, tmp_path / "a"])
        with pytest.raises(subprocess.TimeoutExpired):
            other.wait(0.5)
        temporary.write_text("1")
    assert other.wait(10) == 0
    assert (tmp_path / "a").read_text() == "2"
    assert os.listdir(tmp_path) == ["a"]


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o444])
def test_a_file_that_is_replaced_keeps_its_permissions(tmp_path, mode):
    path = tmp_path / "a"
    path.touch(mode)
    path.chmod(mode)
    with atomic_file(path) as temporary:
        assert temporary.stat().st_mode & 0o777 == mode  # already while it is written
        temporary.write_bytes(b"new")
    assert path.stat().st_mode & 0o777 == mode


@pytest.mark.skipif(os.geteuid() != 0, reason="gives a file to another user")
def test_a_file_that_is_replaced_keeps_its_owner(tmp_path):
    (tmp_path / "a").touch()
    os.chown(tmp_path / "a", 1000, 1001)
    write(tmp_path / "a", "new")
    found = (tmp_path / "a").stat()
    assert (found.st_uid, found.st_gid) == (1000, 1001)


def test_a_link_stays_and_what_it_leads_to_is_replaced(tmp_path):
    (tmp_path / "v1").mkdir()
    (tmp_path / "v1" / "model").write_text("old")
    for name, target in (("now", "v1/model"), ("next", "v1/later")):
        (tmp_path / name).symlink_to(target)
        write(tmp_path / name, "new")
        assert os.readlink(tmp_path / name) == target
        assert (tmp_path / target).read_text() == "new"
    assert sorted(os.listdir(tmp_path / "v1")) == ["later", "model"]


def test_a_link_beside_the_file_is_not_written_through(tmp_path):
    (tmp_path / "other").write_text("precious")
    (tmp_path / ".a.tmp").symlink_to("other")
    with pytest.raises(FfedgeError, match="cannot be written"):
        write(tmp_path / "a", "new")
    assert (tmp_path / "other").read_text() == "precious"


@pytest.mark.parametrize("kind", ["folder", "pipe"])
def test_what_is_no_file_is_not_replaced(tmp_path, kind):
    path = tmp_path / "a"
    path.mkdir() if kind == "folder" else os.mkfifo(path)
    with pytest.raises(FfedgeError, match=rf"^{path}: is no regular file, and nothing can take its place"):
        write(path, "new")
    assert os.listdir(tmp_path) == ["a"]


def test_a_file_that_is_mounted_by_itself_is_refused_before_it_is_written(tmp_path, monkeypatch):
    path = tmp_path / "a model"
    path.touch()
    name = str(path).replace(" ", "\\040")
    (tmp_path / "mountinfo").write_text(f"36 35 98:0 /host.onnx {name} rw,noatime - ext4 /dev/root rw\n")
    monkeypatch.setattr(ffedge.files, "MOUNTS", tmp_path / "mountinfo")
    with (
        pytest.raises(
            FfedgeError, match=r"mounted as a single file, and nothing can take its place\. Mount its folder"
        ),
        atomic_file(path),
    ):
        raise AssertionError


def test_a_locked_folder_keeps_another_process_out_until_the_first_ends_or_is_killed(tmp_path):
    begin = "import sys; from pathlib import Path; from ffedge.files import locked\n"
    code = begin + "with locked(Path(sys.argv[1]), 'busy'): print(flush=True); sys.stdin.read()"
    other = subprocess.Popen(
        [sys.executable, "-c", code, tmp_path / "new" / "folder"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    other.stdout.readline()
    with pytest.raises(FfedgeError, match="busy"), locked(tmp_path / "new" / "folder", "busy"):
        raise AssertionError
    other.kill()
    other.communicate()
    with locked(tmp_path / "new" / "folder", "busy"):
        assert os.listdir(tmp_path / "new") == ["folder"]


def test_a_folder_behind_a_link_is_locked_as_itself(tmp_path):
    begin = "import sys; from pathlib import Path; from ffedge.files import locked\n"
    code = begin + "with locked(Path(sys.argv[1]), ''): pass"
    (tmp_path / "link").symlink_to("disk")
    (tmp_path / "disk").mkdir()
    subprocess.run([sys.executable, "-c", code, tmp_path / "link"], check=True, timeout=30)
    with locked(tmp_path / "link", ""), pytest.raises(FfedgeError, match="busy"), locked(tmp_path / "disk", "busy"):
        raise AssertionError


def test_a_file_system_without_locks_is_written_all_the_same(tmp_path, monkeypatch):
    def none(descriptor, kind):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", none)
    write(tmp_path / "a", "new")
    with locked(tmp_path / "folder", "busy"):
        assert (tmp_path / "a").read_text() == "new"


def test_a_nameless_file_is_opened_by_its_path_and_leaves_nothing(tmp_path):
    with nameless_file(tmp_path) as (file, path):
        file.write(b"content")
        file.flush()
        assert path.read_bytes() == b"content"
        assert os.listdir(tmp_path) == []
