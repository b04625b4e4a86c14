"""A trained network in torch, predicting as published Forward-Forward code does: one pass for each label.

Shape letters: N samples, I inputs, C classes, H units of a layer.
"""

from collections.abc import Mapping
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from ffedge.network import InputFacts
from ffedge.recipe import Network
from ffedge.rule.norm import NORM_EPSILON

Array = NDArray[Any]


class TorchNetwork:
    """The same network, with the same weights; the label stands over the first inputs, or before them.

    Parameters
    ----------
    stored : the model file's initializers by name (``layers.0.W``, …).

    Raises
    ------
    ValueError
        The model's options are not those of this loop: RMS norm, mean goodness, no norm of the input.
    """

    def __init__(self, stored: Mapping[str, Array], network: Network, facts: InputFacts) -> None:
        found = (network.norm, network.input_norm, network.goodness, network.bound)
        if found != ("rms", "none", "mean", None):
            raise ValueError(f"model must use an RMS norm, no input norm, mean goodness and no bound, got {found}")
        tensors = {name: torch.tensor(array) for name, array in stored.items() if name.startswith("layers.")}
        self.classes, self.label_scale = facts.n_classes, network.label_scale
        self._concat, self._adds = network.label_mode == "concat", network.skip == "add"
        self._offset, self._scale = torch.tensor(facts.offset), torch.tensor(facts.scale)
        self.layers: list[tuple[Tensor, Tensor]] = []
        for i in range(len(network.widths)):
            W, b, V = (tensors.get(f"layers.{i}.{name}") for name in "WbV")
            assert W is not None
            assert b is not None
            if i == 0:  # the label's rows of W stand where the label stands in the input
                assert V is not None
                self.layers.append((torch.cat([V, W]), b.reshape(1, -1)))
            else:  # a label that a further layer sees is a bias for each class
                self.layers.append((W, (b if V is None else b + self.label_scale * V).reshape(-1, W.shape[1])))

    def scaled(self, raw: Array) -> Tensor:
        """Return raw samples [N, …] scaled, float32 [N, I]; for a label beside them C more inputs come first."""
        x = (torch.from_numpy(raw.reshape(len(raw), -1)).float() - self._offset) * self._scale
        return torch.cat([torch.zeros(len(x), self.classes), x], 1) if self._concat else x

    @torch.inference_mode()
    def predict(self, x: Tensor) -> Tensor:
        """Run the network once for each label, as published code does; return the best label [N]."""
        scores = []
        for label in range(self.classes):
            activity = x.clone()
            activity[:, : self.classes] = 0.0
            activity[:, label] = self.label_scale
            scores.append(self._goodness(activity, slice(label, label + 1)))
        return torch.stack(scores, 1).argmax(1)

    @torch.inference_mode()
    def predict_stacked(self, x: Tensor) -> Tensor:
        """Run the network once on all N * C labelled rows; return the best label [N]."""
        rows = x.repeat_interleave(self.classes, 0)
        rows[:, : self.classes] = (self.label_scale * torch.eye(self.classes)).repeat(len(x), 1)
        return self._goodness(rows, slice(None)).reshape(-1, self.classes).argmax(1)

    def _goodness(self, activity: Tensor, labels: slice) -> Tensor:
        """Return the goodness [N], summed over layers; the labels of the rows take turns."""
        total = torch.zeros(len(activity))
        for i, (W, bias) in enumerate(self.layers):
            chosen = bias if len(bias) == 1 else bias[labels]
            if len(chosen) > 1:
                chosen = chosen.repeat(len(activity) // len(chosen), 1)
            y = torch.relu(torch.addmm(chosen, activity, W))
            goodness = y.pow(2).mean(1)
            total += goodness
            y = _over_rms(y, goodness)
            if self._adds and i and y.shape == activity.shape:
                y += activity
                y = _over_rms(y, y.pow(2).mean(1))
            activity = y
        return total


def _over_rms(y: Tensor, squares: Tensor) -> Tensor:
    return y / (squares.sqrt().unsqueeze(1) + NORM_EPSILON)
