"""A spiking network: what a NIR file of ffedge holds, with its equations and its checks.

In each timestep, layer after layer: ``I = W s + b``, ``v = decay v + I``, a neuron whose v is above the threshold
spikes, and its v falls by the threshold (reset ``subtract``) or to 0 (``zero``, as NIR has it). s are the spikes of the
layer before in the same timestep; the first layer reads the scaled input as a constant current and the label as a
neuron that spikes in every timestep. W s may be a convolution (`Convolution`), whose neurons' spikes may be summed
over squares before the next layer reads them. A layer's goodness is ``goodness_scale * mean((count / T)**2)`` over its
units; where no label is tried, that of a class is over its group of units (`ffedge.rule.groups`): one run tells all.

Shape letters: D inputs of a layer, H its units, P neurons that pass the label on, C classes, L layers, T timesteps,
N samples, R rows: a sample with a label, or a sample.
"""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ffedge.engine.session import make_session, run
from ffedge.fields import is_finite
from ffedge.network import InputFacts, picture_of
from ffedge.onnx.graph import Graph, GraphBuilder, model_bytes
from ffedge.rule.groups import group_sizes
from ffedge.spec_parts import MAX_CLASSES, MAX_LAYERS

FORMAT, WITH_CONVOLUTIONS = 1, 2
MOST_NEURONS = 1 << 24  # of a layer
MAX_TIMESTEPS = 4096
PASSING = 1.0 + 2.0**-12  # input of a neuron that passes the label on: above its threshold of 1 in every timestep
STEP_S = 1e-4  # seconds of a timestep, the unit of NIR's tau
Reset = Literal["subtract", "zero"]
LabelPlace = Literal["overlay", "concat", "none"]
Layout = Literal["hwc", "chw", "none"]
Floats = NDArray[np.float32]
FIELDS = {"format", "version", "timesteps", "reset", "dt", "input", "label_mode", "layers", "data"}


