"""A model's columns: a value becomes a number, and what stands in a file is checked before it is used."""

import math

import pytest

from ffedge.columns import MAX_CATEGORIES, Column, Table
from ffedge.network import InputFacts

TABLE = Table((Column("temp", fill=20.0, gaps=True), Column("wind", "category", ("north", "south"))), "state")
FACTS = InputFacts((2,), "float64", ("dry", "wet"), (20.0, 0.0), (1.0, 1.0), False, table=TABLE)


def test_values_by_name_become_a_row_in_the_order_of_the_columns():
    assert TABLE.row({"wind": " south", "temp": "21.5", "other": 1}) == [21.5, 1.0]
    assert TABLE.row({"wind": "west", "temp": 3}) == [3.0, -1.0]
    assert all(map(math.isnan, TABLE.row({"wind": None, "temp": "NA"})))


def test_a_missing_column_and_what_is_no_number_are_refused_by_name():
    with pytest.raises(ValueError, match="lacks the column 'wind'"):
        TABLE.row({"temp": 1})
    for value in ("warm", True, [1], "inf"):
        with pytest.raises(ValueError, match="number"):
            TABLE.row({"temp": value, "wind": "north"})


@pytest.mark.parametrize("categories", [("true", "False"), ("True", "false"), ("TRUE", "FALSE")])
def test_a_truth_is_one_however_it_is_spelt(categories):
    column = Column("on", "category", categories)
    assert [column.code(value) for value in (True, "true", "True", "TRUE")] == [0] * 4
    assert [column.code(value) for value in (False, "false", "False", "FALSE", "no")] == [1, 1, 1, 1, -1]
    both = Column("on", "category", ("True", "true"))
    assert [both.code(value) for value in ("True", "true", True, "TRUE")] == [0, 1, 1, 1]


def test_a_number_is_the_category_of_its_value_and_a_text_only_of_its_spelling():
    column = Column("size", "category", ("1.50", "2", "1.1", "02", "x"))
    assert [column.code(value) for value in (1.5, 2, 2.0, 1.1, 3)] == [0, 1, 1, 2, -1]
    assert [column.code(value) for value in ("1.50", "1.5", "1.10", "02")] == [0, -1, -1, 3]


def test_a_network_gets_a_number_for_each_number_and_one_for_each_category():
    assert (TABLE.features, TABLE.numbers, TABLE.indicators) == (3, [0], ([1, 1], [0.0, 1.0]))


def test_facts_with_a_table_come_back_from_their_dictionary():
    assert InputFacts.from_dict(FACTS.to_dict()) == FACTS
    assert "table" not in InputFacts((3,), "float32", ("a", "b")).to_dict()  # a file of arrays stays as it was


@pytest.mark.parametrize(
    "change",
    [
        {"columns": []},
        {"columns": [{"name": "temp"}]},
        {"columns": "temp"},
        {"columns": [None, None]},
        {"label": 3},
        {"label": "a\nb"},
        {"more": 1},
    ],
)
def test_a_table_that_is_none_is_refused(change):
    data = FACTS.to_dict()
    data["table"] = data["table"] | change
    with pytest.raises(ValueError, match=r"table|column|label"):
        InputFacts.from_dict(data)


@pytest.mark.parametrize(
    "change",
    [
        {"name": ""},
        {"name": 5},
        {"name": "wind"},
        {"name": "\x1b[2J"},
        {"kind": "text"},
        {"kind": []},
        {"categories": ["a"]},
        {"categories": {"a": 1}},
        {"fill": math.nan},
        {"fill": math.inf},
        {"fill": "0"},
        {"fill": True},
        {"fill": 10**400},
        {"gaps": 1},
    ],
)
def test_a_column_that_is_none_is_refused(change):
    data = FACTS.to_dict()
    data["table"]["columns"][0] |= change
    with pytest.raises((ValueError, TypeError), match=r"column"):
        InputFacts.from_dict(data)


@pytest.mark.parametrize(
    "change",
    [{"dtype": "float32"}, {"shape": [3]}, {"offset": [0.0]}, {"clip": 0.0}, {"clip": math.inf}, {"free_border": True}],
)
def test_facts_that_do_not_fit_their_table_are_refused(change):
    with pytest.raises(ValueError, match=r"table|offset|clip"):
        InputFacts.from_dict(FACTS.to_dict() | change)


def test_a_column_of_too_many_categories_is_refused():
    with pytest.raises(ValueError, match="categories"):
        Column("wind", "category", tuple(map(str, range(MAX_CATEGORIES + 1))))
