"""Convolutions in micro-batches: the gradient is the batch's, in torch and in ffedge, as bench/conv_memory.py says."""

import numpy as np
import pytest
from toys import make_engine, make_loop, prepared, random_layers

from ffedge.data.dataset import Dataset, Split
from ffedge.data.rows import ArrayRows
from ffedge.network import InputFacts
from ffedge.spec import Spec
from ffedge.training.checkpoint import Place

torch = pytest.importorskip("torch", reason="needs torch, which is not installed")

from conv_arms import FFEDGE, convolutional, noise

from ffedge.compare.arms import Arm

WIDTHS, NAMES = ("8c3", "8c3p2", "12c3p2"), tuple("0123456789")


def test_micro_batches_of_backprop_learn_the_same_network():
    x, y = noise(32)
    facts, nets = InputFacts(x.shape[1:], "uint8", NAMES, offset=(127.5,), scale=(1 / 64,)), []
    for micro in (32, 8, 1):
        nets.append(convolutional(micro)(Arm("backprop", "sgd"), WIDTHS, facts, 0.1, 0))
        for _ in range(3):
            nets[-1].learn(x.reshape(32, -1), y)
    for net in nets[1:]:
        for own, other in zip(net.parameters, nets[0].parameters, strict=True):
            torch.testing.assert_close(own, other, rtol=1e-3, atol=1e-5)
    assert nets[2].saved_bytes < nets[1].saved_bytes / 7 < nets[0].saved_bytes / 20


def test_chunks_of_ffedge_with_stored_statistics_learn_the_same_network():
    x, y = noise(40)
    data, states = Dataset("noise", Split(ArrayRows(x), y), None, NAMES, ""), []
    for chunk in (32, 8, 1):
        asked = FFEDGE["ffedge-stored-8"] | {"chunk_size": chunk, "optimizer": "sgd", "rate": (0.05,), "epochs": 3}
        recipe, facts = prepared(Spec.make(**asked, widths=WIDTHS, batch_size=32, threads=1, holdout=0.2), data)
        loop = make_loop(recipe, data, make_engine(recipe, facts, random_layers(recipe, facts)), facts=facts)
        loop.train(Place(), lambda: False)
        states.append(loop.engine.state())
    for state in states[1:]:
        for own, whole in zip(state, states[0], strict=True):
            for name in whole:
                np.testing.assert_allclose(own[name], whole[name], rtol=1e-3, atol=1e-5, err_msg=name)
