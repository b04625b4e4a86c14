"""A learner that threads share: each answer is that of a model as one thread alone would have made it, bit for bit."""

import copy
import os
import pickle
import threading
import time

import numpy as np
import pytest
from toys import clusters, make_model, small_spec

from ffedge import Learner, Monitor, Predictor
from ffedge.errors import FfedgeError
from ffedge.model.calibration import calibrate
from ffedge.model.write import write_model

DATA = clusters(noise=1.2)
ROWS, LABELS = DATA.train.inputs.take(np.arange(160)), np.asarray(DATA.train.labels)
ASKED = ROWS[:24]


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "model.onnx"
    calibration = calibrate(np.linspace(1, 9, 50, dtype=np.float32), np.linspace(0, 2, 50, dtype=np.float32), 0.9)
    path.write_bytes(make_model(small_spec(), DATA, calibration=calibration)[0])
    return path


def until(stop, work, errors):
    """Return a thread that does something again and again."""

    def run():
        try:
            while not stop.is_set():
                work()
        except Exception as error:
            errors.append(error)
            stop.set()

    return threading.Thread(target=run)


def together(seconds, *works):
    """Do each in a thread of its own for some seconds, or until an error."""
    errors, stop = [], threading.Event()
    threads = [until(stop, work, errors) for work in works]
    for thread in threads:
        thread.start()
    stop.wait(seconds)
    stop.set()
    for thread in threads:
        thread.join()
    assert errors == []


def serial(path, rows):
    """Yield the answers of the models that one thread makes, one after each observe of 16 rows, which is two steps."""
    learner = Learner(path, threads=1, force=True)
    yield learner.predict(ASKED).scores.tobytes()
    while learner.rows < rows:
        learner.observe(ROWS[:16], LABELS[:16])
        yield learner.predict(ASKED).scores.tobytes()


@pytest.mark.parametrize(
    ("learning", "seconds"), [(1, 2), (3, 2), pytest.param(3, 60, marks=pytest.mark.slow, id="3, a minute")]
)
def test_eight_threads_get_the_answers_that_one_would_get(path, learning, seconds):
    """The threads that learn all take the same rows, so that their order does not matter."""
    learner, seen = Learner(path, threads=1, force=True), [set() for _ in range(8 - learning)]
    answers = [lambda mine=mine: mine.add(learner.predict(ASKED).scores.tobytes()) for mine in seen]
    together(seconds, *[lambda: learner.observe(ROWS[:16], LABELS[:16])] * learning, *answers)
    found = set().union(*seen)
    assert learner.rows > 16 * seconds
    assert min(map(len, seen)) > seconds, "a reader waited most of the time"
    last = learner.predict(ASKED).scores.tobytes()
    for wanted in serial(path, learner.rows):
        found.discard(wanted)
    assert not found
    assert last == wanted


def test_what_is_saved_meanwhile_is_one_of_the_models(path, tmp_path):
    learner, saved = Learner(path, threads=1, force=True), []

    def save():
        learner.save(tmp_path / f"{len(saved)}.onnx")
        saved.append(Predictor(tmp_path / f"{len(saved)}.onnx", threads=1).predict(ASKED).scores)

    together(1, lambda: learner.observe(ROWS[:16], LABELS[:16]), save)
    models = [np.frombuffer(scores, np.float32).reshape(24, 4) for scores in serial(path, learner.rows)]
    assert saved
    for scores in saved:  # another graph, so that the last bits may differ
        assert min(np.abs(scores - model).max() for model in models) < 1e-5


