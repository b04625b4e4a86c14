"""What one machine computes beside another: labels, scores, losses, evaluations. No numpy: these are JSON documents.

A score or loss lies within a tolerance where it does so absolutely or relatively: |a - b| <= tolerance * max(1, |a|).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Sample = Mapping[str, Any]  # of ``ffedge predict --json``: label, scores by name


@dataclass
class Agreement:
    """How far two machines agree.

    Attributes
    ----------
    labels_differ : rows with another label; `ties` of them have two labels with the same score, within the tolerance.
    worst : the greatest distance of two scores or losses, as above, over max(1, |a|).
    faults : what is not allowed to differ and does, a line each.
    """

    rows: int = 0
    labels_differ: int = 0
    ties: int = 0
    worst: float = 0.0
    faults: list[str] = field(default_factory=list)

    def add(self, other: "Agreement") -> None:
        """Take in what was found for more rows."""
        self.rows += other.rows
        self.labels_differ += other.labels_differ
        self.ties += other.ties
        self.worst = max(self.worst, other.worst)
        self.faults += other.faults


def distance(here: float, there: float) -> float:
    """Return how far two numbers lie apart, absolutely or relatively, whichever is less; infinite for NaN."""
    found = abs(here - there) / max(1.0, abs(here))
    return math.inf if math.isnan(found) else found


def compare_predictions(here: Sequence[Sample], there: Sequence[Sample], scores: float, ties: float) -> Agreement:
    """Compare the samples of ``ffedge predict --json``, row by row.

    Parameters
    ----------
    scores : tolerance of each score.
    ties : a row may have another label where, here, the two labels' scores lie within this.
    """
    found = Agreement(rows=len(here))
    if len(here) != len(there):
        found.faults.append(f"{len(there)} rows instead of {len(here)}")
        return found
    beyond = 0
    for ours, theirs in zip(here, there, strict=True):
        if ours["scores"].keys() != theirs["scores"].keys():
            found.faults.append("the classes differ")
            return found
        apart = max(distance(score, theirs["scores"][name]) for name, score in ours["scores"].items())
        beyond += apart > scores
        found.worst = max(found.worst, apart)
        if ours["label"] != theirs["label"]:
            found.labels_differ += 1
            found.ties += distance(ours["scores"][ours["label"]], ours["scores"][theirs["label"]]) <= ties
    if found.labels_differ > found.ties:
        found.faults.append(f"{found.labels_differ - found.ties} labels differ that are not ties within {ties:g}")
    if beyond:
        found.faults.append(f"scores of {beyond} rows differ by more than {scores:g}, at most by {found.worst:.2g}")
    return found


def compare_losses(here: Sequence[Mapping[str, Any]], there: Sequence[Mapping[str, Any]], losses: float) -> Agreement:
    """Compare the lines of two metrics.jsonl: the same layers and epochs, each with the same loss."""
    found = Agreement(rows=len(here))
    places = [[(line["layer"], line["epoch"]) for line in lines] for lines in (here, there)]
    if places[0] != places[1] or not here:
        found.faults.append(f"{len(there)} lines of metrics for {len(here)}")
        return found
    for ours, theirs in zip(here, there, strict=True):
        apart = distance(ours["loss"], theirs["loss"])
        found.worst = max(found.worst, apart)
        if apart > losses:
            where = f"layer {ours['layer']}, epoch {ours['epoch']}"
            found.faults.append(f"{where}: loss {theirs['loss']:.6g} instead of {ours['loss']:.6g}")
    return found


def compare_evaluations(here: Mapping[str, Any], there: Mapping[str, Any]) -> Agreement:
    """Compare what ``ffedge eval --json`` says; one row may fall to another label, as ties do."""
    found = Agreement(rows=here["rows"])
    if here["rows"] != there["rows"] or here["classes"] != there["classes"]:
        found.faults.append("eval took other rows or classes")
        return found
    pairs = zip(here["confusion"], there["confusion"], strict=True)
    found.labels_differ = sum(abs(a - b) for ours, theirs in pairs for a, b in zip(ours, theirs, strict=True)) // 2
    layers = zip(here["layer_accuracy"], there["layer_accuracy"], strict=True)
    found.worst = max([abs(here["accuracy"] - there["accuracy"]), *(abs(a - b) for a, b in layers)])
    if found.labels_differ > 1 or found.worst > 1.5 / here["rows"]:
        found.faults.append(
            f"eval differs: accuracy {there['accuracy']:.4f} instead of {here['accuracy']:.4f}, "
            f"{found.labels_differ} rows elsewhere"
        )
    return found
