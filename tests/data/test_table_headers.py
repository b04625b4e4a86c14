"""The first line of a table of text is names or a row: which of the two is told, and what was not found is said."""

import random

import numpy as np
import pytest

from ffedge import load
from ffedge.columns import Column, Table
from ffedge.data.matched import matched
from ffedge.data.tables import table_blocks
from ffedge.errors import DataError

RANDOM = random.Random(0)
ROWS = [[*(round(RANDOM.gauss(i % 3, 1), 4) for _ in range(4)), i % 3] for i in range(60)]
WORDS = [[*row[:4], ("ada", "bob", "cyd")[row[4]]] for row in ROWS]


def write(path, rows, head=None):
    path.write_text((f"{head}\n" if head else "") + "".join(",".join(map(str, row)) + "\n" for row in rows))
    return path


@pytest.mark.parametrize(
    ("head", "rows"),
    [
        ("0,1,2,3,y", ROWS),
        ("0,1,2,3,y", WORDS),
        (",0,1,2,3,y", [[i, *row] for i, row in enumerate(WORDS)]),
        ("2019,2020,2021,2022,region", WORDS),
        ("0,1,2,3,4", ROWS),
        ("0,3,colour,7,y", [[row[0], row[1], "rg"[i % 2], row[3], row[4]] for i, row in enumerate(WORDS)]),
        ("# 0,1,2,3,y", WORDS),
        ("# a, b, c, d, y", ROWS),
        ("# a station\n# a,b,c,d,y", ROWS),
    ],
)
def test_names_that_are_numbers_or_stand_in_a_comment_are_names(tmp_path, head, rows):
    names = [name.strip() for name in head.splitlines()[-1].lstrip("# ").split(",")]
    dataset = load(write(tmp_path / "t.csv", rows, head))
    assert dataset.table.names == tuple(name for name in names[:-1] if name)
    assert len(dataset.train.labels) == 60
    assert dataset.n_classes == 3


@pytest.mark.parametrize(
    "rows", [ROWS, WORDS, [[1, 2, 30, 40, "ada"], *WORDS], [[1, 2, 3, 4, f"n{i}"] for i in range(30)]]
)
def test_a_first_line_that_is_a_row_is_one_and_that_is_told(tmp_path, rows):
    dataset = load(write(tmp_path / "t.csv", rows, "# measured on Monday"))
    assert len(dataset.train.labels) == len(rows)
    assert "no header was found: the first line is taken as a row" in dataset.notes[0]
    assert str(rows[0][0]) in dataset.notes[0]


def test_a_comment_above_a_header_is_none(tmp_path):
    dataset = load(write(tmp_path / "t.csv", ROWS, "# m,s,kg,A,-\na,b,c,d,y"))
    assert dataset.table.names == ("a", "b", "c", "d")
    assert not dataset.notes


def test_a_label_that_is_named_in_the_first_line_decides(tmp_path):
    rows = [[i % 2, row[0], row[1]] for i, row in enumerate(ROWS)]
    dataset = load(write(tmp_path / "t.csv", rows, "kind,400.5,401"), label="kind")
    assert (dataset.table.names, len(dataset.train.labels)) == (("400.5", "401"), 60)
    assert load(write(tmp_path / "t.csv", ROWS), label="column 5").n_classes == 3
    with pytest.raises(DataError, match="no column '2'"):  # a cell of the first row
        load(write(tmp_path / "t.csv", ROWS[2:]), label="2")


def test_a_models_numbered_columns_are_found_by_their_names(tmp_path):
    table = Table((Column("1"), Column("0")), "y")
    path = write(tmp_path / "t.csv", [row[:2] for row in ROWS], "0,1")
    ((_, rows, _),) = table_blocks(path, table, 100)
    assert rows.tolist() == np.array(ROWS)[:, [1, 0]].tolist()


def test_a_truth_is_one_category_and_one_label_in_every_file(tmp_path):
    rows = [(i % 3 == 0, i % 2 == 0) for i in range(30)]
    (tmp_path / "a.csv").write_text("on,runs\n" + "".join(f"{on},{runs}\n" for on, runs in rows))
    (tmp_path / "b.jsonl").write_text("".join(f'{{"on": {on}, "runs": {runs}}}\n'.lower() for on, runs in rows))
    first, both = load(tmp_path / "a.csv"), load([tmp_path / "a.csv", tmp_path / "b.jsonl"], label="runs")
    second = load(tmp_path / "b.jsonl", table=first.table)
    assert (both.classes, both.table) == (first.classes, first.table)
    for dataset in (first, second):
        assert dataset.train.inputs.take(np.arange(30)).tolist() == [[0.0 if on else 1.0] for on, _ in rows]
    assert matched(second, second.train, first.classes).labels[np.arange(30)].tolist() == [runs for _, runs in rows]


def test_a_table_as_numpy_writes_it_is_read(tmp_path):
    rows = np.array([[*row[:4], 5 * row[4]] for row in ROWS])
    np.savetxt(tmp_path / "t.csv", rows, delimiter=",", header="a,b,c,d,y")
    dataset = load(tmp_path / "t.csv")
    assert (dataset.table.names, dataset.classes) == (("a", "b", "c", "d"), ("0", "5", "10"))
    assert dataset.train.inputs.take(np.arange(60)).tolist() == rows[:, :4].tolist()


def test_a_space_after_the_separator_is_no_part_of_a_quoted_cell(tmp_path):
    rows = [f'{i}, "{"NS"[i % 2]}, wind", "{("on", "off")[i % 2]}"' for i in range(20)]
    (tmp_path / "t.csv").write_text("\n".join(['"temp", "wind", "state"', *rows]))
    dataset = load(tmp_path / "t.csv")
    assert (dataset.table.names, dataset.classes) == (("temp", "wind"), ("off", "on"))
    assert dataset.table.columns[1].categories == ("N, wind", "S, wind")


def test_a_label_that_is_left_out_is_named(tmp_path):
    with pytest.raises(DataError, match="column 'y' is named as the label and to be left out"):
        load(write(tmp_path / "t.csv", ROWS, "a,b,c,d,y"), label="y", leave_out=["y"])