@dataclass(frozen=True)
class Convolution:
    """Where the kernel of a layer goes, padded by half of it, and what its neurons pass on.

    Attributes
    ----------
    picture : channels, height and width that it reads.
    pool : each side of the squares whose neurons' spikes are summed, 1 where none are; what is left over is not read.
    """

    picture: tuple[int, int, int]
    stride: int = 1
    pool: int = 1

    def shape(self, channels: int) -> tuple[int, int, int]:
        """Return channels, height and width of its neurons."""
        return channels, -(-self.picture[1] // self.stride), -(-self.picture[2] // self.stride)

    def passed(self, channels: int) -> tuple[int, int, int]:
        """Return channels, height and width of what it passes on."""
        channels, height, width = self.shape(channels)
        return channels, height // self.pool, width // self.pool

    def graph(self, W: Floats) -> Graph:
        """Build ``x`` [R, D] -> ``current`` [R, H] of weights ``W`` and ``b``."""
        g, shape, side = GraphBuilder("convolution"), self.shape(len(W)), W.shape[2]
        x = g.op("Reshape", g.input("x", ("R", math.prod(self.picture))), g.ints(-1, *self.picture))
        weights = g.weight("W", W.shape), g.weight("b", (len(W),))
        z = g.op("Conv", x, *weights, kernel_shape=[side] * 2, pads=[side // 2] * 4, strides=[self.stride] * 2)
        g.op("Reshape", z, g.ints(-1, math.prod(shape)), out="current")
        g.output("current", ("R", math.prod(shape)))
        return g.graph

    def summed(self, spikes: Floats, channels: int) -> Floats:
        """Return spikes [R, H] as they are passed on."""
        if self.pool == 1:
            return spikes
        (_, height, width), (_, rows, columns) = self.shape(channels), self.passed(channels)
        whole = spikes.reshape(-1, channels, height, width)[:, :, : rows * self.pool, : columns * self.pool]
        apart = whole.reshape(-1, channels, rows, self.pool, columns, self.pool)
        result: Floats = apart.sum(axis=(3, 5)).reshape(len(spikes), -1)
        return result

    def check(self, W: Floats, b: Floats) -> None:
        """Raise ValueError where weights and sizes do not fit."""
        sizes = (*self.picture, self.stride, self.pool)
        if len(self.picture) != 3 or not all(type(size) is int and size > 0 for size in sizes):
            raise ValueError(f"a convolution's sizes must be whole numbers above 0, got {sizes}")
        if W.shape != (len(b), self.picture[0], *W.shape[2:3] * 2) or b.ndim != 1 or 0 in W.shape or not W.shape[2] % 2:
            raise ValueError(f"W and b must have shapes [O, I, k, k] and [O], k odd, got {W.shape} and {b.shape}")
        if self.pool > min(self.shape(len(b))[1:]) or math.prod(self.shape(len(b))) > MOST_NEURONS:
            raise ValueError(f"a convolution must have 1 to {MOST_NEURONS} neurons, and fit its pool, got {sizes}")


@dataclass(frozen=True)
class SpikingLayer:
    """One layer: an affine map, or a convolution, and the neurons that it drives.

    Attributes
    ----------
    W : [H + P, D] float32; of a convolution [O, I, k, k].
    b : [H + P] float32; of a convolution [O].
    threshold : of every neuron.
    decay : what a timestep leaves of v: 1 for integrate-and-fire neurons, less for leaky ones.
    units : H, the neurons that goodness counts.
    goodness_scale : goodness of a layer, or a group, whose units all spike in every timestep.
    weight : of its goodness in the score.
    convolution : None where the map is affine.
    current_based : whether a synapse smooths what drives a neuron: half of its current stays after each timestep.
    """

    W: Floats
    b: Floats
    threshold: float
    decay: float
    units: int
    goodness_scale: float
    weight: float
    convolution: Convolution | None = None
    current_based: bool = False

    def __post_init__(self) -> None:
        """Raise ValueError for a layer that cannot be."""
        if self.convolution is not None:
            self.convolution.check(self.W, self.b)
        elif self.W.ndim != 2 or self.b.shape != self.W.shape[:1] or 0 in self.W.shape:
            raise ValueError(f"W and b must have shapes [H, D] and [H], got {self.W.shape} and {self.b.shape}")
        if not np.isfinite(self.W).all() or not np.isfinite(self.b).all():
            raise ValueError("W and b must be finite")
        if not (is_finite(self.threshold) and self.threshold > 0 and is_finite(self.decay) and 0 < self.decay <= 1):
            raise ValueError(f"threshold must be positive and decay up to 1, got {self.threshold} and {self.decay}")
        least = 1 if self.convolution is None else self.neurons
        if type(self.units) is not int or not least <= self.units <= self.neurons:
            raise ValueError(f"units must be {least} to {self.neurons}, got {self.units!r}")
        if not all(map(is_finite, (self.goodness_scale, self.weight))):
            raise ValueError(f"goodness_scale and weight must be finite, got {self.goodness_scale!r}, {self.weight!r}")

    @property
    def shape(self) -> tuple[int, ...]:
        """Of its neurons: [H + P], or channels, height and width."""
        return self.b.shape if self.convolution is None else self.convolution.shape(len(self.b))

    @cached_property
    def neurons(self) -> int:
        """H + P."""
        return math.prod(self.shape)

    @property
    def inputs(self) -> int:
        """Values that it reads, D."""
        return self.W.shape[1] if self.convolution is None else math.prod(self.convolution.picture)

    @property
    def passes(self) -> int:
        """Values that the next layer reads."""
        return self.neurons if self.convolution is None else math.prod(self.convolution.passed(len(self.b)))

    @property
    def channels(self) -> int:
        """Among which class groups are divided."""
        return self.units if self.convolution is None else len(self.b)

    def current(self, x: Floats) -> Floats:
        """Return what drives the neurons [R, H + P], from what the layer reads [R, D]."""
        if self.convolution is None:
            whole: Floats = x @ self.W.T
            whole += self.b
            return whole
        (current,) = run(self._session, ["current"], {"x": np.ascontiguousarray(x)})
        return current

    @cached_property
    def _session(self) -> Any:
        assert self.convolution is not None
        return make_session(model_bytes(self.convolution.graph(self.W)), 1, {"W": self.W, "b": self.b})

    def passed(self, spikes: Floats) -> Floats:
        """Return what the next layer reads of spikes [R, H + P]."""
        return spikes if self.convolution is None else self.convolution.summed(spikes, len(self.b))


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
    layout : axes of the pictures that a convolution reads (`ffedge.spec_parts.NetworkSpec.layout`), else none.
    """

    layers: tuple[SpikingLayer, ...]
    facts: InputFacts
    label_mode: LabelPlace
    timesteps: int
    reset: Reset
    data: str = ""
    version: str = ""
    layout: Layout = "none"

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
        self._check_pictures()
        for i, layer in enumerate(self.layers):
            if layer.inputs != width:
                raise ValueError(f"layer {i} must have {width} inputs, got {layer.inputs}")
            if not self.tries_labels and layer.channels < self.facts.n_classes:
                raise ValueError(f"layer {i} must have a unit for each class, got {layer.channels}")
            width = layer.passes

    def _check_pictures(self) -> None:
        """Raise ValueError where a convolution does not read the pictures that come in."""
        if self.layout not in get_args(Layout) or (self.layout != "none") != self.convolves:
            raise ValueError(f"layout must be hwc or chw for convolutions, none else, got {self.layout!r}")
        if not self.convolves:
            return
        picture = picture_of(self.layout, self.facts.shape) if 2 <= len(self.facts.shape) <= 3 else None
        for i, layer in enumerate(self.layers):
            if layer.convolution is not None and layer.convolution.picture != picture:
                raise ValueError(f"layer {i} must read {picture}, got {layer.convolution.picture}")
            picture = layer.convolution.passed(len(layer.b)) if layer.convolution else None
        if self.tries_labels:
            raise ValueError("a network of convolutions must try no labels")

    @property
    def convolves(self) -> bool:
        """Whether a layer is a convolution."""
        return any(layer.convolution is not None for layer in self.layers)

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
        layers = []
        for i, layer in enumerate(self.layers):
            names = {"affine": f"affine{i}" if layer.convolution is None else f"conv{i}", "neuron": f"neuron{i}"}
            if i and layer.convolution is None and self.layers[i - 1].convolution is not None:
                names["flatten"] = f"flatten{i}"
            if layer.convolution is not None and layer.convolution.pool > 1 and layer is not self.layers[-1]:
                names["pool"] = f"pool{i}"
            layers.append(names | {name: getattr(layer, name) for name in ("units", "goodness_scale", "weight")})
        return {
            "format": WITH_CONVOLUTIONS if self.convolves else FORMAT,
            "version": self.version,
            "timesteps": self.timesteps,
            "reset": self.reset,
            "dt": STEP_S,
            "input": self.facts.to_dict(),
            "label_mode": self.label_mode,
            "layers": layers,
            "data": self.data,
        } | ({"layout": self.layout} if self.convolves else {})

    def scaled(self, raw: NDArray[Any]) -> Floats:
        """Return raw samples [N, …] as the first layer's constant current is made of: scaled, [N, D]."""
        start = self.facts.size - self.inputs
        offset, scale = (
            np.array(v if len(v) == 1 else v[start:], np.float32) for v in (self.facts.offset, self.facts.scale)
        )
        x: Floats = (raw.reshape(len(raw), -1)[:, start:].astype(np.float32) - offset) * scale
        if self.layout == "hwc" and len(self.facts.shape) == 3:  # channels first, as all layers have them
            x = np.ascontiguousarray(x.reshape(-1, *self.facts.shape).transpose(0, 3, 1, 2)).reshape(len(raw), -1)
        return x

    def goodness(self, layer: SpikingLayer, counts: Floats, timesteps: int) -> Floats:
        """Return a layer's goodness [N, C] by the spikes of its neurons [R, H + P] so far."""
        rates, scale = counts[:, : layer.units] / np.float32(timesteps), np.float32(layer.goodness_scale)
        if self.tries_labels:
            whole: Floats = scale * np.einsum("rh,rh->r", rates, rates) / layer.units
            return whole.reshape(-1, self.facts.n_classes)
        sizes = np.array(group_sizes(layer.channels, self.facts.n_classes)) * (layer.units // layer.channels)
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
