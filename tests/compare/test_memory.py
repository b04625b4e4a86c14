"""What a comparison says of its measures: bounds, crossover, sentences, and that nothing is measured twice."""

import dataclasses

import pytest

from ffedge.compare import memory
from ffedge.compare.arms import ARMS, Work
from ffedge.compare.measure import Measure
from ffedge.compare.trainers import LayerMeasure


def measured(arm, over, seconds=1.0, accuracy=0.9):
    return Measure(
        arm=arm,
        import_bytes=50 * 2**20,
        rss_peak_bytes=50 * 2**20 + over,
        peak_over_imports_bytes=over,
        layers=[LayerMeasure(0, 8, seconds, 1, 2)],
        counted_bytes={"weights": 1, "gradients": 1, "moments": 2, "saved_for_backward": 0, "buffers": None},
        seconds=seconds,
        setup_s=0.1,
        rows=100,
        inputs=16,
        accuracy=accuracy,
    )


def curve(*peaks):
    return [
        memory.Point(value, Work(), [measured("ffedge-ff-adam", own), measured("backprop-adam", other)])
        for value, own, other in peaks
    ]


@pytest.mark.parametrize(
    ("peaks", "start"),
    [
        ([(2, 20, 10), (4, 20, 20), (8, 20, 40)], 4.0),
        ([(2, 20, 10), (4, 20, 30), (8, 20, 60)], 3.0),
        ([(2, 5, 10), (4, 6, 30)], 2.0),
        ([(2, 20, 10), (4, 20, 15)], None),
        ([(2, 5, 10), (4, 20, 15), (8, 20, 25)], 6.0),
    ],
)
def test_the_crossover_is_where_an_arm_begins_to_stay_below(peaks, start):
    assert memory.crossover(curve(*peaks), "ffedge-ff-adam", "backprop-adam") == start


def test_the_bound_is_one_layers_state_and_one_batch():
    work = Work(widths=(500, 500, 500), batch_size=64)
    by_hand = 4 * ((784 * 500 + 500) * 4 + (784 + 500) * 2 * 64)
    assert memory.bound_bytes(work, 784, "adam") == by_hand
    assert memory.bound_bytes(dataclasses.replace(work, widths=(500,) * 30), 784, "adam") == by_hand
    assert memory.bound_bytes(work, 784, "sgd") < by_hand


def test_the_sentence_sets_the_leanest_rival_of_the_same_optimiser_beside_an_arm():
    measures = [
        measured("ffedge-ff-adam", 10 * 2**20, seconds=2.0),
        measured("backprop-adam", 30 * 2**20),
        measured("backprop-adam-hook", 20 * 2**20),
        measured("backprop-sgd", 5 * 2**20),
    ]
    (said,) = memory.sentences(measures)
    assert "10.0 MiB over its imports, less than the leanest backprop" in said
    assert "backprop-adam-hook, with 20.0 MiB" in said
    assert "2.0 s against 1.0 s" in said
    (other,) = memory.sentences([measured("ffedge-ff-sgd", 10 * 2**20), measures[-1]])
    assert "not less than the leanest backprop" in other


def test_a_measure_in_the_file_is_not_taken_again(tmp_path, monkeypatch):
    asked = []
    answer = dataclasses.asdict(measured("backprop-adam", 1))
    monkeypatch.setattr(memory, "ask", lambda module, request, *_: asked.append(request) or answer)
    file = tmp_path / "measures.jsonl"
    first = memory.Measurer(file, lambda _: None).measure("backprop-adam", Work())
    with file.open("a") as torn:
        torn.write('{"key": "ha')
    assert memory.Measurer(file, lambda _: None).measure("backprop-adam", Work()) == first
    memory.Measurer(file, lambda _: None).measure("backprop-adam", Work(batch_size=1))
    assert [request["work"]["batch_size"] for request in asked] == [64, 1]


def test_a_sweep_changes_one_thing():
    seen = []

    class Spy:
        def measure(self, arm, work):
            seen.append(work)
            return measured(arm, 1)

    base = Work(widths=(32, 32))
    for sweep, values in (("depth", (1, 3)), ("width", (8, 16)), ("batch", (1, 2))):
        memory.points(Spy(), ["backprop-adam"], base, sweep, values)
    assert [work.widths for work in seen] == [(32,), (32,) * 3, (8, 8), (16, 16), (32, 32), (32, 32)]
    assert [work.batch_size for work in seen] == [64, 64, 64, 64, 1, 2]


def test_arms_are_named_apart():
    assert len(ARMS) == 24
    assert all(name == arm.name for name, arm in ARMS.items())
