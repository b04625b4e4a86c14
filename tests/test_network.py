"""What a spec becomes on given data: resolved options, shapes, first weights, weights of the prediction."""

import json
import math

import numpy as np
import pytest

from ffedge.network import InputFacts, chosen, layer_shapes, resolve, score_weights
from ffedge.spec import Spec

ROWS = 1000


def facts(shape=(16,), classes=4, dtype="float32", **more):
    return InputFacts(shape, dtype, tuple(f"c{i}" for i in range(classes)), **more)


@pytest.mark.parametrize(
    ("given", "mode"),
    [
        (facts(free_border=True), "overlay"),
        (facts(free_border=False), "concat"),
        (facts(shape=(4,), free_border=True), "concat"),
        (facts(shape=(5,), free_border=True), "overlay"),
    ],
)
def test_a_label_overlays_only_where_there_is_a_free_border(given, mode):
    assert resolve(Spec.make(), given, ROWS).network.label_mode == mode


@pytest.mark.parametrize(
    ("given", "scaling"),
    [
        (facts(dtype="uint8"), "standard"),
        (facts(dtype="uint8", offset=(1.0,) * facts().size), "centred"),
        (facts(offset=(1.0,) * facts().size), "feature"),
    ],
)
def test_a_scaling_left_open_is_the_one_that_was_measured(given, scaling):
    assert resolve(Spec.make(), given, ROWS).network.scaling == scaling


@pytest.mark.parametrize(
    ("given", "recipe"),
    [
        (facts(shape=(28, 28)), (0.2, 0.05, 1.0)),
        (facts(shape=(784,), dtype="uint8"), (0.2, 0.05, 1.0)),
        (facts(shape=(784,)), (0.0, 0.0, 4.0)),
    ],
)
def test_images_are_learnt_with_noise_and_tables_without(given, recipe):
    spec = resolve(Spec.make(), given, ROWS)
    assert (spec.train.input_dropout, spec.rule.smoothing, spec.rule.slope) == recipe


@pytest.mark.parametrize(("loss", "slope"), [("logistic", 1.0), ("symmetric", 4.0), ("contrastive", 4.0)])
def test_a_slope_left_open_is_the_losss_own_but_for_tables(loss, slope):
    assert resolve(Spec.make(loss=loss), facts(), ROWS).rule.slope == slope


@pytest.mark.parametrize(
    ("given", "rows", "recipe"),
    [
        (facts(classes=20), 60_000, (6, 40, 0.1)),
        (facts(classes=50), 800, (6, 80, 0.1)),
        (facts(classes=50), 20, (6, 100, 0.1)),
        (facts(classes=19), 60_000, (2, 20, 0.0)),
        (facts(shape=(28, 28), classes=50), 60_000, (2, 20, 0.2)),
        (facts(classes=2), 60_000, (1, 20, 0.0)),
    ],
)
def test_a_table_of_many_classes_gets_more_wrong_labels_more_epochs_and_noise(given, rows, recipe):
    train = resolve(Spec.make(holdout=0.0), given, rows).train
    assert (train.n_negatives, train.epochs, train.input_dropout) == recipe


def test_nothing_is_dropped_where_activities_are_kept():
    spec = Spec.make(cache="activations", variant="ff")
    assert resolve(spec, facts(shape=(28, 28)), ROWS).train.input_dropout == 0.0


@pytest.mark.parametrize(
    ("rows", "size", "epochs"), [(20, 20, 100), (100, 32, 100), (800, 32, 40), (6000, 120, 20), (60_000, 256, 20)]
)
def test_few_rows_get_smaller_batches_and_more_epochs(rows, size, epochs):
    train = resolve(Spec.make(holdout=0.0), facts(), rows).train
    assert (train.batch_size, train.epochs) == (size, epochs)


@pytest.mark.parametrize(("inputs", "value"), [(800, 10.0), (32, 2.0), (8, 1.0)])
def test_a_label_weighs_alike_beside_few_and_many_inputs(inputs, value):
    assert resolve(Spec.make(), facts(shape=(inputs,)), ROWS).network.label_scale == value


