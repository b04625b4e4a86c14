"""Forward-Forward's equations in torch, as they stand in the papers; autograd takes the gradients.

Shape letters: N samples, M labels tried for each (the true one first), R = N * M rows, H units.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from ffedge.recipe import Network, Rule
from ffedge.spec import NORM_EPSILON


def activity(z: Tensor, network: Network) -> Tensor:
    """Return ``relu(z)``, cut at the network's bound."""
    return z.relu() if network.bound is None else z.clamp(0.0, network.bound)


def goodness(y: Tensor, network: Network) -> Tensor:
    """Mean or sum of the squared activities of each row [R, H] -> [R]."""
    return y.square().mean(1) if network.goodness == "mean" else y.square().sum(1)


def normalised(y: Tensor, network: Network, power: Tensor | None) -> Tensor:
    """Return the activities [R, H] as the next layer sees them; `power` [] is the layer's, for a fixed norm."""
    if network.norm == "fixed":
        assert power is not None
        return y / (power.sqrt() + NORM_EPSILON)
    if network.norm == "layer":
        return (y - y.mean(1, keepdim=True)) / (y.var(1, unbiased=False, keepdim=True) + NORM_EPSILON).sqrt()
    squares = y.square().sum(1, keepdim=True) if network.norm == "unit" else y.square().mean(1, keepdim=True)
    return y / (squares.sqrt() + NORM_EPSILON)


def collaborative(g: Tensor, other: Tensor, gamma: Tensor | None, rule: Rule) -> Tensor:
    """NetworkFF eq. 5 with the threshold taken off: ``g - theta + gamma * other`` [N, M]."""
    return g - rule.theta + (gamma * other if gamma is not None else 0.0)


def loss(G: Tensor, rule: Rule) -> Tensor:
    """Return the loss of each sample [N] from the goodness [N, M] of its labels."""
    slope, true, wrong = rule.slope, G[:, 0], G[:, 1:]
    if rule.loss == "logistic":  # NetworkFF eq. 8, the mean taken over the wrong labels
        return (F.softplus(-slope * true) + F.softplus(slope * wrong).mean(1)) / 2
    if rule.loss == "symmetric":  # SymBa
        return F.softplus(-slope * (true[:, None] - wrong)).mean(1)
    target = torch.zeros(len(G), dtype=torch.long, device=G.device)
    return F.cross_entropy(slope * G, target, label_smoothing=rule.smoothing, reduction="none")
