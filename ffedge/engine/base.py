"""What the training loop asks of an engine; `ffedge.engine.onnx` and `ffedge.engine.torch` are the two.

Shape letters: N samples, I inputs of a sample, M labels tried for each, R = N * M rows, D inputs of a layer.
"""

from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from ffedge.layers.base import Layer

Array = NDArray[Any]


class Learned(NamedTuple):
    """What a learning step yields, in the engine's own form: torch does not wait until its device has worked it out.

    Attributes
    ----------
    source : what the next layer reads; None unless it learns from the same batch.
    goodness : [N, M] before the step (`on_host`).
    loss : mean over the batch.
    """

    source: Any
    goodness: Any
    loss: Any


def on_host(values: Any) -> Array:
    """Return an engine's values as an array, once its device has worked them out."""
    array: Array = values if isinstance(values, np.ndarray) else values.cpu().numpy()
    return array


def summed(loss: Any, goodness: Any) -> Any:
    """Return [3], as a tensor: a loss, and the sums over samples of the goodness [N, M] of true and of wrong labels."""
    import torch

    return torch.stack([loss, goodness[:, 0].sum(), goodness[:, 1:].mean(1).sum()])


class Engine(Protocol):
    """Holds the state of all layers and runs their steps; the methods are described in `ffedge.engine.onnx`."""

    in_place: bool
    layers: tuple[Layer, ...]

    @property
    def buffer_bytes(self) -> int: ...  # noqa: D102
    def state(self) -> list[dict[str, Array]]: ...  # noqa: D102
    def place(self, layer: int, arrays: dict[str, Array]) -> None: ...  # noqa: D102
    def begin(self, layers: list[int], *, chunked: bool) -> None: ...  # noqa: D102
    def finish(self, layers: list[int]) -> None: ...  # noqa: D102
    def source(self, rows: Array, samples: int) -> Any: ...  # noqa: D102
    def rows(self, source: Any) -> Array: ...  # noqa: D102
    def product(self, raw: Array, mask: Array | None) -> Any: ...  # noqa: D102
    def forward(self, layer: int, source: Any, labels: Array | None) -> tuple[Any, Any]: ...  # noqa: D102
    def first_goodness(self, source: Any) -> Any: ...  # noqa: D102
    def learn(  # noqa: D102
        self,
        layer: int,
        source: Any,
        labels: Array,
        other: Any,
        *,
        batch: int,
        step: int,
        rate: float,
        emit: bool,
        weights: Array | None = None,
    ) -> Learned: ...
    def apply(self, layer: int, *, step: int, rate: float) -> None: ...  # noqa: D102