def test_what_was_chosen_is_what_was_open():
    asked = Spec.make(label_mode="concat", epochs=3)
    spec = resolve(asked, facts(), ROWS)
    found = chosen(asked, spec)
    assert set(found) == {"label_scale", "scaling", "slope", "smoothing", "batch_size", "n_negatives", "input_dropout"}
    assert found["batch_size"] == spec.train.batch_size
    assert found["scaling"] == "feature"
    assert chosen(spec, spec) == {}


def test_a_choice_of_the_users_stays():
    spec = Spec.make(
        label_mode="overlay",
        scaling="none",
        label_scale=2.5,
        slope=2.0,
        smoothing=0.1,
        epochs=4,
        input_dropout=0.1,
        batch_size=7,
        n_negatives=3,
        chunk_size=5,
        tile_bytes=4096,
        moments="file",
    )
    assert resolve(spec, facts(free_border=False), ROWS) == spec


def test_what_a_budget_decides_is_left_open_where_there_is_one():
    train = resolve(Spec.make(memory_budget="1GiB"), facts(), ROWS).train
    assert (train.chunk_size, train.tile_bytes, train.moments) == ("auto", "auto", "auto")
    train = resolve(Spec.make(), facts(), ROWS).train
    assert (train.chunk_size, train.tile_bytes, train.moments) == (2048, 2**20, "memory")


def test_label_scale_max_is_the_largest_scaled_input():
    assert resolve(Spec.make(label_scale="max"), facts(largest=3.25), ROWS).network.label_scale == 3.25


@pytest.mark.parametrize(
    ("changes", "given", "text"),
    [
        ({}, facts(classes=1), "classes must number 2 to 1000, got 1"),
        ({}, facts(classes=1001), "classes must number 2 to 1000, got 1001"),
        (
            {"label_mode": "overlay"},
            facts(shape=(4,)),
            "label_mode overlay needs more inputs than classes, got 4 inputs and 4 classes. Use --label-mode concat",
        ),
        ({"n_negatives": 4}, facts(), "n_negatives must be less than the 4 classes, got 4"),
        ({"batch_size": 951}, facts(), "batch_size must be at most the 950 rows that are trained on, got 951"),
        ({"shift": 1}, facts(), r"shift needs images, got rows of shape \[16\]. Use --shift 0"),
    ],
)
def test_what_the_data_cannot_bear_is_refused(changes, given, text):
    with pytest.raises(ValueError, match=f"^{text}$"):
        resolve(Spec.make(**changes), given, ROWS)


@pytest.mark.parametrize(("rows", "size"), [(20_000, 256), (10_000, 190), (1000, 32), (30, 29), (2, 2)])
def test_a_batch_is_256_rows_or_fewer_of_those_that_are_trained_on(rows, size):
    assert resolve(Spec.make(holdout=0.05), facts(), rows).train.batch_size == size
    assert resolve(Spec.make(holdout=0.05, batch_size="full"), facts(), rows).train.batch_size == "full"


@pytest.mark.parametrize(("classes", "negatives"), [(2, 1), (3, 2), (10, 2)])
def test_two_wrong_labels_are_tried_or_as_many_as_there_are(classes, negatives):
    train = resolve(Spec.make(), facts(classes=classes), ROWS).train
    assert (train.n_negatives, train.wrong_labels) == (negatives, negatives)


def test_two_classes_and_all_but_one_wrong_label_are_enough():
    resolve(Spec.make(n_negatives=1), facts(classes=2), ROWS)
    resolve(Spec.make(n_negatives=999), facts(shape=(2000,), classes=1000), ROWS)


