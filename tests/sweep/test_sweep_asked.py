"""What a sweep asks: every combination, draws that repeat, and one line for what cannot be."""

import itertools
import json
import math
import re
from collections import Counter

import numpy as np
import pytest
from scipy import stats

from ffedge.errors import FfedgeError
from ffedge.spec import Spec
from ffedge.sweeps.asked import read


def points(asked):
    return [{k: v for k, v in trial.fields.items() if k not in ("preset", "seed")} for trial in asked.trials]


def test_a_grid_is_every_combination_of_values_seeds_and_data():
    given = {"widths": [[8], [16, 8]], "rate": [[0.01], [0.02]], "epochs": 3, "seeds": [4, 5, 6]}
    found = read(given | {"data": ["mnist-mini", "mnist"]}).trials
    wanted = {
        json.dumps([widths, rate, 3, seed, data])
        for widths, rate, seed, data in itertools.product(
            given["widths"], given["rate"], (4, 5, 6), ("mnist-mini", "mnist")
        )
    }
    names = ("widths", "rate", "epochs", "seed")
    assert {json.dumps([*(trial.fields[name] for name in names), trial.data]) for trial in found} == wanted
    assert len(found) == len(wanted) == len({trial.id for trial in found})
    assert all(trial.spec().network.widths in {(8,), (16, 8)} for trial in found)


def test_each_grid_adds_its_own_values_to_the_common_ones():
    asked = read({"epochs": 2, "grid": [{"variant": "ff"}, {"variant": ["fcff", "acff"], "gamma": [0.5, 1.0]}]})
    found = points(asked)
    assert found[0] == {"epochs": 2, "variant": "ff"}
    assert sorted((f["variant"], f["gamma"]) for f in found[1:]) == sorted(
        itertools.product(("fcff", "acff"), (0.5, 1.0))
    )


def test_a_value_that_stands_twice_makes_one_trial():
    assert len(read({"widths": [[8], [8]], "seeds": [1, 1]}).trials) == 1
    assert [trial.fields["gamma"] for trial in read({"gamma": [0, 0.5, 0.0]}).trials] == [0, 0.5]


def test_draws_repeat_with_their_seed_differ_and_are_shared_by_all_seeds_and_data():
    given = {"random": 20, "widths": [[n] for n in range(2, 30)], "weight_decay": [0.0, 0.1], "seeds": [0, 1]}
    found, again, other = read(given), read(given), read(given | {"random_seed": 1})
    assert found == again
    assert points(found) != points(other)
    assert set(Counter(map(json.dumps, points(found))).values()) == {2}
    assert len(found.trials) == 40


def test_draws_of_a_small_grid_are_the_grid():
    given = {"widths": [[8], [9], [10]], "weight_decay": [0.0, 0.1]}
    assert read(given | {"random": 7}).trials == read(given).trials
    assert len({trial.id for trial in read(given | {"random": 5}).trials}) == 5


def test_a_field_keeps_its_draws_whatever_other_fields_there_are():
    one = points(read({"random": 9, "weight_decay": {"low": 0.001, "high": 0.1}}))
    two = points(
        read({"random": 9, "weight_decay": {"low": 0.001, "high": 0.1}, "momentum": {"low": 0.1, "high": 0.9}})
    )
    assert [p["weight_decay"] for p in one] == [p["weight_decay"] for p in two]


@pytest.mark.parametrize("log", [False, True])
def test_ranges_are_drawn_from_evenly(log):
    low, high = 0.001, 0.9
    drawn = [p["momentum"] for p in points(read({"random": 400, "momentum": {"low": low, "high": high, "log": log}}))]
    share = np.log(np.array(drawn) / low) / math.log(high / low) if log else (np.array(drawn) - low) / (high - low)
    assert stats.kstest(share, "uniform").pvalue > 0.001


def test_a_range_of_whole_numbers_holds_both_ends_and_a_list_field_gets_a_list():
    given = {"random": 60, "epochs": {"low": 1, "high": 3}, "rate": {"low": 0.001, "high": 0.1, "log": True}}
    found = points(read(given))
    assert {p["epochs"] for p in found} == {1, 2, 3}
    assert all(len(p["rate"]) == 1 and 0.001 <= p["rate"][0] < 0.1 for p in found)


def test_rungs_shorten_all_by_the_same_share_and_end_with_the_whole():
    given = {"widths": [[n] for n in range(1, 28)], "epochs": 20, "halving": 3}
    assert read(given).rungs() == [9, 3, 1]
    assert read(given | {"widths": [[8], [9], [10], [11]]}).rungs() == [3, 1]
    assert read(given | {"epochs": [2, 20]}).rungs() == [1]
    asked = read(given)
    assert [asked.trials[0].of_rung(n, d).spec().train.epochs for n, d in enumerate(asked.rungs())] == [2, 6, 20]


def test_a_trials_id_is_that_of_its_description_alone():
    one, two = read({"widths": [[8], [9]]}), read({"widths": [[9], [7]], "seeds": [0, 3]})
    assert {trial.id for trial in one.trials} & {trial.id for trial in two.trials} == {one.trials[1].id}


