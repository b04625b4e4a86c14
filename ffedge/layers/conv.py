"""A convolution: ``y = relu(scale * (z - mean) / s + b)``, z = x * W, and what it passes on pooled.

Its words are ``<channels>c<kernel>``, then ``s<stride>``, and ``p<size>`` (the largest of size x size places) or
``a<size>`` (their mean): 80c3, 160c3p2. A picture is padded so that places stay; W is [O, I, k, k].

``32c3p2+`` stands for as many such layers as leave 4 places a side or fewer, each of twice the channels of the one
before, up to four times those of the first (`spelt_out`).

Batch normalisation stands before the relu. In a learning step mean and deviation s are those of the chunk of samples
that learns at once, and the gradient goes through them (Ioffe and Szegedy, arXiv:1502.03167, section 3):

    dz = scale / s (dh - mean(dh) - h mean(dh h)),    h = (z - mean) / s

Else they are running ones, which are part of the state, and are folded into W and b. The gradient is local:
dLoss/dW is, for each place of the kernel, one product of dz with the picture moved by that place.

Of a chunk's arrays of the activity's size a step holds two at once: z - mean, and what becomes of z from y to dz. So
sums of products are small products of matrices, and all else is written over what it reads.

Shape letters: as in `ffedge.layers.base`; I channels of height x width read, O made, P places of each, H = O P.
"""

import itertools
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np

from ffedge.kinds import repeats
from ffedge.layers.base import Array, LayerPlace, Names, Parameter, Picture, Read, bounded, dots, spread
from ffedge.onnx.graph import GraphBuilder
from ffedge.seeds import Draw, generator

if TYPE_CHECKING:
    from torch import Tensor

EPSILON = 1e-5
FOLLOWING = 0.1  # share of the way that running statistics go to a batch's
WORDS = re.compile(r"(\d{1,5})c(\d{1,3})(?:s(\d{1,2}))?(?:([pa])(\d{1,2}))?")
MOST_CHANNELS = 65536
LAST_SIDE, MOST_TIMES = 4, 4  # where layers end that repeat, and how wide they grow


