"""The strongest quarter of a group: what ties do to its gradient, and what such a network cannot become."""

import numpy as np
import onnxruntime as ort
import pytest
from toys import TOP, clusters, prepared, small_spec

from ffedge.errors import FfedgeError
from ffedge.kinds import goodness_of
from ffedge.layers.base import LayerPlace
from ffedge.layers.conv import Conv
from ffedge.layers.dense import Dense
from ffedge.model.form import folded
from ffedge.network import layers_of
from ffedge.onnx.graph import GraphBuilder, model_bytes
from ffedge.spikes.convert import check_convertible

PLACE = {"index": 1, "inputs": 5, "classes": 2, "sees_label": False, "label_scale": 1.0, "bound": None}


def by_onnx(layer, y, dg):
    """Return the goodness and dLoss/dy that the graphs give."""
    g = GraphBuilder("toy")
    goodness, given = goodness_of(layer), g.input("y", ("N", layer.units))
    g.op("Identity", goodness.of(g, given, 1, {}), out="g")
    value, weight = goodness.slope(g, given, g.input("dg", ("N", 2)), {})
    assert weight is None
    g.op("Identity", value, out="dy")
    g.output("g", ("N", 2))
    g.output("dy", ("N", layer.units))
    return ort.InferenceSession(model_bytes(g.graph)).run(["g", "dy"], {"y": y, "dg": dg})


def dense(units):
    return Dense(LayerPlace(**PLACE, goodness="top-groups"), units)


def convolution(channels):
    return Conv(LayerPlace(**PLACE, goodness="top-groups", picture=(1, 9, 8)), channels, 3, 1, 1, False)


def test_squares_level_with_the_last_one_taken_share_its_gradient():
    layer = dense(17)  # groups of 9 and 8: three and two are taken
    y = np.array([[3, 1, 1, 0, 1, 0, 0, 0, 0, 2, 2, 2, 2, 0, 0, 0, 1]], np.float32)
    g, dy = by_onnx(layer, y, np.array([[3.0, 1.0]], np.float32))
    np.testing.assert_allclose(g, [[(9 + 1 + 1) / 3, 4.0]])
    third, half = 2 / 3, 1 / 2  # of three ones two are taken, of four twos two
    wanted = [2 * 3, 2 * third, 2 * third, 0, 2 * third, *[0] * 4, *[2 * half] * 4, *[0] * 4]
    np.testing.assert_allclose(dy, [wanted], rtol=1e-6)


@pytest.mark.parametrize("layer", [dense(17), convolution(5)])
def test_both_engines_share_it_alike(layer):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    y, dg = rng.integers(0, 3, (6, layer.units)).astype(np.float32), rng.normal(size=(6, 2)).astype(np.float32)
    y[:2] = 1.0  # pictures of one tone
    g, dy = by_onnx(layer, y, dg)
    given = torch.tensor(y, requires_grad=True)
    shape = (-1, *(layer.activity_picture or (layer.units,)))
    found = goodness_of(layer).torch(given.view(shape), {})
    (found * torch.tensor(dg)).sum().backward()
    np.testing.assert_allclose(g, found.detach(), rtol=1e-5)
    np.testing.assert_allclose(dy, given.grad, rtol=1e-5, atol=1e-7)


def test_what_it_cannot_become_is_told_in_one_line():
    recipe, facts = prepared(small_spec(**TOP, norm="fixed"), clusters())
    with pytest.raises(ValueError, match=r"networks of top-groups have no other form\. Export the model"):
        folded(recipe, facts, [])
    with pytest.raises(FfedgeError, match="was trained with `class_goodness='top-groups'`; spikes cannot"):
        check_convertible(recipe, "model.onnx")
    few = prepared(small_spec(**{**TOP, "widths": (3,)}), clusters())
    with pytest.raises(
        ValueError, match="`class_goodness='top-groups'` needs a unit for each class, got 3 for 4 classes"
    ):
        layers_of(*few)
