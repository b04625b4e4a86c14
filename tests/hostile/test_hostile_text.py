"""Text from strangers: an error stays one line that a terminal can show, and JSON takes little memory and stack."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from refusals import command, refusal

from ffedge.errors import CONTROL, LONGEST_LINE, FfedgeError, one_line
from ffedge.json_text import MOST_DEPTH, parse


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
        ("[" * 100_000, "it holds 100000 lists and objects, more than 50000"),
        ("[" + "[]," * 60_000 + "0]", "it holds 60001 lists and objects, more than 50000"),
        ('"' + "x" * 2**23 + '"', f"it is {2**23 + 2} characters long, more than {2**23}"),
    ],
)
def test_json_that_would_take_much_memory_or_a_deep_stack_is_refused(text, error):
    assert refusal(ValueError, parse, text) == error
    assert parse("[" * 16 + "]" * 16)
