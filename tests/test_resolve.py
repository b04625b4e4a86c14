"""What the data make of a spec: every open field filled in, and what they cannot bear refused."""

import pytest
from toys import some_facts

from ffedge.recipe import Recipe
from ffedge.resolve import chosen, resolve
from ffedge.spec import Spec

ROWS = 1000


@pytest.mark.parametrize(
    ("given", "mode"),
    [
        (some_facts(free_border=True), "overlay"),
        (some_facts(free_border=False), "concat"),
        (some_facts(shape=(4,), free_border=True), "concat"),
        (some_facts(shape=(5,), free_border=True), "overlay"),
    ],
)
def test_a_label_overlays_only_where_there_is_a_free_border(given, mode):
    assert resolve(Spec.make(), given, ROWS).network.label_mode == mode


@pytest.mark.parametrize(
    ("given", "scaling"),
    [
        (some_facts(dtype="uint8"), "standard"),
        (some_facts(dtype="uint8", offset=(1.0,) * some_facts().size), "centred"),
        (some_facts(offset=(1.0,) * some_facts().size), "feature"),
    ],
)
def test_a_scaling_left_open_is_the_one_that_was_measured(given, scaling):
    assert resolve(Spec.make(), given, ROWS).network.scaling == scaling


@pytest.mark.parametrize(
    ("given", "recipe"),
    [
        (some_facts(shape=(28, 28)), (0.2, 0.05, 1.0)),
        (some_facts(shape=(784,), dtype="uint8"), (0.2, 0.05, 1.0)),
        (some_facts(shape=(784,)), (0.0, 0.0, 4.0)),
    ],
)
def test_images_are_learnt_with_noise_and_tables_without(given, recipe):
    spec = resolve(Spec.make(), given, ROWS)
    assert (spec.train.input_dropout, spec.rule.smoothing, spec.rule.slope) == recipe


@pytest.mark.parametrize(
    ("loss", "own", "of_tables"), [("logistic", 1.0, 1.0), ("symmetric", 4.0, 4.0), ("contrastive", 1.0, 4.0)]
)
def test_a_slope_left_open_is_the_losss_own_but_for_tables(loss, own, of_tables):
    slopes = [
        resolve(Spec.make(loss=loss, slope=slope), some_facts(), ROWS).rule.slope for slope in (None, 2.0, "auto")
    ]
    assert slopes == [own, 2.0, of_tables]


@pytest.mark.parametrize(
    ("given", "rows", "recipe"),
    [
        (some_facts(classes=20), 60_000, (6, 40, 0.1)),
        (some_facts(classes=50), 800, (6, 80, 0.1)),
        (some_facts(classes=50), 20, (6, 100, 0.1)),
        (some_facts(classes=19), 60_000, (2, 20, 0.0)),
        (some_facts(shape=(28, 28), classes=50), 60_000, (2, 20, 0.2)),
        (some_facts(classes=2), 60_000, (1, 20, 0.0)),
    ],
)
def test_a_table_of_many_classes_gets_more_wrong_labels_more_epochs_and_noise(given, rows, recipe):
    train = resolve(Spec.make(holdout=0.0), given, rows).train
    assert (train.n_negatives, train.epochs, train.input_dropout) == recipe


GROUPS = {"class_goodness": "groups"}
DEEP = (16,) * 6


@pytest.mark.parametrize(
    ("changes", "cache"),
    [
        ({"widths": DEEP, "epochs": 20}, "activations"),
        ({"widths": DEEP[1:], "epochs": 20}, "none"),
        ({"widths": DEEP, "epochs": 2}, "none"),  # what each label's rows cost is more than what is spared
        ({"widths": DEEP, "epochs": 2} | GROUPS, "activations"),
        ({"widths": DEEP, "epochs": 1} | GROUPS, "none"),
        ({"widths": DEEP, "epochs": 20, "schedule": "interleaved"}, "none"),
        ({"widths": DEEP, "epochs": 20, "negatives": "hard-sum"}, "none"),
        ({"widths": DEEP, "epochs": 20, "cache": "none"}, "none"),
        ({"widths": DEEP, "epochs": 20, "preset": "paper"}, "none"),
    ],
)
def test_activities_are_kept_where_that_spares_time(changes, cache):
    spec, facts = Spec.make(**changes), some_facts(shape=(28, 28), classes=10)
    recipe = resolve(spec, facts, ROWS)
    assert recipe.train.cache == cache
    assert chosen(spec, recipe).get("cache", "none") == cache
    assert (
        recipe.train.input_dropout == resolve(Spec.make(**changes | {"cache": "none"}), facts, ROWS).train.input_dropout
    )


