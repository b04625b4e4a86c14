"""The predictor: the oracle's scores from a file, in bounded memory, and one line for whatever is wrong with it."""

import json

import numpy as np
import onnx
import pytest
from networks import DATA, NETWORKS, ONE_PASS, rows_of
from onnx.reference import ReferenceEvaluator
from oracle import Oracle
from toys import changed, clusters, in_child, make_model, small_spec

from ffedge.data.dataset import Dataset, Split
from ffedge.data.rows import ArrayRows
from ffedge.engine import session
from ffedge.errors import DataError, FfedgeError, ModelError
from ffedge.predict.predictor import MOST_ROWS, Predictor


@pytest.fixture(scope="module")
def model():
    return make_model(small_spec(), DATA["floats"])


@pytest.fixture(scope="module")
def predictor(model):
    return Predictor(model[0], threads=1)


@pytest.mark.parametrize("changes", NETWORKS + ONE_PASS, ids=str)
@pytest.mark.parametrize("data", DATA)
def test_predictions_are_the_oracles_and_the_reference_evaluators(changes, data):
    written, recipe, facts, layers = make_model(small_spec(**changes), DATA[data])
    raw = rows_of(DATA[data], 40)
    found = Predictor(written, threads=1).predict(raw, layers=True)
    oracle = Oracle(recipe, facts, layers)
    wanted = oracle.scores(raw)
    small = 1e-5 * np.abs(wanted).max()  # a readout's may be near 0
    np.testing.assert_allclose(found.scores, wanted, rtol=1e-4, atol=small)
    np.testing.assert_allclose(found.goodness, oracle.goodness(raw), rtol=1e-4, atol=small)
    np.testing.assert_array_equal(found.label, wanted.argmax(axis=1))
    names = ["scores", "label", "margin", "goodness"]
    for name, value in zip(
        names, ReferenceEvaluator(onnx.load_from_string(written)).run(names, {"input": raw}), strict=True
    ):
        np.testing.assert_allclose(getattr(found, name), value, rtol=1e-4, atol=1e-5)
    assert found.label.dtype == np.int64
    assert {found.scores.dtype, found.margin.dtype, found.goodness.dtype} == {np.dtype(np.float32)}


