"""What a stranger's file may do: be read, or be refused in one line. `tools/fuzz.py` tries thousands of them."""

import gzip
import io
import json
import os
import pickle
import re
import struct
import subprocess
import sys
import zipfile
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from toys import clusters, in_child, make_model, small_spec

import ffedge
from ffedge.cli import main
from ffedge.data import read_image, read_inputs
from ffedge.errors import CONTROL, LONGEST_LINE, DataError, FfedgeError, ModelError, one_line
from ffedge.json_text import MOST_DEPTH, parse
from ffedge.network import InputFacts, check_state
from ffedge.spec import Spec
from ffedge.tensors import TensorFile, write_tensors
from ffedge.training.checkpoint import Checkpoints, Place
from ffedge.training.folder import RunFolder, export, stored
from ffedge.training.records import REPORT_FORMAT, EpochRecord, LayerRecord, Report

ROOT = Path(__file__).parents[1]
LABELS = np.array([0, 1, 2, 0])
IMAGES = np.arange(24, dtype=np.uint8).reshape(4, 3, 2)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FFEDGE_CACHE", str(tmp_path / "cache"))


def refusal(error, call, *words, **options):
    with pytest.raises(error) as caught:
        call(*words, **options)
    return str(caught.value)


def command(monkeypatch, capfd, *words):
    """Run a command; return its exit code and what it printed to stdout and stderr."""
    monkeypatch.setattr("sys.argv", ["ffedge", *map(str, words)])
    with pytest.raises(SystemExit) as stop:
        main()
    return stop.value.code or 0, *capfd.readouterr()


# the fuzzer


def fuzz(*words):
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(ROOT / "tools/fuzz.py"), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


def test_three_hundred_hostile_files_are_read_or_refused(tmp_path):
    pytest.importorskip("PIL", reason="needs Pillow")
    pytest.importorskip("nir", reason="needs ffedge[nir]")
    done = fuzz("--files", 304, "--seed", 7, "--seconds", 60, "--findings", tmp_path, "--out", tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    (written,) = tmp_path.glob("fuzz-*.json")
    kinds = json.loads(written.read_text())["results"]["kinds"]
    assert [tally["files"] for tally in kinds.values()] == [38] * 8
    assert all(tally["read"] + tally["refused"] == 38 and tally["refused"] > 0 for tally in kinds.values())


@pytest.fixture
def judge(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(ROOT / "tools")
    import fuzz_worker

    return fuzz_worker, fuzz_worker.Judge(tmp_path / "case" / "x.npy")


def failing(error):
    def call():
        raise error

    return call


@pytest.mark.parametrize(
    ("error", "found"),
    [
        (DataError("nothing of the file"), "message does not name the file: 'nothing of the file'"),
        (ValueError("{0}: one\ntwo"), "message of 2 lines: '{0}: one\\ntwo'"),
        (ValueError("{0} " + "x" * 3000), "message of 3"),
        (UnicodeDecodeError("utf-8", b"", 0, 1, "x"), "message does not name the file"),
    ],
)
def test_the_fuzzer_sees_a_message_that_breaks_the_promise(judge, tmp_path, error, found):
    worker, judged = judge
    error.args = tuple(a.replace("{0}", str(tmp_path / "case")) if isinstance(a, str) else a for a in error.args)
    with pytest.raises(worker.Finding) as caught:
        judged.call(failing(error))
    assert str(caught.value).startswith(found.replace("{0}", str(tmp_path / "case")))


def test_the_fuzzer_sees_another_exception_and_another_exit(judge):
    worker, judged = judge
    with pytest.raises(KeyError):
        judged.call(failing(KeyError("x")))
    for code, err in ((3, ""), (1, "ffedge: a\nb\n"), (1, "no name"), (0, "Traceback (most recent call last):")):
        with pytest.raises(worker.Finding, match="exit code"):
            worker.check_exit(code, err, "")
    worker.check_exit(1, "ffedge: a.npy: is no file\n", "a.npy")


# code


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
        f"{tmp_path}/objects/x.npy: holds Python objects, which ffedge never unpickles. Convert it to numbers first."
    )


def test_a_picture_that_is_a_program_is_not_run(tmp_path):
    """Pillow would hand PostScript to Ghostscript."""
    pytest.importorskip("PIL", reason="needs Pillow")
    (tmp_path / "a.png").write_bytes(
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 6 6\n%%EndComments\nshowpage\n%%EOF\n"
    )
    text = refusal(DataError, read_image, tmp_path / "a.png", (6, 6))
    assert text == (
        f"{tmp_path}/a.png: is no picture that can be read (cannot identify image file '{tmp_path}/a.png'). "
        "Convert it to PNG."
    )


# text


@given(
    st.text(st.characters(codec=None, categories=None), max_size=3000) | st.text("\n\x1b\ud800\u2028a", max_size=900)
)
def test_an_error_is_one_line_that_a_terminal_can_show(text):
    shown = str(FfedgeError(text))
    assert len(shown.splitlines()) <= 1
    assert len(shown) <= LONGEST_LINE
    assert not CONTROL.search(shown)
    shown.encode()
    assert one_line(shown) == shown
    if not CONTROL.search(text) and len(text) <= LONGEST_LINE:
        assert shown == text


@pytest.mark.parametrize("value", ["x" * 3000, "a\nb"], ids=["long", "two lines"])
def test_wrong_usage_is_one_line_too(monkeypatch, capfd, value):
    code, _, err = command(monkeypatch, capfd, "train", "--loss", value)
    assert (code, len(err.splitlines())) == (2, 1)
    assert len(err) < LONGEST_LINE + 20


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda part: st.lists(part, max_size=3) | st.dictionaries(st.text(max_size=3), part, max_size=3),
    max_leaves=8,
)


