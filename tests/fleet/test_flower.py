"""The Flower app: what travels in a round, whose answer counts, and a run by docs/fleet.md on loopback."""

import importlib.util
import math
import sys
import warnings
from shutil import which

import numpy as np
import pytest
from toys import clusters, make_model, small_spec

from ffedge.errors import FfedgeError
from ffedge.model.file import Model

if importlib.util.find_spec("flwr") is None:
    pytest.skip("needs flwr: ffedge[fleet]", allow_module_level=True)

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of packages that Flower stands on
    from flwr.app import Array, ArrayRecord, ConfigRecord, Error, Message, MetricRecord, RecordDict
    from flwr.supercore.task_identity import TaskIdentity

    from ffedge.fleet.messages import ARRAYS, CONFIG, METRICS, ROWS, packed, unpacked
    from ffedge.fleet.server import main
    from ffedge.fleet.strategy import Fleet

from fleet_flower import run

GOOD = {"accuracy": 0.75, "goodness-true": 2.0, "goodness-wrong": 1.0, "rows-held-out": 10.0}


class Grid:
    """Boards that are there."""

    def __init__(self, *nodes):
        self.nodes = list(nodes)

    def get_node_ids(self):
        return self.nodes


@pytest.fixture(autouse=True)
def _task(monkeypatch):
    """Give this process the numbers that a task of Flower's has."""
    for name in ("task_id", "run_id", "node_id"):
        monkeypatch.setattr(TaskIdentity, f"_{name}", 1)


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(make_model(small_spec(), clusters())[0])
    return path


@pytest.fixture
def fleet(model, tmp_path):
    return lambda **words: Fleet(model, tmp_path / "out.onnx", rounds=words.pop("rounds", 4), **words)


def asked(fleet, number, grid):
    """Begin a round; return the messages by board."""
    messages = fleet.configure_train(number, ArrayRecord(), ConfigRecord(), grid)
    return {message.metadata.dst_node_id: message for message in messages}


def answer(message, layers, rows=10, **measures):
    content = {ARRAYS: packed(layers), METRICS: MetricRecord({ROWS: rows, **(GOOD | measures)})}
    return Message(RecordDict(content), reply_to=message)


def moved(model, message, by=0.01):
    """Return what a board would send that moved each weight of what it is asked for."""
    layers = message.content[CONFIG]["layers"]
    return {i: {n: np.float32(a + by) for n, a in Model(model).layer(i).items()} for i in layers}


def test_layers_travel_as_they_are(model):
    layers = {i: Model(model).layer(i) for i in (0, 2)}
    there = unpacked(packed(layers))
    assert list(there) == [0, 2]
    for index, arrays in layers.items():
        for name, array in arrays.items():
            assert there[index][name].tobytes() == array.tobytes()
            assert there[index][name].shape == array.shape


def test_boards_count_by_rows_and_the_model_is_written_after_the_round(fleet, model, tmp_path):
    strategy, path = fleet(), tmp_path / "out.onnx"
    sent = asked(strategy, 1, Grid(5, 6))
    replies = [answer(sent[5], moved(model, sent[5], 0.01), 30), answer(sent[6], moved(model, sent[6], 0.05), 10)]
    _, metrics = strategy.aggregate_train(1, replies)
    np.testing.assert_allclose(Model(path).layer(0)["W"], Model(model).layer(0)["W"] + 0.02, rtol=1e-5)
    assert Model(path).metadata["learnt"][-1]["rows"] == 40
    whole = sum(a.nbytes for i in range(3) for a in Model(model).layer(i).values())
    assert dict(metrics) == {"bytes-down": 2 * whole, "bytes-up": 2 * whole, "boards": 2} | {
        name: value for name, value in GOOD.items() if name != "rows-held-out"
    }


def test_one_layer_a_round_carries_that_layer_and_what_a_board_lacks(fleet, model):
    strategy, carried = fleet(one_layer=True), []
    for number in range(1, 4):
        grid = Grid(5, 6) if number != 2 else Grid(5, 6, 7)  # a third one comes late
        sent = asked(strategy, number, grid)
        carried.append({node: sorted(unpacked(message.content[ARRAYS])) for node, message in sent.items()})
        assert all(message.content[CONFIG]["layers"] == [number - 1] for message in sent.values())
        strategy.aggregate_train(
            number, [answer(sent[n], moved(model, sent[n])) for n in sent if (number, n) != (2, 6)]
        )
    assert carried[0] == {5: [0, 1, 2], 6: [0, 1, 2]}
    assert {5: carried[1].get(5, [0]), 6: carried[1].get(6, [0])} == {5: [0], 6: [0]}
    assert carried[1].get(7, [0, 1, 2]) == [0, 1, 2]
    assert carried[2][5] == [1]
    assert carried[2][6] == [0, 1, 2]  # it did not answer in time, and may have learnt


