"""A layer never sees those above it: bench/depth.py reads every depth from the deepest net."""

import numpy as np
import pytest
from toys import clusters, small_spec, trained


@pytest.mark.parametrize("changes", [{"variant": "ff"}, {"scope": "previous"}, {"scope": "previous", "skip": "add"}])
def test_a_deep_net_holds_the_shallower_ones_bit_for_bit(changes):
    data = clusters()
    changes = {"label_layers": "all", "negatives": "hard", "input_dropout": 0.2, "rate": (0.02, 0.01)} | changes
    deep, _ = trained(small_spec(widths=(10,) * 4, **changes), data)
    shallow, _ = trained(small_spec(widths=(10,) * 2, **changes), data)
    for layer in range(2):
        for name, array in shallow[layer].items():
            np.testing.assert_array_equal(deep[layer][name], array)


def test_a_layer_that_listens_to_those_above_it_is_another_in_a_deeper_net():
    deep, shallow = (trained(small_spec(widths=(10,) * n, scope="all"), clusters())[0] for n in (3, 2))
    assert not np.array_equal(deep[0]["W"], shallow[0]["W"])
