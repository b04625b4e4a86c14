"""Forms as they are exported: what they lose is measured, told and bounded; the fastest is taken."""

import dataclasses

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from ffedge import Spec, load, train
from ffedge.errors import FfedgeError
from ffedge.export import fastest, int8
from ffedge.export.forms import Forms
from ffedge.export.source import open_rows, read_trained
from ffedge.model.form import FORMS
from ffedge.model.temperature import calibrated
from ffedge.predict.predictor import Predictor
from ffedge.predict.recalibration import recalibrate
from tests.cli.conftest import bars
from tests.data.test_tables import ROWS, write
from tests.predict.test_recalibration import older_than_proba


@pytest.fixture(scope="module")
def made(trained, rows):
    maker = Forms(trained, rows, 5.0)
    return {name: maker.make(name) for name in FORMS}


def share_right(model, rows):
    found = Predictor(model, threads=1).predict(rows.split.inputs.take(rows.held_out))
    return float((found.label == rows.split.labels[rows.held_out]).mean())


@pytest.mark.parametrize("name", FORMS)
def test_a_form_is_a_model_that_tells_what_it_lost(made, trained, rows, name):
    form = made[name]
    predictor = Predictor(form.model)
    told = predictor.metadata["form"]
    assert form.accuracy == told["accuracy"] == share_right(form.model, rows)
    assert form.lost == told["accuracy_lost"] == pytest.approx(share_right(trained.model, rows) - form.accuracy)
    assert (told["name"], told["held_out_rows"]) == (name, 120)
    assert told["weights"].startswith("int8" if "int8" in name else "float32")
    assert told.get("candidates") == form.candidates == (2 if "pruned" in name else None)
    assert (predictor.recipe, predictor.facts) == (trained.recipe, trained.facts)
    assert predictor.metadata["data"] == trained.predictor.metadata["data"]
    assert not predictor.has_layers


def test_the_exact_form_gives_the_models_scores(made, trained, rows):
    raw = rows.split.inputs.take(rows.held_out)
    found, wanted = Predictor(made["exact"].model).predict(raw), trained.predictor.predict(raw)
    np.testing.assert_allclose(found.scores, wanted.scores, rtol=1e-5)
    np.testing.assert_allclose(found.margin, wanted.margin, rtol=1e-3, atol=1e-4)
    np.testing.assert_array_equal(found.label, wanted.label)


@pytest.mark.parametrize("name", FORMS)
def test_what_a_form_knows_is_calibrated_on_its_own_scores(made, trained, rows, name):
    predictor = Predictor(made[name].model, threads=1)
    found = predictor.predict(rows.split.inputs.take(rows.held_out))
    true = rows.split.labels[rows.held_out]
    assert predictor.calibration == calibrated([(true, found.scores)], trained.recipe.train.coverage)
    assert found.known.mean() == pytest.approx(predictor.calibration.known, abs=0.02)
    assert 0.94 < found.known.mean() < 1.0


def test_the_exact_form_keeps_the_models_calibration_where_no_rows_are_given(trained):
    predictor = Predictor(Forms(trained, None).make("exact").model)
    assert predictor.calibration == trained.predictor.calibration
    assert "known" in [output.name for output in predictor._session.get_outputs()]


def test_a_form_of_a_model_without_a_calibration_calls_every_answer_known(trained, rows):
    model = onnx.load_from_string(trained.model)
    next(p for p in model.metadata_props if p.key == "ffedge.known").value = "null"
    older = dataclasses.replace(trained, predictor=Predictor(model.SerializeToString()))
    predictor = Predictor(Forms(older, None).make("exact").model)
    assert predictor.calibration is None
    assert "known" not in [output.name for output in predictor._session.get_outputs()]
    assert predictor.predict(rows.split.inputs.take(rows.held_out)).known.all()


@pytest.mark.parametrize("name", FORMS)
def test_a_form_gives_other_runtimes_the_probabilities_that_the_predictor_tells(made, rows, name):
    raw, proto = rows.split.inputs.take(rows.held_out), onnx.load_from_string(made[name].model)
    onnx.checker.check_model(proto, full_check=True)
    found = Predictor(made[name].model, threads=1).predict(raw)
    (given,) = ort.InferenceSession(made[name].model).run(["proba"], {"input": raw})
    np.testing.assert_allclose(given, found.proba, rtol=1e-3, atol=1e-5)
    np.testing.assert_array_equal(given.argmax(axis=1), found.place)
    right = found.place == rows.split.labels[rows.held_out]
    assert found.proba.max(axis=1).mean() == pytest.approx(right.mean(), abs=0.1)


