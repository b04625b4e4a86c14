"""A board's part of a round: the server's weights in, what it learnt out; no row leaves, and its file stays a model."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
from toys import clusters, small_spec

import ffedge
from ffedge.data.dataset import Dataset
from ffedge.data.stream import split_rows
from ffedge.errors import ModelError
from ffedge.fleet.board import board_round, measures, take
from ffedge.learning.kin import kind_of
from ffedge.model.file import Model
from ffedge.training.replay import kept_file

DATA = clusters(rows=200, noise=1.0)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Train the server's model, which has seen little, and another by the same spec."""
    folder = tmp_path_factory.mktemp("server")
    spec = small_spec(holdout=0.1, epochs=1)
    first = ffedge.train(spec, clusters(rows=60), folder / "first", progress=False)
    ffedge.learn(shutil.copy(first.model, folder / "next.onnx"), DATA, max_drop=1.0, force=True, progress=False)
    return first.model, folder / "next.onnx"


@pytest.fixture
def board(trained, tmp_path):
    """Give a board the model that all began from."""
    shutil.copy(trained[0], tmp_path / "board.onnx")
    shutil.copy(kept_file(trained[0]), tmp_path / "board.kept.safetensors")
    return tmp_path / "board.onnx"


def words(model):
    model = Model(model)
    return {"kind": kind_of(model.recipe, model.facts), "wanted": model.fingerprint()}


def layers(model, which=(0, 1, 2)):
    return {index: Model(model).layer(index) for index in which}


def test_it_begins_from_the_servers_weights_and_sends_what_learnt(trained, board):
    update, _ = board_round(board, DATA, layers(trained[1]), [1], epochs=1, **words(trained[1]))
    assert (list(update.layers), update.rows) == ([1], 200)
    now, server = Model(board), Model(trained[1])
    assert [np.array_equal(now.layer(i)["W"], server.layer(i)["W"]) for i in range(3)] == [True, False, True]
    assert np.array_equal(update.layers[1]["W"], now.layer(1)["W"])
    alone = ffedge.learn(trained[1], DATA, layers=[1], epochs=1, max_drop=1.0, force=True, progress=False)
    assert alone.rows == update.rows


def test_what_is_measured_is_the_servers_model_on_rows_that_the_board_holds_out(trained, board):
    """Against scores and goodness of the model file itself, in numpy."""
    take(board, layers(trained[1]), **words(trained[1]))
    found, model = measures(board, DATA), Model(board)
    rows = split_rows(200, model.recipe)[0]
    answers = ffedge.Predictor(board).predict(DATA.train.inputs.take(rows), layers=True)
    true, goodness = DATA.train.labels[rows], answers.goodness.mean(axis=1)
    wrong = np.where(np.arange(4) == true[:, None], -np.inf, goodness).max(axis=1)
    wanted = [(answers.place == true).mean(), goodness[np.arange(len(rows)), true].mean(), wrong.mean(), len(rows)]
    assert list(found) == ["accuracy", "goodness-true", "goodness-wrong", "rows-held-out"]
    assert list(found.values()) == pytest.approx(wanted)


def test_rows_that_are_too_few_to_hold_some_out_measure_nothing(board):
    few = replace(DATA, train=ffedge.data.dataset.chosen(DATA.train, np.arange(5)))
    assert isinstance(few, Dataset)
    assert measures(board, few) == {}


def test_layers_that_the_board_has_need_not_come_again(trained, board):
    take(board, layers(trained[1]), **words(trained[1]))
    before = board.read_bytes()
    take(board, {}, **words(trained[1]))
    assert board.read_bytes() == before


def test_a_board_that_lacks_layers_says_so_and_stays_as_it_was(trained, board):
    before = board.read_bytes()
    with pytest.raises(
        ModelError, match=r"board.onnx: lacks layers of the server's model, which sends them all in the"
    ):
        board_round(board, DATA, layers(trained[1], [0]), [0], epochs=1, **words(trained[1]))
    assert board.read_bytes() == before
    assert sorted(path.name for path in board.parent.iterdir()) == ["board.kept.safetensors", "board.onnx"]


def test_a_model_of_another_kind_is_refused(trained, board, tmp_path):
    other = ffedge.train(small_spec(widths=(12, 10, 9), epochs=1), clusters(rows=60), tmp_path / "other").model
    with pytest.raises(ModelError, match="has other classes, inputs or layers than the server's model"):
        board_round(other, DATA, layers(trained[1]), [0], epochs=1, **words(trained[1]))
    with pytest.raises(ModelError, match="no such file"):
        take(tmp_path / "none.onnx", {}, **words(trained[1]))


def test_weights_that_are_no_numbers_are_refused(trained, board):
    sent, before = layers(trained[1]), board.read_bytes()
    sent[0] = sent[0] | {"W": sent[0]["W"] * np.float32(np.nan)}
    with pytest.raises(ModelError, match="stands as it was: the server's weights are not finite"):
        take(board, sent, **words(trained[1]))
    assert board.read_bytes() == before


def test_boards_that_took_one_servers_weights_can_be_merged_by_files(trained, board, tmp_path):
    shutil.copy(board, tmp_path / "second.onnx")
    for path in (board, tmp_path / "second.onnx"):
        board_round(path, DATA, layers(trained[1]), [0, 1, 2], epochs=1, **words(trained[1]))
    assert ffedge.merge([board, tmp_path / "second.onnx"], tmp_path / "all.onnx").rows == [200, 200]
