"""The tool that makes models/: what it writes is of one piece, and it goes on where it was stopped."""

import dataclasses

import make_models
import numpy as np
import pytest
from make_models import TRAININGS, at_commit, fields_of, finite, problems
from toys import clusters, make_model, small_spec

from ffedge import Spec, load, train
from ffedge.errors import FfedgeError, TrainingError

TRIAL = ("--data", "mnist-mini", "--widths", "16,12", "--epochs", "1")
TRAINING = dataclasses.replace(TRAININGS["mnist-fcff"], data="mnist-mini", widths="16,12", epochs=1)


def make(folder, *words):
    return make_models.main(["--only", "mnist-fcff", "--out", str(folder), "--work", str(folder / "work"), *words])


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """Make a small model; return the folder of models and the bytes of the model and its card."""
    out = tmp_path_factory.mktemp("models")
    assert make(out, *TRIAL) == 0
    return out, content(out)


def content(out):
    return {path.name: path.read_bytes() for path in (out / "mnist-fcff").iterdir()}


@pytest.fixture
def made(first):
    """Give the small model as it was made."""
    out, files = first
    for name, value in files.items():
        (out / "mnist-fcff" / name).write_bytes(value)
    return out


def test_a_card_tells_what_was_measured_on_the_file(made):
    assert problems(made / "mnist-fcff", TRAINING) == []
    told, test = fields_of((made / "mnist-fcff" / "MODEL.md").read_text()), load("mnist-mini").test
    import onnxruntime

    session = onnxruntime.InferenceSession(made / "mnist-fcff" / "model.onnx")
    (labels,) = session.run(["label"], {"input": test.inputs.take(np.arange(1000))})
    right = int((labels == test.labels).sum())
    assert told["test accuracy"] == f"{right / 10:.2f} % of 1,000 rows"
    assert told["right of mnist-mini's test digits"] == str(right)
    assert told["labels of mnist-mini's test digits"].split() == [str((labels == c).sum()) for c in range(10)]
    assert told["made by"].startswith(
        "ffedge train --data mnist-mini --variant fcff --widths 16,12 --epochs 1 --seed 0"
    )
    assert told["commit"] == at_commit()


def test_what_is_there_is_not_made_again(made, monkeypatch):
    monkeypatch.setattr(make_models, "make", lambda *_: pytest.fail("made again"))
    assert make(made, *TRIAL) == 0


@pytest.mark.parametrize("spoilt", ["model.onnx", "MODEL.md"])
def test_a_card_that_is_not_of_its_file_is_told_and_mended(made, spoilt):
    path = made / "mnist-fcff" / spoilt
    before = content(made)
    path.write_bytes(path.read_bytes().replace(b"sha256 |", b"sha512 |") if spoilt == "MODEL.md" else b"other")
    assert any("says sha256" in line for line in problems(made / "mnist-fcff", TRAINING))
    assert make(made, *TRIAL) == 0
    assert content(made) == before


@pytest.mark.parametrize("gone", ["model.onnx", "MODEL.md"])
def test_half_a_model_is_told(made, gone):
    (made / "mnist-fcff" / gone).unlink()
    assert problems(made / "mnist-fcff", TRAINING) == [f"{made / 'mnist-fcff'}: lacks {gone}"]


def test_a_card_of_another_training_is_told(made):
    (line,) = problems(made / "mnist-fcff", TRAININGS["mnist-fcff"])
    assert "says made by ffedge train --data mnist-mini" in line


def test_a_stopped_run_goes_on_to_the_same_bytes(made, tmp_path):
    run = tmp_path / "work" / at_commit() / "mnist-fcff"
    calls = iter(range(100))
    spec = Spec.make(variant="fcff", widths=(16, 12), epochs=1, threads=1)
    with pytest.raises(TrainingError):
        train(spec, "mnist-mini", run, stop=lambda: next(calls) == 30)
    assert make(tmp_path, *TRIAL) == 0
    assert content(tmp_path) == content(made)
    assert not run.exists()


def test_the_real_models_are_not_made_by_a_trial(capsys):
    with pytest.raises(SystemExit):
        make_models.main(["--epochs", "1"])
    assert "need another --out" in capsys.readouterr().err


def test_a_model_whose_numbers_are_not_finite_is_refused(tmp_path):
    data = clusters(test_rows=20)
    written, _, _, layers = make_model(small_spec(), data)
    (tmp_path / "model.onnx").write_bytes(written)
    finite(tmp_path / "model.onnx", data.test)
    weights = layers[0]["W"].tobytes()
    assert written.count(weights) == 1
    spoilt = np.full_like(layers[0]["W"], np.nan).tobytes()
    (tmp_path / "model.onnx").write_bytes(written.replace(weights, spoilt))
    with pytest.raises(FfedgeError, match=r"gives .* that is not finite"):
        finite(tmp_path / "model.onnx", data.test)
