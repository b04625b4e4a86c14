"""A table from a file to an answer: train, predict by column name, eval, learn, info, lines of stdin."""

import csv
import json
import sys
from io import BufferedReader, BytesIO, TextIOWrapper

import numpy as np
import onnxruntime
import pytest

from ffedge import Learner, Predictor
from tests.cli.conftest import Ffedge

HEAD = ["stamp", "temp", "wind", "state"]
STATES = ("idle", "run", "fault")


def rows(count: int, seed: int) -> list[list[object]]:
    """Rows whose class stands in a time stamp, which float32 cannot tell apart, and in part in the wind."""
    rng = np.random.default_rng(seed)
    result = []
    for i in range(count):
        c = i % 3
        stamp = 1.7e9 + 20 * c + rng.normal()
        temp = "" if i % 25 == 4 else round(20 + rng.normal(), 2)
        result.append([f"{stamp:.3f}", temp, "NSE"[c if rng.random() < 0.5 else rng.integers(3)], STATES[c]])
    return result


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a table, another one of the same kind, and a model of the first."""
    from ffedge.spec import Spec
    from ffedge.training.train import train

    folder = tmp_path_factory.mktemp("tables")
    for name, seed in (("a.csv", 0), ("b.csv", 1)):
        with (folder / name).open("w", newline="") as file:
            csv.writer(file).writerows([HEAD, *rows(300, seed)])
    with (folder / "turned.csv").open("w", newline="") as file:
        turned = [["spare", *HEAD[2::-1]], *([9, *row[2::-1]] for row in rows(300, 1))]
        csv.writer(file).writerows(turned)
    train(Spec.make(widths=(32, 32), epochs=15), folder / "a.csv", folder / "run")
    return folder


@pytest.fixture
def model(place):
    return place / "run" / "model.onnx"


def test_a_time_stamp_keeps_its_signal_and_columns_are_found_by_name(ffedge: Ffedge, place, model):
    done = ffedge("predict", model, place / "turned.csv", "--json")
    labels = [sample["label"] for sample in json.loads(done.out)["samples"]]
    assert np.mean([label == row[3] for label, row in zip(labels, rows(300, 1), strict=True)]) > 0.97
    asked = ffedge("eval", model, "--data", place / "b.csv", "--json")
    found = json.loads(asked.out)
    assert found["accuracy"] == np.mean([label == row[3] for label, row in zip(labels, rows(300, 1), strict=True)])


def test_the_file_alone_prepares_a_row_in_any_runtime(place, model):
    """Fill, scale and codes are inside the graph: onnxruntime gets raw doubles, gaps as NaN, categories as codes."""
    predictor = Predictor(model)
    codes = {name: code for code, name in enumerate(predictor.facts.table.columns[2].categories)}
    raw = np.array([[float(r[0]), float(r[1] or "nan"), codes[r[2]]] for r in rows(60, 1)])
    session = onnxruntime.InferenceSession(model.read_bytes())
    label, scores = session.run(["label", "scores"], {"input": raw})
    assert label.tolist() == predictor.predict(raw).place.tolist()
    np.testing.assert_allclose(scores, predictor.predict(raw).scores, rtol=1e-5)
    filled = raw.copy()
    filled[np.isnan(raw)] = predictor.facts.table.columns[1].fill
    np.testing.assert_array_equal(scores, session.run(["scores"], {"input": filled})[0])
    unknown = raw.copy()
    unknown[:, 2] = -1
    other = raw.copy()
    other[:, 2] = np.nan
    answers = [session.run(["scores"], {"input": x})[0] for x in (unknown, other)]
    np.testing.assert_array_equal(*answers)
    far = raw.copy()
    far[:, 1] = 1e6
    farther = raw.copy()
    farther[:, 1] = 1e9
    np.testing.assert_array_equal(*(session.run(["scores"], {"input": x})[0] for x in (far, farther)))


def test_a_gap_is_odd_only_in_a_column_that_never_had_one(model):
    found = Predictor(model).predict([[1.7e9, np.nan, 0.0], [np.nan, 20.0, 0.0], [1e15, 20.0, 0.0]])
    assert sorted(found.odd) == [1, 2]
    assert found.odd[1] == "column 'stamp' is missing, as in no training row"
    assert found.odd[2].startswith("column 'stamp' is 1e+15, far from")


def test_a_missing_column_a_picture_flag_and_a_model_of_arrays_are_refused(ffedge: Ffedge, place, model, tmp_path):
    (tmp_path / "t.csv").write_text("stamp,wind\n1,N\n")
    done = ffedge("predict", model, tmp_path / "t.csv")
    assert (done.code, done.out) == (1, "")
    assert "lacks the column 'temp'" in done.line
    (tmp_path / "w.csv").write_text("stamp,temp,wind\n1.7e9,warm,N\n")
    done = ffedge("predict", model, tmp_path / "w.csv")
    assert done.line.endswith("w.csv, line 2: column 'temp' must be a number, got 'warm'. Mend the line")
    assert "--resize plays no part" in ffedge("predict", model, place / "b.csv", "--resize").line


def test_what_is_no_table_by_its_name_is_refused_by_the_names_that_are(ffedge: Ffedge, model, tmp_path):
    (tmp_path / "t.json").write_text('[{"stamp": 1, "temp": 2, "wind": "N"}]')
    done = ffedge("predict", model, tmp_path / "t.json")
    assert (done.code, done.out) == (1, "")
    assert done.line == (
        f"ffedge: {tmp_path / 't.json'}: is no table by its name. Pass a .csv, .tsv, .tab, .jsonl, .ndjson, .parquet, "
        ".feather, .arrow, .npy or .npz file"
    )


@pytest.mark.parametrize("command", ["eval", "learn"])
def test_a_table_is_refused_by_a_model_of_arrays(ffedge: Ffedge, place, run_folder, command):
    done = ffedge(command, run_folder / "model.onnx", "--data", place / "a.csv")
    assert (done.code, done.out) == (1, "")
    assert done.line == f"ffedge: {place / 'a.csv'}: is a table, but the model learns from arrays. Pass a .npz file"


def test_a_list_on_stdin_of_another_length_is_told_the_one_shape(ffedge: Ffedge, monkeypatch, tmp_path):
    np.savez(tmp_path / "d.npz", x=np.random.default_rng(0).normal(size=(60, 4)).astype("f4"), y=np.arange(60) % 2)
    assert ffedge("train", "--data", tmp_path / "d.npz", "--epochs", 1, "--out", tmp_path / "run").code == 0
    done = asked(ffedge, monkeypatch, "[1, 2, 3]\n", "predict", tmp_path / "run" / "model.onnx", "-")
    assert json.loads(done.out)["error"] == "must have shape [4], got [3]"


def test_learning_goes_on_from_a_table_and_resume_from_the_same(ffedge: Ffedge, place, tmp_path):
    out = tmp_path / "run"
    words = ("--data", place / "a.csv", place / "b.csv", "--epochs", "2", "--widths", "8")
    assert ffedge("train", *words, "--out", out).code == 0
    assert ffedge("train", "--resume", "--out", out).code == 0
    done = ffedge("learn", out / "model.onnx", "--data", place / "b.csv", "--epochs", "2", "--max-drop", "1")
    assert done.code == 0, done.err
    learner = Learner(out / "model.onnx")
    learner.observe([[1.7e9, 20.0, 0.0]] * 4, ["idle"] * 4)
    assert len(learner.predict([[1.7e9, np.nan, 0.0]]).label) == 1
    learner.save(tmp_path / "after.onnx")
    assert Predictor(tmp_path / "after.onnx").facts.table == Predictor(out / "model.onnx").facts.table


@pytest.mark.parametrize("form", ["exact", "int8", "pruned", "head"])
def test_a_form_answers_as_the_model_does(ffedge: Ffedge, place, model, tmp_path, form):
    if form == "int8":
        pytest.importorskip("onnx", reason="needs onnx, which is not installed")
    assert ffedge("export", place / "run", "--form", form, "--out", tmp_path / "f.onnx").code == 0
    x = [[1.7e9 + 20 * (i % 3), np.nan if i % 5 == 0 else 20.0, float(i % 3)] for i in range(60)]
    assert (Predictor(tmp_path / "f.onnx").predict(x).place == Predictor(model).predict(x).place).mean() > 0.95


def test_the_torch_engine_takes_the_same_steps(place, tmp_path):
    pytest.importorskip("torch", reason="needs torch, which is not installed")
    from ffedge.spec import Spec
    from ffedge.training.train import train

    spec = {"widths": (16,), "epochs": 2}
    runs = [train(Spec.make(**spec, engine=e), place / "a.csv", tmp_path / e) for e in ("onnx", "torch")]
    x = [[1.7e9 + i, 20.0, float(i % 3)] for i in range(40)]
    scores = [Predictor(run.model).predict(x).scores for run in runs]
    np.testing.assert_allclose(*scores, rtol=1e-3, atol=1e-3)


def test_info_shows_columns_kinds_fills_and_codes(ffedge: Ffedge, model):
    shown = ffedge("info", model).out
    for words in ("label stood in state", "stamp", "number", "category", "0 "):
        assert words in shown


def asked(ffedge: Ffedge, monkeypatch, text: str, *words: object):
    monkeypatch.setattr(sys, "stdin", TextIOWrapper(BufferedReader(BytesIO(text.encode()))))
    return ffedge(*words)


def test_lines_of_stdin_are_objects_by_column_lists_or_csv(ffedge: Ffedge, model, monkeypatch):
    lines = [
        '{"wind": "N", "stamp": 1700000000, "temp": null, "id": 7, "spare": 1}',
        '[1700000020, 20, "S"]',
        "1700000040,20.5,E",
        "wind,temp,stamp",
        "N,20,1700000000",
        '{"temp": 20, "wind": "N"}',
        '{"temp": "warm", "wind": "N", "stamp": 1}',
        "1,2",
    ]
    done = asked(ffedge, monkeypatch, "\n".join(lines) + "\n", "predict", model, "-")
    found = [json.loads(line) for line in done.out.splitlines()]
    assert [answer.get("label") for answer in found] == ["idle", "run", "fault", "idle", None, None, None]
    assert found[0]["id"] == 7
    assert found[4]["error"] == "lacks the column 'stamp'"
    assert "column 'temp' must be a number, got 'warm'" in found[5]["error"]
    assert "must have 3 cells" in found[6]["error"]


ASKED = "N,20,1700000000\nS,20,1700000020\nE,20.5,1700000040\n"  # an idle, a run, a fault


@pytest.mark.parametrize("before", ["\ufeff", "", "\n", '{"temp": 20, "wind": "N", "stamp": 1}\n'])
def test_a_header_names_the_cells_below_it_whatever_stands_before(ffedge: Ffedge, model, monkeypatch, before):
    done = asked(ffedge, monkeypatch, f'{before}wind, "temp",stamp\n{ASKED}', "predict", model, "-")
    assert [json.loads(line)["label"] for line in done.out.splitlines()[-3:]] == ["idle", "run", "fault"]


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("Wind,temp,stamp", "looks like a header, but lacks 'wind'"),
        ("temp,stamp", "looks like a header, but lacks 'wind'"),
        ("Wind,Temp,Stamp", "looks like a header, but lacks 'stamp'"),
        ("wind,temp,stamp,temp", "has two columns 'temp'"),
    ],
)
def test_what_follows_a_header_that_lacks_a_column_is_not_answered(ffedge: Ffedge, model, monkeypatch, header, said):
    done = asked(ffedge, monkeypatch, f"{header}\n{ASKED}", "predict", model, "-")
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith(f"ffedge: stdin, line 1: {said}")


def test_a_row_is_no_header_whatever_is_wrong_with_it(ffedge: Ffedge, model, monkeypatch):
    lines = ["warm,warm,N", "12_34,20,N", "\u0661,20,N", "1,2,stamp", '{"temp": 1, "temp": 2, "wind": "N", "stamp": 1}']
    done = asked(ffedge, monkeypatch, "\n".join([*lines, "1700000000,20,N\n"]), "predict", model, "-")
    answers = [json.loads(line) for line in done.out.splitlines()]
    wrong = ["must be a number, got 'warm'", "got '12_34'", "got '\u0661'", "", "has 'temp' twice"]
    assert all(text in answer.get("error", "") for text, answer in zip(wrong, answers, strict=False))
    assert (done.code, answers[5]["label"]) == (0, "idle")


def test_a_category_that_the_model_does_not_know_is_told_by_line_and_is_not_odd(ffedge: Ffedge, model, monkeypatch):
    lines = "1700000000,20,N\n1700000000,20,W\n1e300,20,W\n"
    known, other, odd = map(json.loads, asked(ffedge, monkeypatch, lines, "predict", model, "-").out.splitlines())
    said = "column 'wind' has a category that the model does not know"
    assert said not in known.get("why", [])
    assert other["why"][0] == said
    assert "far from the training rows" in odd["why"][0]
    rows = [[1.7e9, 20, 0], [1.7e9, 20, -1], [1.7e9, np.inf, -1]]
    for answer in (Predictor(model).predict(rows), Learner(model).predict(rows)):
        assert (answer.unknown, list(answer.odd)) == ({1: said}, [2])


@pytest.mark.parametrize("as_json", [False, True])
def test_a_stream_trains(ffedge: Ffedge, place, monkeypatch, tmp_path, as_json):
    text = (place / "a.csv").read_text()
    if as_json:
        text = "".join(json.dumps(row) + "\n" for row in csv.DictReader(text.splitlines()))
    done = asked(ffedge, monkeypatch, text, "train", "--data", "-", "--epochs", "1", "--widths", "8", "--out", tmp_path)
    assert done.code == 0, done.err
    assert "300 rows of 3 inputs of a table" in done.err


def test_one_row_of_a_sensors_error_values_is_named_and_does_no_harm(ffedge: Ffedge, tmp_path):
    rng = np.random.default_rng(0)
    x = np.c_[20 + rng.normal(size=600), 0.3 + rng.normal(size=600) * 0.04]
    y = np.arange(600) % 2
    x[y == 1] += (3, 0.1)
    x[417] = -999
    (tmp_path / "t.csv").write_text("temp,hum,y\n" + "".join(f"{a},{b},{c}\n" for (a, b), c in zip(x, y, strict=True)))
    done = ffedge("train", "--data", tmp_path / "t.csv", "--epochs", "5", "--widths", "16", "--out", tmp_path / "r")
    assert "row 417: column 'temp' is -999" in done.err
    answers = Predictor(tmp_path / "r" / "model.onnx").predict(np.delete(x, 417, axis=0))
    assert (answers.place == np.delete(y, 417)).mean() > 0.95