def depth(value):
    parts = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else None
    return 1 if parts is None else 1 + max(map(depth, parts), default=0)


@given(PLAIN)
def test_json_is_read_as_python_reads_it(value):
    if depth(value) <= MOST_DEPTH:
        assert parse(json.dumps(value)) == value


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("[" * 17 + "]" * 17, "it is nested too deeply"),
        ('{"a":' * 5000 + "0" + "}" * 5000, "it is nested too deeply"),
        ("[" * 100_000, "it holds 100000 lists and objects, more than 10000"),
        ("[" + "[]," * 20_000 + "0]", "it holds 20001 lists and objects, more than 10000"),
        ('"' + "x" * 2**23 + '"', f"it is {2**23 + 2} characters long, more than {2**23}"),
    ],
)
def test_json_that_would_take_much_memory_or_a_deep_stack_is_refused(text, error):
    assert refusal(ValueError, parse, text) == error
    assert parse("[" * 16 + "]" * 16)


# data


def saved(folder, x=IMAGES, y=LABELS):
    folder.mkdir(exist_ok=True)
    np.save(folder / "x.npy", x)
    np.save(folder / "y.npy", y)
    return folder / "x.npy"


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


def test_a_member_whose_name_is_no_text_is_refused(tmp_path):
    """Where the header inside says UTF-8 and has other bytes, zipfile raises a bare UnicodeDecodeError."""
    whole = io.BytesIO()
    np.savez(whole, x=IMAGES)
    content = whole.getvalue()
    assert content[:4] == b"PK\3\4"
    (tmp_path / "d.npz").write_bytes(content[:7] + b"\x08" + content[8:30] + b"\xff" + content[31:])
    text = refusal(DataError, read_inputs, tmp_path / "d.npz", (3, 2))
    assert text.startswith(f"{tmp_path}/d.npz: is corrupt or not supported ('utf-8' codec can't decode byte 0xff")


def test_an_array_that_asks_for_more_than_any_file_has_is_refused(tmp_path):
    path = saved(tmp_path / "d")
    content = path.read_bytes()
    path.write_bytes(content.replace(b"(4, 3, 2), }" + b" " * 30, b"(9" + b"0" * 29 + b", 3, 2), }  "))
    assert refusal(DataError, ffedge.load, path) == (
        f"{path}: asks for more bytes than a file can have. Check the file."
    )


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


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
@pytest.mark.parametrize("kind", ["idx", "npy", "npz"])
def test_damaged_data_are_read_or_refused_in_one_line(tmp_path, kind, data):
    whole = io.BytesIO()
    if kind == "idx":
        whole.write(struct.pack(">HBB3I", 0, 8, 3, 4, 3, 2) + IMAGES.tobytes())
    else:
        np.save(whole, IMAGES) if kind == "npy" else np.savez_compressed(whole, x=IMAGES)
    damaged = bytearray(whole.getvalue())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(damaged) - 1))
        damaged[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=4))
    path = tmp_path / f"a.{kind}"
    path.write_bytes(bytes(damaged))
    try:
        found = read_inputs(path, (3, 2)).take(np.arange(1)).shape
    except DataError as error:
        found = str(error)
    assert found == (1, 3, 2) or (found.startswith(str(tmp_path)) and len(found.splitlines()) == 1)


