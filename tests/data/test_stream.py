"""The stream of minibatches: every row once an epoch, and draws that do not depend on how a batch is cut."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ffedge.data.augment import cut_out, mirrored, shifted
from ffedge.data.rows import ArrayRows
from ffedge.data.stream import BLOCK, OtherRows, Stream, kept_inputs, split_rows
from ffedge.network import InputFacts
from ffedge.resolve import resolve
from ffedge.seeds import Draw, Permutation
from ffedge.spec import Spec

IMAGES = np.random.default_rng(0).integers(1, 255, (40, 6, 5), dtype=np.uint8)
LABELS = np.random.default_rng(1).integers(0, 4, 40)
FACTS = InputFacts((30,), "uint8", ("a", "b", "c", "d"))
RECIPE = resolve(Spec.make("paper", batch_size=8, chunk_size=1000, input_dropout=0.2), FACTS, 40)


def stream(rows=None, inputs=30, **train):
    rows = np.arange(40) if rows is None else rows
    return Stream(ArrayRows(IMAGES), LABELS, rows, RECIPE.with_train(**train).train, inputs)


def together(chunks):
    chunks = list(chunks)
    return [
        None if getattr(chunks[0], name) is None else np.concatenate([getattr(chunk, name) for chunk in chunks])
        for name in ("raw", "labels", "positions", "mask")
    ]


def positions(some, stage, epoch):
    """Return the positions of each batch of an epoch."""
    return [together(some.chunks(stage, epoch, step))[2] for step in range(some.batches)]


@given(st.integers(1, 40), st.integers(1, 50), st.integers(0, 3), st.integers(0, 5), st.integers(1, 50))
def test_an_epoch_takes_every_row_once(rows, batch_size, stage, epoch, chunk_size):
    some = stream(np.arange(40 - rows, 40), batch_size=batch_size, chunk_size=chunk_size)
    batches = positions(some, stage, epoch)
    assert [len(batch) for batch in batches] == [some.samples(step) for step in range(some.batches)]
    assert all(len(batch) == batch_size for batch in batches[:-1])
    assert 1 <= len(batches[-1]) <= batch_size
    assert sorted(np.concatenate(batches).tolist()) == list(range(rows))


def test_each_epoch_and_stage_has_its_own_order_and_a_seed_repeats_it():
    some = stream()
    orders = {tuple(np.concatenate(positions(some, stage, epoch))) for stage in range(3) for epoch in range(3)}
    assert len(orders) == 9
    np.testing.assert_array_equal(positions(some, 1, 2), positions(stream(), 1, 2))
    assert not np.array_equal(positions(some, 1, 2), positions(stream(seed=1), 1, 2))


@pytest.mark.parametrize("batch_size", [1000, 4096, 5000])
def test_an_order_that_is_computed_in_blocks_is_the_permutation(batch_size):
    count = 2 * BLOCK + 77
    some = Stream(
        ArrayRows(np.zeros((count, 1), np.uint8)),
        np.zeros(count, np.int64),
        np.arange(count),
        RECIPE.with_train(batch_size=batch_size, input_dropout=0.0).train,
        1,
    )
    order = Permutation(count, RECIPE.train.seed, Draw.ORDER, 1, 2).at(np.arange(count))
    np.testing.assert_array_equal(np.concatenate(positions(some, 1, 2)), order)


def test_a_full_batch_comes_in_the_order_of_the_file():
    np.testing.assert_array_equal(positions(stream(batch_size=40, chunk_size=7), 0, 3), [np.arange(40)])


def test_a_chunk_holds_the_rows_of_its_positions():
    rows = np.arange(39, -1, -2)
    raw, labels, at, mask = together(stream(rows, input_dropout=0.0, chunk_size=3).chunks(0, 0, 1))
    np.testing.assert_array_equal(raw, IMAGES[rows[at]].reshape(8, 30))
    np.testing.assert_array_equal(labels, LABELS[rows[at]])
    assert mask is None
    assert (raw.dtype, labels.dtype) == (np.uint8, np.int64)


@pytest.mark.parametrize("inputs", [30, 29, 24, 1])
@given(chunk_size=st.integers(1, 40), batch_size=st.integers(1, 40))
def test_a_batch_has_the_same_draws_however_it_is_cut(inputs, chunk_size, batch_size):
    cut = stream(
        inputs=inputs,
        chunk_size=chunk_size,
        batch_size=batch_size,
        input_dropout=0.3,
        shift=2,
        shift_share=0.6,
        mirror=0.5,
        cutout=2,
    )
    whole = dataclasses.replace(cut, train=dataclasses.replace(cut.train, chunk_size=1000))
    step = cut.batches - 1
    chunks = list(cut.chunks(1, 2, step))
    assert max(len(chunk.labels) for chunk in chunks) <= chunk_size
    for found, wanted in zip(together(chunks), together(whole.chunks(1, 2, step)), strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_each_step_drops_other_inputs():
    some = stream(input_dropout=0.3)
    masks = {together(some.chunks(0, epoch, step))[3].tobytes() for epoch in (0, 1) for step in range(4)}
    assert len(masks) == 8


@pytest.mark.parametrize("dropout", [0.1, 0.2, 0.5, 0.9])
def test_dropout_takes_its_share_of_every_column_and_row(dropout):
    mask = kept_inputs(2000, 61, dropout, np.random.default_rng(0))
    assert mask.shape == (2000, 61)
    assert mask.dtype == np.uint8
    assert set(np.unique(mask)) == {0, 1}
    share = round(dropout * 256) / 256
    for axis, count in ((0, 2000), (1, 61)):
        deviation = np.sqrt(share * (1 - share) / count)
        assert np.abs((mask == 0).mean(axis) - share).max() < 5 * deviation
    assert abs((mask == 0).mean() - dropout) < 0.005


def naively_shifted(images, pixels, rng, share):
    result, (height, width) = np.zeros_like(images), images.shape[1:3]
    for n in range(len(images)):
        dy, dx = (int(rng.random() * (2 * pixels + 1)) - pixels for _ in "yx")
        dy, dx = (dy, dx) if rng.random() < share else (0, 0)
        for y in range(height):
            for x in range(width):
                result[n, y, x] = images[n, min(max(y - dy, 0), height - 1), min(max(x - dx, 0), width - 1)]
    return result


@pytest.mark.parametrize("pixels", [1, 2, 8])
@pytest.mark.parametrize("share", [1.0, 0.4])
@pytest.mark.parametrize("shape", [(40, 6, 5), (40, 6, 5, 3)])
def test_a_shift_moves_each_image_and_repeats_its_edge(pixels, share, shape):
    images = np.random.default_rng(5).integers(1, 255, shape, dtype=np.uint8)
    found = shifted(images, pixels, np.random.default_rng(6), share)
    np.testing.assert_array_equal(found, naively_shifted(images, pixels, np.random.default_rng(6), share))


def test_a_shift_goes_every_way_equally_often():
    image = np.zeros((9000, 5, 5), np.uint8)
    image[:, 2, 2] = 1
    places = np.argwhere(shifted(image, 1, np.random.default_rng(0)))[:, 1:] - 2
    counts = np.unique(places, axis=0, return_counts=True)[1]
    assert len(counts) == 9
    assert ((counts - 1000) ** 2 / 1000).sum() < 26.1  # chi-square, 8 degrees of freedom, 0.999


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_a_shift_moves_its_share_of_the_images(share):
    image = np.zeros((9000, 5, 5), np.uint8)
    image[:, 2, 2] = 1
    moved = (shifted(image, 1, np.random.default_rng(0), share)[:, 2, 2] == 0).mean()
    wanted = share * 8 / 9  # of nine places one is where it was
    assert abs(moved - wanted) < 5 * np.sqrt(wanted * (1 - wanted) / 9000)


def test_a_mirrored_image_is_turned_left_to_right_and_its_share_are():
    images = np.random.default_rng(5).integers(1, 255, (4000, 3, 4, 3), dtype=np.uint8)
    found = mirrored(images, np.random.default_rng(0), 0.3)
    turned = (found == images[:, :, ::-1]).all(axis=(1, 2, 3))
    assert (turned | (found == images).all(axis=(1, 2, 3))).all()
    assert abs(turned.mean() - 0.3) < 5 * np.sqrt(0.3 * 0.7 / 4000)


def test_a_cut_gives_a_square_whose_middle_is_anywhere_the_mean():
    images = np.full((4000, 6, 5, 2), [0, 9], np.uint8)
    images[:, ::2] += 100  # rows of 100 and 0, of 109 and 9: whose mean is 50 and 59
    found = cut_out(images, 3, np.random.default_rng(0))
    gone = (found == [50, 59]).all(axis=3)
    np.testing.assert_array_equal(found[~gone], images[~gone])
    sizes = {(int(g.any(axis=1).sum()), int(g.any(axis=0).sum())) for g in gone}
    assert sizes == {(2, 2), (2, 3), (3, 2), (3, 3)}
    assert all(g.sum() == g.any(axis=1).sum() * g.any(axis=0).sum() for g in gone)
    chance = np.outer([2, 3, 3, 3, 3, 2], [2, 3, 3, 3, 2]) / 30  # of each place to lie in the square
    np.testing.assert_allclose(gone.mean(axis=0), chance, atol=5 * np.sqrt(0.25 / 4000))


@given(st.integers(2, 300), st.floats(0, 0.99), st.integers(0, 5))
def test_held_out_rows_are_never_in_the_stream(count, holdout, seed):
    held, others = split_rows(count, RECIPE.with_train(holdout=holdout, seed=seed))
    rows = others[np.arange(len(others))]
    assert len(held) == int(count * holdout)
    assert sorted([*held, *rows]) == list(range(count))
    assert len(rows) >= 1
    for part in (held, rows):
        assert (np.diff(part) > 0).all()


@given(st.sets(st.integers(0, 59)), st.lists(st.integers(0, 10**6), max_size=20))
def test_the_other_rows_are_those_that_are_left(without, positions):
    left = np.array([row for row in range(61) if row not in without])
    others = OtherRows(61, np.array(sorted(without), np.int64))
    assert len(others) == len(left)
    at = np.array(positions, np.int64) % len(left)
    np.testing.assert_array_equal(others[at], left[at])


def test_no_more_than_2000_rows_are_held_out():
    held, rows = split_rows(60_000, RECIPE.with_train(holdout=0.5))
    assert (len(held), len(rows)) == (2000, 58_000)
    assert held.mean() == pytest.approx(30_000, rel=0.05)


def test_the_split_of_a_thousand_million_rows_takes_no_room():
    held, rows = split_rows(10**9, RECIPE.with_train(holdout=0.05))
    assert (len(held), len(rows)) == (2000, 10**9 - 2000)
    assert rows[np.array([0, 10**9 - 2001])].tolist() == [0, 10**9 - 1]
