"""What holds weights near to where they stood, against forgetting."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from types import EllipsisType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ffedge.learning.classes import Start
from ffedge.pages import BLOCK_BYTES, release

Array = NDArray[Any]
Part = tuple[slice | EllipsisType, ...]


class Anchor:
    """Draws each weight a share of the way back to where it stood; those of classes that are added are free.

    Parameters
    ----------
    share : in [0, 1]; 0 does nothing, and reads nothing. 1 lets nothing move but what belongs to added classes.
    before : the model's file.
    start : the same with the classes that are added (`ffedge.learning.classes.with_classes`), or as it is.
    layers : those that learn.
    keep : puts a layer's parameters where they take no memory; None leaves them where they are.

    Raises
    ------
    ValueError
        The share is none, or holds all that would learn.
    """

    def __init__(
        self,
        share: float,
        before: Start,
        start: Start,
        layers: Iterable[int],
        keep: Callable[[int, dict[str, Array]], Mapping[str, Array]] | None = None,
    ) -> None:
        if not 0 <= share <= 1:
            raise ValueError(f"`anchor` must be in [0, 1], got {share}")
        if share == 1 and before is start:
            raise ValueError("`anchor=1` lets nothing learn but classes that are added. Add some, or use less")
        self._share, self._stood = np.float32(share), dict[int, list[tuple[str, Part, Array]]]()
        for layer in layers if share else ():
            old, grown = before.layer(layer), start.layer(layer)
            kept = keep(layer, grown) if keep else grown
            parts = {name: _known(array, grown[name]) for name, array in old.items()}
            self._stood[layer] = [(name, part, kept[name][part]) for name, part in parts.items()]

    def draw_back(self, state: Sequence[Mapping[str, Array]], layers: Iterable[int]) -> None:
        """Move the parameters of some layers, in place."""
        for layer in layers if self._stood else ():
            for name, part, stood in self._stood[layer]:
                self._move(state[layer][name][part], stood)

    def _move(self, now: Array, stood: Array) -> None:
        step = max(1, BLOCK_BYTES // max(1, now[:1].nbytes)) if now.ndim else 1
        for part in [slice(at, at + step) for at in range(0, len(now), step)] if now.ndim else [...]:
            to = stood[part]
            now[part] = to if self._share == 1 else now[part] + self._share * (to - now[part])
            release(stood)


def _known(old: Array, grown: Array) -> Part:
    """Return the part of grown parameters that belongs to what the model knew (`ffedge.layers.base.Layer`)."""
    if old.ndim and grown.shape[-1] > old.shape[-1]:  # units of new groups, columns of a readout
        return (..., slice(old.shape[-1]))
    return (slice(len(old)), ...) if old.ndim else (...,)  # rows of V; what has not grown stands whole
