"""The average of parameters, and who lies far from the others, against numpy on whole arrays."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from toys import clusters, conv_spec, pictures, prepared, random_layers, small_spec

from ffedge.errors import ModelError
from ffedge.learning import average as module
from ffedge.learning.average import average, averaged_sizes, combined, judged, shares_of, source_of

RECIPE, FACTS = prepared(small_spec(), clusters())
CONV = prepared(conv_spec(), pictures())


def drawn(count, recipe=RECIPE, facts=FACTS):
    """Return models' layers, whose variances are above 0."""
    models = [random_layers(recipe, facts, seed) for seed in range(count)]
    for layers in models:
        for layer in layers:
            if "variance" in layer:
                layer["variance"] = np.abs(layer["variance"])
    return models


def merged(models, rows, method="mean", recipe=RECIPE, facts=FACTS):
    sources = [source_of(str(i), layers) for i, layers in enumerate(models)]
    return [
        average(i, sizes, sources, shares_of(rows), method) for i, sizes in enumerate(averaged_sizes(recipe, facts))
    ]


@pytest.mark.parametrize("block", [2**18, 7])
def test_a_mean_counts_each_model_by_its_rows(monkeypatch, block):
    monkeypatch.setattr(module, "BLOCK_VALUES", block)
    models, rows = drawn(3), [500, 300, 1]
    for index, layer in enumerate(merged(models, rows)):
        assert set(layer) == {"W", "b", "gamma"} | ({"V"} if index == 0 else set())
        for name, found in layer.items():
            wanted = np.average([m[index][name] for m in models], axis=0, weights=rows)
            assert found.dtype == np.float32
            np.testing.assert_allclose(found, wanted, rtol=1e-6)


def test_median_and_trimmed_mean_leave_a_liar_without_a_say():
    models = drawn(5)
    for layer in models[2]:
        for name in layer:
            layer[name] = np.full_like(layer[name], -1e30)
    median, trimmed = merged(models, [1] * 5, "median"), merged(models, [1] * 5, "trimmed")
    for index in range(3):
        for name in averaged_sizes(RECIPE, FACTS)[index]:
            values = np.sort([m[index][name] for m in models], axis=0).astype(np.float64)
            np.testing.assert_array_equal(median[index][name], np.float32(values[2]))
            np.testing.assert_allclose(trimmed[index][name], values[1:4].mean(axis=0), rtol=1e-6)


def test_batch_norms_statistics_are_those_of_all_rows_together():
    """Against the mean and variance of the very numbers, joined."""
    rng, rows, models = np.random.default_rng(0), (50, 20, 7), drawn(3, *CONV)
    parts = [rng.normal(3 * k, 1 + k, (n, 6)) for k, n in enumerate(rows)]
    for layers, part in zip(models, parts, strict=True):
        layers[0]["mean"], layers[0]["variance"] = part.mean(axis=0).astype("f4"), part.var(axis=0).astype("f4")
    found, joined = merged(models, rows, "mean", *CONV)[0], np.concatenate(parts)
    np.testing.assert_allclose(found["mean"], joined.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(found["variance"], joined.var(axis=0), rtol=1e-5)


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=5), st.sampled_from(["mean", "median", "trimmed"]))
def test_what_all_have_stays_bit_for_bit(rows, method):
    values = np.array([0.1, -0.0, 1e-42, 3e38, -7.3], np.float32)
    count = max(3, len(rows))
    found = combined(np.stack([values] * count).astype(np.float64), shares_of([*rows, 1, 0, 2][:count]), method)
    assert found.astype(np.float32).tobytes() == values.tobytes()


def test_who_learnt_nothing_has_no_say_unless_nobody_learnt():
    assert shares_of([0, 30, 10]).tolist() == [0, 0.75, 0.25]
    assert shares_of([0, 0]).tolist() == [0.5, 0.5]


def near(count, size=0.01):
    """Return models that have moved by about the same from one; and that one."""
    base = random_layers(RECIPE, FACTS)
    return [
        [{n: (v + size * np.random.default_rng([k, i]).normal(size=v.shape)).astype("f4") for n, v in layer.items()}
         for i, layer in enumerate(base)]
        for k in range(count)
    ], base  # fmt: skip


def faults(models, base=None, most=10.0, kind=(RECIPE, FACTS)):
    sources = [source_of(str(i), layers) for i, layers in enumerate(models)]
    return judged(*kind, sources, most, None if base is None else source_of("base", base))


def test_who_moved_far_beside_the_others_is_told():
    models, base = near(5)
    moved, found = faults(models)
    assert (found, max(moved) < 1.5) == ({}, True)
    models[3][1]["W"] = models[3][1]["W"] + np.float32(0.2)
    assert (faults(models)[1], faults(models)[0][3] > 10) == ({}, True)  # less than the weights are long
    models[3][1]["W"] = models[3][1]["W"] + np.float32(0.4)
    moved, found = faults(models)
    assert set(found) == {3}
    assert found[3].startswith("layer 1 moved ")
    assert found[3].endswith(" times as far as the others', beyond `most_norm` 10")
    assert faults(models, base)[1].keys() == {3}
    assert faults(models, most=moved[3] + 1)[1] == {}


def test_of_two_models_the_lengths_tell_and_beside_their_base_the_way():
    models, base = near(2)
    models[1][0]["W"] = models[1][0]["W"] + np.float32(0.6)
    assert faults(models)[1] == {}
    assert set(faults(models, base)[1]) == {1}
    models[1][0]["W"] = models[1][0]["W"] * np.float32(1e30)
    assert faults(models)[1][1].startswith("layer 0 is 2")


def test_boards_that_rested_are_no_measure_of_those_that_learnt():
    models, base = near(3)
    assert faults([models[0], base, base])[1] == {}
    assert faults([base] * 3) == ([0.0] * 3, {})


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_number_that_is_not_finite_is_told(bad):
    models, _ = near(3)
    models[1][2]["b"] = models[1][2]["b"].copy()
    models[1][2]["b"][4] = bad
    assert faults(models)[1] == {1: "layer 2 holds numbers that are not finite, or a variance below 0"}


def test_a_variance_below_0_is_told_and_one_beyond_float32_refused():
    models = drawn(3, *CONV)
    models[2][1]["variance"][0] = -1
    assert set(faults(models, most=1e9, kind=CONV)[1]) == {2}
    models = drawn(2, *CONV)
    models[0][0]["mean"], models[1][0]["mean"] = np.full(6, 1e30, "f4"), np.full(6, -1e30, "f4")
    with pytest.raises(ModelError, match="layer 0: the average of variance is too large for float32"):
        merged(models, [1, 1], "mean", *CONV)
