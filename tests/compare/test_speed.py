"""Time to accuracy, on planted curves and on a clock that the test moves."""

import numpy as np
import pytest
from planted import curve, runs
from toys import clusters

from ffedge.child import ask
from ffedge.compare.arms import ARMS, Work
from ffedge.compare.curve import AS_SHIPPED, Curve, Recorder
from ffedge.compare.speed import document, sentences
from ffedge.compare.trainers import train
from ffedge.meter import PeakMeter

FF, BP = "ffedge-ff-adam", "backprop-adam"


def test_a_target_is_reached_at_the_first_point_at_or_above_it():
    drawn = curve(FF, (1.0, 0.5), (2.0, 0.97), (3.0, 0.96), (4.0, 0.98))
    assert [drawn.time_to(target) for target in (0.4, 0.97, 0.98, 0.99)] == [1.0, 2.0, 4.0, None]
    assert drawn.rows_per_second == 100 * 2 / 4.0
    assert drawn.accuracy == 0.98


def test_the_median_counts_a_run_that_never_got_there_as_the_slowest():
    fast, slow, never = curve(FF, (1.0, 0.98)), curve(FF, (5.0, 0.98)), curve(FF, (9.0, 0.961))
    assert runs(fast, slow, never).time_to(0.98).seconds == 5.0
    assert runs(fast, slow).time_to(0.98).seconds == 3.0
    for few in ((fast, never, never), (fast, never), (never,)):
        time = runs(*few).time_to(0.98)
        assert time.seconds is None
        assert time.runs == [run.time_to(0.98) for run in few]
        assert f"reached in {1 if fast in few else 0} of {len(few)} runs of 2 epochs" in time.why
    assert "the best accuracy was 0.9610" in runs(never).time_to(0.98).why


def test_the_sentence_says_who_is_faster_in_words():
    ours, theirs = runs(curve(FF, (2.0, 0.97), (9.0, 0.979))), runs(curve(BP, (4.0, 0.97), (5.0, 0.98)))
    said = sentences([ours, theirs], [0.97, 0.98, 0.99])
    assert "To 97 % by adam: ffedge is faster, 2.0 times: ffedge-ff-adam took 2.00 s, backprop-adam 4.00 s." in said
    assert "To 98 % by adam: backprop-adam took 5.00 s; no arm of ffedge reached it." in said
    assert "To 99 % by adam: no arm reached it." in said
    turned = sentences([runs(curve(FF, (9.0, 0.97))), theirs], [0.97])
    assert any("To 97 % by adam: backprop is faster, 2.2 times: backprop-adam took 4.00 s" in line for line in turned)
    assert any("Rows a second by adam: backprop has 1.8 times as many" in line for line in turned)
    assert any("the clock stands still" in line for line in turned)
    assert turned[-1].startswith("Energy is not measured")


def test_a_few_percent_are_no_win():
    arms = [runs(curve(FF, (2.0, 0.97))), runs(curve(BP, (2.08, 0.97)))]
    said = sentences(arms, [0.97])[0]
    assert said.endswith("neither is faster by more than 5 %: ffedge-ff-adam took 2.00 s, backprop-adam 2.08 s.")


def test_the_fastest_arm_of_each_side_is_named():
    arms = [runs(curve(BP, (4.0, 0.97))), runs(curve("backprop-sgd", (1.0, 0.97))), runs(curve(FF, (2.0, 0.97)))]
    said = sentences(arms, [0.97])
    assert said[0].startswith("To 97 % by any optimiser: backprop is faster, 2.0 times: backprop-sgd took 1.00 s")
    assert said[1].startswith("To 97 % by adam: ffedge is faster, 2.0 times")
    assert not any("by sgd" in line for line in said)  # one side alone


def test_the_document_holds_every_run_and_why_a_time_is_null():
    arms = [runs(curve(FF, (1.0, 0.9)), curve(FF, (1.5, 0.95)), curve(FF, (2.0, 0.95)))]
    (written,) = document(arms, Work(), [0.9, 0.95, 0.97], ["said"])["arms"]
    assert [time["seconds"] for time in written["time_to"]] == [1.5, 2.0, None]
    assert written["time_to"][2]["why"]
    assert len(written["runs"]) == 3
    assert written["spread"]["seconds"] == pytest.approx(1 / 1.5)


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def test_evaluation_is_not_in_the_seconds():
    clock, data = Clock(), clusters(rows=40)
    recorder = Recorder(evaluations=2, clock=clock)
    clock.now = 7.0  # set-up
    recorder.begin(data, np.arange(10), 30)

    def predict(raw):
        clock.now += 100.0
        return data.train.labels[: len(raw)]

    for epoch in range(2):
        for batch in range(3):
            clock.now += 1.0
            recorder.batch(10, ends_epoch=batch == 2, predict=predict)
        clock.now += 50.0  # what ffedge's loop measures at the end of an epoch
        recorder.epoch()
        assert recorder.seconds == 3.0 * (epoch + 1)
    assert recorder.setup_s == 7.0
    assert [(p.seconds, p.rows, p.accuracy) for p in recorder.points] == [
        (2, 20, 1),
        (3, 30, 1),
        (5, 50, 1),
        (6, 60, 1),
    ]
    assert recorder.evaluation_s == 4 * 100 + 2 * 50


def test_the_curve_measures_the_sum_of_the_layers_so_far_as_the_loop_does():
    recorder, data = Recorder(evaluations=1), clusters(rows=600, noise=1.6)
    work = Work(widths=(12, 10), batch_size=16, epochs=2, threads=1)
    trained = train(ARMS[FF], work, data, PeakMeter(), recorder, holdout=0.5)
    assert len(recorder.points) == 4
    assert recorder.points[-1].accuracy == pytest.approx(trained.accuracy)
    assert recorder.points[1].accuracy != recorder.points[-1].accuracy  # the first layer alone


@pytest.mark.parametrize("arm", ["ffedge-ff-adam", "ffedge-acff-adam"])
def test_a_greedy_arms_curve_goes_on_through_all_layers(arm):
    work = vars(Work(widths=(32, 24), rows=1000, epochs=2, threads=1)) | {"widths": [32, 24]}
    drawn = Curve.read(ask("ffedge.compare", {"task": "speed", "arm": arm, "work": work}))
    assert (drawn.rows, drawn.held_out, drawn.epochs) == (950, 50, 2)
    assert [point.rows for point in drawn.points[9::10]] == [950, 1900, 2850, 3800]  # two epochs of each of two layers
    seconds = [point.seconds for point in drawn.points]
    assert seconds == sorted(seconds)
    assert seconds[-1] == drawn.seconds > 0
    assert drawn.accuracy > 0.5
    assert AS_SHIPPED == {"input_dropout": 0.2, "weight_decay": 0.05}
