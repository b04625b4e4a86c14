"""What a comparison says of its measures: bounds, crossover, medians, sentences."""

import dataclasses

import pytest
from planted import measured, point

from ffedge.compare import memory, verdict
from ffedge.compare.arms import Work


def curve(*peaks):
    return [
        point(value, Work(), measured("ffedge-ff-adam", own), measured("backprop-adam", other))
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
    (said,) = verdict.sentences(measures)
    assert "10.0 MiB over its imports, less than the leanest backprop" in said
    assert "backprop-adam-hook, with 20.0 MiB" in said
    assert "2.0 s against 1.0 s" in said
    (other,) = verdict.sentences([measured("ffedge-ff-sgd", 10 * 2**20), measures[-1]])
    assert "not less than the leanest backprop" in other


def test_sentences_and_tables_take_the_median_of_the_runs():
    arms = ("ffedge-ff-adam", "backprop-adam")
    peaks = {arms[0]: (10, 12, 30), arms[1]: (25, 20, 8)}
    found = memory.Point(None, Work(), [[measured(arm, peak * 2**20) for peak in peaks[arm]] for arm in arms])
    assert [m.peak_over_imports_bytes / 2**20 for m in found.measures] == [12, 20]
    assert "12.0 MiB over its imports, less than" in verdict.sentences(found.measures)[0]
    written = memory.document([found], None, ["said"])["points"][0]
    assert [len(runs) for runs in written["runs"]] == [3, 3]
    assert written["spread"][0]["peak_over_imports_bytes"] == pytest.approx(20 / 12)
    assert written["spread"][0]["seconds"] == 0


@pytest.mark.parametrize(
    ("own", "other", "said"),
    [
        ((10, 2.0, 0.9), (20, 3.0, 0.8), []),
        ((10, 2.0, 0.9), (9, 3.0, 0.8), ["takes less memory"]),
        ((10, 2.0, 0.9), (20, 1.0, 0.8), ["is faster"]),
        ((10, 2.0, 0.9), (9, 1.0, 0.95), ["takes less memory", "is faster", "gets more right"]),
    ],
)
def test_where_backprop_is_better_follows_from_the_measures(own, other, said):
    measures = [
        measured(arm, mib * 2**20, seconds, accuracy)
        for arm, (mib, seconds, accuracy) in (("ffedge-ff-sgd", own), ("backprop-sgd", other))
    ]
    # the fastest and leanest of all, by another optimiser, is no rival
    lines = verdict.where_backprop_is_better(
        [point(None, Work(), *measures, measured("backprop-adam", 1, 0.2, 1.0))], None
    )
    assert lines[-1].startswith("Energy is not measured")
    assert [part for part in ("takes less memory", "is faster", "gets more right") if part in "".join(lines)] == said
    assert ("better nowhere" in lines[0]) == (not said)
    assert all("backprop-adam" not in line for line in lines)


def test_where_backprop_is_better_names_the_values_of_a_sweep():
    lines = verdict.where_backprop_is_better(curve((2, 20, 10), (4, 20, 15), (8, 20, 40)), "depth")
    (memory_line,) = [line for line in lines if "memory" in line]
    assert "at depth 2" in memory_line
    assert "at depth 4" in memory_line
    assert "at depth 8" not in memory_line
    assert verdict.crossings(curve((2, 20, 10), (8, 20, 30)), "depth") == [
        "ffedge-ff-adam takes less than backprop-adam from depth 5 on."
    ]
