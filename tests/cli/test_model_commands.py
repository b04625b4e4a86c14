"""ffedge eval, predict, info, export, report, data: what a model file is asked."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

from ffedge import Predictor
from tests.cli.conftest import CLASSES, Ffedge, bars, spawn


def test_eval_says_where_the_model_learnt_from_the_rows(ffedge: Ffedge, tmp_path: Path) -> None:
    images, labels = bars(120, 0)
    for name, rows in (("a.npz", slice(0, 100)), ("b.npz", slice(100, None))):
        np.savez(tmp_path / name, x=images[rows], y=labels[rows])
    for out, share in (("whole", ()), ("share", ("--test", 0.2))):
        assert ffedge("train", "--data", tmp_path / "a.npz", "--epochs", 1, "--out", tmp_path / out, *share).code == 0

    def told(run: str, *words: object) -> str:
        done = ffedge("eval", tmp_path / run / "model.onnx", "--data", *words)
        assert done.code == 0
        return done.err

    same = "ffedge: a: the model learnt from these rows. New ones tell how good it is\n"
    assert told("whole", tmp_path / "a.npz") == same
    assert told("share", tmp_path / "a.npz") == same.replace(
        "these rows", "data of this name, and so perhaps from these rows"
    )
    assert told("whole", tmp_path / "a.npz", "--train") == told("whole", tmp_path / "b.npz") == ""


def test_eval_counts_every_row_by_class_and_label(ffedge: Ffedge, run_folder: Path, data: Path) -> None:
    done = ffedge("eval", run_folder / "model.onnx", "--data", data, "--json")
    found, (images, labels) = json.loads(done.out), bars(200, 1)
    given = Predictor(run_folder / "model.onnx").predict(images).label
    confusion = np.zeros((CLASSES, CLASSES), int)
    for true, label in zip(labels, given, strict=True):
        confusion[true, label] += 1
    assert found["confusion"] == confusion.tolist()
    assert found["accuracy"] == pytest.approx((given == labels).mean())
    assert len(found["layer_accuracy"]) == 2
    assert (
        f"accuracy {100 * found['accuracy']:.2f} % of 200 rows"
        in ffedge("eval", run_folder / "model.onnx", "--data", data).out
    )


def test_eval_says_how_many_answers_are_known_and_how_many_of_these_are_wrong(
    ffedge: Ffedge, run_folder: Path, data: Path
) -> None:
    found = json.loads(ffedge("eval", run_folder / "model.onnx", "--data", data, "--json").out)
    images, labels = bars(200, 1)
    given = Predictor(run_folder / "model.onnx").predict(images)
    assert found["known"] == pytest.approx(given.known.mean())
    assert found["known_error"] == pytest.approx((given.label != labels)[given.known].mean())
    shown = ffedge("eval", run_folder / "model.onnx", "--data", data).out
    assert f"known    {100 * found['known']:.2f} % of them, and {100 * found['known_error']:.2f} % of these" in shown


def test_predict_says_unknown_and_why_where_it_is_asked_to(ffedge: Ffedge, run_folder: Path, tmp_path: Path) -> None:
    images = np.concatenate([bars(20, 1)[0], np.full((1, 6, 6), 255, np.uint8), np.zeros((1, 6, 6), np.uint8)])
    np.save(tmp_path / "some.npy", images)
    known = Predictor(run_folder / "model.onnx").predict(images).known
    assert 0 < known.sum() < len(images)
    words = ("predict", run_folder / "model.onnx", tmp_path / "some.npy")
    plain, rejected = (json.loads(ffedge(*words, "--json", *more).out)["samples"] for more in ((), ("--reject",)))
    for sample, other, ok in zip(plain, rejected, known, strict=True):
        assert sample["known"] == other["known"] == ok
        assert sample["label"] == str(sample["class"])
        assert other["label"] == ("unknown" if not ok else sample["label"])
        assert ("why" in other) == (not ok)
        assert set(other.get("why", [])) <= {"low goodness", "high goodness", "low margin"}
    done = ffedge(*words, "--reject")
    assert done.code == 0
    lines = done.out.splitlines()[1:]
    assert [" unknown " in line for line in lines] == [not ok for ok in known]
    assert [line.endswith(f"({', '.join(s['why'])})") for line, s in zip(lines, rejected, strict=True) if "why" in s]
    assert "unknown  " not in ffedge(*words).out


def test_predict_says_probabilities_where_it_is_asked_to(ffedge: Ffedge, run_folder: Path, tmp_path: Path) -> None:
    model, images = run_folder / "model.onnx", bars(5, 1)[0]
    np.save(tmp_path / "five.npy", images)
    wanted = Predictor(model).predict(images).proba
    samples = json.loads(ffedge("predict", model, tmp_path / "five.npy", "--json", "--proba").out)["samples"]
    np.testing.assert_allclose([list(s["proba"].values()) for s in samples], wanted, rtol=1e-5)
    assert list(samples[0]["proba"]) == ["0", "1", "2"]
    shown = ffedge("predict", model, tmp_path / "five.npy", "--proba").out.splitlines()
    for line, row in zip(shown[1:], wanted, strict=True):
        assert line.split()[-3:] == [f"{share:.3f}" for share in row]
    line = spawn("predict", model, "-", "--proba", text=json.dumps(images[0].tolist()))
    assert list(json.loads(line.out)["proba"].values()) == pytest.approx(wanted[0].tolist(), rel=1e-4)
    assert "proba" not in json.loads(spawn("predict", model, "-", text=json.dumps(images[0].tolist())).out)


def test_probabilities_that_a_model_does_not_have_are_one_line(ffedge: Ffedge, tmp_path: Path) -> None:
    model = Path(__file__).parents[2] / "models" / "mnist-acff" / "model.onnx"
    if not model.exists():
        pytest.skip("models/ is not in this copy (an sdist has none)")
    np.save(tmp_path / "x.npy", np.zeros((1, 28, 28), np.uint8))
    done = ffedge("predict", model, tmp_path / "x.npy", "--proba")
    assert (done.code, done.out) == (2, "")
    assert done.line.startswith("ffedge: --proba needs probabilities, and this model has none: they are fitted on rows")


def test_eval_says_how_far_probabilities_are_off(ffedge: Ffedge, run_folder: Path, data: Path) -> None:
    found = json.loads(ffedge("eval", run_folder / "model.onnx", "--data", data, "--json").out)
    assert 0 <= found["calibration_error"] < 0.2
    line = f"probability {100 * found['calibration_error']:.2f} % off in the mean (expected calibration error)"
    assert line in ffedge("eval", run_folder / "model.onnx", "--data", data).out


def test_predict_reads_pictures_and_arrays_alike(ffedge: Ffedge, run_folder: Path, tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image", reason="needs Pillow")
    images, _ = bars(2, 5)
    np.save(tmp_path / "two.npy", images)
    image.fromarray(images[1]).save(tmp_path / "one.png")
    done = ffedge("predict", run_folder / "model.onnx", tmp_path / "two.npy", tmp_path / "one.png", "--json")
    first, second, picture = json.loads(done.out)["samples"]
    assert (first["row"], second["row"], picture["row"]) == (0, 1, 0)
    assert picture["scores"] == pytest.approx(second["scores"])
    ranked = sorted(first["scores"].values())
    assert first["margin"] == pytest.approx(ranked[-1] - ranked[-2], abs=1e-5)
    assert first["scores"][first["label"]] == ranked[-1]
    table = ffedge("predict", run_folder / "model.onnx", tmp_path / "two.npy").out
    assert f"{first['margin']:.3f}" in table


def test_info_says_what_the_model_was_made_with(ffedge: Ffedge, run_folder: Path) -> None:
    done = json.loads(ffedge("info", run_folder / "model.onnx", "--json").out)
    assert done["spec"]["network"]["widths"] == [24, 16]
    assert done["input"]["classes"] == ["0", "1", "2"]
    shown = ffedge("info", run_folder / "model.onnx").out
    assert done["known"]["rows"] == 30
    for text in ("uint8 [N, 6, 6]", "acff", "24, 16", done["data"]["sha256"], "of 30 rows not learnt from"):
        assert text in shown
    assert "570 to learn again and 30 to check by, of 3 of 3 classes" in shown


def test_export_writes_the_same_model_and_never_over_another(ffedge: Ffedge, run_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "copy.onnx"
    done, kept = ffedge("export", run_folder, "--out", out), "kept.safetensors"
    assert done.code == 0
    assert out.read_bytes() == (run_folder / "model.onnx").read_bytes()
    assert f"to go on learning from it, copy {run_folder}/model.{kept} to {tmp_path}/copy.{kept}" in done.out
    again = ffedge("export", run_folder, "--out", out)
    assert (again.code, again.line) == (1, f"ffedge: {out}: exists already. Choose another --out, or use --force")


def test_report_prints_the_closing_table_again(ffedge: Ffedge, run_folder: Path) -> None:
    stored = json.loads((run_folder / "report.json").read_text())
    assert json.loads(ffedge("report", run_folder, "--json").out) == stored
    out = ffedge("report", run_folder).out
    assert f"test accuracy  {100 * stored['test_accuracy']:.2f} %" in out
    assert "note: " not in out


def test_report_says_that_a_run_stopped_early_and_that_its_model_is_another_one(
    ffedge: Ffedge, run_folder: Path, tmp_path: Path
) -> None:
    report = json.loads((run_folder / "report.json").read_text()) | {"stopped": "layer 1: the loss is not a number"}
    (tmp_path / "report.json").write_text(json.dumps(report))
    gone, other = (f"note: {tmp_path}/model.onnx {what}\n" for what in ("is not there any more", "has changed since"))
    out = ffedge("report", tmp_path).out
    assert "note: layer 1: the loss is not a number. The network of the last checkpoint is told\n" in out
    assert gone in out
    (tmp_path / "model.onnx").write_bytes(b"another")
    assert other.removesuffix("\n") in ffedge("report", tmp_path).out


def test_known_data_sets_are_listed(ffedge: Ffedge) -> None:
    out = ffedge("data", "list").out
    assert all(name in out for name in ("mnist-mini", "mnist", "fashion-mnist"))


def no_onnx(path: Path) -> None:
    path.write_text("this is no model")


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:500])


def without_metadata(path: Path) -> None:
    model = onnx.load(path)
    del model.metadata_props[:]
    onnx.save(model, path)


def newer(path: Path) -> None:
    model = onnx.load(path)
    next(p for p in model.metadata_props if p.key == "ffedge.format").value = "99"
    onnx.save(model, path)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.unlink(), "no such file. Train one with `ffedge train`"),
        (no_onnx, "is no model that ffedge can run"),
        (truncated, "is no model that ffedge can run"),
        (without_metadata, "is an ONNX model without ffedge's metadata"),
        (newer, "has model format 99, but this ffedge reads 1. Upgrade ffedge"),
    ],
)
@pytest.mark.parametrize("command", ["info", "eval", "predict"])
def test_a_file_that_is_no_model_is_refused_in_one_line(
    ffedge: Ffedge, run_folder: Path, data: Path, tmp_path: Path, damage: object, message: str, command: str
) -> None:
    model = tmp_path / "model.onnx"
    model.write_bytes((run_folder / "model.onnx").read_bytes())
    damage(model)  # type: ignore[operator]
    more = {"info": [], "eval": ["--data", data], "predict": [data]}[command]
    done = ffedge(command, model, *more)
    assert done.code == 1
    assert done.line.startswith(f"ffedge: {model}: ")
    assert message in done.line


def test_data_of_another_shape_is_refused(ffedge: Ffedge, run_folder: Path) -> None:
    done = ffedge("eval", run_folder / "model.onnx", "--data", "mnist-mini")
    assert done.code == 1
    assert "classes" in done.line or "shape" in done.line
