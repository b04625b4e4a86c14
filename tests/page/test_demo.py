"""The demo says what Predictor says and learns what Learner learns; the file stays, and strangers are kept out."""

import signal
import socket
import subprocess
import sys

import numpy as np
import pytest

import ffedge
from ffedge.cli import main
from ffedge.compare.child import variables
from ffedge.errors import FfedgeError, ModelError, TrainingError
from ffedge.page.demo import MOST_STEPS, Demo
from ffedge.training.replay import kept_file, read_kept
from tests.page.conftest import HOSTILE, bars
from tests.page.test_page import Read
from tests.page.web import ask, post


def hold(told, found):
    """Hold an answer against a prediction of one row."""
    order = np.argsort(-found.scores[0], kind="stable")
    assert told["label"] == found.classes[found.place[0]] == told["classes"][0]["name"]
    assert told["known"] == bool(found.known[0])
    assert [c["name"] for c in told["classes"]] == [found.classes[c] for c in order]
    assert [c["score"] for c in told["classes"]] == pytest.approx(found.scores[0, order].tolist(), rel=1e-5)
    goodness = np.array([c["goodness"] for c in told["classes"]])
    np.testing.assert_allclose(goodness, found.goodness[0][:, order].T, rtol=1e-5)


def test_it_answers_what_the_predictor_says(served, pictures):
    model, url = served(pictures[0])
    x = bars(4, 5)[0]
    predictor = ffedge.Predictor(model)
    for row in x:
        found = predictor.predict(row, layers=True)
        status, told = post(url, "/ask", {"input": row.ravel().tolist()})
        assert status == 200
        assert set(told) == {"file"}
        hold(told["file"], found)
        shares = {c["name"]: c["share"] for c in told["file"]["classes"]}
        assert shares == pytest.approx(dict(zip(found.classes, found.proba[0].tolist(), strict=True)), rel=1e-5)


def test_a_correction_is_taken_up_in_memory_and_the_file_stays(served, pictures):
    model, url = served(pictures[0])
    files = {path.name: path.read_bytes() for path in model.parent.iterdir() if path.is_file()}
    x, predictor, learner = bars(1, 5)[0], ffedge.Predictor(model), ffedge.Learner(model, threads=1)
    before = predictor.predict(x, layers=True)
    label = before.classes[np.argsort(before.scores[0])[-2]]
    status, told = post(url, "/learn", {"input": x.ravel().tolist(), "label": label})
    assert status == 200
    assert 1 <= told["steps"] <= MOST_STEPS
    for _ in range(told["steps"]):
        learner.observe(x, [label])
    after = learner.predict(x)
    hold(told["file"], before)
    hold(told["now"], after)
    place = before.classes.index(label)
    assert after.scores[0, place] - after.scores[0].max() > before.scores[0, place] - before.scores[0].max()
    assert (told["corrections"], told["saved"]) == (1, "Learnt in memory alone; no file has changed.")
    assert {path.name: path.read_bytes() for path in model.parent.iterdir() if path.is_file()} == files
    assert post(url, "/ask", {"input": x.ravel().tolist()})[1] == {k: told[k] for k in ("file", "now", "corrections")}


def test_a_learner_that_diverges_begins_again_from_the_file_and_says_so(served, pictures, monkeypatch):
    _, url = served(pictures[0])
    asked = {"input": bars(1, 5)[0].ravel().tolist(), "label": HOSTILE[0]}
    first = post(url, "/learn", asked)[1]
    observe = ffedge.Learner.observe

    def diverges(self, x, y):
        raise TrainingError("layer 0: the loss is not a number")

    monkeypatch.setattr(ffedge.Learner, "observe", diverges)
    status, told = post(url, "/learn", asked)
    assert status == 400
    assert told["error"].startswith("What was learnt here is lost, and begins again from the file: layer 0")
    assert "now" not in post(url, "/ask", {"input": asked["input"]})[1]
    monkeypatch.setattr(ffedge.Learner, "observe", observe)
    assert post(url, "/learn", asked)[1] == first


def test_save_writes_what_has_learnt_and_nothing_over_another_file(copied, pictures, tmp_path):
    model, out = copied(pictures[0]), tmp_path / "taught.onnx"
    x = bars(1, 5)[0].ravel().tolist()
    before = model.read_bytes()
    with Demo(model, out).site(0) as site:
        assert not out.exists()
        told = post(site.url, "/learn", {"input": x, "label": HOSTILE[0]})[1]
        assert told["saved"] == f"Saved in {out}."
        taught = ffedge.Predictor(out).predict(bars(1, 5)[0])
        assert taught.scores[0].max() == pytest.approx(told["now"]["classes"][0]["score"], rel=1e-5)
        assert post(site.url, "/learn", {"input": x, "label": HOSTILE[0]})[1]["saved"] == f"Saved in {out}."
    assert model.read_bytes() == before
    with pytest.raises(FfedgeError, match=r"taught\.onnx: exists already"):
        Demo(model, out)
    Demo(model, out, force=True)
    out.unlink()
    with pytest.raises(FfedgeError, match=r"taught\.kept\.safetensors: exists already"):
        Demo(model, out)


