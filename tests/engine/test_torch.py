"""What is the torch engine's own: its device, its moments; what it learns is compared in test_parity.py."""

import numpy as np
import pytest
from toys import clusters, make_engine, prepared, random_layers, small_spec

from ffedge.errors import FfedgeError

pytestmark = pytest.mark.torch


@pytest.mark.parametrize("device", ["cuda:99", "quantum", "meta:x"])
def test_a_device_that_is_not_there_is_one_line(device):
    recipe, facts = prepared(small_spec(engine="torch", device=device), clusters())
    with pytest.raises(FfedgeError, match=f"^`device='{device}'`: torch cannot use it here. Use `device='cpu'`$"):
        make_engine(recipe, facts)


@pytest.mark.parametrize(
    ("optimizer", "gamma_optimizer", "moments"),
    [
        ("adam", "sgd", {"W.m", "W.v", "b.m", "b.v", "V.m", "V.v"}),
        ("momentum", "adam", {"W.m", "b.m", "V.m", "gamma.m", "gamma.v"}),
        ("sgd", "sgd", set()),
    ],
)
def test_its_state_has_the_names_of_the_onnx_engines(optimizer, gamma_optimizer, moments):
    """So that a checkpoint of either is read by the same code."""
    recipe, facts = prepared(
        small_spec(engine="torch", optimizer=optimizer, gamma_optimizer=gamma_optimizer), clusters()
    )
    engine = make_engine(recipe, facts)
    plain = {"W", "b", "V", "gamma"}
    engine.begin([0], chunked=False)
    assert set(engine.state()[0]) == plain | moments
    assert set(engine.state()[1]) == {"W", "b", "gamma"}
    engine.finish([0])
    assert set(engine.state()[0]) == plain


def test_its_parameters_are_those_it_was_given():
    recipe, facts = prepared(small_spec(engine="torch"), clusters())
    layers = random_layers(recipe, facts)
    for found, given in zip(make_engine(recipe, facts, layers).state(), layers, strict=True):
        for name, value in given.items():
            assert found[name].dtype == np.float32
            np.testing.assert_array_equal(found[name], value)