@pytest.mark.parametrize("count", [1, 2, MOST_ROWS // 4, MOST_ROWS // 4 + 1, 2 * MOST_ROWS + 3])
def test_a_row_has_the_same_prediction_in_any_company(predictor, count):
    """640 rows (samples times classes) go through at once: 160 samples of 4 classes."""
    raw = rows_of(DATA["floats"], count)
    found, alone = predictor.predict(raw, layers=True), [predictor.predict(row) for row in raw[:170]]
    assert len(found) == count
    assert found.goodness.shape == (count, 3, 4)
    for i, one in enumerate(alone):
        assert len(one) == 1
        np.testing.assert_allclose(one.scores[0], found.scores[i], rtol=1e-5)
        assert one.label[0] == found.label[i]
    np.testing.assert_allclose(found.scores, np.tile(found.scores[:160], (9, 1))[:count], rtol=1e-5)


@pytest.mark.parametrize(("classes", "most"), [(4, 160), (3, 213)])
def test_no_more_than_640_rows_go_through_at_once(monkeypatch, classes, most):
    data = clusters(classes=classes)
    predictor, sizes = Predictor(make_model(small_spec(), data)[0]), []

    class Counted:
        run = staticmethod(lambda names, feeds: sizes.append(len(feeds["input"])) or session.run(names, feeds))

    session = predictor._session
    monkeypatch.setattr(predictor, "_session", Counted)
    assert len(predictor.predict(rows_of(data, 500))) == 500
    assert max(sizes) == most
    assert most * classes <= MOST_ROWS


def test_many_classes_go_through_one_sample_at_a_time():
    data = clusters(rows=1000, inputs=20, classes=700)
    written, recipe, facts, layers = make_model(small_spec(label_mode="concat", widths=(9, 8)), data)
    raw = rows_of(data, 3)
    np.testing.assert_allclose(
        Predictor(written).predict(raw).scores, Oracle(recipe, facts, layers).scores(raw), rtol=1e-4
    )


def test_no_rows_give_an_empty_prediction(predictor):
    found = predictor.predict(np.empty((0, 16), np.float32), layers=True)
    assert len(found) == 0
    assert (found.label.shape, found.margin.shape) == ((0,), (0,))
    assert (found.scores.shape, found.goodness.shape) == ((0, 4), (0, 3, 4))


def test_goodness_is_empty_unless_asked_for(predictor):
    assert predictor.predict(rows_of(DATA["floats"], 2)).goodness.size == 0


def test_a_path_and_bytes_give_the_same_predictor(model, predictor, tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(model[0])
    raw = rows_of(DATA["floats"], 5)
    for given in (path, str(path)):
        np.testing.assert_array_equal(Predictor(given).predict(raw).scores, predictor.predict(raw).scores)
    assert Predictor(path).classes == ("class 0", "class 1", "class 2", "class 3")
    assert Predictor(path).recipe == model[1]
    assert Predictor(path).facts == model[2]


@pytest.fixture(scope="module")
def images():
    """Make a model of 3 x 5 images of bytes with one channel, and some of them."""
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (60, 3, 5), dtype=np.uint8)
    split = Split(ArrayRows(pictures), np.arange(60) % 3)
    data = Dataset("pictures", split, None, ("a", "b", "c"), "sha")
    return Predictor(make_model(small_spec(label_mode="concat"), data)[0]), pictures


def test_images_come_as_they_are_or_flat_one_or_many(images):
    predictor, pictures = images
    wanted = predictor.predict(pictures).scores
    np.testing.assert_array_equal(predictor.predict(pictures.reshape(60, 15)).scores, wanted)
    for one in (pictures[7], pictures[7].ravel(), pictures[7:8], pictures[7:8].reshape(1, 15)):
        np.testing.assert_allclose(predictor.predict(one).scores, wanted[7:8], rtol=1e-5)
    np.testing.assert_array_equal(predictor.predict(list(pictures)).scores, wanted)
    np.testing.assert_allclose(predictor.predict(np.asfortranarray(pictures)[::-1]).scores[::-1], wanted, rtol=1e-5)


@pytest.mark.parametrize("dtype", [np.float64, np.float16, np.int32, np.uint16])
def test_a_float_model_takes_any_numbers_but_bytes(predictor, dtype):
    raw = (rows_of(DATA["floats"], 6) * 3 + 10).astype(dtype)
    found = predictor.predict(raw)
    np.testing.assert_array_equal(found.scores, predictor.predict(raw.astype(np.float32)).scores)
    with pytest.raises(
        DataError, match=r"^inputs are uint8, but the model takes float32. Convert them as the train data"
    ):
        predictor.predict(raw.astype(np.uint8))


@pytest.mark.parametrize(
    ("shape", "text"),
    [
        ((3, 15), r"inputs must have shape \[16\] or \[N, …\], got \[3, 15\]"),
        ((15,), r"inputs must have shape \[16\] or \[N, …\], got \[15\]"),
        ((3, 4, 4), r"inputs must have shape \[16\] or \[N, …\], got \[3, 4, 4\]"),
        ((), r"inputs must have shape \[16\] or \[N, …\], got \[\]"),
        ((0,), r"inputs must have shape \[16\] or \[N, …\], got \[0\]"),
    ],
)
def test_inputs_of_another_shape_are_refused(predictor, shape, text):
    with pytest.raises(DataError, match=f"^{text}$"):
        predictor.predict(np.zeros(shape, np.float32))


def test_a_batch_of_images_of_another_size_is_refused(images):
    with pytest.raises(DataError, match=r"^inputs must have shape \[3, 5\] or \[N, …\], got \[2, 5, 3\]$"):
        images[0].predict(np.zeros((2, 5, 3), np.uint8))


def test_inputs_of_another_type_are_refused(predictor, images):
    with pytest.raises(DataError, match=r"^inputs must be whole numbers from 0 to 255 as in training, got float32$"):
        images[0].predict(np.zeros((2, 3, 5), np.float32))
    with pytest.raises(DataError, match=r"^inputs must be from 0 to 255 as in training, got -1 to 256$"):
        images[0].predict(np.array([-1, *[7] * 13, 256]))
    for value, name in ((np.full((2, 16), "1"), "<U1"), (np.zeros((2, 16), complex), "complex128")):
        with pytest.raises(DataError, match=f"^inputs must be numbers, got {name}$"):
            predictor.predict(value)


def test_bools_are_taken_as_0_and_1_as_training_takes_them(predictor):
    seen = np.arange(32).reshape(2, 16) % 3 > 0
    found, wanted = (predictor.predict(seen.astype(kind)).scores for kind in (bool, np.float32))
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("dtype", [np.int64, np.uint32, np.int16, list])
def test_whole_numbers_are_taken_for_bytes_as_lists_of_json_have_them(images, dtype):
    raw = np.random.default_rng(0).integers(0, 256, (4, 3, 5))
    found = images[0].predict(raw.tolist() if dtype is list else raw.astype(dtype))
    np.testing.assert_array_equal(found.scores, images[0].predict(raw.astype(np.uint8)).scores)


def test_what_is_no_array_of_numbers_is_refused_in_one_line(predictor):
    for value in ([[1, 2], [3]], [[1.0] * 16, [None] * 15]):
        with pytest.raises(DataError, match=r"^inputs must be numbers in rows of one length. Pass an array$"):
            predictor.predict(value)
    for value in ([10**400] * 16, [None] * 16, [object()] * 16):
        with pytest.raises(DataError, match=r"^inputs must be numbers, got object$"):
            predictor.predict(value)


def test_a_missing_file_is_named(tmp_path):
    none = "no such file. Train one with `ffedge train`"
    for path, words in ((tmp_path / "none.onnx", none), (tmp_path, "is a folder. Pass the model.onnx in it")):
        with pytest.raises(ModelError, match=f"^{path}: {words}$"):
            Predictor(path)


def test_a_file_that_is_no_model_is_named(model, tmp_path):
    text, empty, half = tmp_path / "notes.txt", tmp_path / "empty.onnx", tmp_path / "half.onnx"
    text.write_text("hello\n" * 50)
    empty.write_bytes(b"")
    half.write_bytes(model[0][: len(model[0]) // 2])
    for path in (text, empty, half):
        with pytest.raises(ModelError) as caught:
            Predictor(path)
        assert str(caught.value).startswith(f"{path}: is ")
        assert "\n" not in str(caught.value)
    with pytest.raises(
        ModelError, match=r"^model: is no model that ffedge can run \(field 13 of a model\). Pass a model.onnx$"
    ):
        Predictor(b"hello")


def test_someone_elses_model_is_refused(model):
    proto = onnx.load_from_string(model[0])
    del proto.metadata_props[:]
    text = "^model: is an ONNX model without ffedge's metadata. Export it with `ffedge export`$"
    with pytest.raises(ModelError, match=text):
        Predictor(proto.SerializeToString())


def test_a_newer_format_is_refused(model):
    with pytest.raises(ModelError, match=r"^model: has model format 2, but this ffedge reads 1. Upgrade ffedge$"):
        Predictor(changed(model[0], format="2"))


@pytest.mark.parametrize("key", ["spec", "input"])
@pytest.mark.parametrize("value", [None, "[]", "{}", "3", "null", '"text"', "{"])
def test_metadata_that_cannot_be_used_is_refused(model, key, value):
    with pytest.raises(ModelError, match=r"^model: its metadata (cannot be used|is damaged) .*Export the model anew$"):
        Predictor(changed(model[0], **{key: value}))


@pytest.mark.parametrize(
    ("name", "value"),
    [("dtype", "int7"), ("dtype", 3), ("shape", "wide"), ("shape", [-1]), ("shape", [16.0]), ("classes", 4)],
)
def test_facts_of_the_input_that_make_no_sense_are_refused(model, name, value):
    damaged = {**model[2].to_dict(), name: value}
    with pytest.raises(ModelError, match=r"^model: its metadata cannot be used .*Export the model anew$"):
        Predictor(changed(model[0], input=json.dumps(damaged)))


@pytest.mark.parametrize(("name", "value"), [("shape", [17]), ("classes", ["a", "b"])])
def test_facts_that_do_not_fit_the_weights_are_refused(model, name, value):
    damaged = {**model[2].to_dict(), name: value}
    with pytest.raises(ModelError, match=r"^model: its (graph|metadata) cannot be used .*Export the model anew$"):
        Predictor(changed(model[0], input=json.dumps(damaged)))


def test_what_is_run_follows_the_metadata(model, predictor):
    """A sample of another shape, as large; bytes where numbers were."""
    facts, raw = model[2].to_dict(), np.arange(32, dtype=np.uint8).reshape(2, 16)
    square = Predictor(changed(model[0], input=json.dumps({**facts, "shape": [4, 4]})))
    small = Predictor(changed(model[0], input=json.dumps({**facts, "dtype": "uint8"})))
    wanted = predictor.predict(raw.astype(np.float32)).scores
    np.testing.assert_array_equal(square.predict(raw.reshape(2, 4, 4).astype(np.float32)).scores, wanted)
    np.testing.assert_array_equal(small.predict(raw).scores, wanted)


def test_an_unknown_option_is_refused(model):
    spec = model[1].to_dict()
    for part, name, value in (
        ("network", "norm", "batch"),
        ("network", "widths", 5),
        ("rule", "variant", "new"),
        ("rule", "novelty", 1),
    ):
        damaged = {**spec, part: {**spec[part], name: value}}
        with pytest.raises(ModelError, match=r"^model: its metadata cannot be used .*Export the model anew$"):
            Predictor(changed(model[0], spec=json.dumps(damaged)))


def test_prediction_needs_neither_torch_nor_onnx(model, tmp_path):
    (tmp_path / "model.onnx").write_bytes(model[0])
    np.save(tmp_path / "raw.npy", rows_of(DATA["floats"], 5))
    script = """
        import numpy as np
        from ffedge import Predictor

        print(*Predictor("model.onnx").predict(np.load("raw.npy")).label)
    """
    hidden = {"torch", "onnx", "safetensors", "PIL"}
    printed = in_child(script, hidden=hidden, cwd=tmp_path)
    wanted = Predictor(model[0]).predict(rows_of(DATA["floats"], 5)).label
    assert [int(word) for word in printed.split()] == wanted.tolist()


def test_a_provider_that_is_not_there_is_one_line(model, predictor, monkeypatch):
    raw = rows_of(DATA["floats"], 5)
    same = Predictor(model[0], threads=1, provider="CPU").predict(raw)
    np.testing.assert_array_equal(same.scores, predictor.predict(raw).scores)
    for name in ("cuda", "azure", "", "CPUExecutionProvider"):
        with pytest.raises(FfedgeError, match=rf"^`provider='{name}'`: this onnxruntime has cpu\. Use one of these"):
            Predictor(model[0], provider=name)
    monkeypatch.setattr(session.ort, "get_available_providers", lambda: ["CUDAExecutionProvider", session.CPU])
    with pytest.warns(UserWarning, match="CUDA"), pytest.raises(FfedgeError, match="cannot be used on this machine"):
        Predictor(model[0], provider="cuda")
