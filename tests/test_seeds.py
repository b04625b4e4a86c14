"""Draws: the same from the same place, others from any other place."""

from itertools import product

import numpy as np

from ffedge.seeds import Draw, generator


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
