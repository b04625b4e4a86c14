"""Nothing is measured twice, arms take turns, and what is left to do is foretold from what was measured."""

import dataclasses
import json

import pytest
from planted import measured

from ffedge.compare import measurer as module
from ffedge.compare.arms import ARMS, Work, check_arms
from ffedge.compare.measurer import Job, Measurer, Progress
from ffedge.compare.memory import points
from ffedge.errors import FfedgeError

ANSWER = dataclasses.asdict(measured("backprop-adam", 1))


class Heard(Progress):
    def __init__(self):
        self.begun, self.left, self.ended = [], [], 0

    def begin(self, jobs, left_s, *, kept):
        self.begun.append((jobs, kept))

    def job(self, index, job, left_s):
        self.left.append(left_s)

    def end(self):
        self.ended += 1


@pytest.fixture
def asked(monkeypatch):
    """Answer every request with one measure; return the requests."""
    requests = []
    monkeypatch.setattr(module, "ask", lambda name, request, *_: requests.append(request) or ANSWER)
    return requests


def test_what_stands_in_the_file_is_not_measured_again_though_its_last_line_is_torn(tmp_path, asked):
    file, jobs = tmp_path / "measures.jsonl", [Job("memory", "backprop-adam", Work(), run) for run in range(2)]
    first = Measurer(file, Progress()).take(jobs)
    with file.open("a") as torn:
        torn.write('{"key": "ha')
    heard = Heard()
    assert Measurer(file, heard).take(jobs) == first == [ANSWER] * 2
    assert (len(asked), heard.begun) == (2, [])
    other = [Job("memory", "backprop-adam", Work(batch_size=1), 0), Job("speed", "backprop-adam", Work(), 0)]
    Measurer(file, heard).take([*jobs, *other])
    assert heard.begun == [(2, True)]
    assert [(request["task"], request["work"]["batch_size"]) for request in asked[2:]] == [("memory", 1), ("speed", 64)]
    assert len([json.loads(line) for line in file.read_text().splitlines()]) == 4


def test_a_run_that_fails_keeps_what_was_measured_before_it(tmp_path, monkeypatch, asked):
    file, jobs = (
        tmp_path / "measures.jsonl",
        [Job("memory", arm, Work(), 0) for arm in ("backprop-adam", "backprop-sgd")],
    )

    def fail(name, request, *_):
        if request["arm"] == "backprop-sgd":
            raise KeyboardInterrupt
        return ANSWER

    monkeypatch.setattr(module, "ask", fail)
    heard = Heard()
    with pytest.raises(KeyboardInterrupt):
        Measurer(file, heard).take(jobs)
    assert heard.ended == 1
    assert len(file.read_text().splitlines()) == 1


def test_arms_take_turns(asked):
    names = ["ffedge-ff-adam", "backprop-adam"]
    (point,) = points(Measurer(None, Progress()), names, Work(), None, (), 3)
    assert [request["arm"] for request in asked] == names * 3
    assert [len(runs) for runs in point.runs] == [3, 3]


def test_a_sweep_changes_one_thing(asked):
    base = Work(widths=(32, 32))
    for sweep, values in (("depth", (1, 3)), ("width", (8, 16)), ("batch", (1, 2))):
        points(Measurer(None, Progress()), ["backprop-adam"], base, sweep, values, 1)
    works = [request["work"] for request in asked]
    assert [work["widths"] for work in works] == [(32,), (32,) * 3, (8, 8), (16, 16), (32, 32), (32, 32)]
    assert [work["batch_size"] for work in works] == [64, 64, 64, 64, 1, 2]


def test_what_is_left_is_foretold_from_what_was_measured(monkeypatch, asked):
    now = iter(range(0, 1000, 30))  # each look at the clock is 30 s later
    monkeypatch.setattr(module.time, "perf_counter", lambda: float(next(now)))
    heard, jobs = Heard(), [Job("memory", "backprop-adam", Work(), run) for run in range(4)]
    Measurer(None, heard).take(jobs)
    assert heard.left[0] == pytest.approx(4 * jobs[0].rough_s)
    assert heard.left[1:] == pytest.approx([90, 60, 30])


def test_more_work_is_expected_to_take_longer():
    base = Job("memory", "ffedge-ff-adam", Work(), 0)
    for change in ({"rows": 60000}, {"widths": (500,) * 16}, {"widths": (2000,) * 4}, {"epochs": 9}, {"batch_size": 1}):
        assert dataclasses.replace(base, work=Work(**change)).rough_s > base.rough_s


def test_arms_are_named_apart():
    assert len(ARMS) == 24
    assert all(name == arm.name for name, arm in ARMS.items())


def test_a_choice_of_arms_is_checked_before_any_is_measured(monkeypatch):
    check_arms(list(ARMS)[:3])
    with pytest.raises(ValueError, match=r"--arms must be of ffedge-ff-adam, .*, got 'magic'"):
        check_arms(["ffedge-ff-adam", "magic"])
    monkeypatch.setattr("ffedge.compare.arms.find_spec", lambda _: None)
    check_arms(["ffedge-ff-adam"])
    for arm, text in (
        ("ffedge-ff-adam-torch", r"needs torch, .* pip install 'ffedge\[torch\]', or choose others with --arms$"),
        ("backprop-sgd-ort", r"needs onnxsim, .* pip install 'ffedge\[bench\]', or choose others with --arms$"),
    ):
        with pytest.raises(FfedgeError, match=text):
            check_arms([arm])
