"""Tables in memory are what the same table in a file is: of pandas, polars, pyarrow, and Hugging Face's data sets."""

import datetime
import re

import numpy as np
import pytest

import ffedge
from ffedge.data import load
from ffedge.errors import DataError

RNG = np.random.default_rng(0)
COLUMNS = {
    "temp": RNG.normal(20, 3, 90),
    "count": RNG.integers(10**12, 10**12 + 50, 90),
    "mode": np.array(["off", "on", "auto"])[RNG.integers(0, 3, 90)],
    "open": RNG.integers(0, 2, 90) > 0,
    "when": np.array([datetime.datetime(2026, 1, 1) + datetime.timedelta(hours=h) for h in range(90)], "M8[s]"),
    "state": np.array(["run", "idle"])[np.arange(90) % 2],
}


class Named:
    """Names of classes, as of a ClassLabel."""

    names = ("run", "idle")


class HuggingFace:
    """What `datasets.Dataset` is, as far as it plays a part."""

    def __init__(self, columns, features=()):
        self.rows, self.features = columns, dict(features)

    @property
    def column_names(self):
        return list(self.rows)

    def __len__(self):
        return len(next(iter(self.rows.values())))

    def __getitem__(self, key):
        if isinstance(key, str):
            return self.rows[key]
        if isinstance(key, slice):
            return {name: values[key] for name, values in self.rows.items()}
        return {name: values[key] for name, values in self.rows.items()}

    def __iter__(self):
        return (self[at] for at in range(len(self)))

    def iter(self, batch_size):
        return (self[at : at + batch_size] for at in range(0, len(self), batch_size))


def lists():
    return {name: values.tolist() for name, values in COLUMNS.items()}


def as_pandas():
    return pytest.importorskip("pandas").DataFrame(COLUMNS)


def as_pandas_nullable():
    return as_pandas().convert_dtypes().sample(frac=1, random_state=0).sort_index()


def as_pandas_categories():
    return as_pandas().astype({"mode": "category", "state": "category"})


def as_polars():
    return pytest.importorskip("polars").DataFrame(lists())


def as_pyarrow():
    return pytest.importorskip("pyarrow").table(COLUMNS)


def as_hugging_face():
    numbers = [Named.names.index(name) for name in COLUMNS["state"]]
    return HuggingFace(lists() | {"state": numbers}, {"state": Named()})


FRAMES = (as_pandas, as_pandas_nullable, as_pandas_categories, as_polars, as_pyarrow, as_hugging_face)


@pytest.mark.parametrize("make", FRAMES)
def test_a_frame_is_the_table_that_its_file_is(make, tmp_path):
    pandas = pytest.importorskip("pandas")
    pandas.DataFrame(COLUMNS).astype({"open": str}).replace({"open": {"True": "true", "False": "false"}}).to_csv(
        tmp_path / "t.csv", index=False
    )
    wanted, found = load(tmp_path / "t.csv"), load(make(), label="state")
    assert (found.classes, found.table) == (wanted.classes, wanted.table)
    assert found.notes == wanted.notes == ("left out the columns of times: when",)
    rows = np.arange(90)
    np.testing.assert_array_equal(found.train.inputs.take(rows), wanted.train.inputs.take(rows))
    np.testing.assert_array_equal(found.train.labels[rows], wanted.train.labels[rows])


def test_a_model_takes_frames_by_the_names_of_their_columns(tmp_path):
    frame = as_pandas()
    run = ffedge.train(ffedge.Spec.make(widths=(8,), epochs=1), frame, tmp_path / "run", label="state")
    predictor = ffedge.Predictor(run.model)
    wanted = predictor.predict(load(frame, label="state").train.inputs.take(np.arange(90))).scores
    for make in FRAMES[:-1]:
        np.testing.assert_array_equal(predictor.predict(make()).scores, wanted)
    np.testing.assert_array_equal(predictor.predict(frame[frame.columns[::-1]].assign(more=1)).scores, wanted)
    with pytest.raises(DataError, match=r"^inputs lack the column 'mode'$"):
        predictor.predict(frame.drop(columns="mode"))
    with pytest.raises(DataError, match=r"^inputs: column 'temp' must be a number, got 'warm'$"):
        predictor.predict(frame.assign(temp="warm"))
    learner = ffedge.Learner(run.model)
    assert np.isfinite(learner.observe(frame, frame["state"].to_numpy(object)))