@pytest.mark.parametrize("label_mode", ["overlay", "concat"])
@pytest.mark.parametrize("label_layers", ["first", "all"])
def test_a_factored_net_has_the_weights_of_the_whole_one(label_mode, label_layers):
    """V and W together are the matrix of a dense layer whose input holds the label."""
    given, C = facts(shape=(5, 4)), 4
    spec = resolve(Spec.make(widths=(7, 6, 5), label_mode=label_mode, label_layers=label_layers), given, ROWS)
    inputs = [20 if label_mode == "overlay" else 20 + C, 7, 6]
    for shape, width, units in zip(layer_shapes(spec, given), inputs, (7, 6, 5), strict=True):
        sees = shape.index == 0 or label_layers == "all"
        whole = width + (C if sees and shape.index else 0)
        shapes = shape.parameters()
        assert set(shapes) == ({"W", "b", "V"} if sees else {"W", "b"})
        assert shapes["W"][0] + (shapes["V"][0] if sees else 0) == whole
        assert {dims[-1] for dims in shapes.values()} == {units}
        assert shape.first == (shape.index == 0)


def test_first_weights_are_uniform_within_the_fan_in():
    given = facts(shape=(400,))
    spec = resolve(Spec.make(widths=(300, 200), label_mode="concat"), given, ROWS)
    for shape, fan_in in zip(layer_shapes(spec, given), (404, 300), strict=True):
        bound = 1 / math.sqrt(fan_in)
        for name, value in shape.initial(0).items():
            assert value.dtype == np.float32
            assert value.shape == shape.parameters()[name]
            assert np.abs(value).max() <= np.float32(bound)
            if value.size > 1000:
                assert np.abs(value).max() > 0.98 * bound
                assert abs(value.mean()) < 5 * bound / math.sqrt(3 * value.size)
                assert value.std() == pytest.approx(bound / math.sqrt(3), rel=0.05)


def test_first_weights_depend_on_seed_and_layer_alone():
    spec, given = Spec.make(widths=(16, 16, 16), label_mode="concat"), facts()
    _, second, third = layer_shapes(resolve(spec, given, ROWS), given)
    np.testing.assert_array_equal(second.initial(3)["W"], second.initial(3)["W"])
    assert not np.array_equal(second.initial(3)["W"], second.initial(4)["W"])
    assert not np.array_equal(second.initial(3)["W"], third.initial(3)["W"])


def test_the_weights_of_the_score_are_one_or_what_the_others_make_of_a_layer():
    """Layer l's goodness stands in layer m's sum with gamma_m alpha_ml, and in its own with 1."""
    alpha = ((9.0, 2.0, 3.0), (4.0, 9.0, 6.0), (7.0, 8.0, 9.0))
    spec = Spec.make(widths=(4, 4, 4), alpha=alpha, scope="all", prediction_weights="collaborative")
    state = [{"gamma": np.array(gamma, np.float32)} for gamma in (10, 100, 1000)]
    assert score_weights(spec, state) == [1 + 400 + 7000, 1 + 20 + 8000, 1 + 30 + 600]
    assert score_weights(Spec.make(widths=(4, 4, 4), alpha=alpha), state) == [1.0, 1.0, 1.0]
    alone = Spec.make(widths=(4, 4, 4), variant="ff", prediction_weights="collaborative")
    assert score_weights(alone, [{}] * 3) == [1.0, 1.0, 1.0]


def test_facts_survive_json():
    given = facts(shape=(3, 4), offset=(0.5,), scale=(2.0, *[3.0] * 11), free_border=False, largest=7.0)
    assert InputFacts.from_dict(json.loads(json.dumps(given.to_dict()))) == given
    assert (given.size, given.n_classes) == (12, 4)


def test_a_missing_or_unknown_fact_is_refused():
    plain = facts().to_dict()
    with pytest.raises(ValueError, match=r"^input must have just the fields shape, dtype, classes"):
        InputFacts.from_dict({**plain, "extra": 1})
    with pytest.raises(ValueError, match=r"^input must have just the fields shape, dtype, classes"):
        InputFacts.from_dict({k: v for k, v in plain.items() if k != "largest"})
