"""A trained network in torch, as published code predicts: the same labels as the oracle's."""

import numpy as np
import pytest
from oracle import Oracle
from toys import clusters, prepared, random_layers, small_spec

pytestmark = pytest.mark.torch
DATA = clusters(rows=400, noise=2.0)
CASES = [
    {},
    {"label_mode": "concat"},
    {"label_layers": "all", "widths": (10, 10, 10)},
    {"skip": "add", "label_layers": "all", "widths": (10, 10, 10, 10)},
]


@pytest.mark.parametrize("changes", CASES, ids=str)
def test_passes_and_stacked_rows_give_the_oracles_labels(changes):
    from torch_passes import TorchNetwork

    recipe, facts = prepared(small_spec(**changes), DATA)
    layers = random_layers(recipe, facts)
    raw = DATA.train.inputs.take(np.arange(len(DATA.train.labels)))
    stored = {f"layers.{i}.{name}": array for i, layer in enumerate(layers) for name, array in layer.items()}
    network = TorchNetwork(stored, recipe.network, facts)
    wanted = Oracle(recipe, facts, layers).scores(raw).argmax(axis=1)
    for predict in (network.predict, network.predict_stacked):
        np.testing.assert_array_equal(predict(network.scaled(raw)).numpy(), wanted)
