"""Tables as files: what a logger or a spreadsheet writes is read as it is meant, in one pass, or refused by line."""

import csv
import errno
import gzip
import json

import numpy as np
import pytest

from ffedge import Predictor, Reading, load, train
from ffedge.columns import Column, Table
from ffedge.data.reading import Listener
from ffedge.data.tables import table_blocks
from ffedge.errors import DataError, StoppedError
from ffedge.spec import Spec
from ffedge.training.facts import measure

HEAD = ["time", "temp", "hum", "wind", "state"]
ROWS = [
    [
        f"2025-03-0{1 + i % 7} 10:{i:02d}",
        round(20 + i / 7, 3),
        round(0.3 + i / 999, 4),
        "NESW"[i % 4],
        ("on", "off")[i % 2],
    ]
    for i in range(60)
]
NUMBERS = np.array([[row[1], row[2], "NESW".index(row[3])] for row in ROWS])


def write(path, rows=ROWS, head=HEAD, encoding="utf-8", eol="\n", **words):
    with path.open("w", newline="", encoding=encoding) as file:
        out = csv.writer(file, lineterminator=eol, **words)
        out.writerows(([head] if head else []) + rows)
    return path


def rows_of(dataset):
    return dataset.train.inputs.take(np.arange(len(dataset.train.inputs)))


def with_commas(rows):
    return [[str(cell).replace(".", ",") if isinstance(cell, float) else cell for cell in row] for row in rows]


