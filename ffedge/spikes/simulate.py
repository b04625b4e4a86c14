"""Runs a spiking network, timestep by timestep: in numpy, and convolutions in onnxruntime.

All labels that are tried share the first layer's input current.

Shape letters: N samples, C classes, R rows (N * C, or N where no label is tried), L layers, T timesteps.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ffedge.model.calibration import best_and_margin
from ffedge.spikes.network import Floats, SpikingNetwork

ROWS = 320
STATE_VALUES = 1 << 22  # of all layers' potentials and counts at once
HELD = 8  # timesteps in which a margin must hold before a decision


class Run:
    """Some samples, with every label that is tried, in the middle of their timesteps.

    Parameters
    ----------
    raw : samples [N, …]; or, instead, `inputs` [R, D + C]: scaled, each with a label where labels are tried.

    Attributes
    ----------
    counts : spikes so far of each layer's neurons [R, H + P].
    spikes : those of the last timestep.
    """

    def __init__(
        self, network: SpikingNetwork, raw: NDArray[Any] | None = None, *, inputs: Floats | None = None
    ) -> None:
        self.network, self.timesteps = network, 0
        first = network.layers[0]
        if raw is None:
            assert inputs is not None
            current: Floats = first.current(inputs)
        elif network.tries_labels:
            shared = network.scaled(raw) @ first.W[:, : network.inputs].T + first.b  # the image's part, for all labels
            current = (shared[:, None] + first.W[:, network.inputs :].T).reshape(-1, first.neurons)
        else:
            current = first.current(network.scaled(raw))
        self._current, self.samples = current, len(current) // network.rows_a_sample
        shapes = [(len(current), layer.neurons) for layer in network.layers]
        self._potentials = [np.zeros(shape, np.float32) for shape in shapes]
        based = [layer.current_based for layer in network.layers]
        self._synapses = [
            np.zeros(s if b else (len(current), 0), np.float32) for s, b in zip(shapes, based, strict=True)
        ]
        self.spikes = [np.zeros(shape, np.float32) for shape in shapes]
        self.counts = [np.zeros(shape, np.float32) for shape in shapes]

    def step(self) -> None:
        """Take one timestep."""
        current = self._current
        for i, layer in enumerate(self.network.layers):
            v, spikes = self._potentials[i], self.spikes[i]
            if layer.current_based:
                self._synapses[i] += current
                self._synapses[i] *= np.float32(0.5)
                current = self._synapses[i]
            if layer.decay < 1.0:
                v *= np.float32(layer.decay)
            v += current
            np.greater(v, np.float32(layer.threshold), out=spikes, casting="unsafe")
            if self.network.reset == "zero":
                v *= 1.0 - spikes
            elif layer.threshold == 1.0:
                v -= spikes
            else:
                v -= spikes * np.float32(layer.threshold)
            self.counts[i] += spikes
            if i + 1 < len(self.network.layers):
                current = self.network.layers[i + 1].current(layer.passed(spikes))
        self.timesteps += 1

    def goodness(self) -> Floats:
        """Return each layer's goodness [N, L, C] by the counts so far."""
        pairs = zip(self.network.layers, self.counts, strict=True)
        each = [self.network.goodness(layer, counts, self.timesteps) for layer, counts in pairs]
        return np.stack(each, axis=1).astype(np.float32)

    def scores(self) -> Floats:
        """Return the weighted sum of the goodness of all layers [N, C]."""
        return self.network.scores(self.goodness())

    def keep(self, samples: NDArray[np.bool_]) -> None:
        """Go on with some of the samples [N] only."""
        rows = np.repeat(samples, self.network.rows_a_sample)
        self.samples = int(samples.sum())
        self._current = self._current[rows]
        self._potentials, self._synapses, self.spikes, self.counts = (
            [array[rows] for array in arrays] for arrays in (self._potentials, self._synapses, self.spikes, self.counts)
        )


def samples_at_once(network: SpikingNetwork) -> int:
    """Return how many samples go through the timesteps together, in bounded memory."""
    values = 3 * network.rows_a_sample * sum(layer.neurons for layer in network.layers)
    return max(1, min(ROWS // network.rows_a_sample, STATE_VALUES // values))


def goodness_after(network: SpikingNetwork, raw: NDArray[Any], timesteps: Sequence[int]) -> Iterator[Floats]:
    """Yield the goodness [N, L, C] after each of some numbers of timesteps, in ascending order, in one run."""
    run = Run(network, raw)
    for wanted in timesteps:
        while run.timesteps < wanted:
            run.step()
        yield run.goodness()


class Decisions:
    """Which of N samples have decided: for `HELD` timesteps in a row the same label has led by a share of its score."""

    def __init__(self, samples: int, margin: float) -> None:
        self._margin = margin
        self._leader, self._held = np.full(samples, -1), np.zeros(samples, np.int64)

    def see(self, scores: Floats) -> NDArray[np.bool_]:
        """Take the scores [N, C] of one more timestep; return which decisions hold [N]."""
        best = scores.argmax(axis=1)
        top, margin = best_and_margin(scores)
        clear = (top > 0) & (margin >= self._margin * top)
        self._held = np.where(clear & (best == self._leader), self._held + 1, clear.astype(np.int64))
        self._leader = best
        return self._held >= HELD

    def keep(self, samples: NDArray[np.bool_]) -> None:
        """Go on with some of the samples [N] only."""
        self._leader, self._held = self._leader[samples], self._held[samples]


def decided(
    network: SpikingNetwork, raw: NDArray[Any], timesteps: int, margin: float
) -> tuple[Floats, NDArray[np.int64]]:
    """Run each sample until its decision holds, or for all timesteps.

    Return the goodness [N, L, C] then, and the timesteps taken [N].
    """
    run, alive, decisions = Run(network, raw), np.arange(len(raw)), Decisions(len(raw), margin)
    goodness = np.zeros((len(raw), len(network.layers), network.facts.n_classes), np.float32)
    taken = np.full(len(raw), timesteps, np.int64)
    while len(alive) and run.timesteps < timesteps:
        run.step()
        done = decisions.see(run.scores())
        if run.timesteps == timesteps:
            done[:] = True
        if done.any():
            goodness[alive[done]], taken[alive[done]] = run.goodness()[done], run.timesteps
            alive = alive[~done]
            for one in (run, decisions):
                one.keep(~done)
    return goodness, taken
