"""The weights of classes as a spec holds them: text that reads back what was asked, or one line of error."""

import numpy as np
import pytest

from ffedge.class_weight import check_names, read, spelt
from ffedge.spec import Spec


@pytest.mark.parametrize(
    "asked",
    [{"fault": 30}, {"a b": 0.1, "c": 2.5}, {"a,b": 3}, {"x=y": 2}, {'"': 1.5}, {7: np.float32(2), 8: np.int64(3)}],
    ids=str,
)
def test_a_mapping_reads_back(asked):
    assert read(Spec.make(class_weight=asked).train.class_weight) == {str(k): float(v) for k, v in asked.items()}


def test_text_is_read_as_written():
    assert read(" ok=1 , late fault=30,a=b=2") == {"ok": 1.0, "late fault": 30.0, "a=b": 2.0}
    assert Spec.make(class_weight="balanced").train.class_weight == "balanced"
    assert spelt({"a": 2, "b": 0.5}) == "a=2,b=0.5"


@pytest.mark.parametrize(
    "asked",
    [
        "",
        "heavy",
        "a=",
        "a=x",
        "=3",
        "a=0",
        "a=-1",
        "a=nan",
        pytest.param('{"a": ' + "[" * 5000, id="nested"),
        "a=1e99",
        "a=1,a=2",
        "{",
        "{}",
        '{"a": "1"}',
        "[1]",
        3,
        None,
    ],
    ids=str,
)
def test_what_are_no_weights_is_refused(asked):
    with pytest.raises(ValueError, match=r"^`class_weight` must "):
        Spec.make(class_weight=asked)


@pytest.mark.parametrize("asked", [{}, {"a": 0}, {"a": "3"}, {"a": True}, {"a": float("inf")}], ids=str)
def test_a_mapping_of_no_weights_is_refused(asked):
    with pytest.raises(ValueError, match=r"^`class_weight` must "):
        Spec.make(class_weight=asked)


def test_a_class_that_there_is_not_is_named():
    check_names("balanced", ("a", "b"))
    check_names("a=3", ("a", "b"))
    with pytest.raises(ValueError, match=r"^`class_weight` names 'c', but the classes are a, b. Name one of these$"):
        check_names("a=3,c=4", ("a", "b"))


def test_models_from_before_weigh_all_alike():
    stored = Spec.make().to_dict()
    del stored["train"]["class_weight"]
    assert Spec.from_dict(stored).train.class_weight == "none"
