"""A spiking network: what a NIR file of ffedge holds, with its equations and its checks.

In each timestep, layer after layer: ``I = W s + b``, ``v = decay v + I``, a neuron whose v is above the threshold
spikes, and its v falls by the threshold (reset ``subtract``) or to 0 (``zero``, as NIR has it). s are the spikes of the
layer before in the same timestep; the first layer reads the scaled input as a constant current and the label as a
neuron that spikes in every timestep. A layer's goodness is ``goodness_scale * mean((count / T)**2)`` over its units;
where no label is tried, that of a class is over its group of units (`ffedge.rule.groups`): one run tells all classes.

Shape letters: D inputs of a layer, H its units, P neurons that pass the label on, C classes, L layers, T timesteps,
N samples, R rows: a sample with a label, or a sample.
"""

import math
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ffedge.fields import is_finite
from ffedge.network import InputFacts
from ffedge.rule.groups import group_sizes
from ffedge.spec_parts import MAX_CLASSES, MAX_LAYERS

FORMAT = 1
MAX_TIMESTEPS = 4096
PASSING = 1.0 + 2.0**-12  # input of a neuron that passes the label on: above its threshold of 1 in every timestep
STEP_S = 1e-4  # seconds of a timestep, the unit of NIR's tau
Reset = Literal["subtract", "zero"]
LabelPlace = Literal["overlay", "concat", "none"]
Floats = NDArray[np.float32]
FIELDS = {"format", "version", "timesteps", "reset", "dt", "input", "label_mode", "layers", "data"}


@dataclass(frozen=True)
class SpikingLayer:
    """One layer: an affine map and the neurons that it drives.

    Attributes
    ----------
    W : [H + P, D] float32.
    b : [H + P] float32.
    threshold : of every neuron.
    decay : what a timestep leaves of v: 1 for integrate-and-fire neurons, less for leaky ones.
    units : H, the neurons that goodness counts.
    goodness_scale : goodness of a layer, or a group, whose units all spike in every timestep.
    weight : of its goodness in the score.
    """

    W: Floats
    b: Floats
    threshold: float
    decay: float
    units: int
    goodness_scale: float
    weight: float

    def __post_init__(self) -> None:
        """Raise ValueError for a layer that cannot be."""
        if self.W.ndim != 2 or self.b.shape != self.W.shape[:1] or 0 in self.W.shape:
            raise ValueError(f"W and b must have shapes [H, D] and [H], got {self.W.shape} and {self.b.shape}")
        if not np.isfinite(self.W).all() or not np.isfinite(self.b).all():
            raise ValueError("W and b must be finite")
        if not (is_finite(self.threshold) and self.threshold > 0 and is_finite(self.decay) and 0 < self.decay <= 1):
            raise ValueError(f"threshold must be positive and decay up to 1, got {self.threshold} and {self.decay}")
        if type(self.units) is not int or not 1 <= self.units <= len(self.b):
            raise ValueError(f"units must be 1 to {len(self.b)}, got {self.units!r}")
        if not all(map(is_finite, (self.goodness_scale, self.weight))):
            raise ValueError(f"goodness_scale and weight must be finite, got {self.goodness_scale!r}, {self.weight!r}")


