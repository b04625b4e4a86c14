"""What learning from a model file did."""

import dataclasses
from dataclasses import dataclass
from typing import Any

from ffedge import json_text
from ffedge.errors import one_line
from ffedge.learning.guard import Measured
from ffedge.training.records import LayerRecord


@dataclass
class Learning:
    """What `learn` did.

    Attributes
    ----------
    rows : new ones, those held out included.
    odd_rows, odd : how many beside these are odd (`ffedge.model.readings`) and were left out; why, in a sentence.
    kept_rows : examples that were learnt again.
    new, kept : accuracy on new rows that were held out, and on kept examples that are never learnt from; of a class
        that has none of these, on those that are.
    unchecked : classes that the model knew and of which no examples are kept: what it forgot of them is not known.
    accepted : whether the file was replaced; `refused` says why not.
    layers : a record of each layer that learnt.
    plan : of memory (`ffedge.training.memory.Plan`).
    """

    model: str
    spec: dict[str, Any]
    rows: int
    odd_rows: int
    odd: str | None
    kept_rows: int
    classes_added: list[str]
    new: Measured
    kept: Measured
    unchecked: list[str]
    accepted: bool
    refused: str | None
    layers: list[LayerRecord]
    seconds: float
    rss_peak_bytes: int
    import_bytes: int
    plan: dict[str, Any]
    previous: str | None = None

    def __repr__(self) -> str:
        """Say what became of the model, in a line."""
        became = "replaced" if self.accepted else f"refused: {self.refused}"
        parts = [
            f"{name} rows {held.before:.2%} -> {held.after:.2%}"
            for name, held in (("new", self.new), ("kept", self.kept))
            if held.before is not None and held.after is not None
        ]
        return f"<Learning {one_line(', '.join([self.model, *parts, became]))[:400]}>"

    def to_json(self) -> str:
        """Return it as indented JSON."""
        return json_text.text(dataclasses.asdict(self), indent=1)