def test_an_answer_does_not_wait_for_the_disk_and_learning_does(path, tmp_path, monkeypatch):
    learner, writing, written = Learner(path, threads=1, force=True), threading.Event(), threading.Event()

    def slowly(*args):
        writing.set()
        assert written.wait(60)
        write_model(*args)

    monkeypatch.setattr("ffedge.learning.learner.write_model", slowly)
    saving = threading.Thread(target=learner.save, args=[tmp_path / "after.onnx"])
    learning = threading.Thread(target=learner.observe, args=[ROWS[:16], LABELS[:16]])
    saving.start()
    assert writing.wait(60)
    learning.start()
    wanted = learner.predict(ASKED).scores
    assert learning.is_alive()
    written.set()
    for thread in (saving, learning):
        thread.join()
    assert not np.array_equal(learner.predict(ASKED).scores, wanted)
    saved = Predictor(tmp_path / "after.onnx", threads=1).predict(ASKED).scores
    np.testing.assert_allclose(saved, wanted, rtol=1e-4, atol=1e-5)


def test_threads_predict_at_once_with_one_predictor(path):
    predictor = Predictor(path, threads=1)
    wanted, wrong = predictor.predict(ASKED, layers=True), []

    def ask():
        found = predictor.predict(ASKED, layers=True)
        same = [np.array_equal(getattr(found, name), getattr(wanted, name)) for name in ("scores", "known", "goodness")]
        wrong.extend([found] * (not all(same)))

    together(1, *[ask] * 8)
    assert not wrong


def test_a_monitor_takes_in_what_all_threads_give(path):
    predictor = Predictor(path, threads=1)
    found, monitor, given = predictor.predict(ROWS), Monitor(predictor.calibration, window=50), [0] * 8

    def watch(mine):
        monitor.update(found)
        given[mine] += 1
        assert monitor.summary()["samples"] % len(ROWS) == 0

    together(1, *[lambda mine=mine: watch(mine) for mine in range(8)])
    alone = Monitor(predictor.calibration, window=50)
    for _ in range(sum(given)):
        alone.update(found)
    assert monitor.summary() == alone.summary()


def forked(work):
    """Say whether work in a forked child came to an end within ten seconds, and was right."""
    child = os.fork()
    if not child:
        right = False
        try:
            right = bool(work())
        finally:
            os._exit(0 if right else 1)
    for _ in range(1000):
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return status == 0
        time.sleep(0.01)
    os.kill(child, 9)
    os.waitpid(child, 0)
    return False


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded, use of fork")
@pytest.mark.parametrize("threads", [1, 2])
def test_a_forked_child_goes_on_with_what_it_got(path, threads):
    """Twenty children are forked while other threads learn, predict and watch."""
    learner, predictor = Learner(path, threads=threads, force=True), Predictor(path, threads=threads)
    monitor, wanted, stop = Monitor(predictor.calibration), predictor.predict(ASKED), threading.Event()

    def learn():
        learner.observe(ROWS[:16], LABELS[:16])

    def child():
        learn()
        monitor.update(wanted)
        finite = np.isfinite(learner.predict(ASKED).scores).all()
        return finite and np.array_equal(predictor.predict(ASKED).scores, wanted.scores)

    works = (
        learn,
        lambda: learner.predict(ASKED),
        lambda: predictor.predict(ASKED),
        lambda: monitor.update(wanted),
    )
    threads = [until(stop, work, []) for work in works]
    for thread in threads:
        thread.start()
    try:
        assert all(forked(child) for _ in range(20))
    finally:
        stop.set()
        for thread in threads:
            thread.join()


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_nothing_is_pickled_or_copied_and_one_line_says_what_to_do(path, protocol):
    predictor = Predictor(path)
    for thing, text in (
        (Learner(path, force=True), "a Learner cannot be pickled or copied. Save it, and open the file there"),
        (predictor, "a Predictor cannot be pickled or copied. Open the model's file there"),
        (Monitor(predictor.calibration), "a Monitor cannot be pickled or copied. Make one there of the model's cal"),
    ):
        for way in (lambda thing: pickle.dumps(thing, protocol), copy.copy, copy.deepcopy):
            with pytest.raises(FfedgeError, match=f"^{text}"):
                way(thing)


def test_answers_are_pickled(path):
    found = Predictor(path).predict(ASKED)
    again = pickle.loads(pickle.dumps(found))
    np.testing.assert_array_equal(again.scores, found.scores)
