"""Goodness: how good a layer's activity is for a class; a kind is a class.

Kinds that try labels give one number a row, as the label is in the input (mean, sum). Kinds that do not give all
classes' at once, from one pass (`ffedge.rule.groups`, `ffedge.rule.readout`). A new kind is a file beside these and a
line in `ffedge.kinds`.

Shape letters: N samples, R rows (where labels are tried a sample with a label, else N), H units, C classes; an activity
is [..., H], goodness [..., 1] where labels are tried, else [N, C].
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from ffedge.layers.base import Array, Layer, Names, Parameter
from ffedge.onnx.graph import GraphBuilder

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Goodness(ABC):
    """A kind of goodness, of one layer.

    Attributes
    ----------
    tries_labels : whether a label is tried by a pass of its own.
    linear : whether `matrix` is for the activity itself; else it is for its squares.
    folds : whether it has a `divisor` or a `matrix`, of which exported forms and spiking networks are made.
    steep : whether a contrastive loss takes it four times where no slope is asked for; a mean of squares differs little
        from class to class.
    widens : whether more classes need more units.
    """

    tries_labels: ClassVar[bool] = True
    linear: ClassVar[bool] = False
    folds: ClassVar[bool] = True
    steep: ClassVar[bool] = False
    widens: ClassVar[bool] = False
    layer: Layer

    def divisor(self) -> float | None:
        """Return what the sum of squares is divided by, where labels are tried and goodness is that; else None."""
        return None

    def matrix(self, arrays: Mapping[str, Array]) -> Array | None:
        """Return [H, C] by which squares of an activity, or the activity, are multiplied where that is the goodness.

        Parameters
        ----------
        arrays : its parameters.
        """
        return None

    def parameters(self) -> dict[str, Parameter]:
        """Return what it learns, by names that no layer has."""
        return {}

    def draw(self, seed: int) -> dict[str, Array]:
        """Return its parameters as they are before training."""
        return {}

    @abstractmethod
    def of(self, g: GraphBuilder, y: str, axis: int, p: Names) -> str:
        """Return the goodness of an activity along its last axis."""

    @abstractmethod
    def slope(self, g: GraphBuilder, y: str, dg: str, p: Names) -> tuple[str, str | None]:
        """Return dLoss/dy of active units from dLoss/dg.

        It comes as ``value * weight``: value [..., H], and one weight for each row, like dg; None where the value is
        all.
        """

    def gradients(self, g: GraphBuilder, y: str, dg: str) -> dict[str, str]:
        """Return the gradient of each of its parameters from dLoss/dg."""
        return {}

    def square_sum(self, g: GraphBuilder, y: str, good: str | None, axis: int) -> tuple[str, float]:
        """Return a value [..., 1] and a factor whose product is the sum of the squares of y, for the norm.

        Parameters
        ----------
        good : y's goodness where it is at hand.
        """
        return g.sum(g.op("Mul", y, y), axis, keep=True), 1.0

    def with_classes(self, before: Mapping[str, Array], more: int) -> dict[str, Array]:
        """Return its parameters, as they were with fewer classes, for a layer that knows `more` of them."""
        return {}

    @abstractmethod
    def torch(self, y: "Tensor", p: Mapping[str, "Tensor"]) -> "Tensor":
        """Return the goodness [R] or [N, C] of activities [R, H]."""


class Mean(Goodness):
    """``mean_h y_h^2`` (NetworkFF eq. 2 with the mean for the sum)."""

    def divisor(self) -> float | None:  # noqa: D102
        return float(self.layer.units)

    def of(self, g: GraphBuilder, y: str, axis: int, p: Names) -> str:  # noqa: D102
        return g.mean(g.op("Mul", y, y), axis, keep=True)

    def slope(self, g: GraphBuilder, y: str, dg: str, p: Names) -> tuple[str, str | None]:  # noqa: D102
        return y, g.op("Mul", dg, g.const(2.0 / self.layer.units))

    def square_sum(self, g: GraphBuilder, y: str, good: str | None, axis: int) -> tuple[str, float]:  # noqa: D102
        return good or self.of(g, y, axis, {}), float(self.layer.units)

    def torch(self, y: "Tensor", p: Mapping[str, "Tensor"]) -> "Tensor":  # noqa: D102
        return y.float().square().mean(1)


class Sum(Goodness):
    """``sum_h y_h^2`` (NetworkFF eq. 2)."""

    def divisor(self) -> float | None:  # noqa: D102
        return 1.0

    def of(self, g: GraphBuilder, y: str, axis: int, p: Names) -> str:  # noqa: D102
        return g.sum(g.op("Mul", y, y), axis, keep=True)

    def slope(self, g: GraphBuilder, y: str, dg: str, p: Names) -> tuple[str, str | None]:  # noqa: D102
        return y, g.op("Mul", dg, g.const(2.0))

    def square_sum(self, g: GraphBuilder, y: str, good: str | None, axis: int) -> tuple[str, float]:  # noqa: D102
        return good or self.of(g, y, axis, {}), 1.0

    def torch(self, y: "Tensor", p: Mapping[str, "Tensor"]) -> "Tensor":  # noqa: D102
        return y.float().square().sum(1)
