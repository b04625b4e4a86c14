"""Rows that no answer can stand on, at the command line: told with the reason, in JSON that a strict parser reads."""

import json
from pathlib import Path

import numpy as np
import pytest
from toys import changed, clusters, make_model, small_spec

from ffedge import json_text
from ffedge.model.calibration import calibrate
from ffedge.predict.predictor import Predictor
from tests.cli.conftest import Ffedge, spawn

DATA = clusters()
ROWS = DATA.train.inputs.take(np.arange(160))
ODD = [
    ("NaN", "input 2 is not a number"),
    ("Infinity", "input 2 is infinite, or beyond 32 bits"),
    ("1e999", "input 2 is infinite, or beyond 32 bits"),
    ("-1e300", "input 2 is infinite, or beyond 32 bits"),
    ("3e38", "input 2 is 3e+38, far from the training rows: not within "),
    ("65535", "input 2 is 65535, far from the training rows: not within "),
    ("9223372036854775807", "input 2 is 9.22337e+18, far from the training rows"),
]


def strict(text: str) -> object:
    def refuse(name: str) -> object:
        raise ValueError(f"{name} is no JSON")

    return json.loads(text, parse_constant=refuse)


def line(value: str) -> str:
    row = [str(number) for number in ROWS[0].tolist()]
    return f"[{', '.join([*row[:2], value, *row[3:]])}]\n"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("odd") / "model.onnx"
    found = Predictor(make_model(small_spec(), DATA)[0]).predict(ROWS)
    path.write_bytes(make_model(small_spec(), DATA, calibration=calibrate(found.scores.max(1), found.margin, 0.95))[0])
    return path


def test_each_odd_line_is_answered_with_its_reason_and_the_others_as_ever(model: Path) -> None:
    good = line(str(ROWS[0, 2]))
    done = spawn("predict", model, "-", text=good + "".join(line(value) for value, _ in ODD) + good)
    first, *answers, last = [strict(text) for text in done.out.splitlines()]
    assert (done.code, done.err) == (0, "")
    assert first == last
    for found, (_, why) in zip(answers, ODD, strict=True):
        assert isinstance(found, dict)
        assert found["known"] is False
        assert found["why"][0].startswith(why)
        assert np.isfinite([found["score"], found["margin"]]).all()


def test_strict_ends_at_an_odd_line(model: Path) -> None:
    done = spawn("predict", model, "-", "--strict", text=line("0") + line("NaN") + line("0"))
    assert (done.code, len(done.out.splitlines())) == (1, 1)
    assert done.line.startswith("ffedge: stdin, line 2: input 2 is not a number. Leave out --strict to go on")


@pytest.mark.parametrize("given", ["1e999", "[NaN]", '{"a": [-Infinity]}'])
def test_an_id_that_json_cannot_give_back_is_refused(model: Path, given: str) -> None:
    done = spawn("predict", model, "-", text=f'{{"id": {given}, "input": {line("0")[:-1]}}}\n')
    assert strict(done.out) == {"line": 1, "error": "its id holds a number that is not finite"}


@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_odd_rows_of_a_file_are_told(ffedge: Ffedge, model: Path, tmp_path: Path, flags: list[str]) -> None:
    rows = ROWS[:4].astype(np.float64)
    rows[[1, 3], 2] = np.nan, 1e300
    np.save(tmp_path / "rows.npy", rows)
    done = ffedge("predict", model, tmp_path / "rows.npy", *flags)
    assert done.code == 0
    if flags:
        samples = strict(done.out)["samples"]  # type: ignore[index]
        assert [sample["known"] for sample in samples[1::2]] == [False, False]
        assert [sample["why"] for sample in samples[1::2]] == [[ODD[0][1]], [ODD[1][1]]]
        assert done.err == ""
    else:
        wanted = [f"ffedge: {tmp_path}/rows.npy, row {row}: {ODD[row // 2][1]}" for row in (1, 3)]
        assert done.err.splitlines() == wanted
        assert len(done.out.splitlines()) == 5


@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_the_monitor_tells_the_first_of_some_odd_samples_and_goes_on(model: Path, flags: list[str]) -> None:
    usual = [line(str(number)) for number in ROWS[:40, 2]]
    text = "".join([*usual, line("NaN"), line("65535"), *usual, line("1e20"), *usual])
    done = spawn("monitor", model, "-", "--window", 20, *flags, text=text)
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    if flags:
        told = [strict(text) for text in lines]
        events = [(event["sample"], event["why"]) for event in told if event["event"] == "odd"]  # type: ignore[index]
        assert [event[0] for event in events] == [41, 83]
        assert events[0][1] == "input 2 is not a number"
        assert told[-1]["odd"] == 3  # type: ignore[index]
    else:
        assert lines[0] == "sample 41: odd: input 2 is not a number"
        assert lines[-1].startswith("123 samples, ")
        assert ", 3 odd: goodness " in lines[-1]


def test_eval_and_learn_tell_how_many_rows_of_a_file_are_odd(ffedge: Ffedge, model: Path, tmp_path: Path) -> None:
    path, rows, labels = tmp_path / "model.onnx", ROWS.copy(), np.asarray(DATA.train.labels)
    path.write_bytes(model.read_bytes())
    rows[[3, 8], 2] = np.nan, 65535
    np.savez(tmp_path / "new.npz", x=rows, y=labels)
    assert ffedge("eval", path, "--data", tmp_path / "new.npz").out.count(" of 160 rows, 2 of them odd\n") == 1
    found = strict(ffedge("eval", path, "--data", tmp_path / "new.npz", "--json").out)
    assert (found["rows"], found["odd_rows"]) == (160, 2)  # type: ignore[index]
    done = ffedge("learn", path, "--data", tmp_path / "new.npz", "--force", "--max-drop", 1, "--epochs", 1, "--json")
    told = "new: 2 of 160 rows are odd and not learnt from, the first of them row 3: input 2 is not a number"
    assert done.code == 0
    assert f"ffedge: {told}" in done.err.splitlines()
    found = strict(done.out)
    assert (found["rows"], found["odd_rows"], found["odd"]) == (158, 2, told)  # type: ignore[index]


def test_metadata_of_a_stranger_print_as_strict_json(ffedge: Ffedge, model: Path, tmp_path: Path) -> None:
    path = tmp_path / "strange.onnx"
    path.write_bytes(changed(model.read_bytes(), note='{"a": [NaN, 1e999, 3]}'))
    found = strict(ffedge("info", path, "--json").out)
    assert found["note"] == {"a": [None, None, 3]}  # type: ignore[index]


def test_json_has_null_for_what_is_not_finite_and_else_all_as_it_is() -> None:
    value = {"a": [1, 2.5, "x", None, True], "b": {"c": (float("nan"), -float("inf"))}}
    assert strict(json_text.text(value)) == {"a": [1, 2.5, "x", None, True], "b": {"c": [None, None]}}
    assert json_text.text([1], indent=1) == json.dumps([1], indent=1)
