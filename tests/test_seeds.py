"""Draws: the same from the same place, others from any other place."""

from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ffedge.seeds import Draw, Permutation, generator, hashed, key

# 0.999 quantiles of the chi-square distribution, by degrees of freedom
CHI_SQUARE = {5: 20.52, 81: 126.1, 109: 160.4, 119: 172.4, 361: 449.8, 399: 492.0}


def test_a_draw_repeats_bit_for_bit():
    for draw in Draw:
        first, again = (generator(7, draw, 1, 2, 3).bytes(64) for _ in range(2))
        assert first == again


def test_a_draw_does_not_depend_on_draws_before_it():
    generator(7, Draw.ORDER, 0, 0).random(1000)
    np.random.default_rng(0).random(10)
    assert generator(7, Draw.ORDER, 0, 1).bytes(16) == generator(7, Draw.ORDER, 0, 1).bytes(16)


def test_seed_kind_stage_epoch_and_step_each_give_another_draw():
    places = list(product((0, 1, 2**32 + 1), Draw, (0, 1), (0, 1), (0, 1)))
    drawn = {generator(seed, draw, *where).bytes(16) for seed, draw, *where in places}
    assert len(drawn) == len(places)


def test_a_draw_is_the_same_on_every_machine():
    """Numpy promises PCG64's stream; a change of a kind's number or of the entropy's order would change every run."""
    assert (
        generator(3, Draw.DROPOUT, 1, 2).integers(0, 2**32, 3).tolist()
        == np.random.Generator(np.random.PCG64(np.random.SeedSequence([3, 4, 1, 2]))).integers(0, 2**32, 3).tolist()
    )


def order(count, *where, seed=0):
    return Permutation(count, seed, Draw.ORDER, *where).at(np.arange(count))


def chi_square(counts):
    counts = np.asarray(counts, float)
    return float(((counts - counts.mean()) ** 2 / counts.mean()).sum())


def test_an_order_takes_everything_once():
    for count in range(1, 600):
        assert sorted(order(count, 1, count).tolist()) == list(range(count))


@given(st.integers(600, 300_000), st.integers(0, 2**64), st.integers(0, 9))
def test_a_long_order_takes_everything_once(count, seed, epoch):
    assert (np.bincount(order(count, 0, epoch, seed=seed), minlength=count) == 1).all()


@given(st.integers(1, 2**63 - 1), st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=50, unique=True))
def test_places_alone_have_what_they_have_together_and_nothing_twice(count, places):
    places = np.unique(np.array(places) % count)
    some = Permutation(count, 1, Draw.HOLDOUT)
    together = some.at(places)
    assert together.dtype == np.int64
    assert len(set(together.tolist())) == len(places)
    assert (together >= 0).all()
    assert (together < count).all()
    assert [int(some.at(places[i : i + 1])[0]) for i in range(len(places))] == together.tolist()


@pytest.mark.parametrize("count", [0, -1, 2**63])
def test_an_order_of_nothing_or_too_much_is_refused(count):
    with pytest.raises(ValueError, match=r"^count must be 1 to 2\*\*63 - 1, got "):
        Permutation(count, 0, Draw.ORDER)


def test_each_seed_draw_stage_and_epoch_has_its_own_order():
    places = list(product((0, 1), (Draw.HOLDOUT, Draw.ORDER), (0, 1), (0, 1)))
    assert len({tuple(Permutation(50, s, d, *w).at(np.arange(50))) for s, d, *w in places}) == len(places)


@pytest.mark.parametrize("count", [3, 5])
def test_of_few_rows_every_order_is_equally_likely(count):
    possible = {one: i for i, one in enumerate(permutations(range(count)))}
    found = [possible[tuple(order(count, epoch).tolist())] for epoch in range(5000)]
    assert chi_square(np.bincount(found, minlength=len(possible))) < CHI_SQUARE[len(possible) - 1]


