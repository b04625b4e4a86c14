"""Goodness: one number for a layer's activity, which is to be high for the true label; a kind is a class.

A new kind is a file beside this one and a line in `ffedge.kinds`.

Shape letters: R rows (a sample with a label tried), H units; an activity is [..., H], goodness [..., 1].
"""

from typing import TYPE_CHECKING, Protocol

from ffedge.onnx.graph import GraphBuilder

if TYPE_CHECKING:
    from torch import Tensor


class Goodness(Protocol):
    """A kind of goodness."""

    def divisor(self, units: int) -> float | None:
        """Return what the sum of squares is divided by, where goodness is that; else None.

        Folded forms and spiking networks are made for such a goodness alone.
        """
        ...

    def of(self, g: GraphBuilder, y: str, axis: int) -> str:
        """Return the goodness [..., 1] of an activity [..., H] along its last axis."""
        ...

    def slope(self, g: GraphBuilder, y: str, dg: str, units: int) -> tuple[str, str]:
        """Return dLoss/dy as ``value * weight`` from dLoss/dg: value [..., H], and one weight for each row, like dg."""
        ...

    def square_sum(self, g: GraphBuilder, y: str, good: str | None, axis: int, units: int) -> tuple[str, float]:
        """Return a value [..., 1] and a factor whose product is the sum of the squares of y, for the norm.

        Parameters
        ----------
        good : y's goodness where it is at hand.
        """
        ...

    def torch(self, y: "Tensor") -> "Tensor":
        """Return the goodness [R] of activities [R, H]."""
        ...


class Mean:
    """``mean_h y_h^2`` (NetworkFF eq. 2 with the mean for the sum)."""

    def divisor(self, units: int) -> float | None:  # noqa: D102
        return float(units)

    def of(self, g: GraphBuilder, y: str, axis: int) -> str:  # noqa: D102
        return g.mean(g.op("Mul", y, y), axis, keep=True)

    def slope(self, g: GraphBuilder, y: str, dg: str, units: int) -> tuple[str, str]:  # noqa: D102
        return y, g.op("Mul", dg, g.const(2.0 / units))

    def square_sum(self, g: GraphBuilder, y: str, good: str | None, axis: int, units: int) -> tuple[str, float]:  # noqa: D102
        return good or self.of(g, y, axis), float(units)

    def torch(self, y: "Tensor") -> "Tensor":  # noqa: D102
        return y.square().mean(1)


class Sum:
    """``sum_h y_h^2`` (NetworkFF eq. 2)."""

    def divisor(self, units: int) -> float | None:  # noqa: D102
        return 1.0

    def of(self, g: GraphBuilder, y: str, axis: int) -> str:  # noqa: D102
        return g.sum(g.op("Mul", y, y), axis, keep=True)

    def slope(self, g: GraphBuilder, y: str, dg: str, units: int) -> tuple[str, str]:  # noqa: D102
        return y, g.op("Mul", dg, g.const(2.0))

    def square_sum(self, g: GraphBuilder, y: str, good: str | None, axis: int, units: int) -> tuple[str, float]:  # noqa: D102
        return good or self.of(g, y, axis), 1.0

    def torch(self, y: "Tensor") -> "Tensor":  # noqa: D102
        return y.square().sum(1)
