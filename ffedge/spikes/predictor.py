"""Predicts with a NIR file, as `ffedge.Predictor` does with a model.onnx.

Shape letters: N samples, C classes, L layers.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ffedge.model.calibration import best_and_margin
from ffedge.model.readings import Readings
from ffedge.predict.predictor import Prediction
from ffedge.spikes.network import Floats, SpikingNetwork, check_timesteps
from ffedge.spikes.nir_file import read
from ffedge.spikes.simulate import decided, goodness_after, samples_at_once


class SpikingPredictor:
    """A spiking network, ready to be asked by one thread at a time.

    Parameters
    ----------
    network : a NIR file's path, or a network.
    timesteps : None takes the network's own.
    margin : stop a sample early once the same label has led by this share of its score for 8 timesteps; None never.

    Raises
    ------
    ModelError
        The file is no NIR file of ffedge.
    ValueError
        A number of timesteps or a margin outside its rule.
    """

    def __init__(
        self, network: str | Path | SpikingNetwork, timesteps: int | None = None, margin: float | None = None
    ) -> None:
        self.network = network if isinstance(network, SpikingNetwork) else read(Path(network))
        self.facts, self.layers = self.network.facts, len(self.network.layers)
        self.timesteps = self.network.timesteps if timesteps is None else timesteps
        check_timesteps(self.timesteps)
        if margin is not None and not 0 < margin <= 1:
            raise ValueError(f"`margin` must be above 0 and at most 1, got {margin!r}")
        self.margin = margin
        self.learnt_from = self.network.data
        self.taken, self.calibration = np.zeros(0, np.int64), None

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the label numbers."""
        return self.facts.classes

    def predict(self, inputs: ArrayLike, *, layers: bool = False) -> Prediction:
        """Predict one sample or N of them; `taken` [N] then holds the timesteps of each.

        Raises
        ------
        DataError
            The inputs have another shape or type.
        """
        samples, odd = Readings(self.facts).read(inputs)
        if self.margin is None:
            goodness = self.goodness_after(samples, [self.timesteps])[0]
            self.taken = np.full(len(samples), self.timesteps)
        else:
            with _quiet():
                parts = [decided(self.network, part, self.timesteps, self.margin) for part in self._cut(samples)]
            goodness, self.taken = map(np.concatenate, zip(*parts, strict=True))
        with _quiet():
            scores = self.network.scores(goodness)
            margin = best_and_margin(scores)[1]
        known = np.ones(len(scores), np.bool_)
        known[list(odd)] = False
        more = [goodness] if layers else []
        return Prediction(scores.argmax(axis=1), margin, scores, known, *more, odd=odd, classes=self.classes)

    def scores(self, goodness: Floats) -> Floats:
        """Return the weighted sum [N, C] of the layers' goodness [N, L, C]."""
        with _quiet():
            return self.network.scores(goodness)

    def goodness_after(self, samples: NDArray[np.generic], timesteps: Sequence[int]) -> list[Floats]:
        """Return each layer's goodness [N, L, C] after each of some numbers of timesteps, ascending, in one run."""
        with _quiet():
            parts = [list(goodness_after(self.network, part, timesteps)) for part in self._cut(samples)]
        return [np.concatenate(one) for one in zip(*parts, strict=True)]

    def _cut(self, samples: NDArray[np.generic]) -> list[NDArray[np.generic]]:
        size = samples_at_once(self.network)
        return [samples[start : start + size] for start in range(0, max(1, len(samples)), size)]


def _quiet() -> np.errstate:
    """Let extreme weights and inputs give infinite scores and NaN, as they do in onnxruntime, without a warning."""
    return np.errstate(over="ignore", invalid="ignore")
