"""Cells that are not what they seem: texts like numbers, numbers like none, quotation marks too many."""

import pytest

from ffedge import load, train
from ffedge.errors import DataError
from ffedge.spec import Spec
from tests.data.test_tables import changed, write


@pytest.mark.parametrize("last", [30, 21, 60])
def test_one_or_two_stray_quotation_marks_swallow_no_rows(tmp_path, last):
    lines = write(tmp_path / "t.csv").read_text().splitlines()
    lines[20] = lines[20].replace(",", ',"', 1)
    if last < 60:
        lines[last] = lines[last].replace(",", '",', 2).replace('",', ",", 1)
    (tmp_path / "t.csv").write_text("\n".join(lines) + "\n")
    with pytest.raises(DataError, match=f"line 21: a cell in quotation marks goes on to line {last + 1}"):
        load(tmp_path / "t.csv")


@pytest.mark.parametrize("text", ["fine", "fine\nand, so, far, warm, day", "one\n\ntwo,three"])
def test_a_sentence_of_several_lines_is_no_rows(tmp_path, text):
    wind = load(write(tmp_path / "t.csv", changed(5, 3, text))).table.columns[2]
    assert wind.categories[4] == " ".join(text.split())


MEASURES = (["6 %", "9 %", "12.5 %"], ["21,5", "22,0", "23"], ["-3 °C", "4 °C", "5°C"], ["€ 5", "€ 1,200", "€ 7"])
NAMES = (
    ["1", "x", "y"],
    ["A1", "A2", "A3"],
    ["1a", "1b", "2a"],
    ["1st", "2nd", "3rd"],
    ["2WD", "4WD"],
    ["1.2.3", "x", "y"],
)


@pytest.mark.parametrize("texts", [*MEASURES, *NAMES])
def test_a_few_texts_that_have_one_sign_or_unit_are_told_and_names_with_numbers_are_not(tmp_path, texts):
    rows = [[i % 7 / 8, texts[i % len(texts)], "uv"[i % 2]] for i in range(60)]
    notes = load(write(tmp_path / "t.csv", rows, ["a", "b", "y"])).notes
    assert [note.split(",")[0] for note in notes] == (
        [f"column 'b' is learnt as {len(texts)} different texts"] if texts in MEASURES else []
    )


def test_a_clock_and_a_row_number_are_told_and_what_falls_once_or_lacks_a_cell_is_not(tmp_path):
    count = 9000  # more than a part that is read at a time
    rows = [[1.8e9 + 60 * i, i, i if i else "", i % 8999, i // 2, i % 5, i % 2] for i in range(count)]
    head = ["time", "row", "gap", "falls", "stays", "x", "y"]
    (note,) = [note for note in load(write(tmp_path / "t.csv", rows, head)).notes if "rise" in note]
    assert note.startswith("columns time, row rise from row to row")
    assert load(write(tmp_path / "u.csv", [[row[0], *row[5:]] for row in rows[:20]], ["t", "x", "y"])).notes == (
        "column 't' rises from row to row, as clocks and row numbers do. Leave out what does not tell the classes",
    )
    assert not load(write(tmp_path / "u.csv", [[row[0], *row[5:]] for row in rows[:19]], ["t", "x", "y"])).notes


def test_names_of_rows_with_an_underscore_are_texts(tmp_path):
    dataset = load(write(tmp_path / "t.csv", [[f"12_{i % 9}", i % 2] for i in range(40)], ["id", "y"]))
    assert dataset.table.columns[0].categories == tuple(f"12_{i}" for i in range(9))


@pytest.mark.parametrize("scaling", ["auto", "feature", "range"])
def test_numbers_beyond_all_scaling_are_refused_by_their_column_and_one_of_them_is_left_out(tmp_path, scaling):
    spec = Spec.make(widths=(4,), epochs=1, scaling=scaling)
    huge = write(tmp_path / "t.csv", [[i % 7, (-1) ** i * 1e308, i % 2] for i in range(60)], ["a", "b", "y"])
    with pytest.raises(DataError, match="column 'b' has numbers too large to be scaled"):
        train(spec, huge, out=tmp_path / "run")
    one = write(tmp_path / "u.csv", [[i % 7, 1e308 if i == 50 else i % 5, i % 2] for i in range(200)], ["a", "b", "y"])
    assert "1 of 200 rows are odd" in train(spec, one, out=tmp_path / "run").report.data["odd"]
