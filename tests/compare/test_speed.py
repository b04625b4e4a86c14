"""Time to accuracy, on planted curves and on a clock that the test moves."""

import numpy as np
import pytest
from toys import clusters

from ffedge.compare.arms import ARMS, Work
from ffedge.compare.child import ask
from ffedge.compare.speed import AS_SHIPPED, Recorder, summary, time_to
from ffedge.compare.train import train
from ffedge.meter import PeakMeter

FF = "ffedge-ff-adam"


def curve(*reached):
    """A run through (seconds, accuracy)."""
    points = [{"seconds": seconds, "rows": 10, "accuracy": accuracy} for seconds, accuracy in reached]
    return {"arm": FF, "setup_s": 0.5, "seconds": reached[-1][0], "rows": 100, "epochs": 2, "points": points}


def test_a_target_is_reached_at_the_first_point_at_or_above_it():
    drawn = curve((1.0, 0.5), (2.0, 0.97), (3.0, 0.96), (4.0, 0.98))
    found = summary([drawn], [0.4, 0.97, 0.98, 0.99])
    assert [time["seconds"] for time in found["time_to"]] == [1.0, 2.0, 4.0, None]
    assert (found["rows_per_second"], found["accuracy"]) == (100 * 2 / 4.0, 0.98)


def test_the_median_counts_a_run_that_never_got_there_as_the_slowest():
    fast, slow, never = curve((1.0, 0.98)), curve((5.0, 0.98)), curve((9.0, 0.961))
    assert time_to([fast, slow, never], 0.98)["seconds"] == 5.0
    assert time_to([fast, slow], 0.98)["seconds"] == 3.0
    for few in ([fast, never, never], [fast, never], [never]):
        found = time_to(few, 0.98)
        assert found["seconds"] is None
        assert found["runs"] == [1.0 if run is fast else None for run in few]
        assert f"reached in {1 if fast in few else 0} of {len(few)} runs of 2 epochs" in found["why"]
    assert "the best accuracy was 0.9610" in time_to([never], 0.98)["why"]


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
    assert [tuple(point.values()) for point in recorder.points] == [
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
    assert recorder.points[-1]["accuracy"] == pytest.approx(trained.accuracy)
    assert recorder.points[1]["accuracy"] != recorder.points[-1]["accuracy"]  # the first layer alone


@pytest.mark.parametrize("arm", ["ffedge-ff-adam", "ffedge-acff-adam"])
def test_a_greedy_arms_curve_goes_on_through_all_layers(arm):
    work = vars(Work(widths=(32, 24), rows=1000, epochs=2, threads=1)) | {"widths": [32, 24]}
    drawn = ask("ffedge.compare", {"task": "speed", "arm": arm, "work": work})
    assert (drawn["rows"], drawn["held_out"], drawn["epochs"]) == (950, 50, 2)
    points = drawn["points"]
    assert [point["rows"] for point in points[9::10]] == [950, 1900, 2850, 3800]  # two epochs of each of two layers
    seconds = [point["seconds"] for point in points]
    assert seconds == sorted(seconds)
    assert seconds[-1] == drawn["seconds"] > 0
    assert points[-1]["accuracy"] > 0.5
    assert AS_SHIPPED == {"input_dropout": 0.2, "weight_decay": 0.05}
