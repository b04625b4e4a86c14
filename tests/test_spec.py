"""Specs: what they refuse, what they are by default, and that they survive being written down."""

import dataclasses
import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from toys import some_facts

from ffedge.presets import PRESETS
from ffedge.recipe import Recipe
from ffedge.resolve import resolve
from ffedge.spec import Spec
from ffedge.spec_parts import NetworkSpec, RuleSpec, TrainSpec

REFUSED = [
    ("widths", ()),
    ("widths", 500),
    ("widths", None),
    ("widths", (0,)),
    ("widths", (5, 65537)),
    ("widths", (5, 2.0)),
    ("widths", (True,)),
    ("widths", (4,) * 65),
    ("norm", "none"),
    ("bound", 0.0),
    ("bound", math.inf),
    ("bound", "max"),
    ("sparsity", 0),
    ("sparsity", 1.0),
    ("sparsity", "all"),
    ("skip", "concat"),
    ("goodness", "max"),
    ("label_mode", "border"),
    ("label_mode", "none"),
    ("class_goodness", "heads"),
    ("label_layers", "last"),
    ("label_scale", 0.0),
    ("label_scale", -1),
    ("label_scale", math.inf),
    ("label_scale", "min"),
    ("scaling", "unit"),
    ("input_norm", "layer"),
    ("variant", "cff"),
    ("loss", "mse"),
    ("slope", 0.0),
    ("slope", math.nan),
    ("smoothing", 1.0),
    ("smoothing", -0.1),
    ("theta", math.nan),
    ("theta_placement", "twice"),
    ("scope", "above"),
    ("alpha", "twos"),
    ("alpha", 1.0),
    ("alpha", (1.0, 0.0)),
    ("alpha", ((0.0, 1.0),)),
    ("alpha", ((0.0, math.inf), (1.0, 0.0))),
    ("gamma", math.inf),
    ("gamma_rate", -0.1),
    ("gamma_optimizer", "momentum"),
    ("prediction_weights", "learnt"),
    ("epochs", 0),
    ("epochs", 1.5),
    ("epochs", 10**23),
    ("batch_size", 0),
    ("batch_size", "all"),
    ("n_negatives", "full"),
    ("batch_size", True),
    ("chunk_size", 0),
    ("schedule", "random"),
    ("negatives", "easy"),
    ("n_negatives", 0),
    ("optimizer", "rmsprop"),
    ("rate", ()),
    ("rate", 0.01),
    ("rate", (0.0,)),
    ("rate", (0.1, -0.1)),
    ("rate", (math.nan,)),
    ("momentum", 1.0),
    ("momentum", -0.1),
    ("cooldown", "cosine"),
    ("weight_decay", -0.1),
    ("weight_decay", math.nan),
    ("weight_decay", 70.0),
    ("input_dropout", 1.0),
    ("shift", -1),
    ("shift", 9),
    ("shift", 1.0),
    ("shift_share", 0.0),
    ("shift_share", 1.5),
    ("holdout", 1.0),
    ("engine", "jax"),
    ("threads", -1),
    ("seed", -1),
    ("seed", 2**64),
    ("seed", 0.5),
]


@pytest.mark.parametrize(("name", "value"), REFUSED, ids=str)
def test_a_value_outside_its_rule_is_refused_by_name_and_value(name, value):
    with pytest.raises(ValueError, match=f"^`{name}` must ") as caught:
        Spec.make(**{name: value})
    assert repr(value) in str(caught.value)


@pytest.mark.parametrize(("changes", "name"), [({"alpha": ((0.0,),)}, "alpha"), ({"rate": (0.1, 0.1, 0.1)}, "rate")])
def test_parts_that_do_not_fit_each_other_are_refused(changes, name):
    with pytest.raises(ValueError, match=f"^`{name}` must "):
        Spec.make(widths=(5, 5), **changes)


def test_an_unknown_field_or_preset_is_refused_by_name():
    with pytest.raises(ValueError, match=r"'banana'"):
        Spec.make(banana=1)
    with pytest.raises(
        ValueError, match=r"`preset` must be one of tuned, pictures, pictures-small, spiking, paper, got 'best'"
    ):
        Spec.make("best")


def test_field_names_are_unique_so_that_a_flag_has_one_home():
    names = [field.name for part in (NetworkSpec, RuleSpec, TrainSpec) for field in dataclasses.fields(part)]
    assert len(names) == len(set(names))


def test_a_field_reaches_its_own_part():
    spec = Spec.make(widths=(7, 8, 9), variant="ff", epochs=3)
    assert (spec.network.widths, spec.rule.variant, spec.train.epochs) == ((7, 8, 9), "ff", 3)
    assert spec.with_train(epochs="auto").train == Spec.make(widths=(7, 8, 9)).train


def test_a_spec_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Spec.make().network.widths = (1,)


