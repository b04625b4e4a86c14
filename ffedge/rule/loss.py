"""The losses on (collaborative) goodness and their slopes: G [N, M] -> loss of each sample, dLoss/dG [N, M].

Column 0 of G belongs to the true label, the K = M - 1 others to wrong ones. Threshold and collaboration are already
inside G (`ffedge.rule.collaboration`).

    logistic     (softplus(-s G_0) + mean_k softplus(s G_k)) / 2         NetworkFF eq. 4 and 8
    symmetric    mean_k softplus(-s (G_0 - G_k))                         SymBa (arXiv:2303.08418) eq. 4
    contrastive  cross-entropy of softmax(s G) against the smoothed true label
"""

from typing import TYPE_CHECKING

from ffedge.onnx.graph import GraphBuilder

if TYPE_CHECKING:
    from torch import Tensor

    from ffedge.recipe import Rule


def loss_and_slope(g: GraphBuilder, G: str, M: int, rule: "Rule") -> tuple[str, str]:
    """Return the loss [N, 1] of each sample and its derivative by G [N, M]."""
    build = {"logistic": _logistic, "symmetric": _symmetric, "contrastive": _contrastive}[rule.loss]
    return build(g, G, M, rule)


def _logistic(g: GraphBuilder, G: str, M: int, rule: "Rule") -> tuple[str, str]:
    sign = [-1.0] + [1.0] * (M - 1)
    share = [0.5] + [0.5 / (M - 1)] * (M - 1)
    u = g.op("Mul", G, g.const([rule.slope * s for s in sign]))
    loss = g.sum(g.op("Mul", g.op("Softplus", u), g.const(share)), 1, keep=True)
    factor = g.const([rule.slope * s * w for s, w in zip(sign, share, strict=True)])
    return loss, g.op("Mul", g.op("Sigmoid", u), factor)


def _symmetric(g: GraphBuilder, G: str, M: int, rule: "Rule") -> tuple[str, str]:
    true = g.op("Slice", G, g.ints(0), g.ints(1), g.ints(1))
    wrong = g.op("Slice", G, g.ints(1), g.ints(M), g.ints(1))
    u = g.op("Mul", g.op("Sub", wrong, true), g.const(rule.slope))
    loss = g.mean(g.op("Softplus", u), 1, keep=True)
    slope = g.op("Mul", g.op("Sigmoid", u), g.const(rule.slope / (M - 1)))
    return loss, g.op("Concat", g.op("Neg", g.sum(slope, 1, keep=True)), slope, axis=1)


def _contrastive(g: GraphBuilder, G: str, M: int, rule: "Rule") -> tuple[str, str]:
    u = g.op("Mul", G, g.const(rule.slope))
    smooth = rule.smoothing
    target = g.const([1.0 - smooth + smooth / M] + [smooth / M] * (M - 1))
    loss = g.op("Neg", g.sum(g.op("Mul", g.op("LogSoftmax", u, axis=1), target), 1, keep=True))
    distance = g.op("Sub", g.op("Softmax", u, axis=1), target)
    return loss, g.op("Mul", distance, g.const(rule.slope))


def torch(G: "Tensor", rule: "Rule") -> "Tensor":
    """Return the loss of each sample [N] from the goodness [N, M] of its labels."""
    import torch
    import torch.nn.functional as F

    true, wrong = G[:, 0], G[:, 1:]
    if rule.loss == "logistic":
        return (F.softplus(-rule.slope * true) + F.softplus(rule.slope * wrong).mean(1)) / 2
    if rule.loss == "symmetric":
        return F.softplus(-rule.slope * (true[:, None] - wrong)).mean(1)
    target = torch.zeros(len(G), dtype=torch.long, device=G.device)
    return F.cross_entropy(rule.slope * G, target, label_smoothing=rule.smoothing, reduction="none")