# pictures


def test_a_small_file_of_many_pixels_is_refused_before_it_is_decoded(tmp_path):
    image = pytest.importorskip("PIL.Image", reason="needs Pillow")
    image.new("L", (4000, 4000)).save(tmp_path / "a.png")
    assert refusal(DataError, read_image, tmp_path / "a.png", (6, 6), resize=True) == (
        f"{tmp_path}/a.png: is 4000x4000 pixels, more than 12.6 million. Make it smaller first."
    )
    image.new("L", (4000, 4000)).save(tmp_path / "b.jpg", progressive=True)
    assert "b.jpg: is 4000x4000 pixels, more than 12.6 million." in refusal(
        DataError, read_image, tmp_path / "b.jpg", (6, 6), resize=True
    )
    image.new("CMYK", (3000, 3000)).save(tmp_path / "b.jpg", progressive=True)
    assert "b.jpg: is 3000x3000 pixels, more than 6.3 million." in refusal(
        DataError, read_image, tmp_path / "b.jpg", (6, 6), resize=True
    )
    image.new("L", (4000, 4000), 90).save(tmp_path / "c.jpg")  # this one is decoded small
    assert (read_image(tmp_path / "c.jpg", (6, 6), resize=True) == 90).all()


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "LA", "P", "I;16", "CMYK"])
def test_the_largest_picture_takes_less_than_200_megabytes(tmp_path, mode):
    image = pytest.importorskip("PIL.Image", reason="needs Pillow")
    if mode == "CMYK":
        image.new(mode, (2048, 3072)).save(tmp_path / "a.png", "JPEG", progressive=True)
    else:
        image.new(mode, (4096, 3072)).save(tmp_path / "a.png", compress_level=1)
    script = """
        import sys
        from pathlib import Path
        from ffedge.data import read_image
        from ffedge.meter import rss_peak_bytes
        read_image(Path(sys.argv[1]), (28, 28), resize=True)
        print(rss_peak_bytes())
    """
    assert int(in_child(script, str(tmp_path / "a.png"))) < 200_000_000


# models


@pytest.fixture(scope="module")
def model():
    return make_model(small_spec(), clusters())


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("shape", [True], "shape must be whole numbers from 1 to 16777216, got (True,)"),
        ("shape", [1] * 9, f"shape must have at most 8 axes and 16777216 inputs, got {(1,) * 9}"),
        ("classes", [], "classes must be names that differ, got ()"),
        ("classes", ["a", "a"], "classes must be names that differ, got ('a', 'a')"),
        ("classes", ["a\nb", "c"], r"classes must be names of one line of plain text, got 'a\nb'"),
        ("offset", [], "offset must be a finite number for all inputs or for each, got ()"),
        ("offset", [10**400], f"offset must be a finite number for all inputs or for each, got ({10**400},)"),
        ("scale", "x", "scale must be a finite number for all inputs or for each, got 'x'"),
        ("largest", None, "largest must be a finite number and free_border a bool, got None"),
    ],
)
def test_facts_that_no_data_can_have_are_refused(model, name, value, rule):
    facts = model[2].to_dict() | {name: value}
    assert refusal(ValueError, InputFacts.from_dict, facts) == rule


@pytest.mark.parametrize(("field", "value"), [("theta", 10**400), ("label_scale", 10**400), ("rate", [10**400])])
def test_a_number_that_no_float_can_hold_is_refused(field, value):
    with pytest.raises(ValueError, match=f"^{field} must be "):
        Spec.make(**{field: value})


def test_threads_without_number_are_refused():
    assert refusal(ValueError, Spec.make, threads=10**6) == "threads must be 0 to 1024, got 1000000"


def test_names_that_look_like_markup_are_shown_as_they_are(tmp_path, monkeypatch, capfd):
    names = np.array(["[/red]", "[bold]", ":smile:"])[np.arange(60) % 3]
    raw = np.random.default_rng(0).random((60, 16), dtype=np.float32)
    path = saved(tmp_path / "d", raw, names)
    (tmp_path / "model.onnx").write_bytes(make_model(small_spec(), ffedge.load(path))[0])
    for words in (("info", tmp_path / "model.onnx"), ("eval", tmp_path / "model.onnx", "--data", path)):
        code, out, err = command(monkeypatch, capfd, *words)
        assert (code, err) == (0, "")
        assert all(name in out for name in names[:3])


