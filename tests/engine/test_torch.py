"""What is the torch engine's own: its device, its moments; what it learns is compared in test_parity.py."""

import numpy as np
import pytest
from toys import (
    GROUPS,
    clusters,
    conv_spec,
    in_child,
    make_engine,
    make_loop,
    pictures,
    prepared,
    random_layers,
    small_spec,
)

from ffedge.data.stream import Chunk
from ffedge.errors import FfedgeError
from ffedge.training.checkpoint import Place
from ffedge.training.step import BatchLearner, Turn
from ffedge.training.watch import Journal

pytestmark = pytest.mark.torch


@pytest.mark.parametrize("device", ["cuda:99", "quantum", "meta:x", "meta", "hpu", "mps", "xpu", "vulkan", ""])
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


@pytest.mark.parametrize(
    ("spec", "data"),
    [
        (small_spec(), clusters()),
        (small_spec(**GROUPS, norm="layer", schedule="interleaved"), clusters()),
        (conv_spec(schedule="interleaved", optimizer="adam"), pictures()),
        (conv_spec(class_goodness="groups", norm="fixed", widths=("6c3", "8c3a2", 9)), pictures()),
    ],
    ids=["tried", "groups", "readout of pictures", "groups of pictures"],
)
def test_products_in_bfloat16_learn_nearly_the_same(spec, data):
    """Their 8 bits of precision show in the weights, and what is learnt is float32."""
    losses, states = [], []
    for precision in ("float32", "bfloat16"):
        recipe, facts = prepared(spec.with_train(engine="torch", precision=precision), data)
        journal = Journal()
        loop = make_loop(recipe, data, journal=journal, facts=facts)
        loop.train(Place(), lambda: False)
        losses.append([record.loss for record in journal.records])
        states.append(loop.engine.state())
    np.testing.assert_allclose(*losses, rtol=0.03)
    for exact, near in zip(*states, strict=True):
        assert exact.keys() == near.keys()
        assert all(array.dtype == np.float32 for array in near.values())
        assert not np.array_equal(near["W"], exact["W"])
        assert np.linalg.norm(near["W"] - exact["W"]) < 0.1 * np.linalg.norm(exact["W"])


def test_precision_is_the_torch_engines():
    with pytest.raises(ValueError, match="`precision` must be float32 where `engine` is not torch, got 'bfloat16'"):
        small_spec(precision="bfloat16")


def test_freed_memory_stays_for_the_next_step():
    """Else each step takes its pages from the kernel anew: thousands of faults, and most of its time."""
    faults = in_child(
        """
        import resource
        import torch
        from ffedge.pages import keep_freed_blocks, return_large_blocks
        return_large_blocks()
        def faults():
            before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
            for _ in range(20):
                torch.ones(4_000_000)
            return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
        faults()
        first = faults()
        keep_freed_blocks()
        faults()
        print(first, faults())
        """
    )
    anew, kept = map(int, faults.split())
    assert anew > 1000
    assert kept < anew / 10


@pytest.mark.parametrize(
    ("spec", "data"),
    [
        (small_spec(variant="ff"), clusters()),
        (small_spec(optimizer="momentum", negatives="fixed"), clusters()),
        (small_spec(optimizer="sgd", norm="fixed", sparsity=0.1, gamma_optimizer="adam"), clusters()),
        (small_spec(**{**GROUPS, "chunk_size": 8}), clusters()),
        (conv_spec(class_goodness="top-groups", optimizer="adam", schedule="interleaved"), pictures()),
    ],
    ids=["ff", "acff", "spikes", "groups in chunks", "pictures"],
)
def test_learning_waits_for_no_number_of_its_device(spec, data, monkeypatch):
    """Of torch's device "meta", which has no numbers to give: to ask for one fails there."""
    import torch

    import ffedge.engine.torch as module

    plain = module.AdamW

    def unfused(*given, fused, **more):
        return plain(*given, **more)

    monkeypatch.setattr(module, "_device", torch.device)
    monkeypatch.setattr(module, "AdamW", unfused)
    recipe, facts = prepared(spec, data)
    engine = module.TorchEngine(recipe.with_train(device="meta"), facts, random_layers(recipe, facts))
    run, layers, rows = BatchLearner(recipe, engine, 4), list(range(len(engine.layers))), recipe.train.chunk_size
    engine.begin(layers, chunked=rows < 16)
    wrong = (data.train.labels[:, None] + [1, 2, 3][: recipe.train.n_negatives]) % 4
    turn = Turn(layers, lambda chunk: wrong[chunk.positions], None, 0, dict.fromkeys(layers, 0.01))
    places = [np.arange(start, min(start + rows, 16)) for start in range(0, 16, rows)]
    raw = [data.train.inputs.take(at).reshape(len(at), -1) for at in places]
    for _ in range(3):
        run.batch([Chunk(x, data.train.labels[at], at, None) for x, at in zip(raw, places, strict=True)], 16, turn)
    with pytest.raises((RuntimeError, NotImplementedError), match="meta"):
        run.settle()


@pytest.mark.parametrize("sides", [(2, 3), (5, 7), (1, 1)])
def test_the_gradient_of_pooled_squares_is_autograds(sides):
    import torch

    from ffedge.rule.squares import PooledSquares

    y = torch.randn(3, 4, 5, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    assert torch.autograd.gradcheck(lambda y: PooledSquares.apply(y, sides), (y,))
    half = y.detach().bfloat16().to(memory_format=torch.channels_last).requires_grad_()
    PooledSquares.apply(half, sides).sum().backward()
    assert half.grad.dtype == half.dtype
    assert half.grad.is_contiguous(memory_format=torch.channels_last)