def spelt_out(widths: tuple[int | str, ...], picture: Picture | None) -> tuple[int | str, ...]:
    """Return widths in which each layer that repeats has become as many as the picture that comes in asks for.

    Raises
    ------
    ValueError
        A layer is to repeat that can be read as no convolution, reads no picture or makes none smaller.
    """
    result: list[int | str] = []
    for item in widths:
        match = WORDS.fullmatch(str(item).removesuffix("+"))
        if repeats(item) and (match is None or picture is None):
            what = "be <channels>c<kernel>p<pool>+, as in 32c3p2+" if match is None else "read pictures"
            raise ValueError(f"layer {len(result)}, {item!r}: must {what}. Name each layer, as in 500,500")
        if not match or picture is None:
            result.append(item)
            picture = None  # a dense layer makes none
            continue
        shrink = int(match[3] or 1) * int(match[5] or 1)
        if repeats(item) and shrink < 2:
            raise ValueError(f"layer {len(result)}, {item!r}: must pool, as in {match[0]}p2+, to end anywhere")
        times = itertools.count() if repeats(item) else range(1)
        for time in times:
            if time and min(picture[1:]) <= LAST_SIDE:
                break
            channels = int(match[1]) * min(2**time, MOST_TIMES)
            result.append(match[0].replace(match[1], str(channels), 1))
            picture = (channels, *(-(-side // int(match[3] or 1)) // int(match[5] or 1) for side in picture[1:]))
    return tuple(result)


@dataclass(frozen=True)
class Conv:
    """A convolution (see `ffedge.layers.base.Layer`).

    Attributes
    ----------
    pool, mean : each side of the squares that are pooled, 1 where none are; whether to their mean, else to the largest.
    """

    folds: ClassVar[bool] = False
    place: LayerPlace
    channels: int
    kernel: int
    stride: int
    pool: int
    mean: bool

    @classmethod
    def made(cls, place: LayerPlace, words: str) -> Self:
        """Return a layer from its words.

        Raises
        ------
        ValueError
            The words cannot be read, no picture comes in, or it is too small.
        """
        match, what = WORDS.fullmatch(words), f"layer {place.index}, {words!r}:"
        if match is None:
            form = "<channels>c<kernel>[s<stride>][p|a<pool>], as in 80c3 or 160c3p2"
            raise ValueError(f"{what} must be a number of units, as in 500, or {form}")
        channels, kernel, stride, pool = (int(match[group] or 1) for group in (1, 2, 3, 5))
        if min(channels, kernel, stride, pool) < 1 or channels > MOST_CHANNELS or kernel % 2 == 0 or stride > 2:
            most = f"1 to {MOST_CHANNELS} channels"
            raise ValueError(f"{what} a convolution takes {most}, an odd kernel and a stride of 1 or 2")
        if place.picture is None:
            raise ValueError(
                f"{what} a convolution reads pictures, got rows of {place.inputs} values. Use dense layers, as in 500"
            )
        if place.sees_label:
            raise ValueError(
                f"{what} a convolution sees no label. Use `class_goodness='readout'` or `class_goodness='groups'`"
            )
        layer = cls(place, channels, kernel, stride, pool, match[4] == "a")
        _, height, width = place.picture
        if kernel > min(height, width):
            raise ValueError(f"{what} the kernel must be no larger than the picture of {height} x {width}")
        if pool > min(layer.activity_picture[1:]):
            size = " x ".join(map(str, layer.activity_picture[1:]))
            raise ValueError(f"{what} pooling {pool} x {pool} leaves nothing of {size}")
        return layer

    @cached_property
    def activity_picture(self) -> Picture:
        """Channels, height and width of the activity."""
        assert self.place.picture is not None
        _, height, width = self.place.picture
        return self.channels, -(-height // self.stride), -(-width // self.stride)

    @property
    def units(self) -> int:  # noqa: D102
        return math.prod(self.activity_picture)

    @property
    def picture(self) -> Picture:  # noqa: D102
        channels, height, width = self.activity_picture
        return channels, height // self.pool, width // self.pool

    @property
    def passes(self) -> int:  # noqa: D102
        return math.prod(self.picture)

    @property
    def _read(self) -> Picture:
        assert self.place.picture is not None
        return self.place.picture

    def parameters(self) -> dict[str, Parameter]:  # noqa: D102
        each = (self.channels,)
        return {
            "W": Parameter((self.channels, self._read[0], self.kernel, self.kernel), decays=True),
            "scale": Parameter(each, goes_back=True),
            "b": Parameter(each),
            "mean": Parameter(each, follows=FOLLOWING),
            "variance": Parameter(each, follows=FOLLOWING),
        }

    def draw(self, seed: int) -> dict[str, Array]:  # noqa: D102
        sizes = {name: parameter.shape for name, parameter in self.parameters().items()}
        rng = generator(seed, Draw.WEIGHTS, self.place.index)
        flat = {name: np.full(sizes[name], name in ("scale", "variance"), np.float32) for name in sizes if name != "W"}
        return {"W": spread(rng, sizes["W"], fan_in=math.prod(sizes["W"][1:]))} | flat

    def activity(self, g: GraphBuilder, read: Read, p: Names) -> tuple[str, int]:  # noqa: D102
        x = g.op("Reshape", read.x, g.ints(-1, *self._read), out="picture" if read.learns else None)
        if read.learns:
            z = self._normed(g, self._products(g, x, p["W"]), p)
        else:  # folded into W and b
            factor = g.op("Div", p["scale"], g.op("Sqrt", g.op("Add", p["variance"], g.const(EPSILON))))
            W = g.op("Mul", p["W"], g.op("Reshape", factor, g.ints(-1, 1, 1, 1)))
            z = self._products(g, x, W, g.op("Sub", p["b"], g.op("Mul", p["mean"], factor)))
        return g.op("Reshape", bounded(g, z, self.place.bound), g.ints(-1, self.units)), 1

    def _products(self, g: GraphBuilder, x: str, *W: str) -> str:
        around, strides = [self.kernel // 2] * 4, [self.stride] * 2
        return g.op("Conv", x, *W, kernel_shape=[self.kernel] * 2, pads=around, strides=strides)

    def _normed(self, g: GraphBuilder, z: str, p: Names) -> str:
        """Return scale * h + b; name ``around`` = z - mean and ``deviation``, which the gradient needs."""
        if self.place.stored_statistics:
            around, variance = g.op("Sub", z, self._by_channel(g, p["mean"]), out="around"), p["variance"]
        else:  # by the chunk's, and name what the running ones need: of each sample's channel
            each = g.op("ReduceMean", z, axes=[2, 3], keepdims=1, out="mean.of.each")
            around = g.op("Sub", z, g.mean(each, 0, keep=True), out="around")
            squares = g.op("Identity", self._dots(g, around, around), out="squares.of.each")
            mean = g.op("Mul", g.mean(squares, 0), g.const(1.0 / self._places))
            variance = g.op("Reshape", mean, g.ints(self.channels))
        g.op("Sqrt", g.op("Add", variance, g.const(EPSILON)), out="deviation")
        none = g.const(np.zeros(self.channels), name=f"const.none.{self.channels}")
        return g.op("BatchNormalization", around, p["scale"], p["b"], none, variance, epsilon=EPSILON)

    def _by_channel(self, g: GraphBuilder, value: str) -> str:
        return g.op("Reshape", value, g.ints(1, self.channels, 1, 1))

    def _dots(self, g: GraphBuilder, a: str, b: str) -> str:
        """Return, of each sample's channel, the sum over places of a * b: [N, O, 1, 1]."""
        return dots(g, a, b, self.channels, self._places)

    @property
    def _places(self) -> int:
        return math.prod(self.activity_picture[1:])

    def gradients(self, g: GraphBuilder, read: Read, value: str, weight: str | None) -> dict[str, str]:  # noqa: D102
        assert weight is None, "class goodness of one pass gives the whole slope"
        dz = g.op("Reshape", value, g.ints(-1, *self.activity_picture))  # dh; by scale * h + b
        sums, along = g.op("ReduceSum", dz, g.ints(2, 3), keepdims=1), self._dots(g, dz, "around")
        b, by_scale = (g.op("ReduceSum", each, g.ints(0, 2, 3), keepdims=0) for each in (sums, along))
        if not self.place.stored_statistics:
            square = g.op("Mul", g.op("Mul", "deviation", "deviation"), g.const(self._places))
            back = g.op("Div", g.mean(along, 0, keep=True), self._by_channel(g, square))
            dz = g.op("Sub", dz, g.op("Mul", "around", back))
            dz = g.op("Sub", dz, g.op("Mul", g.mean(sums, 0, keep=True), g.const(1.0 / self._places)))
        dW = self._weight_gradient(g, "picture", dz)
        factor = g.op("Reshape", g.op("Div", "scale", "deviation"), g.ints(-1, 1, 1, 1))
        return {  # W first, so that it is worked out last, when nobody reads z - mean any more
            "W": g.op("Mul", dW, factor, out="grad.W"),  # by dz, whose factor dW has, which is smaller
            "b": g.op("Identity", b, out="grad.b"),
            "scale": g.op("Div", by_scale, "deviation", out="grad.scale"),
        }

    def _weight_gradient(self, g: GraphBuilder, x: str, dz: str) -> str:
        """Return dLoss/dW: dz [O, N P] times the picture moved to some places of the kernel [N P, places I].

        Of few inputs several places at once: a product of few columns is slow (5 times, of 3 colours), and half an
        activity's size is free then. onnxruntime makes what was added last first: so dz comes last, and no moved
        picture stands before it does.
        """
        (inputs, _, _), (_, height, width), k = self._read, self.activity_picture, self.kernel
        x = g.op("Transpose", x, perm=[1, 0, 2, 3])
        if k > 1:
            x = g.op("Pad", x, g.ints(0, 0, k // 2, k // 2, 0, 0, k // 2, k // 2))
        each, steps = [], [g.ints(self.stride, self.stride)] if self.stride > 1 else []
        for i in range(k):
            for j in range(k):
                stops = (i + self.stride * (height - 1) + 1, j + self.stride * (width - 1) + 1)
                moved = g.op("Slice", x, g.ints(i, j), g.ints(*stops), g.ints(2, 3), *steps)
                each.append(g.op("Reshape", moved, g.ints(inputs, -1)))
        size = max(1, self.channels // (2 * inputs))
        groups = [each[start : start + size] for start in range(0, len(each), size)]
        joined = [g.op("Concat", *group, axis=0) if len(group) > 1 else group[0] for group in groups]
        turned = g.op("Reshape", g.op("Transpose", dz, perm=[1, 0, 2, 3]), g.ints(self.channels, -1))
        products = [g.op("Gemm", turned, moved, transB=1) for moved in joined]
        parts = [g.op("Reshape", product, g.ints(self.channels, -1, inputs)) for product in products]
        whole = g.op("Concat", *parts, axis=1) if len(parts) > 1 else parts[0]
        return g.op("Reshape", g.op("Transpose", whole, perm=[0, 2, 1]), g.ints(self.channels, inputs, k, k))

    def measured(self, g: GraphBuilder, share: str) -> dict[str, str]:  # noqa: D102
        if self.place.stored_statistics:
            return {}
        mean, squares = (
            g.op("Mul", g.op("ReduceSum", f"{name}.of.each", g.ints(0, 2, 3), keepdims=0), share)
            for name in ("mean", "squares")
        )
        return {"mean": mean, "variance": g.op("Mul", squares, g.const(1.0 / self._places))}

    def pooled(self, g: GraphBuilder, y: str) -> str:  # noqa: D102
        if self.pool == 1:
            return y
        picture, size = g.op("Reshape", y, g.ints(-1, *self.activity_picture)), [self.pool] * 2
        kind = "AveragePool" if self.mean else "MaxPool"
        return g.op("Reshape", g.op(kind, picture, kernel_shape=size, strides=size), g.ints(-1, self.passes))

    def with_classes(  # noqa: D102
        self, before: Mapping[str, Array], more: int, rng: "np.random.Generator", *, overlay: bool
    ) -> dict[str, Array]:
        return dict(before)

    def torch(  # noqa: D102
        self,
        x: "Tensor",
        p: Mapping[str, "Tensor"],
        labels: "Tensor",
        value: "Tensor",
        tried: int,
        measured: "dict[str, Tensor] | None" = None,
    ) -> "Tensor":
        import torch
        import torch.nn.functional as F

        x = x.reshape(-1, *self._read).to(memory_format=torch.channels_last)
        z = F.conv2d(x, p["W"], stride=self.stride, padding=self.kernel // 2)
        known = (p["scale"], p["b"], p["mean"], p["variance"])
        if measured is not None and not self.place.stored_statistics:
            h, mean, share = torch.native_batch_norm(z, *known[:2], None, None, True, 0.0, EPSILON)
            measured |= {"mean": mean.detach(), "variance": share.detach() ** -2 - EPSILON}
        else:
            h = torch.native_batch_norm(z, *known, False, 0.0, EPSILON)[0]
        return h.relu() if self.place.bound is None else h.clamp(0.0, self.place.bound)

    def torch_pooled(self, y: "Tensor") -> "Tensor":  # noqa: D102
        import torch.nn.functional as F

        if self.pool == 1:
            return y
        pool = F.avg_pool2d if self.mean else F.max_pool2d
        return pool(y, self.pool)