@pytest.mark.parametrize("name", ["exact", "int8"])
def test_a_form_older_than_probabilities_gets_them(made, data, rows, tmp_path, name):
    old, raw = tmp_path / "old.onnx", rows.split.inputs.take(rows.held_out)
    old.write_bytes(older_than_proba(made[name].model))
    assert Predictor(old).temperature is None
    found = recalibrate(old, data, 0.9)
    onnx.checker.check_model(onnx.load(old), full_check=True)
    (given,) = ort.InferenceSession(old).run(["proba"], {"input": raw})
    assert Predictor(old).temperature == found.temperature
    np.testing.assert_allclose(given, Predictor(old).predict(raw).proba, rtol=1e-3, atol=1e-5)


def test_int8_forms_are_smaller(made):
    for name in ("exact", "pruned", "head"):
        small = made["int8" if name == "exact" else f"{name}-int8"].model
        weights = sum(len(t.raw_data) for t in onnx.load_from_string(small).graph.initializer if t.data_type == 3)
        assert weights == 36 * 24 + 24 * 16 + 1 + 1
        assert len(small) < len(made[name].model)


def test_metadata_that_a_form_does_not_keep_are_dropped(trained, rows):
    model = onnx.load_from_string(trained.model)
    model.metadata_props.add(key="ffedge.threshold", value="3")
    other = dataclasses.replace(trained, predictor=Predictor(model.SerializeToString()))
    assert "threshold" not in Predictor(Forms(other, None).make("exact").model).metadata


def spoilt(monkeypatch, when):
    """Let some quantised models have weights that are all alike."""
    true = int8.quantised

    def change(graph, weights, calibration, *, per_channel):
        graph = true(graph, weights, calibration, per_channel=per_channel)
        if when(per_channel):
            for name, array in graph.constants.items():
                graph.constants[name] = np.zeros_like(array) if array.dtype == np.int8 and array.ndim == 2 else array
        return graph

    monkeypatch.setattr(int8, "quantised", change)


def test_a_form_that_loses_too_much_is_refused_in_one_line_with_figures(trained, rows, monkeypatch):
    spoilt(monkeypatch, lambda per_channel: True)
    with pytest.raises(FfedgeError) as caught:
        Forms(trained, rows).make("int8")
    right, chance = share_right(trained.model, rows), share_right(Forms(trained, rows, 100.0).make("int8").model, rows)
    assert chance < right - 0.2
    assert str(caught.value) == (
        f"{trained.name}: the form int8 gets {100 * chance:.2f} % of 120 held-out rows right and the model "
        f"{100 * right:.2f} %: {100 * (right - chance):.2f} points lost, where 0.2 are allowed. "
        "Use another `form` or a larger `max_loss`"
    )


def test_where_a_scale_a_layer_loses_too_much_each_unit_gets_its_own(trained, rows, monkeypatch):
    spoilt(monkeypatch, lambda per_channel: not per_channel)
    form = Forms(trained, rows, 2.0).make("int8")
    assert Predictor(form.model).metadata["form"]["weights"] == "int8, a scale a unit"
    assert form.lost <= 0.02


def test_a_loss_that_is_just_allowed_is_allowed(trained, rows, monkeypatch):
    monkeypatch.setattr(Forms, "_held_out", lambda *_: (0.7, None))
    maker = Forms(trained, rows, 0.5)
    monkeypatch.setattr(Forms, "model_accuracy", 0.705)
    assert maker.make("exact").lost == pytest.approx(0.005)
    monkeypatch.setattr(Forms, "model_accuracy", 0.7051)
    with pytest.raises(FfedgeError, match=r"0.51 points lost, where 0.5 are allowed"):
        maker.make("exact")


def test_a_form_that_a_network_cannot_have_is_one_line(rows, data, tmp_path):
    run = train(Spec.make(widths=(8,), epochs=1, batch_size=64, holdout=0.2), data, tmp_path / "run")
    with pytest.raises(FfedgeError, match=r"run: the form pruned needs two layers or more. Use `form='exact'`"):
        Forms(read_trained(run.path), rows).make("pruned")


def test_a_network_of_convolutions_has_no_other_form_and_one_line_says_so(tmp_path):
    x, y = bars(200, 0)
    np.savez(tmp_path / "pictures.npz", x=np.pad(x.reshape(-1, 6, 6), ((0, 0), (1, 1), (1, 1))).astype(np.uint8), y=y)
    spec = Spec.make(widths=("8c3p2", 8), epochs=1, batch_size=64, holdout=0.2)
    trained = read_trained(train(spec, tmp_path / "pictures.npz", tmp_path / "run").path)
    rows = open_rows(trained, None, None)
    for ask in (
        *(lambda name=name: Forms(trained, rows).make(name) for name in FORMS),
        lambda: fastest.fastest(trained, rows, 5.0),
    ):
        with pytest.raises(FfedgeError) as caught:
            ask()
        assert str(caught.value) == (
            f"{trained.name}: networks of convolutions have no other form. Export the model as trained, without `form`"
        )