def test_what_cannot_be_saved_is_said_and_the_demo_goes_on(copied, pictures, tmp_path):
    model = copied(pictures[0])
    x = bars(1, 5)[0].ravel().tolist()
    with Demo(model, tmp_path / "none" / "taught.onnx").site(0) as site:
        status, told = post(site.url, "/learn", {"input": x, "label": HOSTILE[0]})
        assert status == 200
        assert told["saved"].startswith("Not saved. ")
        assert post(site.url, "/ask", {"input": x})[0] == 200


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ([], "must be an object with input"),
        ({"input": [0] * 144, "more": 1}, "must be an object with input"),
        ({"input": 5}, "a list of 144 numbers"),
        ({"input": [0] * 143}, "a list of 144 numbers"),
        ({"input": [[0] * 12] * 12}, "a list of 144 numbers"),
        ({"input": [0] * 143 + ["1"]}, "finite numbers alone"),
        ({"input": [0] * 143 + [None]}, "finite numbers alone"),
        ({"input": [0] * 143 + [True]}, "finite numbers alone"),
        ('{"input": [' + "0," * 143 + "NaN]}", "finite numbers alone"),
        ('{"input": [' + "0," * 143 + "1e999]}", "finite numbers alone"),
        ('{"input": [' + "0," * 143 + "9" * 400 + "]}", "finite numbers alone"),
        ('{"input": [' + "0.5," * 143 + "9" * 30 + "]}", "whole numbers from 0 to 255"),
        ({"input": [0] * 143 + [0.5]}, "whole numbers from 0 to 255"),
        ({"input": [0] * 143 + [256]}, "from 0 to 255"),
        ({"input": [0] * 143 + [-1]}, "from 0 to 255"),
    ],
)
def test_an_input_that_is_none_is_refused_in_a_line(served, pictures, value, why):
    _, url = served(pictures[0])
    status, told = post(url, "/ask", value)
    assert status == 400
    assert why in told["error"]
    assert "\n" not in told["error"]


@pytest.mark.parametrize("label", ["nobody", 0, None, [HOSTILE[0]], {}])
def test_a_label_that_is_none_is_refused_and_nothing_is_learnt(served, pictures, label):
    _, url = served(pictures[0])
    x = [0] * 144
    status, told = post(url, "/learn", {"input": x, "label": label})
    assert (status, told["error"]) == (400, "label must name one of the model's classes")
    assert "now" not in post(url, "/ask", {"input": x})[1]


def test_another_site_can_neither_ask_nor_teach(served, pictures):
    _, url = served(pictures[0])
    for path, value in (("/ask", {"input": [0] * 144}), ("/learn", {"input": [0] * 144, "label": HOSTILE[0]})):
        assert post(url, path, value, Origin="http://evil.example")[0] == 403
        assert post(url, path, value, Host="evil.example")[0] == 403
        assert post(url, path, value, Content_Type="text/plain")[0] == 415
        assert ask(url, path)[0] == 404
    assert post(url, "/ask", " " * (1 << 23) + "{}")[0] == 413
    assert "now" not in post(url, "/ask", {"input": [0] * 144})[1]


def test_columns_are_asked_by_name(served, table):
    model, url = served(table)
    predictor = ffedge.Predictor(model)
    row = {"site": "south", "<b>odd</b>": "", "temp": "28.5", "other": "x"}
    told = post(url, "/ask", {"input": row})[1]["file"]
    hold(told, predictor.predict(np.array([predictor.facts.table.row(row)]), layers=True))
    assert told["label"] == "hot"
    told = post(url, "/ask", {"input": row | {"temp": None}})[1]["file"]
    assert told["odd"] == "column 'temp' is missing, as in no training row"
    status, told = post(url, "/learn", {"input": row | {"temp": None}, "label": "hot"})
    assert (status, told["error"][:34]) == (400, "this is odd, and not learnt from: ")
    for bad, why in (
        ("hot", "must be a number"),
        ("inf", "finite"),
        ([1], "texts and numbers"),
        ({}, "texts and numbers"),
    ):
        status, told = post(url, "/ask", {"input": row | {"temp": bad}})
        assert status == 400
        assert why in told["error"]
    for endless in ("1e999", "9" * 400, "NaN"):
        status, told = post(url, "/ask", '{"input": {"site": "south", "<b>odd</b>": 1, "temp": ' + endless + "}}")
        assert (status == 200 and told["file"]["odd"]) if endless == "NaN" else status == 400
    assert "lacks the column 'temp'" in post(url, "/ask", {"input": {"site": "south"}})[1]["error"]


