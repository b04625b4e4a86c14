"""What a form is made from: the weights as trained, and the very rows that training held out."""

import dataclasses
import json

import numpy as np
import onnx
import pytest
from toys import make_loop

from ffedge import Predictor, Spec, load, train
from ffedge.errors import FfedgeError, ModelError
from ffedge.export.forms import Forms
from ffedge.export.source import open_rows, read_trained
from ffedge.model.form import FORMS
from tests.cli.conftest import bars


def test_a_run_and_its_model_file_are_the_same(run_folder, trained, data):
    again = read_trained(run_folder / "model.onnx")
    assert again.model == trained.model
    assert (trained.source, again.source) == (str(data), None)
    assert all(
        np.array_equal(one[name], two[name])
        for one, two in zip(trained.layers, again.layers, strict=True)
        for name in one | two
    )


def test_held_out_rows_are_those_that_training_held_out(trained, rows, data):
    loop = make_loop(trained.recipe, load(data))
    assert len(rows.held_out) == 120
    np.testing.assert_array_equal(rows.held_out, loop.held_out)
    learnt = rows.learnt[np.arange(len(rows.learnt))]
    np.testing.assert_array_equal(np.sort(np.concatenate([learnt, rows.held_out])), np.arange(600))
    spread = rows.spread(100)
    assert set(spread) <= set(learnt)
    assert len(set(spread)) == 100


def test_other_data_are_refused(trained, tmp_path):
    x, y = bars(600, 7)
    np.savez(tmp_path / "other.npz", x=x, y=y)
    with pytest.raises(FfedgeError, match=r"learnt from other data than other \(their sha256 differs\)"):
        open_rows(trained, str(tmp_path / "other.npz"), None)


def test_a_model_file_opens_no_files_of_its_own_choice(run_folder):
    with pytest.raises(FfedgeError, match=r"learnt from 'bars', which ffedge does not know by name. Pass `data`"):
        open_rows(read_trained(run_folder / "model.onnx"), None, None)


def test_without_held_out_rows_nothing_can_be_chosen(data, tmp_path):
    run = train(Spec.make(widths=(8,), epochs=1, batch_size=64, holdout=0.0), data, tmp_path / "run")
    with pytest.raises(FfedgeError, match=r"no rows were held out to choose by. Train with `holdout=0.05`"):
        open_rows(read_trained(run.path), None, None)


def test_a_form_is_no_source_of_forms(trained, tmp_path):
    path = tmp_path / "form.onnx"
    path.write_bytes(Forms(trained, None).make("exact").model)
    with pytest.raises(ModelError, match=r"form.onnx: is the exported form exact. Pass the model it was made from$"):
        read_trained(path)


def test_a_file_without_its_networks_weights_is_refused(run_folder, tmp_path):
    model = onnx.load(run_folder / "model.onnx")
    next(t for t in model.graph.initializer if t.name == "layers.1.W").name = "other"
    onnx.save(model, tmp_path / "model.onnx")
    with pytest.raises(ModelError, match=r"model.onnx: its graph cannot be used \(it lacks layers.1.W\)"):
        read_trained(tmp_path / "model.onnx")
    with pytest.raises(ModelError, match=r"none.onnx: cannot be read \(No such file"):
        read_trained(tmp_path / "none.onnx")


def test_gammas_are_those_of_the_metadata(run_folder, trained):
    (stored,) = (p.value for p in onnx.load(run_folder / "model.onnx").metadata_props if p.key == "ffedge.gamma")
    np.testing.assert_allclose([float(layer["gamma"]) for layer in trained.layers], json.loads(stored), rtol=1e-6)
    assert dataclasses.asdict(trained.recipe.rule)["variant"] == "acff"


@pytest.mark.parametrize("preset", ["tuned", "spiking", "paper"])
def test_a_model_of_every_preset_has_every_form(data, tmp_path, preset):
    changes = {"batch_size": 64, "rate": (0.01,)} if preset == "paper" else {}
    spec = Spec.make(preset, widths=(16, 16, 16), epochs=1, holdout=0.2, **changes)
    run = train(spec, data, tmp_path / "run")
    trained = read_trained(run.path)
    rows = open_rows(trained, None, None)
    maker, raw = Forms(trained, rows, 100.0), rows.split.inputs.take(rows.held_out)
    found = {name: Predictor(maker.make(name).model, threads=1).predict(raw) for name in FORMS}
    wanted = trained.predictor.predict(raw)
    np.testing.assert_allclose(found["exact"].scores, wanted.scores, rtol=2e-5)
    for name, tolerance in (("pruned", 1e-4), ("int8", 0.2), ("pruned-int8", 0.2)):
        best = np.arange(len(raw)), found[name].label
        np.testing.assert_allclose(found[name].scores[best], wanted.scores[best], rtol=tolerance)