def test_a_model_takes_rows_that_are_dicts_and_columns_of_one(tmp_path):
    frame = as_pandas().drop(columns="when")
    run = ffedge.train(ffedge.Spec.make(widths=(8,), epochs=1), frame, tmp_path / "run", label="state")
    predictor, turned = ffedge.Predictor(run.model), frame[frame.columns[::-1]].assign(more=1)
    wanted = predictor.predict(frame).scores
    rows = turned.to_dict("records")
    for given in (rows, tuple(rows), [row for _, row in turned.iterrows()], turned.to_dict("list")):
        np.testing.assert_array_equal(predictor.predict(given).scores, wanted)
    for one in (rows[7], turned.iloc[7], {name: [value] for name, value in rows[7].items()}):
        np.testing.assert_array_equal(predictor.predict(one).scores, wanted[7:8])
    assert np.isfinite(ffedge.Learner(run.model).observe(rows[:9], frame["state"].to_numpy(object)[:9]))
    assert predictor.predict([*rows[:2], rows[2] | {"temp": None}]).odd == {
        2: "column 'temp' is missing, as in no training row"
    }


def test_columns_whose_names_are_numbers_are_found_by_their_texts(tmp_path):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(RNG.normal(size=(60, 3)))
    frame["y"] = frame[0] > 0
    run = ffedge.train(ffedge.Spec.make(widths=(8,), epochs=1), frame, tmp_path / "run", label="y")
    predictor = ffedge.Predictor(run.model)
    wanted, turned = predictor.predict(frame[[0, 1, 2]].to_numpy()).scores, frame[["y", 2, 0, 1]]
    assert [column.name for column in predictor.facts.table.columns] == ["0", "1", "2"]
    for given in (frame, turned, turned.to_dict("records"), turned.to_dict("list"), turned.rename(columns=str)):
        np.testing.assert_array_equal(predictor.predict(given).scores, wanted)
    for one in (turned.iloc[7], turned.iloc[7].to_dict()):
        np.testing.assert_array_equal(predictor.predict(one).scores, wanted[7:8])


REST = {"count": 1, "mode": "a", "open": True}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"temp": 1.0}, "inputs: row 1 (from 0) lacks the column 'count'"),
        (
            {"temp": "warm"} | REST,
            "inputs: row 1 (from 0) column 'temp' must be a number",
        ),
        ({"temp": [1]} | REST, "inputs: row 1 (from 0) column 'temp' must be a number"),
        ([1, 2, 3, 4], "inputs: row 1 (from 0) lacks the column"),
        (None, "inputs: row 1 (from 0) lacks the column"),
    ],
    ids=str,
)
def test_a_row_that_lacks_something_is_named(tmp_path, row, message):
    frame = as_pandas().drop(columns="when")
    run = ffedge.train(ffedge.Spec.make(widths=(8,), epochs=1), frame, tmp_path / "run", label="state")
    with pytest.raises(DataError, match=f"^{re.escape(message)}"):
        ffedge.Predictor(run.model).predict([frame.to_dict("records")[0], row])


def test_what_the_first_rows_do_not_show_is_read_by_the_columns_of_the_model():
    late = np.array([None] * 1200 + [7.5, "8"], object)
    frame = {"temp": np.arange(1202.0) % 7, "late": late, "state": np.array(["run", "idle"])[np.arange(1202) % 2]}
    known = load(HuggingFace({**frame, "late": np.arange(1202.0)}), label="state").table
    found = load(HuggingFace(frame), table=known, label="state").train.inputs.take(np.array([1199, 1200, 1201]))
    np.testing.assert_array_equal(found[:, 1], [np.nan, 7.5, 8.0])


