"""What a kind of layer is: one file that holds its parameters, its graphs, its local gradient and its torch twin.

All that the trainer, the predictor, the forms and the memory plan know of a layer, they ask of this protocol. A new
kind is a file beside `ffedge.layers.dense` and a line in `ffedge.kinds`.

Shape letters: N samples, M labels tried for each, R = N * M rows, I values of a sample that the first layer reads,
D values of a row that a layer reads, H units, C classes, T rows of a tiled parameter that are updated at once.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from ffedge.onnx.graph import Dims, GraphBuilder
from ffedge.seeds import Draw, generator

if TYPE_CHECKING:
    from torch import Tensor

NORM_EPSILON = 1e-4  # what a norm adds to its divisor

Array = NDArray[Any]
Picture = tuple[int, int, int]  # channels, height and width
Names = Mapping[str, str]  # of a layer's parameters -> what they are called in a graph


@dataclass(frozen=True)
class Parameter:
    """An array that a layer learns.

    Attributes
    ----------
    decays : whether weight decay shrinks it.
    tiled : whether it is updated some rows at a time, from what the layer reads and ``dz`` alone.
    goes_back : whether other gradients go through it, so that a step may read it after its new value is made.
    follows : of what has no gradient: the share of the way that it goes, each step, to what a batch measures.
    """

    shape: tuple[int, ...]
    decays: bool = False
    tiled: bool = False
    goes_back: bool = False
    follows: float = 0.0


@dataclass(frozen=True)
class Read:
    """What a layer reads in a graph.

    Attributes
    ----------
    x : rows [R, D]; of the first layer [N, I].
    shared : what `Layer.shared` made of it, of the first layer.
    labels : of the first layer [N, M], of others [R]; None where all C labels are tried in order, or none is seen.
    value : the label's value of each sample [N, 1, 1], where it is not the same for all.
    learns : whether a learning step reads it, in which statistics are the batch's.
    """

    x: str
    shared: str | None = None
    labels: str | None = None
    value: str | None = None
    learns: bool = False


@dataclass(frozen=True)
class LayerPlace:
    """Where a layer stands in its network.

    Attributes
    ----------
    index : from 0; the first layer shares its product with the input among all labels that are tried.
    inputs : D, or I of the first layer.
    classes : C.
    sees_label : whether the label is added to what it reads.
    label_scale : the value of the label's one active input, where it does not come with each sample.
    bound : the largest activity of a unit, or None.
    goodness : its kind (`ffedge.kinds`).
    picture : what it reads, channels first, where that is pictures.
    stored_statistics : whether learning goes by stored statistics of a batch, not by its own.
    """

    index: int
    inputs: int
    classes: int
    sees_label: bool
    label_scale: float
    bound: float | None
    goodness: str
    picture: Picture | None = None
    stored_statistics: bool = False

    @property
    def shares(self) -> bool:
        """Whether the labels of a sample share the layer's product with the input: it is the first, and sees them."""
        return self.index == 0 and self.sees_label


