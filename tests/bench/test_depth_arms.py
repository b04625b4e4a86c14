"""The arms of deep networks: each is a network that ffedge takes, and backprop's fair opponent is what it says."""

import pytest
from depth import backprop_net, train_backprop
from depth_arms import FFEDGE

from ffedge.spec import Spec


@pytest.mark.parametrize("arm", FFEDGE)
def test_every_arm_is_asked_for_as_a_user_would(arm):
    spec = Spec.make(**FFEDGE[arm], widths=(16,) * 8)
    assert (spec.train.cache == "activations") == (arm in ("groups", "readout", "tried") or arm.endswith("-clean"))


@pytest.mark.torch
def test_the_residual_net_has_norms_and_skips_and_learns():
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    net = backprop_net((6, 16, 16, 16, 3), residual=True)
    assert sum(isinstance(part, torch.nn.BatchNorm1d) for part in net.modules()) == 3
    x, y = torch.randn(6, 6).repeat(100, 1), (torch.arange(6) % 3).repeat(100)
    for layer in net[2:4]:  # without what the layer makes of it, its input passes
        torch.nn.init.zeros_(layer.norm.weight)
    net.eval()
    h = net[1](x)
    assert torch.equal(net[2:4](h), h)
    net.train()
    train_backprop(net, x, y, rate=0.01, epochs=60)
    net.eval()
    assert (net(x).argmax(1) == y).float().mean() > 0.95