@pytest.mark.parametrize(
    ("rows", "size", "epochs"), [(20, 20, 100), (100, 32, 100), (800, 32, 40), (6000, 120, 20), (60_000, 256, 20)]
)
def test_few_rows_get_smaller_batches_and_more_epochs(rows, size, epochs):
    train = resolve(Spec.make(holdout=0.0), some_facts(), rows).train
    assert (train.batch_size, train.epochs) == (size, epochs)


@pytest.mark.parametrize(("inputs", "value"), [(800, 10.0), (32, 2.0), (8, 1.0)])
def test_a_label_weighs_alike_beside_few_and_many_inputs(inputs, value):
    assert resolve(Spec.make(), some_facts(shape=(inputs,)), ROWS).network.label_scale == value


@pytest.mark.parametrize(("widths", "weights"), [((8, 8), "plain"), (("8c3p2", 8), "deeper"), (("8c3p2+",), "deeper")])
def test_deeper_layers_count_more_where_they_are_convolutions(widths, weights):
    facts = some_facts(shape=(28, 28))
    spec = Spec.make("pictures", widths=widths)
    assert resolve(spec, facts, ROWS).rule.prediction_weights == weights


def test_what_was_chosen_is_what_was_open():
    asked = Spec.make(label_mode="concat", epochs=3)
    recipe = resolve(asked, some_facts(), ROWS)
    found = chosen(asked, recipe)
    assert set(found) == {
        *("class_goodness", "label_scale", "scaling", "layout", "slope", "smoothing", "prediction_weights"),
        *("batch_size", "n_negatives", "rate", "input_dropout"),
    }
    assert found["batch_size"] == recipe.train.batch_size
    assert found["scaling"] == "feature"
    assert chosen(recipe.as_spec(), recipe) == {}


def test_a_choice_of_the_users_stays():
    spec = Spec.make(
        label_mode="overlay",
        class_goodness="tried",
        layout="none",
        scaling="none",
        label_scale=2.5,
        slope=2.0,
        smoothing=0.1,
        prediction_weights="collaborative",
        epochs=4,
        input_dropout=0.1,
        batch_size=7,
        n_negatives=3,
        chunk_size=5,
        tile_bytes=4096,
        moments="file",
        rate=(0.1, 0.2),
        cache="none",
    )
    assert resolve(spec, some_facts(free_border=False), ROWS) == Recipe.of(spec, ROWS)


def test_what_a_plan_may_choose_is_what_is_fastest():
    train = resolve(Spec.make(), some_facts(), ROWS).train
    assert (train.chunk_size, train.tile_bytes, train.moments) == (2048, 2**20, "memory")


def test_label_scale_max_is_the_largest_scaled_input():
    assert resolve(Spec.make(label_scale="max"), some_facts(largest=3.25), ROWS).network.label_scale == 3.25


@pytest.mark.parametrize(
    ("changes", "given", "text"),
    [
        ({}, some_facts(classes=1), "classes must number 2 to 1000, got 1"),
        ({}, some_facts(classes=1001), "classes must number 2 to 1000, got 1001"),
        (
            {"label_mode": "overlay"},
            some_facts(shape=(4,)),
            "`label_mode='overlay'` needs more inputs than classes, got 4 inputs and 4 classes. "
            "Use `label_mode='concat'`",
        ),
        ({"n_negatives": 4}, some_facts(), "`n_negatives` must be less than the 4 classes, got 4"),
        ({"batch_size": 951}, some_facts(), "`batch_size` must be at most the 950 rows that are trained on, got 951"),
        (
            {"shift": 1},
            some_facts(shape=(128, 6)),
            r"`shift` needs pictures: .* got float32 \[N, 128, 6\]. Use `shift=0`",
        ),
        ({"shift": 1}, some_facts(), r"`shift` needs pictures: .* got float32 \[N, 16\]. Use `shift=0`"),
    ],
)
def test_what_the_data_cannot_bear_is_refused(changes, given, text):
    with pytest.raises(ValueError, match=f"^{text}$"):
        resolve(Spec.make(**changes), given, ROWS)


@pytest.mark.parametrize(("rows", "size"), [(20_000, 256), (10_000, 190), (1000, 32), (30, 29), (2, 2)])
def test_a_batch_is_256_rows_or_fewer_of_those_that_are_trained_on(rows, size):
    assert resolve(Spec.make(holdout=0.05), some_facts(), rows).train.batch_size == size
    full = resolve(Spec.make(holdout=0.05, batch_size="full"), some_facts(), rows).train.batch_size
    assert full == rows - int(0.05 * rows)


@pytest.mark.parametrize(("classes", "negatives"), [(2, 1), (3, 2), (10, 2)])
def test_two_wrong_labels_are_tried_or_as_many_as_there_are(classes, negatives):
    assert resolve(Spec.make(), some_facts(classes=classes), ROWS).train.n_negatives == negatives


