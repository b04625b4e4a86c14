"""Nothing is measured twice, and arms take turns."""

import json

import numpy as np
import pytest

from ffedge.compare import memory, runner
from ffedge.compare.arms import ARMS, QUICK, Work, chosen_arms
from ffedge.errors import FfedgeError

ANSWER = {"arm": "backprop-adam", "layers": [{"seconds": 1.0}]} | dict.fromkeys(memory.SPREAD, 2)
NAMES = ["ffedge-ff-adam", "backprop-adam"]


@pytest.fixture
def asked(monkeypatch):
    """Answer every request with one measure; return the requests."""
    requests = []
    monkeypatch.setattr(runner, "ask", lambda name, request, *_: requests.append(request) or ANSWER)
    return requests


def test_what_stands_in_the_file_is_not_measured_again_though_its_last_line_is_torn(tmp_path, asked, capsys):
    file = tmp_path / "bench" / "measures.jsonl"
    first = runner.Runner(file).take("memory", NAMES, Work(), 2)
    assert [request["arm"] for request in asked] == NAMES * 2
    assert [line.partition(",")[0] for line in capsys.readouterr().err.splitlines()] == [
        f"[{index}/4] {name}" for index, name in enumerate(NAMES * 2, 1)
    ]
    with file.open("a") as torn:
        torn.write('{"key": "ha')
    again = runner.Runner(file)
    assert again.take("memory", NAMES, Work(), 2) == first == {name: [ANSWER] * 2 for name in NAMES}
    again.take("memory", NAMES[:1], Work(batch_size=1), 1)
    again.take("speed", NAMES[:1], Work(), 1)
    assert [(request["task"], request["work"]["batch_size"]) for request in asked[4:]] == [("memory", 1), ("speed", 64)]
    assert len([json.loads(line) for line in file.read_text().splitlines()]) == 6


def save(path, seed):
    rng = np.random.default_rng(seed)
    np.savez(path, x_train=rng.normal(size=(40, 3)).astype(np.float32), y_train=np.arange(40) % 2)
    return path


def test_other_content_of_the_data_is_measured_again_and_the_same_content_is_not(tmp_path, asked):
    work = Work(str(save(tmp_path / "data.npz", 0)))
    for seed, measured in ((0, 1), (0, 1), (1, 2), (0, 2)):
        save(tmp_path / "data.npz", seed)
        runner.Runner(tmp_path / "measures.jsonl").take("speed", NAMES[:1], work, 1)
        assert len(asked) == measured


@pytest.mark.parametrize("other", [{"processor": "Cortex-A76"}, {"cores": 1000}, {"architecture": "aarch64"}])
def test_what_another_machine_measured_is_measured_again(tmp_path, asked, monkeypatch, other):
    runner.Runner(tmp_path / "measures.jsonl").take("memory", NAMES[:1], Work(), 1)
    here = runner.machine()
    monkeypatch.setattr(runner, "machine", lambda: here | other)
    runner.Runner(tmp_path / "measures.jsonl").take("memory", NAMES[:1], Work(), 1)
    assert len(asked) == 2


@pytest.mark.parametrize(
    "line", [b'{"key": "x", "mea', b'{"key": "x"}', b"3", b'{"key": [], "measure": {}}', b"\xff", b"", b"[" * 99]
)
def test_a_damaged_line_is_named_by_its_file_and_number(tmp_path, line):
    file = tmp_path / "measures.jsonl"
    file.write_bytes(b'{"key": "k", "measure": {}}\n' + line + b"\n")
    with pytest.raises(
        FfedgeError, match=r"measures\.jsonl, line 2: is damaged \(.*\)\. Remove it: what it held is mea"
    ):
        runner.Runner(file)


def test_a_folder_in_the_place_of_the_file_is_refused_in_a_line(tmp_path):
    with pytest.raises(FfedgeError, match=r"cannot be read \(it is no regular file\)\. Choose another `out`"):
        runner.Runner(tmp_path)


def test_a_run_that_fails_keeps_what_was_measured_before_it(tmp_path, monkeypatch):
    def fail(name, request, *_):
        if request["arm"] == "backprop-adam":
            raise KeyboardInterrupt
        return ANSWER

    monkeypatch.setattr(runner, "ask", fail)
    file = tmp_path / "measures.jsonl"
    with pytest.raises(KeyboardInterrupt):
        runner.Runner(file).take("memory", NAMES, Work(), 1)
    assert len(file.read_text().splitlines()) == 1


def test_medians_are_taken_number_by_number():
    runs = [{"a": n, "b": [{"c": n / 4, "d": None}], "e": "x"} for n in (1, 9, 2)]
    assert runner.median_of(runs) == {"a": 2, "b": [{"c": 0.5, "d": None}], "e": "x"}
    assert isinstance(runner.median_of([1, 2]), int)
    assert runner.spread_text([3.0, 1.0, 2.0]) == "2.00 [1.00, 3.00]"
    assert runner.ratios({"a": [4.0, 9.0], "b": [2.0, 3.0]}, [("a", "b")]) == {"a / b": [2.0, 3.0]}


def test_a_choice_of_arms_is_checked_before_any_is_measured(monkeypatch):
    assert chosen_arms(NAMES[:1]) == NAMES[:1]
    assert all(name == arm.name for name, arm in ARMS.items())
    with pytest.raises(ValueError, match=r"`arms` must be of ffedge-ff-adam, .*, got 'magic'"):
        chosen_arms(["ffedge-ff-adam", "magic"])
    monkeypatch.setattr("ffedge.compare.arms.find_spec", lambda _: None)
    assert chosen_arms(quick=True) == [name for name in QUICK if name.startswith("ffedge")]
    with pytest.raises(FfedgeError, match=r"backprop-sgd needs torch, .* pip install 'ffedge\[torch\]', or choose oth"):
        chosen_arms(["backprop-sgd"])