@pytest.mark.parametrize("changes", [{}, {"class_goodness": "groups"}, {"class_goodness": "readout"}], ids=str)
def test_the_exact_form_of_a_tables_model_gives_its_scores(changes, tmp_path):
    rows = [[*row[:2], "" if i % 9 == 4 else row[2], *row[3:]] for i, row in enumerate(ROWS)]
    data = load(write(tmp_path / "t.csv", rows))
    trained = read_trained(
        train(Spec.make(widths=(16, 12), epochs=2, **changes), tmp_path / "t.csv", tmp_path / "run").path
    )
    raw = data.train.inputs.take(np.arange(60))
    found, wanted = (
        Predictor(m).predict(raw).scores for m in (Forms(trained, None).make("exact").model, trained.model)
    )
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", ["groups", "readout"])
def test_a_network_of_one_pass_has_every_form_but_the_pruned_ones(kind, data, tmp_path):
    spec = Spec.make(widths=(24, 16), epochs=20, batch_size=32, holdout=0.2, class_goodness=kind)
    trained = read_trained(train(spec, data, tmp_path / "run").path)
    table = {row.name: row for row in fastest.fastest(trained, open_rows(trained, None, None), 5.0)[1]}
    assert {name for name, row in table.items() if row.why_not} == {"pruned", "pruned-int8"}
    assert f"needs labels that are tried, not {kind}. Use `form='exact'`" in table["pruned"].why_not
    assert table["exact"].accuracy == table["model"].accuracy > 0.9
    assert min(row.accuracy for row in table.values() if not row.why_not) > 0.85


def test_an_unknown_form_is_a_wrong_argument(trained):
    with pytest.raises(ValueError, match="`form` must be one of exact, pruned, head, int8"):
        Forms(trained, None).make("banana")


@pytest.mark.parametrize(("fast", "chosen"), [("head", "head"), ("pruned-int8", "pruned-int8")])
def test_the_fastest_at_batch_1_is_taken_of_those_that_lose_little(trained, rows, monkeypatch, fast, chosen):
    def timed(models, rows, size):
        return {name: 1.0 if (name == fast) == (size == 1) else 2.0 for name in models}

    monkeypatch.setattr(fastest, "_timed", timed)
    told = []
    form, table = fastest.fastest(trained, rows, 5.0, told.append)
    assert form.name == chosen
    assert told == [*FORMS, "timing"]
    assert [row.name for row in table] == ["model", *FORMS]
    assert next(row.call_s for row in table if row.name == fast) == {1: 1.0, 100: 2.0}


def test_a_form_that_loses_too_much_stands_in_the_table_and_is_not_taken(trained, rows, monkeypatch):
    spoilt(monkeypatch, lambda per_channel: True)
    monkeypatch.setattr(fastest, "_timed", lambda models, rows, size: {n: float("int8" not in n) for n in models})
    form, table = fastest.fastest(trained, rows, 0.2)
    assert "int8" not in form.name
    refused = {row.name: row for row in table if row.why_not}
    assert {"int8", "pruned-int8", "head-int8"} <= set(refused)
    assert refused["int8"].call_s == {}
    assert "points lost, where 0.2 are allowed" in refused["int8"].why_not


def test_calls_are_timed_on_held_out_rows(trained, rows):
    times = fastest._timed({"model": trained.model}, rows, 100)
    assert 0 < times["model"] < 1


@pytest.fixture(scope="module")
def of_readings(tmp_path_factory):
    """Two sensors whose readings tell the class, as a run and the rows that were held out."""
    folder, rng = tmp_path_factory.mktemp("readings"), np.random.default_rng(0)
    labels = np.arange(900) % 3
    x = rng.normal(size=(900, 2)) + 4 * np.array([[0, 0], [1, 0], [0, 1]])[labels]
    np.savez(folder / "d.npz", x=x.astype(np.float32), y=labels)
    run = train(Spec.make(widths=(40, 40), epochs=10, holdout=0.2), folder / "d.npz", folder / "run")
    model = read_trained(run.path)
    return model, open_rows(model, None, None)


@pytest.mark.parametrize("name", FORMS)
def test_a_form_tells_how_many_readings_of_a_failed_sensor_it_knows(of_readings, name):
    model, rows = of_readings
    form, facts = Forms(model, rows, 100.0).make(name), model.facts
    raw = np.array(rows.split.inputs.take(rows.held_out), np.float32)
    for row, values in enumerate(raw):
        place, side = row % 2, (1, -1)[row // 2 % 2]
        values[place] = facts.offset[place] + side * 3 * facts.largest / facts.scale[place]
    answers = [Predictor(file, threads=1).predict(raw) for file in (form.model, model.model)]
    assert not answers[0].odd, "such a reading is far, not odd"
    assert [form.failed_known, form.model_failed_known] == pytest.approx([float(a.known.mean()) for a in answers])
    assert form.model_failed_known < 0.2
    if name == "head":
        assert form.failed_known > 0.5


def test_bytes_cannot_be_readings_of_a_failed_sensor(made):
    assert {(form.failed_known, form.model_failed_known) for form in made.values()} == {(None, None)}