def spoilt(kind, message, layers):
    """Return a reply that cannot be used."""
    if kind == "error":
        return Message(Error(2, "no rows\nat all"), reply_to=message)
    records = {
        "names": ArrayRecord({"evil": Array(np.zeros(3))}),
        "bytes": ArrayRecord({"layers.0.W": Array("float32", (2,), "numpy.ndarray", b"no array")}),
    }
    if kind in records:
        return Message(RecordDict({ARRAYS: records[kind], METRICS: MetricRecord({ROWS: 3})}), reply_to=message)
    if kind == "empty":
        return Message(RecordDict({}), reply_to=message)
    if kind in ("nan", "far"):
        layers[1]["W"] = layers[1]["W"] * np.float32({"nan": np.nan, "far": 1e6}[kind])
    return answer(message, {0: layers[0]} if kind == "layers" else layers, -3 if kind == "rows" else 10)


@pytest.mark.parametrize("kind", ["error", "empty", "names", "bytes", "rows", "layers", "nan", "far"])
def test_an_answer_that_cannot_be_used_is_told_and_the_others_count(fleet, model, kind, tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr("ffedge.fleet.strategy.log", lambda _, text, *values: said.append(text % values))
    strategy = fleet(boards=3)
    sent = asked(strategy, 1, Grid(5, 6, 7))
    replies = [answer(sent[n], moved(model, sent[n])) for n in (5, 6)]
    replies.append(spoilt(kind, sent[7], moved(model, sent[7])))
    metrics = strategy.aggregate_train(1, replies)[1]
    assert metrics["boards"] == 2
    assert [line for line in said if line.startswith("board 7: ") and "\n" not in line]
    np.testing.assert_allclose(Model(tmp_path / "out.onnx").layer(1)["b"], Model(model).layer(1)["b"] + 0.01, rtol=1e-4)


def test_where_nobody_answers_the_model_stays(fleet, tmp_path):
    strategy = fleet()
    asked(strategy, 1, Grid(5, 6))
    assert strategy.aggregate_train(1, [])[1]["boards"] == 0
    assert not (tmp_path / "out.onnx").exists()


@pytest.mark.parametrize("lie", [{"accuracy": math.nan}, {"rows-held-out": 1e300}, {"accuracy": [1.0]}])
def test_measures_that_cannot_be_are_left_out_of_the_mean(fleet, model, lie):
    strategy = fleet()
    sent = asked(strategy, 1, Grid(5, 6))
    replies = [answer(sent[5], moved(model, sent[5])), answer(sent[6], moved(model, sent[6]), **lie)]
    assert strategy.aggregate_train(1, replies)[1]["accuracy"] == 0.75


def test_boards_that_do_not_come_are_waited_for_no_longer_than_asked(fleet):
    with pytest.raises(
        FfedgeError, match=r"1 of 2 boards are there after 0 s. Start their SuperNodes, or ask for fewer"
    ):
        asked(fleet(wait_s=0), 1, Grid(5))


@pytest.mark.parametrize(
    ("config", "line"),
    [
        ({"banana": 1}, "banana is no setting of a fleet. Use model, out, rounds"),
        ({"layers": "two"}, "layers must be all or one, got 'two'"),
        ({"method": "mode"}, "method must be mean or median or trimmed, got 'mode'"),
        ({"rounds": 0}, "rounds must be a whole number from 1, got 0"),
        ({"model": "none.onnx"}, "none.onnx: no such file"),
    ],
)
def test_a_setting_that_cannot_be_is_one_line(config, line):
    class Context:
        run_config = config

    with pytest.raises(FfedgeError, match=line):
        main(Grid(), Context())


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
@pytest.mark.skipif(not all(map(which, ("openssl", "ssh-keygen"))), reason="needs openssl and ssh-keygen")
def test_the_documents_commands_make_two_boards_learn_one_model(tmp_path):
    """With certificates and keys, in Flower's own processes; no longer than four minutes."""
    found = run(tmp_path, boards=2, rounds=2, layers="one")
    assert found["accuracy_after"] > found["accuracy_before"] + 0.03, found["said"]
    assert [line.split(",")[0] for line in found["rounds"]] == ["round 1: 2 boards", "round 2: 2 boards"]
    down = [float(line.split(", ")[1].split()[0]) for line in found["rounds"]]
    assert down[1] < down[0]
    assert any("accuracy" in line for line in found["said"])
