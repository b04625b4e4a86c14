"""What a run says of its choices before it trains: a line each."""

from typing import Any

from ffedge.data import Dataset
from ffedge.data.stream import spread_evenly
from ffedge.network import InputFacts
from ffedge.spec import Spec
from ffedge.spec_parts import NetworkSpec

LOOKED_AT, LOOKED_AT_VALUES = 64, 2**17  # rows, and values of them, at most


def of_choices(spec: Spec, choice: dict[str, Any], dataset: Dataset, facts: InputFacts) -> list[str]:
    """Return what was chosen, and for what; whether others learn it better than a default network, or none does."""
    kind = "an image" if facts.is_image else "a table"
    data = f"{len(dataset.train.labels):,} rows of {facts.size:,} inputs of {kind}, {facts.n_classes} classes"
    named = ", ".join(f"{name} {value}" for name, value in choice.items())
    notes = [f"{dataset.name}: {data}; chose {named}"] if choice else []
    if facts.picture and facts.picture[2] > 1 and spec.network.widths == NetworkSpec.widths:
        better = "the presets pictures and pictures-small train convolutions, which learn more of them"
        notes.append(f"{dataset.name}: pictures in colour; {better}")
    count = max(2, min(LOOKED_AT, LOOKED_AT_VALUES // facts.size))
    rows = dataset.train.inputs.take(spread_evenly(len(dataset.train.labels), count))
    if len(rows) > 1 and (rows == rows[0]).all():
        notes.append(
            f"{dataset.name}: {len(rows)} rows that were looked at are all alike. Nothing is learnt of such rows"
        )
    return notes


def of_no_room(n_bytes: int, dataset: Dataset) -> str:
    """Return what it means that the activities of finished layers have no room."""
    why = f"{n_bytes / 1e9:.2f} GB of finished layers' activities have no room here"
    slow = "each batch runs through the layers below, in time that grows with the square of the depth"
    return f"{dataset.name}: {why}, so that {slow}; the schedule interleaved spares that"
