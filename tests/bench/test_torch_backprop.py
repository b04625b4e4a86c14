"""The backprop baseline learns, and counts what it keeps."""

import numpy as np
import pytest
from toys import clusters

from ffedge.network import InputFacts

torch = pytest.importorskip("torch", reason="needs torch, which is not installed")

from torch_forms import Accumulated, Checkpointed, Stepped

from ffedge.compare.arms import Arm
from ffedge.compare.backprop import Backprop

KINDS = {"plain": Backprop, "hook": Stepped, "checkpoint": Checkpointed, "accumulate": Accumulated}

DATA = clusters(rows=256, noise=0.4)
FACTS = InputFacts(shape=(16,), dtype="float32", classes=DATA.classes)
RAW, TRUE = DATA.train.inputs.take(np.arange(256)), DATA.train.labels
BATCH = 64


def trained(form="plain", optimizer="adam", widths=(24, 20), epochs=8):
    rate = {"adam": 0.01, "momentum": 0.05, "sgd": 0.2}[optimizer]
    net = KINDS[form](Arm(form, optimizer, form=form), widths, FACTS, rate, 0)
    for _ in range(epochs):
        for start in range(0, 256, BATCH):
            net.learn(RAW[start : start + BATCH], TRUE[start : start + BATCH])
    return net


@pytest.mark.parametrize("form", ["plain", "checkpoint", "hook", "accumulate"])
@pytest.mark.parametrize("optimizer", ["adam", "momentum", "sgd"])
def test_every_form_learns_the_same_network(form, optimizer):
    net, plain = trained(form, optimizer), trained("plain", optimizer)
    assert (net.predict(RAW) == TRUE).mean() > 0.95
    for own, other in zip(net.layers.parameters(), plain.layers.parameters(), strict=True):
        torch.testing.assert_close(own, other, rtol=1e-3, atol=1e-4)


def test_what_is_saved_for_backward_grows_with_depth_as_counted_by_hand():
    for depth in (1, 4, 8):
        net = trained(widths=(24,) * depth, epochs=1)
        # the input, each ReLU's output, which is the next layer's input; then log-softmax [N, 4] and the labels
        by_hand = 4 * BATCH * (16 + 24 * depth + 4) + 8 * BATCH
        assert by_hand <= net.saved_bytes <= by_hand + 16


def test_checkpointing_saves_less_and_accumulation_an_eighth():
    plain = trained(widths=(24,) * 6, epochs=1).saved_bytes
    assert trained("checkpoint", widths=(24,) * 6, epochs=1).saved_bytes < plain
    assert trained("accumulate", widths=(24,) * 6, epochs=1).saved_bytes == pytest.approx(plain / 8, rel=0.1)


def test_gradients_are_all_held_at_once_but_for_the_hook():
    plain, hook = trained(epochs=1), trained("hook", epochs=1)
    assert plain.gradient_bytes == plain.counted()["weights"] == 4 * (16 * 24 + 24 + 24 * 20 + 20 + 20 * 4 + 4)
    assert hook.gradient_bytes == 4 * 24 * 20
    assert plain.counted()["moments"] == 2 * plain.counted()["weights"]


def test_seconds_of_layers_add_up_to_most_of_a_step():
    import time

    net = Backprop(Arm("plain", "sgd"), (200, 200), FACTS, 0.1, 0)
    began = time.perf_counter()
    for _ in range(20):
        net.learn(RAW, TRUE)
    whole = time.perf_counter() - began
    assert len(net.seconds) == 3
    assert all(seconds > 0 for seconds in net.seconds)
    assert 0.2 * whole < sum(net.seconds) <= whole