@pytest.mark.parametrize("text", ["oops", "12_34"])
def test_a_text_far_down_a_column_of_numbers_is_named(text):
    values = np.array([1.5] * 1100 + [text, 2.5], object)
    frame = HuggingFace({"temp": values, "state": np.array(["run", "idle"])[np.arange(1102) % 2]})
    with pytest.raises(DataError, match=r"row 1100.*: column 'temp' must be a number, got '" + text):
        load(frame, label="state")


def test_gaps_in_a_frame_are_gaps():
    frame = as_pandas().convert_dtypes()
    frame.loc[3, "temp"] = frame.loc[4, "count"] = frame.loc[5, "mode"] = None
    found = load(frame, label="state")
    assert [c.gaps for c in found.table.columns] == [True, True, True, False]
    inputs = found.train.inputs.take(np.arange(90))
    assert np.argwhere(np.isnan(inputs)).tolist() == [[3, 0], [4, 1], [5, 2]]


def test_pictures_of_hugging_face_are_minibatches_with_the_names_of_their_classes():
    pictures = RNG.integers(0, 256, (40, 8, 8), dtype=np.uint8)
    data = HuggingFace({"image": list(pictures), "label": [at % 2 for at in range(40)]}, {"label": Named()})
    found = load(data)
    np.testing.assert_array_equal(found.train.inputs.take(np.arange(40)), pictures)
    assert [found.classes[at] for at in found.train.labels[np.arange(4)]] == ["run", "idle", "run", "idle"]


def test_several_sets_are_refused_by_name():
    with pytest.raises(DataError, match=r"several sets by name \(train, test\)"):
        load({"train": as_hugging_face(), "test": as_hugging_face()})


def test_a_stream_of_pictures_is_read_and_one_of_a_table_refused():
    class Stream:
        def __init__(self, data):
            self.column_names, self.features, self.data = data.column_names, data.features, data

        def __iter__(self):
            return iter(self.data)

        def iter(self, batch_size):
            return self.data.iter(batch_size)

    pictures = HuggingFace({"image": [np.full((8, 8), at, np.uint8) for at in range(40)], "label": [0, 1] * 20})
    assert len(load(Stream(pictures)).train.labels) == 40
    with pytest.raises(DataError, match=r"^frame: is a table that comes as a stream"):
        load(Stream(as_hugging_face()))


def test_pairs_of_frames_and_objects_are_minibatches():
    frame = as_pandas()
    x, y = frame[["temp", "count"]].astype({"count": float}) - [0, 1e12], frame["state"]
    for pair in ((x, y), (x.to_numpy(object), y.to_numpy(object)), (np.asfortranarray(x), y.tolist())):
        found = load([pair])
        assert found.classes == ("idle", "run")
        np.testing.assert_array_equal(found.train.inputs.take(np.arange(90)), x.to_numpy(np.float32))
    assert load([{"pixel_values": x, "label": y}]).classes == ("idle", "run")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["a", 1], "y: row 1 .* holds 1, .*|y: row 0 .* holds a text beside numbers"),
        ([1, None], r"y: row 1 \(from 0\) holds None, no number and no text"),
        ([1, 10**400], r"y: holds a number of more than 64 bits"),
        ([1, [2, 3]], r"y: row 1 \(from 0\) holds \[2, 3\], no number"),
    ],
)
def test_objects_that_are_no_labels_are_refused(values, message):
    labels = np.empty(2, object)
    labels[:] = values
    with pytest.raises(DataError, match=message):
        load([(np.ones((2, 3)), labels)])


def test_an_empty_frame_and_two_columns_of_one_name_are_refused():
    frame = as_pandas()
    with pytest.raises(DataError, match=r"^frame: holds no rows"):
        load(frame[:0], label="state")
    with pytest.raises(DataError, match=r"^frame: has two columns 'temp'"):
        load(frame.rename(columns={"count": "temp"}), label="state")