SPELLINGS = {
    "plain": {},
    "crlf and a mark": {"encoding": "utf-8-sig", "eol": "\r\n"},
    "tabs": {"delimiter": "\t"},
    "quoted": {"quoting": csv.QUOTE_ALL},
    "semicolons": {"delimiter": ";"},
    "decimal commas": {"delimiter": ";", "rows": with_commas(ROWS)},
    "quoted decimal commas": {"rows": with_commas(ROWS)},
    "utf-16": {"encoding": "utf-16"},
    "no header": {"head": None},
    "bars": {"delimiter": "|"},
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_each_spelling_gives_the_same_rows(tmp_path, spelling):
    dataset = load(write(tmp_path / "t.csv", **SPELLINGS[spelling]))
    assert rows_of(dataset).tolist() == NUMBERS.tolist()
    assert dataset.classes == ("off", "on")
    assert [dataset.classes[c] for c in dataset.train.labels[np.arange(4)]] == ["on", "off", "on", "off"]
    assert any("times" in note for note in dataset.notes)
    named = ("temp", "hum", "wind") if spelling != "no header" else ("column 2", "column 3", "column 4")
    assert dataset.table.names == named
    assert dataset.table.columns[2].categories == tuple("NESW")


def test_json_lines_gzip_and_patterns_are_read_too(tmp_path):
    plain = write(tmp_path / "a.csv", ROWS[:30])
    write(tmp_path / "b.csv", [row[::-1] for row in ROWS[30:]], HEAD[::-1])  # columns in another order
    whole = load(write(tmp_path / "whole.csv"))
    packed = tmp_path / "c.csv.gz"
    packed.write_bytes(gzip.compress((tmp_path / "whole.csv").read_bytes(), mtime=0))
    lines = tmp_path / "d.jsonl"
    lines.write_text("".join(json.dumps(dict(zip(HEAD, row, strict=True))) + "\n" for row in ROWS))
    for source in (str(tmp_path / "[ab].csv"), [plain, tmp_path / "b.csv"], packed, lines):
        dataset = load(source, label="state")
        assert rows_of(dataset).tolist() == NUMBERS.tolist()
        assert dataset.sha256 == whole.sha256


def test_a_label_is_named_and_a_column_left_out(tmp_path):
    dataset = load(write(tmp_path / "t.csv"), label="wind", leave_out=["hum"])
    assert (dataset.classes, dataset.table.names) == (("E", "N", "S", "W"), ("temp", "state"))


def test_numbers_as_labels_are_classes_in_their_order(tmp_path):
    rows = [[i, (10, 9, 100)[i % 3]] for i in range(9)]
    assert load(write(tmp_path / "t.csv", rows, ["x", "y"])).classes == ("9", "10", "100")
    wide = [[i, f"{(10, 9, 100)[i % 3]}.0"] for i in range(9)]
    assert load(write(tmp_path / "u.csv", wide, ["x", "y"])).classes == ("9", "10", "100")


@pytest.mark.parametrize("gap", ["", "NA", "nan", "NaN", "null", "-", "?"])
def test_a_gap_is_a_value_that_is_missing_and_is_told(tmp_path, gap):
    rows = [row[:] for row in ROWS]
    rows[7][1] = gap
    dataset = load(write(tmp_path / "t.csv", rows))
    assert np.argwhere(np.isnan(rows_of(dataset))).tolist() == [[7, 0]]
    assert [column.gaps for column in dataset.table.columns] == [True, False, False]
    assert "missing values are filled in: temp" in dataset.notes
    facts = measure(dataset)
    assert facts.table.columns[0].fill == np.median(np.delete(NUMBERS[:, 0], 7))


def test_rows_without_a_label_are_left_out_and_told(tmp_path):
    rows = [row[:] for row in ROWS]
    rows[3][4] = rows[5][4] = ""
    dataset = load(write(tmp_path / "t.csv", rows))
    assert rows_of(dataset).tolist() == np.delete(NUMBERS, [3, 5], axis=0).tolist()
    assert any("left out 2 rows without a label" in note and "line 5" in note for note in dataset.notes)


def test_blank_lines_and_what_stands_above_the_header_do_no_harm(tmp_path):
    text = write(tmp_path / "t.csv").read_text().splitlines()
    (tmp_path / "t.csv").write_text("# station 5\n\n" + "\n\n".join(text) + "\n\n  \n")
    assert rows_of(load(tmp_path / "t.csv")).tolist() == NUMBERS.tolist()


def test_a_column_without_name_and_an_empty_one_are_left_out(tmp_path):
    rows = [[i, *row, ""] for i, row in enumerate(ROWS)]
    dataset = load(write(tmp_path / "t.csv", rows, ["", *HEAD, ""]))
    assert dataset.table.names == ("temp", "hum", "wind")
    assert any("column 1, which has no name" in note for note in dataset.notes)
    rows = [[*row[:4], "", row[4]] for row in ROWS]
    dataset = load(write(tmp_path / "u.csv", rows, [*HEAD[:4], "spare", "state"]))
    assert any("spare" in note for note in dataset.notes)


def changed(row, column, value):
    rows = [r[:] for r in ROWS]
    rows[row][column] = value
    return rows


@pytest.mark.parametrize(
    ("rows", "head", "said"),
    [
        (changed(40, 1, "warm"), HEAD, r"line 42: column 'temp' must be a number, got 'warm'"),
        (changed(40, 1, "1_2"), HEAD, r"line 42: column 'temp' must be a number, got '1_2'"),
        (changed(40, 1, "\u0663"), HEAD, r"line 42: column 'temp' must be a number, got '\u0663'"),
        (changed(40, 1, "inf"), HEAD, r"line 42: column 'temp' must be a finite number"),
        (changed(40, 4, "3.5"), HEAD, r"line 42: the label's column 'state' holds 3.5, a quantity"),
        ([*ROWS, ROWS[0][:3]], HEAD, r"line 62: has 3 cells, but those before it 5"),
        ([*ROWS, [*ROWS[0], "more"]], HEAD, r"line 62: has 6 cells, but those before it 5"),
        ([], HEAD, "no rows"),
        ([], [], "no rows"),
        (ROWS, ["time", "temp", "temp", "wind", "state"], "two columns 'temp'"),
        ([[*row[:4], "on"] for row in ROWS], HEAD, "all labels are on"),
        ([[row[0], row[4]] for row in ROWS], ["time", "state"], "no column to learn from"),
        ([[*row, row[0]] for row in ROWS], [*HEAD, "until"], "last column 'until' holds times"),
        (changed(5, 3, "a\x1bb"), HEAD, "no line of plain text"),
        ([[i % 9, 100 + 7 * i] for i in range(300)], ["x", "y"], "'y': holds 300 different numbers .* quantity"),
        ([["1"] * 20_000, ["2"] * 20_000], [f"c{i}" for i in range(19_999)] + ["y"], "19999 columns .* too long"),
        ([[f"n{i}", i % 2] for i in range(1100)], ["id", "y"], "more than 1000 texts differ"),
        ([[i, f"n{i}"] for i in range(1100)], ["x", "y"], "more than 1000 labels differ"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_line_and_column(tmp_path, rows, head, said):
    with pytest.raises(DataError, match=said):
        load(write(tmp_path / "t.csv", rows, head))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"a,b\n1,\xff\xfe\n", "line 2: is no UTF-8"),
        (b"", "no rows"),
        (b"a,b\n1,x\n" + b'1,"' + b"x" * 200_000, "quotation mark"),
        (b"x" * (9 << 20), "longer than"),
        (gzip.compress(b"a,b\n1,x\n" * 999, mtime=0)[:-9], "cannot be read to its end"),
        (b'{"a": 1, "b": "x"}\n{"a": [1], "b": "y"}\n', "line 2: column 'a'"),
        (b'{"a": 1, "b": "x"}\n{"c": 1}\n', "line 2: has the column 'c'"),
        (b'{"a": 1, "b": "x"}\n{"a": 1, "b": "x", "a": 2}\n', "line 2: has 'a' twice"),
        (b'{"a": 1, "b": "x"}\n' + b"[" * 100_000 + b"\n", "line 2: must be a JSON object"),
    ],
)
def test_bytes_that_are_no_table_are_refused_in_a_line(tmp_path, content, said):
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(DataError, match=said):
        load(tmp_path / "t.csv")


def test_a_cell_may_be_broken_into_lines_and_lines_may_end_in_cr(tmp_path):
    plain = load(write(tmp_path / "t.csv", changed(5, 3, "NE b")))
    for name, cell, eol in (("u.csv", "NE \r\n b", "\r\n"), ("v.csv", "NE\rb", "\r"), ("w.csv", "NE b", "\r")):
        dataset = load(write(tmp_path / name, changed(5, 3, cell), eol=eol))
        assert dataset.sha256 == plain.sha256
        assert dataset.table.columns[2].categories == ("N", "E", "S", "W", "NE b")
    assert plain.table.row({"temp": 1, "hum": 2, "wind": "NE\n b"}) == [1, 2, 4]


def test_a_table_of_many_columns_is_read_in_time_and_its_model_can_be_read(tmp_path):
    head = [f"c{i}" for i in range(6_000)] + ["[{y"]
    dataset = load(write(tmp_path / "t.csv", [[i % 2 + j % 7 for j in range(6_001)] for i in range(20)], head))
    run = train(Spec.make(widths=(4,), epochs=1, batch_size=10), dataset, out=tmp_path / "run", kept_bytes=0)
    predictor = Predictor(run.path / "model.onnx")
    assert predictor.facts.table.names == dataset.table.names
    assert len(predictor.predict(rows_of(dataset)[:2])) == 2


def test_columns_of_texts_that_look_like_numbers_or_names_of_rows_are_told(tmp_path):
    texts = [f"{i % 50}%" for i in range(99)], [f"row {i}" for i in range(99)], ["NESW"[i % 4] for i in range(99)]
    rows = [[*cells, i % 2] for i, cells in enumerate(zip(*texts, strict=True))]
    notes = load(write(tmp_path / "t.csv", rows, ["hum", "id", "wind", "y"])).notes
    assert [note.split(",")[0] for note in notes] == [
        f"column {name!r} is learnt as {count} different texts" for name, count in (("hum", 50), ("id", 99))
    ]
    assert "'0%'" in notes[0]


def test_what_may_surprise_about_labels_and_test_rows_is_told(tmp_path):
    path = write(tmp_path / "t.csv", [[i % 9, (10, 30)[i % 2]] for i in range(60)], ["x", "y"])
    other = write(tmp_path / "u.csv", [[i % 9, (10, 30, "")[i % 3]] for i in range(60)], ["x", "y"])
    notes = load(path, reading=Reading(test=str(other))).notes
    assert any("10, 30: the other numbers from 0 to 30 never occur" in note for note in notes)
    assert any("to test on, u: left out 20 rows without a label" in note for note in notes)
    assert any("differ in case" in note for note in load(write(path, changed(1, 4, "ON"))).notes)
    assert any("class 'ON' has a single row" in note for note in load(path).notes)
    dataset = load(write(path, [[i, ("1", "01", "-0", "0")[i % 4]] for i in range(20)], ["x", "y"]))
    assert any("'-0', '0', '01', '1' differ in how the number" in note for note in dataset.notes)
    assert load(write(path, [[i, ("+-1", "1")[i % 2]] for i in range(20)], ["x", "y"])).classes == ("+-1", "1")


def test_a_label_that_is_not_there_is_refused_with_those_that_are(tmp_path):
    with pytest.raises(DataError, match="Did you mean 'state'"):
        load(write(tmp_path / "t.csv"), label="stat")
    with pytest.raises(DataError, match="to leave out"):
        load(tmp_path / "t.csv", leave_out=["nothing"])
    with pytest.raises(ValueError, match="are for tables"):
        load("mnist-mini", label="y")


def test_a_models_columns_are_found_by_name_in_any_order(tmp_path):
    table = Table((Column("hum"), Column("wind", "category", ("S", "N"))), "state")
    path = write(tmp_path / "t.csv", [row[::-1] for row in ROWS], HEAD[::-1])
    blocks = list(table_blocks(path, table, 16))
    assert [start for start, _, _ in blocks] == [0, 16, 32, 48]
    found = np.concatenate([rows for _, rows, _ in blocks])
    assert found[:4].tolist() == [[ROWS[0][2], 1.0], [ROWS[1][2], -1.0], [ROWS[2][2], 0.0], [ROWS[3][2], -1.0]]
    assert "30 values of column 'wind'" in blocks[0][2].unknown_notes()[0]
    with pytest.raises(DataError, match="lacks the column 'hum'"):
        list(table_blocks(write(tmp_path / "u.csv", [[1, "N"]], ["hun", "wind"]), table, 16))
    with pytest.raises(DataError, match="has no header"):
        list(table_blocks(write(tmp_path / "v.csv", head=None), table, 16))


def test_reading_can_be_stopped_and_a_full_disk_is_told(tmp_path, monkeypatch):
    path = write(tmp_path / "t.csv")
    with pytest.raises(StoppedError):
        load(path, stop=lambda: True)

    class Full:
        def __init__(self, file):
            self._file = file

        def __getattr__(self, name):
            return getattr(self._file, name)

        def write(self, data):
            raise OSError(errno.ENOSPC, "No space left on device")

    import ffedge.data.tables as module

    whole = module._Copy.__init__
    monkeypatch.setattr(module._Copy, "__init__", lambda self, s, x, *rest: whole(self, s, Full(x), *rest))
    with pytest.raises(DataError, match="No space left"):
        load(path)


def test_it_is_told_how_far_the_reading_is(tmp_path, monkeypatch):
    told, hear = [], Listener()
    monkeypatch.setattr(hear, "read", lambda *seen: told.append(seen))
    load([str(write(tmp_path / name)) for name in ("a.csv", "b.csv")], hear=hear)
    assert told == [(60, None), (120, None), (120, 120)]


def test_memory_does_not_grow_with_the_rows(tmp_path):
    import tracemalloc

    peaks = []
    for count in (20_000, 80_000):
        path = tmp_path / f"{count}.csv"
        path.write_text("a,b,y\n" + "".join(f"{i}.5,{i % 97},{'uv'[i % 2]}\n" for i in range(count)))
        tracemalloc.start()
        load(path)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + (1 << 19)  # labels are a byte each; the inputs alone would take another MiB


def robust(values):
    low, middle, high = np.nanquantile(values, (0.25, 0.5, 0.75))
    return middle, (high - low) / 1.349


def test_robust_scaling_goes_by_median_and_quartiles(tmp_path):
    facts = measure(load(write(tmp_path / "t.csv")), Spec.make().network.scaling)
    for at in (0, 1):
        middle, spread = robust(NUMBERS[:, at])
        assert facts.offset[at] == pytest.approx(middle)
        assert 1 / facts.scale[at] == pytest.approx(spread)
    assert (facts.offset[2], facts.scale[2], facts.clip) == (0.0, 1.0, 10.0)


@pytest.mark.parametrize("scaling", ["feature", "standard", "centred", "range", "none"])
def test_the_other_scalings_are_those_of_arrays(tmp_path, scaling):
    path = write(tmp_path / "t.csv", [[row[1], row[2], row[4]] for row in ROWS], ["a", "b", "y"])
    x = NUMBERS[:, :2].astype(np.float32)
    np.savez(tmp_path / "t.npz", x=x, y=np.array([row[4] for row in ROWS]))
    of_table, of_arrays = (measure(load(tmp_path / name), scaling) for name in (path.name, "t.npz"))
    for field in ("offset", "scale"):
        wanted = np.broadcast_to(getattr(of_arrays, field), 2)
        np.testing.assert_allclose(getattr(of_table, field), wanted, rtol=1e-5, atol=1e-5)


def test_a_large_number_keeps_its_deviation(tmp_path):
    stamps = 1.7e12 + np.random.default_rng(0).normal(size=400)
    path = write(tmp_path / "t.csv", [[repr(float(s)), i % 2] for i, s in enumerate(stamps)], ["stamp", "y"])
    facts = measure(load(path), "feature")
    assert 1 / facts.scale[0] == pytest.approx(stamps.std(), rel=1e-3)


@pytest.mark.parametrize("name", ["t.parquet", "t.feather"])
def test_typed_files_give_the_same_rows(tmp_path, name):
    pyarrow = pytest.importorskip("pyarrow", reason="needs pyarrow, which is not installed")
    from pyarrow import feather, parquet

    columns = dict(zip(HEAD, map(list, zip(*ROWS, strict=True)), strict=True))
    table = pyarrow.table(columns | {"time": pyarrow.array(range(60), pyarrow.timestamp("s"))})
    table = table.set_column(3, "wind", table["wind"].dictionary_encode())
    (parquet.write_table if name.endswith("parquet") else feather.write_feather)(table, tmp_path / name)
    dataset = load(tmp_path / name)
    assert rows_of(dataset).tolist() == NUMBERS.tolist()
    assert dataset.sha256 == load(write(tmp_path / "t.csv")).sha256
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="cannot be read"):
        load(tmp_path / name)


def test_a_text_is_no_list_of_columns(tmp_path):
    with pytest.raises(ValueError, match=r"^`leave_out` must be a list of names, got 'temp'. Use \['temp'\]$"):
        load(write(tmp_path / "t.csv"), leave_out="temp")