def test_two_classes_and_all_but_one_wrong_label_are_enough():
    resolve(Spec.make(n_negatives=1), some_facts(classes=2), ROWS)
    resolve(Spec.make(n_negatives=999), some_facts(shape=(2000,), classes=1000), ROWS)


@pytest.mark.parametrize(
    ("shape", "widths"),
    [
        ((8, 8), ("10c3p2",)),
        ((28, 28), ("10c3p2", "20c3p2", "40c3p2")),
        ((32, 32, 3), ("10c3p2", "20c3p2", "40c3p2")),
        ((3, 17, 40), ("10c3p2", "20c3p2")),
        ((96, 128, 3), ("10c3p2", "20c3p2", "40c3p2", "40c3p2", "40c3p2")),
    ],
)
def test_a_layer_that_repeats_halves_a_picture_until_four_places_a_side_are_left(shape, widths):
    given = some_facts(shape=shape, dtype="uint8")
    spec = Spec.make("pictures", widths=("10c3p2+", 12))
    recipe = resolve(spec, given, ROWS)
    assert recipe.network.widths == (*widths, 12)
    assert chosen(spec, recipe)["widths"] == [*widths, 12]
    assert resolve(recipe.as_spec(), given, ROWS) == recipe


@pytest.mark.parametrize(
    ("widths", "shape", "said"),
    [
        (("8c3+",), (28, 28), r"layer 0, '8c3\+': must pool, as in 8c3p2\+"),
        (("8c3", "banana+"), (28, 28), r"layer 1, 'banana\+': must be <channels>c<kernel>p<pool>\+"),
        ((8, "8c3p2+"), (28, 28), r"layer 1, '8c3p2\+': must read pictures"),
        (("8c3p2+",), (16,), r"`widths` names a convolution, which reads pictures"),
    ],
)
def test_a_layer_that_cannot_repeat_is_refused(widths, shape, said):
    with pytest.raises(ValueError, match=said):
        resolve(Spec.make(widths=widths), some_facts(shape=shape, dtype="uint8"), ROWS)


@pytest.mark.parametrize(
    ("given", "shift", "mirror"),
    [
        (some_facts(shape=(28, 28), dtype="uint8"), 2, 0.0),
        (some_facts(shape=(32, 32, 3), dtype="uint8"), 2, 0.5),
        (some_facts(shape=(3, 64, 48), dtype="uint8"), 3, 0.5),
        (some_facts(shape=(500, 400, 3), dtype="uint8"), 8, 0.5),
    ],
)
def test_pictures_move_by_a_sixteenth_and_those_with_colours_are_mirrored(given, shift, mirror):
    train = resolve(Spec.make("pictures"), given, ROWS).train
    assert (train.shift, train.mirror) == (shift, mirror)


@pytest.mark.parametrize(("given", "cache"), [(some_facts(), "none"), (some_facts(shape=(28, 28)), "activations")])
def test_what_is_no_picture_and_what_is_cached_stays_as_it_is(given, cache):
    spec = Spec.make(shift="auto", mirror="auto", cache=cache, input_dropout=0.0)
    train = resolve(spec, given, ROWS).train
    assert (train.shift, train.mirror) == (0, 0.0)


@pytest.mark.parametrize(
    ("widths", "rates"),
    [
        (("8c3a2", "16c3a2", 20), (0.002, 0.002, 0.001)),  # 16 channels of 8 x 8 places
        (("8c3", 20, 20), (0.002, 0.002 * 512 / 8192, 0.002)),
        (("8c3a2", "4c3a2", 20), (0.002, 0.002, 0.002)),  # 256 inputs
        (("8c3", "16c3"), (0.002,)),
        ((20, 20), (0.002,)),
    ],
)
def test_a_dense_layer_learns_the_slower_the_more_it_reads_of_a_convolution(widths, rates):
    """All its inputs are above 0: at the full rate every unit of one was dead after an epoch of CIFAR-10."""
    pictures = some_facts(shape=(32, 32, 3), dtype="uint8")
    spec = Spec.make(widths=widths, class_goodness="readout")
    train = resolve(spec, pictures, ROWS).train
    assert [train.layer_rate(i) for i in range(len(widths))] == pytest.approx((rates * 3)[: len(widths)])
    own = resolve(spec.with_train(rate=(0.01,)), pictures, ROWS).train
    assert own.rate == (0.01,)


def test_spikes_of_convolutions_count_the_deeper_layers_more_as_other_convolutions_do():
    pictures = some_facts(shape=(32, 32, 3), dtype="uint8")
    for widths, weights in ((("8c3a2", 20), "deeper"), ((20, 20), "plain")):
        assert resolve(Spec.make("spiking", widths=widths), pictures, ROWS).rule.prediction_weights == weights
