"""What bench/backprop.py makes of its measures: the bound, the crossover, sweeps, figures; and its arms, for real."""

import dataclasses

import pytest

pytest.importorskip("matplotlib", reason="needs matplotlib, which is not installed")

import all_arms
import backprop
from common import PATHS

from ffedge.compare.arms import ARMS, Work
from ffedge.compare.child import ask

OWN, OTHER = "ffedge-ff-adam", "backprop-adam"


def point(value, own, other):
    """A point at which two arms peaked at so many bytes over their imports."""
    runs = [
        [{"arm": arm, "peak_over_imports_bytes": peak, "inputs": 784}] for arm, peak in ((OWN, own), (OTHER, other))
    ]
    work = dataclasses.asdict(Work(widths=(500, 500, 500), batch_size=64))
    return {"value": value, "work": work, "runs": runs, "measures": [own for (own,) in runs]}


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
    assert backprop.crossover([point(*values) for values in peaks], OWN, OTHER) == start


def test_the_bound_is_one_layers_state_and_one_batch():
    assert backprop.bound_bytes(point(None, 1, 1)) == 4 * ((784 * 500 + 500) * 4 + (784 + 500) * 2 * 64)
    assert backprop.bound_bytes(point(None, 1, 1), "sgd") < backprop.bound_bytes(point(None, 1, 1))


def test_a_sweep_changes_one_thing():
    base = Work(widths=(32, 32))
    works = [backprop.at(base, *change) for change in (("depth", 3), ("width", 8), ("batch", 2))]
    assert [(work.widths, work.batch_size) for work in works] == [((32,) * 3, 64), ((8, 8), 64), ((32, 32), 2)]


@pytest.mark.parametrize(("swept", "axis"), [(None, "over imports"), ("depth", "layers")])
def test_a_figure_names_every_arm_and_the_bound(tmp_path, swept, axis):
    points = [point(2, 2**24, 2**25), point(8, 2**24, 2**26)] if swept else [point(None, 2**24, 2**25)]
    backprop.draw_memory(points, swept, tmp_path / "memory.svg")
    text = (tmp_path / "memory.svg").read_text()
    assert all(words in text for words in (OWN, OTHER, "one layer", axis))


def test_arms_are_named_apart():
    assert len(ARMS) == 23
    assert set(all_arms.SWEPT) < set(ARMS)


@pytest.mark.slow
@pytest.mark.parametrize("arm", ["backprop-sgd-ort", "backprop-adam-ort-inplace"])
def test_an_arm_is_measured_in_a_child(arm):
    pytest.importorskip("onnxsim", reason="needs onnxsim, which is not installed")
    work = vars(Work()) | {"widths": [64] * 3, "rows": 1500, "batch_size": 32, "epochs": 2}
    found = ask("all_arms", {"task": "memory", "arm": arm, "work": work}, PATHS)
    assert found["accuracy"] > 0.7
    unknown = {name for name, value in found["counted_bytes"].items() if value is None}
    assert unknown == {name for name in found["unknown"] if "." not in name}
    assert found["import_bytes"] < 120 * 2**20  # no torch
