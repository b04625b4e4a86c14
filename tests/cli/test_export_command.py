"""ffedge export in other forms, and what the other commands make of such a file."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from ffedge import Predictor
from ffedge.cli.export import FORM
from ffedge.model.form import FORMS
from tests.cli.conftest import Ffedge, bars


@pytest.fixture
def pruned(ffedge: Ffedge, run_folder: Path, tmp_path: Path) -> Path:
    out = tmp_path / "pruned.onnx"
    done = ffedge("export", run_folder, "--out", out, "--form", "pruned")
    assert done.code == 0, done.err
    assert "form pruned, 2 labels tried: accuracy" in done.out
    assert re.search("points (less|more) than the model as trained", done.out)
    return out


def test_info_says_how_many_labels_are_tried_and_what_that_lost(ffedge: Ffedge, pruned: Path) -> None:
    shown = ffedge("info", pruned).out
    assert "name pruned, weights float32, candidates 2, held_out_rows 30, accuracy" in shown
    assert json.loads(ffedge("info", pruned, "--json").out)["form"]["candidates"] == 2


def test_eval_and_predict_take_a_form_as_any_model(ffedge: Ffedge, pruned: Path, data: Path, tmp_path: Path) -> None:
    images, labels = bars(200, 1)
    given = Predictor(pruned).predict(images)
    done = ffedge("eval", pruned, "--data", data, "--json")
    found = json.loads(done.out)
    assert found["accuracy"] == pytest.approx((given.label == labels).mean())
    assert found["layer_accuracy"] == []
    assert "each layer alone" not in ffedge("eval", pruned, "--data", data).out
    np.save(tmp_path / "some.npy", images[:3])
    samples = json.loads(ffedge("predict", pruned, tmp_path / "some.npy", "--json").out)["samples"]
    assert [s["label"] for s in samples] == [str(label) for label in given.label[:3]]


def test_the_fastest_form_is_written_and_the_table_printed(
    ffedge: Ffedge, run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ffedge.export.fastest.ROUNDS", 3)
    monkeypatch.setattr("ffedge.export.fastest.BLOCK_S", 0.005)
    out = tmp_path / "fast.onnx"
    done = ffedge("export", run_folder, "--out", out, "--fastest", "--max-loss", "10", "--json")
    told = json.loads(done.out)
    assert [row["name"] for row in told["table"]] == ["model", *FORMS]
    made = [row for row in told["table"] if row["name"] in FORMS]
    assert told["name"] == min(made, key=lambda row: row["call_s"]["1"])["name"]
    assert told["bytes"] == out.stat().st_size
    assert Predictor(out).metadata["form"]["name"] == told["name"]
    assert done.err.split(" …\n") == [*FORMS, "timing", ""]
    shown = ffedge("export", run_folder, "--out", out, "--fastest", "--max-loss", "10", "--force").out
    for text in ("points lost", "ms, batch 1", "ms, batch 100", "pruned-int8 (2 labels)", f"model {out}"):
        assert text in shown


def test_the_flag_names_every_form() -> None:
    assert FORM.metavar == "|".join(FORMS)


def test_the_exact_form_needs_no_data(ffedge: Ffedge, run_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "exact.onnx"
    done = ffedge("export", run_folder / "model.onnx", "--out", out, "--form", "exact")
    assert (done.code, done.out) == (0, f"form exact\nmodel {out} ({out.stat().st_size / 1e6:.2f} MB)\n")
    images, _ = bars(50, 2)
    wanted = Predictor(run_folder / "model.onnx").predict(images)
    np.testing.assert_allclose(Predictor(out).predict(images).scores, wanted.scores, rtol=1e-5)


def test_the_model_as_trained_can_be_told_as_json(ffedge: Ffedge, run_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "model.onnx"
    told = json.loads(ffedge("export", run_folder, "--out", out, "--json").out)
    assert told == {"model": str(out), "bytes": (run_folder / "model.onnx").stat().st_size}


@pytest.mark.parametrize(
    ("words", "code", "line"),
    [
        (["--form", "pruned", "--fastest"], 2, "--form plays no part with --fastest. Leave it out"),
        (
            ["--form", "banana"],
            2,
            "--form must be exact|pruned|head|int8|pruned-int8|head-int8, got 'banana'. Try `ffedge export --help`",
        ),
        ([], 2, "export of the model file {model} needs --form or --fastest"),
        (["--form", "pruned"], 1, "{model}: learnt from 'bars', which ffedge does not know by name. Pass --data"),
        (["--form", "exact", "--out", "{model}"], 1, "{model}: exists already. Choose another --out, or use --force"),
    ],
)
def test_what_cannot_be_exported_is_one_line(
    ffedge: Ffedge, run_folder: Path, tmp_path: Path, words: list[str], code: int, line: str
) -> None:
    model = run_folder / "model.onnx"
    before = model.read_bytes()
    given = [word.format(model=model) for word in ["--out", str(tmp_path / "out.onnx"), *words]]
    done = ffedge("export", model, *given)
    assert (done.code, done.line) == (code, f"ffedge: {line.format(model=model)}")
    assert not (tmp_path / "out.onnx").exists()
    assert model.read_bytes() == before


def test_a_run_that_is_not_there_or_has_no_checkpoint_is_one_line(ffedge: Ffedge, tmp_path: Path) -> None:
    done = ffedge("export", tmp_path / "none", "--out", tmp_path / "out.onnx")
    line = f"ffedge: {tmp_path / 'none'}: there is no such run. Pass the folder of one, or a model.onnx with --form"
    assert (done.code, done.line) == (2, line)
    (tmp_path / "empty").mkdir()
    done = ffedge("export", tmp_path / "empty", "--out", tmp_path / "out.onnx")
    line = f"ffedge: {tmp_path / 'empty' / 'checkpoint'}: holds no checkpoint. Train anew, with --force instead of"
    assert (done.code, done.line) == (1, f"{line} --resume")
