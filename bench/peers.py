"""The networks that ffedge is measured against, in torch; see `epoch_arms` and `predict_latency` for how."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from fflib.interfaces.iff import IFF
from fflib.utils.data import FFDataProcessor
from torch.nn.functional import one_hot

CLASSES = 10


class FflibData(FFDataProcessor):
    """What fflib asks of a data set; its own ``FFMNIST`` needs torchvision."""

    def __init__(self, train: Any) -> None:
        self._train = train

    def get_train_loader(self) -> Any:
        """Return the training batches."""
        return self._train

    def get_val_loader(self) -> None:
        """Return no validation batches."""

    def get_test_loader(self) -> None:
        """Return no test batches: all arms are tested by `epoch_arms`."""

    def get_all_loaders(self) -> dict[str, Any]:
        """Return all three."""
        return {"train": self._train, "val": None, "test": None}

    def encode_output(self, y: torch.Tensor) -> torch.Tensor:
        """Return labels [N] as one-hot rows [N, C]."""
        return one_hot(y, CLASSES).float()

    def combine_to_input(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Write one-hot labels [N, C] over the first C pixels of x [N, 784]."""
        combined = x.clone()
        combined[:, :CLASSES] = y
        return combined

    def generate_negative(self, x: torch.Tensor, y: torch.Tensor, net: IFF) -> tuple[torch.Tensor, torch.Tensor]:
        """Return x and one-hot wrong labels, as fflib's ``NegativeGenerator.RANDOM`` draws them."""
        random = torch.rand((x.shape[0], CLASSES))
        random[torch.arange(x.shape[0]), y] = 0
        return x, one_hot(random.argmax(1), CLASSES).float()


class PezeshkiLayer(torch.nn.Linear):
    """``relu(W x / (|x| + 1e-4) + b)`` with its own Adam 0.03 and threshold 2."""

    def __init__(self, inputs: int, units: int) -> None:
        super().__init__(inputs, units)
        self.optimizer, self.threshold = torch.optim.Adam(self.parameters(), lr=0.03), 2.0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the activity [N, units]."""
        direction = x / (x.norm(2, 1, keepdim=True) + 1e-4)
        return torch.relu(torch.mm(direction, self.weight.T) + self.bias)

    def train_step(self, positive: torch.Tensor, negative: torch.Tensor) -> None:
        """Take one step on ``mean log(1 + exp([theta - g_pos, g_neg - theta]))``."""
        good = self.forward(positive).pow(2).mean(1)
        bad = self.forward(negative).pow(2).mean(1)
        loss = torch.log(1 + torch.exp(torch.cat([self.threshold - good, bad - self.threshold]))).mean()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()


class PezeshkiNet:
    """Layers that each learn from every minibatch, and pass on what they compute after their step, as in the original.

    The original takes the whole data set as its batch, for 1000 epochs a layer. Kinder than it: nothing is passed on
    from the last layer, and passing on builds no autograd graph.
    """

    def __init__(self, sizes: Sequence[int], label_value: float) -> None:
        self.layers = [PezeshkiLayer(i, o) for i, o in pairwise(sizes)]
        self.label_value = label_value

    def overlay(self, x: torch.Tensor, y: torch.Tensor | int) -> torch.Tensor:
        """Write labels over the first C pixels of a copy of x [N, 784]."""
        labelled = x.clone()
        labelled[:, :CLASSES] = 0.0
        labelled[torch.arange(len(x)), y] = self.label_value
        return labelled

    def train_step(self, positive: torch.Tensor, negative: torch.Tensor) -> None:
        """Let every layer take one step."""
        for layer in self.layers:
            layer.train_step(positive, negative)
            if layer is not self.layers[-1]:
                with torch.no_grad():
                    positive, negative = layer(positive), layer(negative)

    @torch.no_grad()
    def predict(self, x: torch.Tensor) -> torch.Tensor:
        """Return the label [N] with the largest goodness, summed over layers."""
        scores = []
        for label in range(CLASSES):
            activity, score = self.overlay(x, label), torch.zeros(len(x))
            for layer in self.layers:
                activity = layer(activity)
                score += activity.pow(2).mean(1)
            scores.append(score)
        return torch.stack(scores, 1).argmax(1)


def shuffled_labels(y: torch.Tensor) -> torch.Tensor:
    """Return the labels of other rows of the batch; one in ten equals the truth, as in the original."""
    return y[torch.randperm(len(y))]
