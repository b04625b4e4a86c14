"""Recipes: the matrix of who listens to whom, rates, weights of the prediction, and JSON, older files' too."""

import dataclasses

import numpy as np
import pytest
from toys import some_facts

from ffedge.recipe import ALL_ROWS, Recipe
from ffedge.resolve import resolve
from ffedge.spec import Spec

FACTS = some_facts()
MATRIX = ((9.0, 2.0, 3.0), (4.0, 9.0, 6.0), (7.0, 8.0, 9.0))
NONE = ((0, 0, 0), (0, 0, 0), (0, 0, 0))


def recipe_of(preset="paper", **changes):
    """Return the recipe of a spec that may ask for what plays no part in it, as a stored one may."""
    widths = changes.pop("widths", (4, 4, 4))
    spec = Spec.make(preset, widths=widths)
    parts = {
        name: dataclasses.replace(part, **{field: changes[field] for field in changes if hasattr(part, field)})
        for name, part in vars(spec).items()
    }
    return resolve(Spec(**parts), FACTS, 1000)


def test_the_last_rate_serves_all_further_layers():
    train = recipe_of(rate=(0.3, 0.2)).train
    assert [train.layer_rate(i) for i in range(4)] == [0.3, 0.2, 0.2, 0.2]


@pytest.mark.parametrize(
    ("changes", "alpha"),
    [
        ({}, ((0, 1, 1), (1, 0, 1), (1, 1, 0))),
        ({"alpha": "mean"}, ((0, 0.5, 0.5), (0.5, 0, 0.5), (0.5, 0.5, 0))),
        ({"scope": "previous"}, ((0, 0, 0), (1, 0, 0), (1, 1, 0))),
        ({"scope": "next"}, ((0, 1, 1), (0, 0, 1), (0, 0, 0))),
        ({"alpha": MATRIX}, ((0, 2, 3), (4, 0, 6), (7, 8, 0))),
        ({"alpha": MATRIX, "scope": "next"}, ((0, 2, 3), (0, 0, 6), (0, 0, 0))),
        ({"variant": "ff"}, NONE),
        ({"variant": "ff", "alpha": MATRIX}, NONE),
        ({"widths": (4,), "alpha": "mean"}, ((0,),)),
    ],
    ids=str,
)
def test_alpha_says_who_listens_to_whom(changes, alpha):
    assert recipe_of(**changes).rule.alpha == alpha


def test_the_weights_of_the_score_are_one_or_what_the_others_make_of_a_layer():
    """Layer l's goodness stands in layer m's sum with gamma_m alpha_ml, and in its own with 1."""
    state = [{"gamma": np.array(gamma, np.float32)} for gamma in (10, 100, 1000)]
    heard = recipe_of(alpha=MATRIX, prediction_weights="collaborative")
    assert heard.score_weights(state) == [1 + 400 + 7000, 1 + 20 + 8000, 1 + 30 + 600]
    assert recipe_of(alpha=MATRIX).score_weights(state) == [1.0, 1.0, 1.0]
    alone = recipe_of(variant="ff", prediction_weights="collaborative")
    assert alone.score_weights([{}] * 3) == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("variant", ["ff", "fcff"])
def test_a_deeper_layer_counts_four_times_as_much(variant):
    assert recipe_of(variant=variant, prediction_weights="deeper").score_weights([{}] * 3) == [0.0625, 0.25, 1.0]


def test_alpha_is_written_as_a_word_where_a_word_says_it():
    written = [recipe_of(**changes).to_dict()["rule"]["alpha"] for changes in ({"scope": "next"}, {"alpha": "mean"})]
    assert written == ["ones", "mean"]
    assert recipe_of(alpha=MATRIX).to_dict()["rule"]["alpha"] == [[0, 2, 3], [4, 0, 6], [7, 8, 0]]


def test_an_older_file_is_read():
    """One batch of all rows by its word, the loss's own slope as null, and no field that came later."""
    written = recipe_of(loss="symmetric").to_dict()
    written["train"]["batch_size"], written["rule"]["slope"] = "full", None
    del written["network"]["skip"], written["network"]["bound"], written["rule"]["sparsity"]
    del written["train"]["coverage"], written["train"]["shift_share"]
    assert Recipe.from_dict(written, 950) == recipe_of(loss="symmetric")
    unknown = Recipe.from_dict(written)
    assert unknown.train.batch_size == ALL_ROWS
    assert resolve(unknown.as_spec(), FACTS, 1000) == recipe_of(loss="symmetric")


@pytest.mark.parametrize("part", Spec.PARTS)
def test_a_part_has_the_fields_of_its_spec(part):
    names = [[f.name for f in dataclasses.fields(getattr(each, part))] for each in (Spec.make(), recipe_of())]
    assert names[0] == names[1]


@pytest.mark.parametrize(
    ("part", "name", "value"),
    [("network", "label_scale", "max"), ("train", "epochs", "auto"), ("rule", "slope", "auto")],
)
def test_what_is_still_open_is_refused(part, name, value):
    written = recipe_of().to_dict()
    written[part][name] = value
    with pytest.raises(ValueError, match=f"^{name} must be what the data made of it, got '{value}'$"):
        Recipe.from_dict(written)