def test_lists_do_for_tuples():
    """A spec that was read from JSON is the same one, and can be a key as it is."""
    alpha = ((0.0, 0.5), (0.5, 0.0))
    lists = Spec.make(widths=[7, 8], rate=[0.1, 0.2], alpha=[list(row) for row in alpha])
    assert {lists} == {Spec.make(widths=(7, 8), rate=(0.1, 0.2), alpha=alpha)}


def test_the_paper_preset_is_the_paper():
    """Its section on training: theta 2, Adam 0.03, 1000 epochs a layer, full batch, eq. 4's loss, gamma's rate 0.01."""
    spec = Spec.make("paper")
    rule, train = spec.rule, spec.train
    assert (rule.loss, rule.theta, rule.slope, rule.smoothing) == ("logistic", 2.0, None, 0.0)
    assert (rule.gamma_optimizer, rule.gamma_rate, rule.theta_placement) == ("sgd", 0.01, "per_layer")
    assert (rule.scope, rule.alpha, rule.prediction_weights) == ("all", "ones", "plain")
    assert (train.optimizer, train.rate, train.epochs, train.batch_size) == ("adam", (0.03,), 1000, "full")
    assert (train.negatives, train.n_negatives, train.schedule, train.cooldown) == ("fixed", 1, "greedy", "none")
    assert (train.weight_decay, train.input_dropout, train.shift) == (0.0, 0.0, 0)
    assert (spec.network.goodness, spec.network.norm, spec.network.label_layers) == ("mean", "unit", "first")


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("widths", [(5,), (5, 5), (5,) * 9])
def test_a_preset_fits_any_depth(preset, widths):
    rate = Spec.make(preset, widths=widths).train.rate
    assert rate == "auto" or len(rate) <= len(widths)


def test_a_change_outweighs_the_preset():
    assert Spec.make("paper", rate=(0.5,), cooldown="half").train.rate == (0.5,)


def test_every_field_has_a_word_for_the_command_line_and_no_full_stop():
    assert all(option.help and not option.help.endswith(".") for option in Spec.options().values())


def test_what_is_left_open_is_told_apart_by_who_fills_it_in():
    spec = Spec.make(label_scale="max", smoothing=0.0, threads=0, chunk_size=7, epochs=3)
    assert set(spec.left_open("data")) == {
        *("class_goodness", "label_mode", "label_scale", "scaling", "layout", "slope", "prediction_weights"),
        *("batch_size", "n_negatives", "rate", "input_dropout"),
    }
    assert spec.left_open("plan") == ["tile_bytes", "moments", "cache", "threads"]


positive = st.floats(1e-6, 1e3)
specs = st.builds(
    Spec.make,
    preset=st.sampled_from(sorted(PRESETS)),
    widths=st.lists(st.integers(1, 65536), min_size=2, max_size=5).map(tuple),
    norm=st.sampled_from(["unit", "rms", "layer", "fixed"]),
    bound=positive | st.just("none"),
    sparsity=st.floats(0.01, 0.99) | st.just("none"),
    label_scale=positive | st.just("max"),
    variant=st.sampled_from(["fcff", "acff"]),
    loss=st.just("logistic"),
    slope=st.none() | positive,
    alpha=st.sampled_from(["ones", "mean"]),
    theta=st.floats(-10, 10),
    batch_size=st.integers(1, 10**6) | st.sampled_from(["full", "auto"]),
    seed=st.integers(0, 2**63),
)


@given(specs)
def test_a_spec_survives_json(spec):
    assert Spec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec


@given(specs)
def test_a_recipe_survives_json_and_is_a_spec_that_asks_for_itself(spec):
    facts = some_facts(shape=(70_000,), classes=4)
    recipe = resolve(spec, facts, 2 * 10**6)
    assert Recipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe
    assert resolve(recipe.as_spec(), facts, 2 * 10**6) == recipe


@pytest.mark.parametrize("part", ["network", "rule", "train"])
def test_a_missing_or_unknown_field_is_refused(part):
    plain = Spec.make().to_dict()
    name = next(iter(plain[part]))
    for damaged in (
        {**plain, part: {k: v for k, v in plain[part].items() if k != name}},
        {**plain, part: {**plain[part], "extra": 1}},
        {k: v for k, v in plain.items() if k != part},
        {**plain, part: [1]},
    ):
        with pytest.raises(ValueError, match=f"^{part} must have just the fields .*{name}"):
            Spec.from_dict(damaged)


def test_numbers_of_numpy_are_numbers():
    given = Spec.make(seed=np.int64(2), widths=np.array([50, 40]), rate=np.array([0.5]), epochs=np.int64(3))
    assert given == Spec.make(seed=2, widths=(50, 40), rate=(0.5,), epochs=3)
    assert given.to_dict() == Spec.make(seed=2, widths=(50, 40), rate=(0.5,), epochs=3).to_dict()
