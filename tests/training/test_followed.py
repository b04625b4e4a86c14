"""What is followed while a layer learns: the power of a fixed norm, and each unit's share of active rows.

Both engines take the same steps (tests/engine/test_parity.py).
"""

import numpy as np
import pytest
from oracle import Oracle
from toys import clusters, prepared, small_spec, trained

from ffedge.training.train import train

DATA = clusters(rows=320, noise=1.0)


def activities(recipe, layers):
    _, facts = prepared(recipe.as_spec(), DATA)
    raw = DATA.train.inputs.take(np.arange(320))
    labels = np.tile(np.arange(4), (320, 1))
    return [y for _, y, _ in Oracle(recipe, facts, layers).forward(raw, labels)]


@pytest.mark.parametrize("sparsity", [0.1, 0.4])
def test_units_come_to_be_active_in_the_share_of_rows_that_was_asked_for(sparsity):
    spec = small_spec(sparsity=sparsity, norm="fixed", epochs=30, n_negatives=3, widths=(40, 30))
    for y in activities(prepared(spec, DATA)[0], trained(spec, DATA)[0]):
        share = (y > 0).mean(axis=0)
        assert share.mean() == pytest.approx(sparsity, abs=0.08)  # gradients push against it
        assert share.std() < 0.1


def test_a_fixed_norm_gives_rows_a_mean_square_of_one():
    spec = small_spec(norm="fixed", bound=2.0, epochs=40, n_negatives=3)
    layers = trained(spec, DATA)[0]
    for y, layer in zip(activities(prepared(spec, DATA)[0], layers), layers, strict=True):
        assert (y**2).mean() / float(layer["power"]) == pytest.approx(1.0, abs=0.1)
        assert y.max() <= 2.0


def test_a_layer_that_has_learnt_keeps_its_power(tmp_path):
    spec = small_spec(norm="fixed", epochs=3, widths=(8, 6))
    seen = []

    def stop():
        from safetensors.numpy import load_file

        seen.extend(float(load_file(p)["power"]) for p in (tmp_path / "run" / "checkpoint").glob("layer-00.*"))
        return False

    train(spec, DATA, tmp_path / "run", stop=stop)
    assert len(seen) > 10
    assert set(seen) == {seen[0]} != {1.0}
