"""Kinds of layers: one file each, and a line here."""

from ffedge.layers.base import Layer, Place
from ffedge.layers.dense import Dense

KINDS: dict[str, type[Layer]] = {"dense": Dense}


def make_layer(item: int | str, place: Place) -> Layer:
    """Return the layer that an item of a spec's ``widths`` asks for: 500 (dense), or ``kind:words``.

    Raises
    ------
    ValueError
        There is no such kind, or its words say something that it cannot be.
    """
    kind, _, words = item.rpartition(":") if isinstance(item, str) else ("", "", str(item))
    kind = kind or "dense"
    if kind not in KINDS:
        raise ValueError(
            f"a layer must be a number of units, or one of {', '.join(KINDS)} with its words, got {item!r}"
        )
    return KINDS[kind].made(place, words)