@pytest.mark.parametrize("about", [{}, {"data": []}, {"data": {"name": []}}, {"data": {"name": "/etc"}}])
def test_a_model_does_not_choose_the_file_that_eval_opens(tmp_path, monkeypatch, capfd, about):
    (tmp_path / "model.onnx").write_bytes(make_model(small_spec(), clusters(), **about)[0])
    code, _, err = command(monkeypatch, capfd, "eval", tmp_path / "model.onnx")
    assert code == 1
    assert re.fullmatch(
        rf"ffedge: {tmp_path}/model.onnx: learnt from .*, which ffedge does not know by name. Pass --data\n", err
    )


# reports and checkpoints


def report_of(model, **changes):
    spec, facts = model[1].to_dict(), model[2].to_dict()
    layer = LayerRecord(0, 1, 1.0, 1, 1, 1, 0.5, None, None, None)
    data = {"name": "toy", "sha256": "x"}
    made = Report(spec, data, facts, [layer], None, 0.5, 10, 1.0, 1, 1, "x", 1, True)
    return json.loads(made.to_json()) | changes


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"train_accuracy": "high"}, "train_accuracy must be float, got 'high'"),
        ({"seconds": [1]}, "seconds must be float, got [1]"),
        ({"in_place": 1}, "in_place must be bool, got 1"),
        ({"model_bytes": True}, "model_bytes must be int, got True"),
        ({"model_bytes": 10**400}, "model_bytes must fit 64 bits, got a number of 1329"),
        ({"format": 99}, f"it has report format 99, this ffedge reads {REPORT_FORMAT}"),
        ({"data": {}}, "data must have a name"),
        ({"spec": {}}, "network must have just the fields "),
        ({"layers": [[]]}, "ffedge.training.records.LayerRecord() argument after ** must be a mapping, not list"),
    ],
)
def test_a_report_that_ffedge_cannot_have_written_is_refused(model, tmp_path, monkeypatch, capfd, changes, why):
    path = tmp_path / "report.json"
    path.write_text(json.dumps(report_of(model, **changes)))
    text = refusal(ModelError, Report.read, path)
    assert text.startswith(f"{path}: is no report that this ffedge can read ({why}")
    code, _, err = command(monkeypatch, capfd, "report", tmp_path)
    assert (code, err) == (1, f"ffedge: {text}\n")


@pytest.mark.parametrize("index", [-1, 3])
def test_a_report_of_a_layer_that_the_network_has_not_is_refused(model, tmp_path, index):
    content = report_of(model)
    content["layers"][0]["index"] = index
    (tmp_path / "report.json").write_text(json.dumps(content))
    text = refusal(ModelError, Report.read, tmp_path / "report.json")
    assert text.endswith(f"(it has a layer {index}, but the network 3)")


@pytest.mark.parametrize("levels", [20, 100_000])
def test_a_report_nested_without_end_is_refused(model, tmp_path, levels):
    text = json.dumps(report_of(model, machine="@")).replace('"@"', "[" * levels + "]" * levels)
    (tmp_path / "report.json").write_text(text)
    line = refusal(ModelError, Report.read, tmp_path / "report.json")
    assert line.startswith(f"{tmp_path}/report.json: is no report that this ffedge can read (it ")


def test_a_report_that_ffedge_wrote_is_read(model, tmp_path):
    (tmp_path / "report.json").write_text(json.dumps(report_of(model)))
    assert json.loads(Report.read(tmp_path / "report.json").to_json()) == report_of(model)


def checkpointed(tmp_path, model, state=None, place=None, **about):
    _, spec, facts, layers = model
    about = {"spec": spec.to_dict(), "data": "x", "input": facts.to_dict(), "name": "toy", "source": "toy"} | about
    return Checkpoints(tmp_path / "checkpoint").save(state or layers, place or Place(), about)