class Layer(Protocol):
    """A kind of layer, at its place; hashable, since equal layers share their graphs.

    A kind that sees no label does without `shared`; one without tiled parameters does without `tile_gradient` and
    `dz_dims`.

    Attributes
    ----------
    units : H, values of a row's activity.
    activity_picture : a row's activity, channels first, where it is a picture.
    passes : values of a row that it passes on.
    picture : these, channels first, where they are pictures.
    channels : among which class groups are divided: units, or of a convolution its feature maps.
    folds : whether it is ``relu(x W + b + V[label])``, of which exported forms and spiking networks are made.
    """

    folds: ClassVar[bool]

    @classmethod
    def made(cls, place: LayerPlace, words: str) -> Self:
        """Return a layer of this kind from what a spec says of it; ValueError where it cannot be."""
        ...

    @property
    def place(self) -> LayerPlace: ...  # noqa: D102
    @property
    def units(self) -> int: ...  # noqa: D102
    @property
    def channels(self) -> int: ...  # noqa: D102
    @property
    def activity_picture(self) -> Picture | None: ...  # noqa: D102
    @property
    def passes(self) -> int: ...  # noqa: D102
    @property
    def picture(self) -> Picture | None: ...  # noqa: D102

    def parameters(self) -> dict[str, Parameter]:
        """Return what it learns, by name."""
        ...

    def draw(self, seed: int) -> dict[str, Array]:
        """Return the parameters as they are before training."""
        ...

    def shared(self, g: GraphBuilder, x: str, p: Names, out: str) -> str:
        """Return what all labels of a sample share, from the first layer's input: [N, H]."""
        ...

    def activity(self, g: GraphBuilder, read: Read, p: Names) -> tuple[str, int]:
        """Return the activity, and the number of its last axis: [N, M, H] of a first layer with labels, else [R, H]."""
        ...

    def gradients(self, g: GraphBuilder, read: Read, value: str, weight: str | None) -> dict[str, str]:
        """Return the gradient of each parameter that is not tiled; make ``dz``, from which tiled ones follow.

        Parameters
        ----------
        value, weight : dLoss/dy as ``value * weight``: of the activity's shape, and [N, M]; None where the value is
            all.
        """
        ...

    def measured(self, g: GraphBuilder, share: str) -> dict[str, str]:
        """Return what a batch measures for each parameter that follows it: sums over samples, times a share []."""
        ...

    def pooled(self, g: GraphBuilder, y: str) -> str:
        """Return what is passed on of an activity before it is normed: [R, passes], or y itself."""
        ...

    def tile_gradient(self, g: GraphBuilder, name: str) -> str:
        """Return the gradient of T rows of a tiled parameter, from ``x`` [R, T] and ``dz``.

        Of a first layer with labels, x is [N, T].
        """
        ...

    def with_classes(
        self, before: Mapping[str, Array], more: int, rng: "np.random.Generator", *, overlay: bool
    ) -> dict[str, Array]:
        """Return a layer's parameters, as they were with fewer classes, for this one, which knows `more` of them.

        Parameters
        ----------
        overlay : whether the label stands over the first inputs, so that there are as many inputs less.
        """
        ...

    def dz_dims(self) -> Dims:
        """Return the sizes of ``dz``."""
        ...

    def torch(
        self,
        x: "Tensor",
        p: Mapping[str, "Tensor"],
        labels: "Tensor",
        value: "Tensor",
        tried: int,
        measured: "dict[str, Tensor] | None" = None,
    ) -> "Tensor":
        """Return the activity [R, H] by torch, a picture as [R, channels, height, width]; autograd takes the gradients.

        Parameters
        ----------
        x : rows [R, D]; of the first layer [N, I]; after a convolution pictures, the channels last in memory.
        labels : [R] int64.
        value : the label's value of each sample [N, 1].
        tried : M.
        measured : of a learning step: takes what the batch measures for each parameter that follows it.
        """
        ...

    def torch_pooled(self, y: "Tensor") -> "Tensor":
        """Return `pooled` by torch."""
        ...


class Plain:
    """What a layer has whose rows are no pictures and are passed on whole."""

    units: int

    @property
    def channels(self) -> int:  # noqa: D102
        return self.units

    @property
    def passes(self) -> int:  # noqa: D102
        return self.units

    @property
    def activity_picture(self) -> Picture | None:  # noqa: D102
        return None

    @property
    def picture(self) -> Picture | None:  # noqa: D102
        return None

    def measured(self, g: GraphBuilder, share: str) -> dict[str, str]:  # noqa: D102
        return {}

    def pooled(self, g: GraphBuilder, y: str) -> str:  # noqa: D102
        return y

    def torch_pooled(self, y: "Tensor") -> "Tensor":  # noqa: D102
        return y


def uniform(layer: Layer, fan_in: int, seed: int) -> dict[str, Array]:
    """Draw a layer's parameters from the uniform distribution over +-1/sqrt(fan-in)."""
    rng = generator(seed, Draw.WEIGHTS, layer.place.index)
    return {name: spread(rng, parameter.shape, fan_in) for name, parameter in layer.parameters().items()}


def spread(rng: "np.random.Generator", shape: tuple[int, ...], fan_in: int) -> Array:
    """Draw an array from the uniform distribution over +-1/sqrt(fan-in)."""
    bound = 1.0 / math.sqrt(fan_in)
    drawn = rng.random(shape, dtype=np.float32)  # in place from here on, and never in float64
    drawn *= 2.0 * bound
    drawn -= bound
    return drawn


def bounded(g: GraphBuilder, z: str, bound: float | None) -> str:
    """Return ``relu(z)``, cut at the bound."""
    return g.op("Relu", z) if bound is None else g.op("Clip", z, g.const(0.0), g.const(bound))


def answering(g: GraphBuilder, y: str, value: str, bound: float | None) -> str:
    """Return dLoss/dy where z answers for y: a unit at its bound does not (one at 0 has no activity to answer for)."""
    return value if bound is None else g.op("Where", g.op("Less", y, g.const(bound)), value, g.const(0.0))


def dots(g: GraphBuilder, a: str, b: str, channels: int, places: int) -> str:
    """Return, of each sample's channel, the sum over places of a * b, without an array of their size: [N, K, 1, 1]."""
    a, b = (g.op("Reshape", each, g.ints(-1, channels, 1, places)) for each in (a, b))
    return g.op("MatMul", a, g.op("Transpose", b, perm=[0, 1, 3, 2]))  # onnxruntime reads it as it lies