def test_pixels_come_with_their_channels_last_whatever_the_model_has(tmp_path):
    x, y = bars(120, 0, (12, 12, 3))
    np.savez(tmp_path / "chw.npz", x=x.transpose(0, 3, 1, 2), y=y)
    spec = ffedge.Spec.make(widths=("6c3p2", 12), epochs=1, batch_size=32, layout="chw")
    model = ffedge.train(spec, tmp_path / "chw.npz", tmp_path / "run", progress=False).model
    with Demo(model).site(0) as site:
        assert '"size": [12, 12, 3]' in dict(Read(ask(site.url)[2]).tags[-2][1])["data-about"]
        sample = post(site.url, "/example", {})[1]["input"]
        assert sample in x.reshape(120, -1).tolist()
        told = post(site.url, "/ask", {"input": x[0].ravel().tolist()})[1]["file"]
        hold(told, ffedge.Predictor(model).predict(x[0].transpose(2, 0, 1), layers=True))


def test_an_example_is_one_that_is_kept_as_it_would_be_asked(served, pictures):
    model, url = served(pictures[0])
    facts = ffedge.Predictor(model).facts
    kept = read_kept(kept_file(model), facts)[1]
    rows = {
        tuple(row): facts.classes[label]
        for row, label in zip(kept.take(np.arange(len(kept))).tolist(), kept.labels, strict=True)
    }
    found = [post(url, "/example", {})[1] for _ in range(20)]
    assert all(rows[tuple(each["input"])] == each["label"] for each in found)
    assert len({tuple(each["input"]) for each in found}) > 3
    assert post(url, "/ask", {"input": found[0]["input"]})[0] == 200
    assert post(url, "/example", {"input": 1})[0] == 400


def test_an_example_of_a_table_is_told_by_column(served, table):
    model, url = served(table)
    predictor = ffedge.Predictor(model)
    for _ in range(5):
        found = post(url, "/example", {})[1]
        assert set(found["input"]) == set(predictor.facts.table.names)
        assert found["input"]["site"] in ("north", "south")
        assert found["label"] == ("hot" if float(found["input"]["temp"]) > 24 else "mild")
        assert post(url, "/ask", {"input": found["input"]})[1]["file"]["odd"] is None


def test_without_kept_examples_it_says_so_and_saves_nothing(copied, pictures, tmp_path):
    model = copied(pictures[0])
    (model.parent / "model.kept.safetensors").unlink()
    with Demo(model).site(0) as site:
        assert "No examples are kept beside this model" in ask(site.url)[2]
        assert post(site.url, "/example", {})[1] == {"error": "no examples are kept beside this model"}
        x = bars(1, 5)[0].ravel().tolist()
        assert post(site.url, "/learn", {"input": x, "label": HOSTILE[0]})[1]["now"]
    with pytest.raises(ModelError, match="kept examples"):
        Demo(model, tmp_path / "taught.onnx")


def test_damaged_examples_are_told_and_it_still_answers(copied, pictures):
    model = copied(pictures[0])
    (model.parent / "model.kept.safetensors").write_bytes(b"no tensors")
    with Demo(model).site(0) as site:
        assert "It takes no corrections. " in ask(site.url)[2]
        assert post(site.url, "/ask", {"input": [0] * 144})[0] == 200
        assert post(site.url, "/learn", {"input": [0] * 144, "label": HOSTILE[0]})[0] == 400


def test_a_form_that_cannot_learn_only_answers(copied, pictures, tmp_path):
    model, form = copied(pictures[0]), tmp_path / "form.onnx"
    assert main(["export", str(model.parent), "--form", "exact", "--out", str(form)]) == 0
    with Demo(form).site(0) as site:
        about = ask(site.url)[2]
        assert "It takes no corrections." in about
        assert "carries no learning step" in about
        x = bars(1, 5)[0].ravel().tolist()
        assert post(site.url, "/ask", {"input": x})[1]["file"]["classes"][0]["goodness"] == []
        status, told = post(site.url, "/learn", {"input": x, "label": HOSTILE[0]})
        assert status == 400
        assert "It takes no corrections." in told["error"]


def test_the_command_says_where_it_is_and_ends_with_ctrl_c(copied, pictures):
    words = [sys.executable, "-m", "ffedge", "demo", str(copied(pictures[0])), "--port", "0"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=variables()) as process:
        line = process.stdout.readline()
        assert line.endswith(" (Ctrl-C ends it)\n")
        assert ask(line.split()[0])[0] == 200
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
        assert process.stderr.read() == ""


@pytest.mark.parametrize(
    ("words", "code", "line"),
    [
        (["none.onnx"], 1, "none.onnx: no such file"),
        (["m.onnx", "--force"], 2, "--force plays no part without --save"),
        (["m.onnx", "--port", "70000"], 2, "--port must be a port from 0 to 65535"),
    ],
)
def test_the_command_refuses_in_a_line(capsys, monkeypatch, tmp_path, words, code, line):
    monkeypatch.chdir(tmp_path)
    assert main(["demo", *words]) == code
    found = capsys.readouterr().err
    assert found.startswith(f"ffedge: {line}")
    assert len(found.splitlines()) == 1


def test_a_port_in_use_is_told_in_a_line(copied, pictures, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["demo", str(copied(pictures[0])), "--port", str(port)]) == 1
    assert (
        capsys.readouterr().err == f"ffedge: port {port} cannot be had (Address already in use). Choose another one\n"
    )