@dataclass(frozen=True)
class SpikingNetwork:
    """Layers in a chain, and what a reader must know beside them.

    Attributes
    ----------
    facts : shape, type, scaling and class names of the input.
    label_mode : ``overlay`` drops the first C inputs, ``concat`` keeps them; either way C label neurons follow. With
        ``none`` there are none, and the units of each layer fall into a group for each class.
    timesteps : T, unless the reader chooses another.
    reset : of a neuron that spiked.
    data : name of the data set that the network learnt from.
    version : of the ffedge that wrote it.
    """

    layers: tuple[SpikingLayer, ...]
    facts: InputFacts
    label_mode: LabelPlace
    timesteps: int
    reset: Reset
    data: str = ""
    version: str = ""

    def __post_init__(self) -> None:
        """Raise ValueError where parts do not fit each other."""
        if not 1 <= len(self.layers) <= MAX_LAYERS:
            raise ValueError(f"layers must number 1 to {MAX_LAYERS}, got {len(self.layers)}")
        if self.label_mode not in get_args(LabelPlace) or self.reset not in get_args(Reset):
            raise ValueError(f"label_mode and reset must be known, got {self.label_mode!r} and {self.reset!r}")
        if not 2 <= self.facts.n_classes <= MAX_CLASSES:
            raise ValueError(f"classes must number 2 to {MAX_CLASSES}, got {self.facts.n_classes}")
        check_timesteps(self.timesteps)
        width = self.inputs + (self.facts.n_classes if self.tries_labels else 0)
        for i, layer in enumerate(self.layers):
            if layer.W.shape[1] != width:
                raise ValueError(f"layer {i} must have {width} inputs, got {layer.W.shape[1]}")
            if not self.tries_labels and layer.units < self.facts.n_classes:
                raise ValueError(f"layer {i} must have a unit for each class, got {layer.units}")
            width = len(layer.b)

    @property
    def tries_labels(self) -> bool:
        """Whether each label is tried by a run of its own; else one run tells all classes."""
        return self.label_mode != "none"

    @property
    def rows_a_sample(self) -> int:
        """Runs that a sample takes."""
        return self.facts.n_classes if self.tries_labels else 1

    @property
    def inputs(self) -> int:
        """Inputs of the first layer before the label's."""
        dropped = self.facts.n_classes if self.label_mode == "overlay" else 0
        if dropped >= self.facts.size:
            raise ValueError(f"overlay needs more inputs than classes, got {self.facts.size} and {dropped}")
        return self.facts.size - dropped

    def about(self) -> dict[str, Any]:
        """Return what stands beside the nodes, as plain values."""
        layers = [
            {"affine": f"affine{i}", "neuron": f"neuron{i}"}
            | {name: getattr(layer, name) for name in ("units", "goodness_scale", "weight")}
            for i, layer in enumerate(self.layers)
        ]
        return {
            "format": FORMAT,
            "version": self.version,
            "timesteps": self.timesteps,
            "reset": self.reset,
            "dt": STEP_S,
            "input": self.facts.to_dict(),
            "label_mode": self.label_mode,
            "layers": layers,
            "data": self.data,
        }

    def scaled(self, raw: NDArray[Any]) -> Floats:
        """Return raw samples [N, …] as the first layer's constant current is made of: scaled, [N, D]."""
        start = self.facts.size - self.inputs
        offset, scale = (
            np.array(v if len(v) == 1 else v[start:], np.float32) for v in (self.facts.offset, self.facts.scale)
        )
        return (raw.reshape(len(raw), -1)[:, start:].astype(np.float32) - offset) * scale

    def goodness(self, layer: SpikingLayer, counts: Floats, timesteps: int) -> Floats:
        """Return a layer's goodness [N, C] by the spikes of its neurons [R, H + P] so far."""
        rates, scale = counts[:, : layer.units] / np.float32(timesteps), np.float32(layer.goodness_scale)
        if self.tries_labels:
            whole: Floats = scale * np.einsum("rh,rh->r", rates, rates) / layer.units
            return whole.reshape(-1, self.facts.n_classes)
        sizes = np.array(group_sizes(layer.units, self.facts.n_classes))
        squares: Floats = np.add.reduceat(rates * rates, np.cumsum(sizes) - sizes, axis=1)
        return squares * (scale / sizes).astype(np.float32)

    def scores(self, goodness: Floats) -> Floats:
        """Return the weighted sum [N, C] of the layers' goodness [N, L, C]."""
        weights = np.array([layer.weight for layer in self.layers], np.float32)
        total: Floats = (goodness * weights[:, None]).sum(axis=1)
        return total


def check_timesteps(count: object) -> None:
    """Raise ValueError for a number of timesteps that no run takes."""
    if type(count) is not int or not 1 <= count <= MAX_TIMESTEPS:
        raise ValueError(f"`timesteps` must be 1 to {MAX_TIMESTEPS}, got {count!r}")


def decay_of(tau_s: float) -> float:
    """Return what a timestep leaves of the potential of a leaky neuron with a time constant in seconds."""
    decay = 1.0 - STEP_S / tau_s if tau_s else 0.0
    if not math.isfinite(decay) or not 0 < decay <= 1:
        raise ValueError(f"tau must be above {STEP_S:g} s, got {tau_s!r}")
    return decay