WRONG = {
    "a sweep has no field 'wdiths'. Use ": {"wdiths": [[8]]},
    "`widths` is a list of values, and each is a list itself. Use `widths=[[500], [200]]` to try each, or "
    "`widths=[[500, 200]]` as one value": {"widths": [500, 200]},
    "`widths` is an empty list, so that there are no trials. Give it a value": {"widths": []},
    "`data` is an empty list, so that there are no trials. Give it a value": {"data": []},
    "`epochs` must be 1 or more, or auto, got 0 (of the trial with epochs 0)": {"epochs": [1, 0]},
    "`norm` must be one of unit, rms, layer, fixed, got 'x'": {"norm": "x"},
    "`norm` must be one of unit, rms, layer, fixed, got ('rms',)": {"norm": [["rms"]]},
    "`gamma` plays no part where `variant` is ff. Leave it out (of the trial with variant ff, gamma ": {
        "variant": ["ff", "acff"],
        "gamma": [1.0, 2.0],
    },
    "`preset` must be one of tuned, ": {"preset": "x"},
    "`preset` must be a name or a list of names, got [['paper']]": {"preset": [["paper"]]},
    "`data` is neither a file or folder nor one of mnist-mini, ": {"data": "no-such-file.csv"},
    "`data` must be names or paths of data sets, got 3": {"data": 3},
    "`data` must be names or paths of data sets, got '-'": {"data": "-"},
    "`seed` is told by `seeds`, a list. Use `seeds=[0]`": {"seed": 1},
    "`seeds` must be a list of whole numbers, got 3": {"seeds": 3},
    "`seed` must not be negative, got -1": {"seeds": [-1]},
    "`seeds` must be a list of whole numbers, got [1.5]": {"seeds": [1.5]},
    "`seeds` must be a list of whole numbers, got [0, 0.0]": {"seeds": [0, 0.0]},
    "`seeds` must be a list of whole numbers, got ['a']": {"seeds": ["a"]},
    "`random` must be a whole number from 1, got 0": {"random": 0},
    "`random` must be a whole number from 1, got True": {"random": True},
    "`random` must be at most 10,000, got 100000": {"random": 100_000},
    "`random_seed` must be a whole number beside `random`, got 1": {"random_seed": 1},
    "`momentum` is a range, from which only `random` can draw. List its values, or add that": {
        "momentum": {"low": 0.1, "high": 0.9}
    },
    "`momentum` must be a range as in {low = 0.1, high = 1, log = true}, got {'low': 1}": {"momentum": {"low": 1}},
    "`momentum` must be a range as in {low = 0.1, high = 1, log = true}, got {'low': 0, 'high': 1, 'log': True}": {
        "random": 2,
        "momentum": {"low": 0, "high": 1, "log": True},
    },
    "this makes more than 10,000 trials. Use fewer values, or `random`": {
        "widths": [[n] for n in range(1, 200)],
        "epochs": list(range(1, 200)),
    },
    "`halving` must be a whole number from 2, got 1": {"halving": 1},
    "`halving` needs `epochs` as a number, which the last rung has. Add it": {"halving": 3},
    "`holdout` must not be 0: trials are compared by held-out rows. Leave it out": {"holdout": 0},
    "`grid` must be tables, each under [[grid]]": {"grid": []},
    "`seeds` is of the whole sweep. Move it above the first [[grid]]": {"grid": [{"seeds": [1]}]},
    "`label` must be a str, got ['a']": {"label": ["a"]},
    "`reading` must have fields of size, colour, skip_broken, test, bins, got {'sise': 8}": {"reading": {"sise": 8}},
    "`size` must be one or two whole numbers from 8 to 2048": {"reading": {"size": 1}},
    "a sweep must be of plain lists, numbers and strings": {"widths": {3}},
}


@pytest.mark.parametrize("line", WRONG)
def test_what_cannot_be_is_one_line_before_anything_runs(line):
    with pytest.raises(ValueError, match=re.escape(line)) as said:
        read(WRONG[line])
    assert str(said.value).startswith(line)
    assert "\n" not in str(said.value)


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"widths = [", "is no TOML file (Invalid value (at end of document))"),
        (b"widths = [[8]]\nwidths = 3", "is no TOML file (Cannot overwrite a value (at "),
        (b"\xff\xfe", "is no TOML file ('utf-8' codec"),
        (b"a = " + b"[" * 100_000, "is no TOML file ("),
        (b"x" * (1 << 21), "is larger than 1048576 bytes. Pass the description of a sweep"),
        (b"epochs = 2026-11-29", "a sweep must be of plain lists, numbers and strings"),
        (b"momentum = nan", "momentum must be in [0, 1)"),
        (b"epochs = 0", "epochs must be 1 or more, or auto, got 0"),
    ],
)
def test_a_bad_file_is_one_line_that_begins_with_its_path(tmp_path, content, line):
    (tmp_path / "a.toml").write_bytes(content)
    with pytest.raises(FfedgeError) as said:
        read(tmp_path / "a.toml")
    assert str(said.value).startswith(f"{tmp_path}/a.toml: {line}")


@pytest.mark.parametrize("name", ["missing.toml", ""])
def test_a_missing_file_or_a_folder_is_one_line(tmp_path, name):
    with pytest.raises(FfedgeError, match=r"cannot be read \(.*\)\. Pass a TOML file"):
        read(tmp_path / name)


def test_an_empty_file_is_one_trial_of_the_defaults(tmp_path):
    (tmp_path / "a.toml").write_text("")
    assert [trial.spec() for trial in read(tmp_path / "a.toml").trials] == [Spec.make()]
