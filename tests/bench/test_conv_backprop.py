"""Backprop of a preset's network: its layers are the preset's, it learns, and says what it has none of."""

import numpy as np
import pytest
from toys import conv_spec, pictures, prepared

pytest.importorskip("torch", reason="needs torch, which is not installed")

from conv_backprop import Net, accuracy, trained

ASKED = {"widths": ("8c3p2", "12c3"), "epochs": 12, "holdout": 0.0}


@pytest.mark.parametrize(("shape", "half"), [((9, 8, 3), False), ((9, 8, 3), True), ((8, 10), False)], ids=str)
def test_it_learns_what_the_pictures_show(shape, half):
    data = pictures(shape)
    recipe, facts = prepared(conv_spec(**ASKED), data)
    net, rows = trained(recipe, facts, data, 0.01, half=half), np.arange(120)
    assert accuracy(net, data.train, rows) > 0.8
    assert [type(layer).__name__ for layer in net._layers] == [
        *("Conv2d", "BatchNorm2d", "ReLU", "MaxPool2d"),
        *("Conv2d", "BatchNorm2d", "ReLU"),
        "Flatten",
    ]


def test_a_layer_that_it_has_none_of_is_refused():
    recipe, facts = prepared(conv_spec(widths=("8c3a2",)), pictures())
    with pytest.raises(ValueError, match="'8c3a2' must be a convolution of stride 1, pooled to the largest"):
        Net(recipe, facts, half=False)