@pytest.mark.parametrize("count", [11, 100_003])
def test_two_neighbours_go_anywhere_independently(count):
    """Over many epochs: each of 110 pairs of places; of a long order, each pair of 20 parts."""
    parts = min(count, 20)
    found = np.array([Permutation(count, 0, Draw.ORDER, 0, e).at(np.array([4, 5])) for e in range(6000)])
    pairs = np.bincount(found[:, 0] * parts // count * parts + found[:, 1] * parts // count, minlength=parts**2)
    if count == 11:
        assert pairs.reshape(11, 11).trace() == 0
        pairs = pairs.reshape(11, 11)[~np.eye(11, dtype=bool)]
    assert chi_square(pairs) < CHI_SQUARE[len(pairs) - 1]


@pytest.mark.parametrize("count", [57_000, 600_000])
def test_one_order_is_well_mixed(count):
    """Where the rows of each tenth of the file come, and how far neighbours in the order lie apart in the file."""
    rows = order(count, 0, 3)
    tenths = np.bincount(np.arange(count) * 10 // count * 10 + rows * 10 // count, minlength=100)
    assert chi_square(tenths) < CHI_SQUARE[81]  # rows and columns are given
    step = np.bincount((np.diff(rows) % count) * 400 // count, minlength=400)
    assert chi_square(step) < CHI_SQUARE[399]
    assert abs(np.corrcoef(rows[1:], rows[:-1])[0, 1]) < 4 / np.sqrt(count)
    assert abs(np.corrcoef(rows, np.arange(count))[0, 1]) < 4 / np.sqrt(count)


def test_two_epochs_do_not_resemble_each_other():
    first, second = order(50_000, 0, 0), order(50_000, 0, 1)
    both = np.bincount(first * 20 // 50_000 * 20 + second * 20 // 50_000, minlength=400)
    assert chi_square(both) < CHI_SQUARE[361]
    assert (first == second).sum() < 10  # a Poisson of mean 1


def test_an_order_is_the_same_on_every_machine_and_tomorrow():
    """A checkpoint goes on in the order in which it began: these values may never change."""
    places = np.array([0, 1, 2, 999, 56_999])
    assert Permutation(57_000, 0, Draw.ORDER, 0, 0).at(places).tolist() == [13619, 20359, 6936, 10895, 25180]
    assert Permutation(10**12, 7, Draw.ORDER, 1, 2).at(places[:2]).tolist() == [176512847481, 988514516384]
    assert order(10, 1, 2, seed=3).tolist() == [5, 1, 7, 0, 6, 4, 8, 9, 2, 3]
    words = [8366673525578717822, 6957920039118360366, 2408189428088034160, 445439173304652005, 634969736652375522]
    assert hashed(key(2, 7, Draw.NEGATIVES, 1), places, 1).tolist() == words


def naive_order(count, place, seed, *where):
    """The network in Python's own integers."""
    left = next(n for n in range(1, count + 1) if n * n >= count)
    right = -(-count // left)
    keys = [int(k) for k in np.random.SeedSequence([seed, 2, *where]).generate_state(24 if count <= 64 else 12, "u8")]

    def folded(word):
        word = word * 0xFF51AFD7ED558CCD % 2**64
        word = (word ^ word >> 32) * 0xC4CEB9FE1A85EC53 % 2**64
        return word >> 32

    while True:
        low, high = place % left, place // left
        for even, odd in zip(keys[::2], keys[1::2], strict=True):
            low = (low + folded(high ^ even)) % left
            high = (high + folded(low ^ odd)) % right
        place = high * left + low
        if place < count:
            return place


@pytest.mark.parametrize("count", [1, 2, 7, 64, 65, 1000])
def test_an_order_is_that_of_the_network_in_plain_integers(count):
    found = order(count, 1, 4, seed=9)
    assert found.tolist() == [naive_order(count, place, 9, 1, 4) for place in range(count)]
