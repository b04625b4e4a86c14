"""What a recipe makes of given data: shapes, first weights; what is known of the input."""

import json
import math

import numpy as np
import pytest
from toys import some_facts

from ffedge.network import InputFacts, layers_of, parameter_sizes
from ffedge.resolve import resolve
from ffedge.spec import Spec

ROWS = 1000


@pytest.mark.parametrize("label_mode", ["overlay", "concat"])
@pytest.mark.parametrize("label_layers", ["first", "all"])
def test_a_factored_net_has_the_weights_of_the_whole_one(label_mode, label_layers):
    """V and W together are the matrix of a dense layer whose input holds the label."""
    given, C = some_facts(shape=(5, 4)), 4
    recipe = resolve(Spec.make(widths=(7, 6, 5), label_mode=label_mode, label_layers=label_layers), given, ROWS)
    inputs = [20 if label_mode == "overlay" else 20 + C, 7, 6]
    for layer, width, units in zip(layers_of(recipe, given), inputs, (7, 6, 5), strict=True):
        sees = layer.place.index == 0 or label_layers == "all"
        whole = width + (C if sees and layer.place.index else 0)
        shapes = parameter_sizes(layer)
        assert set(shapes) == ({"W", "b", "V"} if sees else {"W", "b"})
        assert shapes["W"][0] + (shapes["V"][0] if sees else 0) == whole
        assert {dims[-1] for dims in shapes.values()} == {units}


def test_first_weights_are_uniform_within_the_fan_in():
    given = some_facts(shape=(400,))
    recipe = resolve(Spec.make(widths=(300, 200), label_mode="concat"), given, ROWS)
    for layer, fan_in in zip(layers_of(recipe, given), (404, 300), strict=True):
        bound = 1 / math.sqrt(fan_in)
        for name, value in layer.draw(0).items():
            assert value.dtype == np.float32
            assert value.shape == parameter_sizes(layer)[name]
            assert np.abs(value).max() <= np.float32(bound)
            if value.size > 1000:
                assert np.abs(value).max() > 0.98 * bound
                assert abs(value.mean()) < 5 * bound / math.sqrt(3 * value.size)
                assert value.std() == pytest.approx(bound / math.sqrt(3), rel=0.05)


def test_first_weights_depend_on_seed_and_layer_alone():
    spec, given = Spec.make(widths=(16, 16, 16), label_mode="concat"), some_facts()
    _, second, third = layers_of(resolve(spec, given, ROWS), given)
    np.testing.assert_array_equal(second.draw(3)["W"], second.draw(3)["W"])
    assert not np.array_equal(second.draw(3)["W"], second.draw(4)["W"])
    assert not np.array_equal(second.draw(3)["W"], third.draw(3)["W"])


def test_groups_need_a_unit_for_each_class():
    given = some_facts(classes=5)
    layers_of(resolve(Spec.make(widths=(9, 5), class_goodness="groups"), given, ROWS), given)
    text = r"^`class_goodness='groups'` needs a unit for each class, got 4 for 5 classes in layer 1\. Use wider layers"
    with pytest.raises(ValueError, match=text):
        layers_of(resolve(Spec.make(widths=(9, 4), class_goodness="groups"), given, ROWS), given)


def test_facts_survive_json():
    given = some_facts(shape=(3, 4), offset=(0.5,), scale=(2.0, *[3.0] * 11), free_border=False, largest=7.0)
    assert InputFacts.from_dict(json.loads(json.dumps(given.to_dict()))) == given
    assert (given.size, given.n_classes) == (12, 4)


def test_a_missing_or_unknown_fact_is_refused():
    plain = some_facts().to_dict()
    with pytest.raises(ValueError, match=r"^input must have just the fields shape, dtype, classes"):
        InputFacts.from_dict({**plain, "extra": 1})
    with pytest.raises(ValueError, match=r"^input must have just the fields shape, dtype, classes"):
        InputFacts.from_dict({k: v for k, v in plain.items() if k != "largest"})


@pytest.mark.parametrize(
    ("shape", "dtype", "wanted"),
    [
        ((28, 28), "uint8", (28, 28, 1)),
        ((8, 9, 1), "uint8", (8, 9, 1)),
        ((32, 24, 3), "uint8", (32, 24, 3)),
        ((32, 24, 4), "uint8", (32, 24, 4)),
        ((28, 28), "float32", None),  # a spectrogram or a sensor's window, for all that is known
        ((3, 32, 32), "uint8", None),  # channels first
        ((1, 28, 28), "uint8", None),
        ((128, 6), "uint8", None),  # six sensors
        ((6, 128), "uint8", None),
        ((32, 32, 2), "uint8", None),
        ((784,), "uint8", None),
        ((4, 28, 28, 3), "uint8", None),
    ],
)
def test_axes_are_a_pictures_where_that_is_certain_and_nowhere_else(shape, dtype, wanted):
    assert some_facts(shape=shape, dtype=dtype).picture == wanted
