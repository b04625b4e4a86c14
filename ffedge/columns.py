"""The columns of a table as a model takes them: names, numbers and categories, and what stands for a missing value.

A row is ``[I]`` float64: a number as it is, a category as its code (its place among the column's categories), NaN where
a value is missing, -1 for a category that the model does not know.
"""

import math
import re
import sys
from collections.abc import Container, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, Self

from ffedge.errors import one_line
from ffedge.json_text import text as as_json

Kind = Literal["number", "category"]
MAX_CATEGORIES = 1000  # of a column
MAX_FEATURES = 1 << 16
MOST_TEXT, MOST_BRACKETS = 3 << 19, 40_000  # characters of a table in a model, which a model is read with
BREAKS = re.compile(r"\s*[\r\n]\s*")
NO_TEXT = frozenset(("", "NA", "N/A", "n/a", "NaN", "nan", "NAN", "null", "NULL", "#N/A", "<NA>"))
NO_NUMBER = NO_TEXT | {"na", "none", "None", "NONE", "Null", "nil", "-", "--", "?", "*", "#N/A N/A", "-nan", "-NaN"}
TRUTH = {text: same for same in (("true", "True", "TRUE"), ("false", "False", "FALSE")) for text in same}
UNKNOWN = -1.0


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes
    ----------
    categories : texts in the order of their codes; empty for numbers.
    fill : what stands for a missing number; a missing category is none of them.
    gaps : whether values were missing in training; where not, a missing one is odd.
    """

    name: str
    kind: Kind = "number"
    categories: tuple[str, ...] = ()
    fill: float = 0.0
    gaps: bool = False

    def __post_init__(self) -> None:
        """Raise ValueError for a column that no table has."""
        if not isinstance(self.name, str) or not self.name or one_line(self.name) != self.name:
            raise ValueError(f"a column's name must be a line of plain text, got {self.name!r}")
        if self.kind not in ("number", "category") or type(self.gaps) is not bool:
            raise ValueError(f"column {self.name!r} must be a number or a category, got {self.kind!r}")
        texts = self.categories
        if not isinstance(texts, tuple) or not all(isinstance(t, str) and one_line(t) == t for t in texts):
            raise ValueError(f"column {self.name!r} must have lines of plain text as categories")
        if len(set(texts)) < len(texts) or len(texts) > MAX_CATEGORIES or bool(texts) != (self.kind == "category"):
            raise ValueError(f"column {self.name!r} must have 1 to {MAX_CATEGORIES} categories that differ, or none")
        if type(self.fill) not in (int, float) or not abs(self.fill) <= sys.float_info.max:
            raise ValueError(f"column {self.name!r} must have a finite fill, got {self.fill!r}")

    def code(self, value: Any) -> float:
        """Return one value (a number, a text or None) as the model takes it; ValueError where it cannot be."""
        if value is None:
            return math.nan
        if self.kind == "category":
            text = whole_text(value) if isinstance(value, int | float) else one_text(str(value))
            if text not in self.codes and type(value) in (int, float):
                text = self._by_value.get(value, text)  # 1.5 in a program is 1.50 in a table
            return math.nan if text in NO_TEXT else float(self.codes.get(spelt_as(text, self.codes), UNKNOWN))
        if isinstance(value, str):
            try:
                return number(value)
            except ValueError as error:
                raise ValueError(f"column {self.name!r} {error}") from None
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(f"column {self.name!r} must be a number, got {value!r}")
        return float(value)

    @cached_property
    def codes(self) -> dict[str, int]:
        """The code of each category."""
        return {text: code for code, text in enumerate(self.categories)}

    @cached_property
    def _by_value(self) -> dict[float, str]:
        values: dict[float, str] = {}
        for text in self.categories:
            with suppress(ValueError):
                values.setdefault(number(text), text)
        return values


@dataclass(frozen=True)
class Table:
    """The columns that a model takes, in their order, and the name of the one that held the label."""

    columns: tuple[Column, ...]
    label: str

    def __post_init__(self) -> None:
        """Raise ValueError for what no table has."""
        if not isinstance(self.columns, tuple) or not all(isinstance(column, Column) for column in self.columns):
            raise ValueError("columns must be columns")
        if not self.columns or len(set(self.names)) < len(self.columns):
            raise ValueError("columns must have names that differ")
        if not isinstance(self.label, str) or one_line(self.label) != self.label:
            raise ValueError(f"label must be a line of plain text, got {self.label!r}")
        if self.features > MAX_FEATURES:
            raise ValueError(f"columns make {self.features} inputs, more than {MAX_FEATURES}")
        written = as_json(self.to_dict())
        if len(written) > MOST_TEXT or written.count("[") + written.count("{") > MOST_BRACKETS:
            raise ValueError(f"{len(self.columns)} columns have names and categories that are too long for a model")

    @property
    def names(self) -> tuple[str, ...]:
        """Of the columns."""
        return tuple(column.name for column in self.columns)

    @property
    def numbers(self) -> list[int]:
        """Places of the columns of numbers."""
        return [place for place, column in enumerate(self.columns) if column.kind == "number"]

    @property
    def indicators(self) -> tuple[list[int], list[float]]:
        """Place of the column and the code of each category: an input that is 1 where the column has that code."""
        pairs = [(p, float(c)) for p, column in enumerate(self.columns) for c in range(len(column.categories))]
        return [place for place, _ in pairs], [code for _, code in pairs]

    @property
    def features(self) -> int:
        """Inputs that a network gets: one for each number, then one for each category of each column."""
        return sum(len(column.categories) or 1 for column in self.columns)

    def row(self, values: Mapping[str, Any]) -> list[float]:
        """Return values by column name as a row; others are ignored. ValueError where one is missing by name."""
        for column in self.columns:
            if column.name not in values:
                raise ValueError(f"lacks the column {column.name!r}")
        return [column.code(values[column.name]) for column in self.columns]

    def to_dict(self) -> dict[str, Any]:
        """Return the table as plain values."""
        columns = [
            {"name": c.name, "kind": c.kind, "categories": list(c.categories), "fill": c.fill, "gaps": c.gaps}
            for c in self.columns
        ]
        return {"columns": columns, "label": self.label}

    @classmethod
    def from_dict(cls, data: Any) -> Self:
        """Read what `to_dict` wrote; ValueError where it is something else."""
        if not isinstance(data, dict) or set(data) != {"columns", "label"} or not isinstance(data["columns"], list):
            raise ValueError("table must have columns and label")
        fields = {"name", "kind", "categories", "fill", "gaps"}
        columns = []
        for column in data["columns"]:
            if not isinstance(column, dict) or set(column) != fields or not isinstance(column["categories"], list):
                raise ValueError(f"each column must have {', '.join(sorted(fields))}")
            columns.append(Column(**(column | {"categories": tuple(column["categories"])})))
        return cls(tuple(columns), data["label"])


def numbered(count: int) -> Table:
    """Return columns of numbers that have no names: ``x0``, ``x1``, …"""
    return Table(tuple(Column(f"x{place}") for place in range(count)), "y")


def number(text: str, *, comma: bool = False) -> float:
    """Return a number that stands in a table, NaN where none does; ValueError where it is something else.

    Parameters
    ----------
    comma : whether a comma, not a point, stands before the decimals.
    """
    text = text.strip()
    if text in NO_NUMBER:
        return math.nan
    if comma:
        if "." in text:
            raise ValueError(f"must be a number with a decimal comma, got {text!r}")
        text = text.replace(",", ".")
    try:
        if not is_plain(text):
            raise ValueError
        value = float(text)
    except ValueError:
        raise ValueError(f"must be a number, got {text!r}") from None
    if math.isinf(value):
        raise ValueError(f"must be a finite number, got {text!r}")
    return value


def is_plain(text: str) -> bool:
    """Tell whether Python reads as numbers in a text what others do: not 12_34, nor digits of further scripts."""
    return text.isascii() and "_" not in text


def one_text(text: str) -> str:
    """Return a category as a line: where a quoted cell is broken into lines, a space stands between them."""
    return BREAKS.sub(" ", text.strip())


def spelt_as(text: str, known: Container[str]) -> str:
    """Return a text as it is known: programs write true, True and TRUE for one thing."""
    return text if text in known else next((same for same in TRUTH.get(text, ()) if same in known), text)


def whole_text(value: float) -> str:
    """Return a number as the text that it has in a table; NaN is a missing one's."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if math.isnan(value) else str(int(value)) if math.isfinite(value) and value == int(value) else str(value)