def altered(model, change):
    state = [dict(layer) for layer in model[3]]
    change(state)
    return state


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda s: s[1].update(W=s[1]["W"].T), "layer 1 has W of float32 [10, 12]"),
        (lambda s: s[0].update({"W.m": np.zeros((2, 2), np.float32)}), "layer 0 has W.m of float32 [2, 2]"),
        (lambda s: s[2].update(banana=np.zeros(2, np.float32)), "layer 2 has banana of float32 [2]"),
        (lambda s: s[0].pop("gamma"), "layer 0 lacks gamma"),
        (lambda s: s.pop(), "it has 2 layers, but the network 3"),
    ],
)
def test_a_checkpoint_of_other_weights_is_refused(model, tmp_path, change, why):
    path = checkpointed(tmp_path, model, altered(model, change))
    line = f"{path}: cannot be used ({why}). Start anew without --resume"
    assert refusal(ModelError, export, tmp_path, tmp_path / "model.onnx") == line
    folder = RunFolder(tmp_path, *model[1:3], replace(clusters(), sha256="x"), "toy")
    assert refusal(ModelError, folder.restore) == line


def test_the_state_of_any_run_passes(model):
    _, spec, facts, layers = model
    check_state(spec, facts, layers)
    check_state(spec, facts, [{}, {}, {}])
    check_state(spec, facts, [layers[0] | {"W.m": layers[0]["W"], "gamma.v": layers[0]["gamma"]}, layers[1], {}])


@pytest.mark.parametrize("name", ["layers.1000000000.W", "layers.-9.W", "layers.7.W"])
def test_a_layer_that_no_network_has_takes_no_memory(model, tmp_path, name):
    path = checkpointed(tmp_path, model)
    tensors = {name: np.zeros((2, 2), np.float32)}
    write_tensors(path, tensors, {k: v for k, v in TensorFile(path).metadata.items() if k != "sha256"})
    text = refusal(ModelError, Checkpoints(path.parent).newest)
    why = "000000.safetensors: list index out of range"
    assert text == f"{path.parent}: holds only torn files ({why}). Start anew without --resume"


def test_a_spec_in_a_checkpoint_that_is_none_is_another_spec(model, tmp_path):
    path = checkpointed(tmp_path, model, spec={"network": "wide", "rule": [], "train": None})
    text = refusal(ModelError, Checkpoints(path.parent).load, {"spec": model[1].to_dict(), "data": "x"})
    assert text.startswith(f"{path}: was made with another spec. Resume with")


def nested(levels):
    value = []
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize("spec", [[], {}, "deep"])
def test_what_a_checkpoint_says_of_its_run_may_make_no_sense(model, tmp_path, spec):
    if spec == "deep":
        spec = model[1].to_dict()
        spec["network"]["widths"] = nested(900)
    checkpointed(tmp_path, model, spec=spec)
    for call in (lambda: stored(tmp_path), lambda: export(tmp_path, tmp_path / "model.onnx")):
        text = refusal(ModelError, call)
        assert text.startswith(f"{tmp_path}/checkpoint")
        assert text.endswith("Start anew without --resume")


NO_PLACES = [{"stage": -1}, {"epoch": "a"}, {"step": 0.5}, {"step": True}, {"stage": 2**64}, {"seconds": "x"}]
NO_PLACES += [{"sums": (item,)} for item in ((), (0, 1, 2), ("a", 1.0, 1.0, 1.0), (0, 1.0, "x", 1.0))]


@pytest.mark.parametrize("changes", NO_PLACES, ids=str)
def test_a_place_where_no_run_can_stand_is_refused(changes):
    with pytest.raises(ValueError, match=r"^place must "):
        Place(**changes)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"loss": "x"}, "loss must be float, got 'x'"),
        ({"seconds": [1]}, "seconds must be float, got [1]"),
        ({"accuracy": {}}, "accuracy must be float or NoneType, got {}"),
        ({"epoch": None}, "epoch must be int, got None"),
        ({"rate": nested(900)}, "it is nested too deeply"),
    ],
    ids=["word", "list", "object", "null", "deep"],
)
def test_a_line_of_metrics_that_makes_no_sense_is_refused(model, tmp_path, changes, why):
    checkpointed(tmp_path, model)
    record = EpochRecord(0, 0, 1.0, 1.0, 1.0, None, None, None, 1.0, 0.1, 1, 1)
    (tmp_path / "metrics.jsonl").write_text(json.dumps(asdict(record) | changes) + "\n")
    folder = RunFolder(tmp_path, *model[1:3], replace(clusters(), sha256="x"), "toy")
    line = f"{tmp_path}/metrics.jsonl: is damaged ({why}). Start anew without --resume"
    assert refusal(ModelError, folder.restore) == line
