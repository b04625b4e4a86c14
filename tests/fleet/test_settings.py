"""A fleet's settings are checked before a board is asked."""

import math
import re

import pytest

from ffedge.errors import FfedgeError
from ffedge.fleet.settings import SETTINGS, checked


def test_what_is_not_given_has_its_default():
    assert checked({"rounds": 3, "wait-s": 20, "share": 0}) == SETTINGS | {"rounds": 3, "wait-s": 20, "share": 0}


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("rounds", True, "a whole number from 1"),
        ("epochs", 1.5, "a whole number from 1"),
        ("boards", 0, "a whole number from 1"),
        ("most-norm", math.nan, "a number from 1"),  # nothing is beyond it
        ("most-norm", "10", "a number from 1"),
        ("share", 2.0, "a number from 0 to 1"),
        ("share", math.nan, "a number from 0 to 1"),
        ("timeout-s", -1.0, "a number from 0"),
        ("wait-s", math.inf, "a number from 0"),
        ("model", 3, "a path"),
        ("layers", "two", "all or one"),
    ],
)
def test_a_setting_that_cannot_be_is_one_line(name, value, rule):
    line = f"pyproject.toml: {name} must be {rule}, got {value!r}"
    with pytest.raises(FfedgeError, match=f"^{re.escape(line)}$"):
        checked({name: value})
