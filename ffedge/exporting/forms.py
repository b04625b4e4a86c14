"""The forms that a trained model can be exported in, each with what it costs in accuracy on the held-out rows."""

import functools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from ffedge.calibration import Calibration, best_and_margin, calibrate
from ffedge.errors import FfedgeError
from ffedge.evaluation import predicted
from ffedge.exporting.candidates import fewest_candidates
from ffedge.exporting.names import FORMS
from ffedge.exporting.quantised import quantised
from ffedge.exporting.readout import train_head
from ffedge.exporting.source import Rows, Trained
from ffedge.graph.folded import Folded, fold
from ffedge.graph.forms import Head, check_prunable, exact_graph, head_graph, pruned_graph, with_known
from ffedge.runtime import Predictor

MOST_LOST_POINTS = 0.2
CALIBRATION_ROWS, CALIBRATION_BATCH = 512, 32
KEPT = ("format", "spec", "input", "version", "data", "gamma")  # metadata of the model that hold for its forms too


@dataclass(frozen=True)
class Form:
    """An exported form; accuracies are fractions, 0 to 1.

    Attributes
    ----------
    model : the file's bytes.
    accuracy, lost : on the held-out rows, and how much less that is than the model's as trained; None for a form
        ``exact`` that was made without rows.
    candidates : labels that the deeper layers try; None for all.
    """

    name: str
    model: bytes
    accuracy: float | None = None
    lost: float | None = None
    candidates: int | None = None


class Forms:
    """Makes forms of one model; what several of them need is worked out once.

    Parameters
    ----------
    rows : None serves the form ``exact`` alone.
    most_lost_points : of accuracy, in percentage points of the held-out rows.
    coverage : share of the held-out rows whose answers shall count as known; None takes the training's.
    """

    def __init__(
        self,
        trained: Trained,
        rows: Rows | None,
        most_lost_points: float = MOST_LOST_POINTS,
        coverage: float | None = None,
    ) -> None:
        self._trained, self._given, self._most, self._coverage = trained, rows, most_lost_points, coverage

    def make(self, name: str) -> Form:
        """Make a form.

        Raises
        ------
        FfedgeError
            It would lose more accuracy than is allowed, or this network cannot have it.
        ValueError
            There is no form of this name.
        """
        if name not in FORMS:
            raise ValueError(f"form must be one of {', '.join(FORMS)}, got {name!r}")
        base, few_bits = FORMS[name]
        try:
            graph = self._graph(base, self._even if few_bits else self._folded)
        except ValueError as error:
            raise FfedgeError(f"{self._trained.name}: {error}") from error
        if not few_bits:
            return self._allowed(self._finished(name, graph, "float32"))
        form = self._finished(name, self._quantised(graph, per_channel=False), "int8, a scale a layer")
        if self._too_much(form):  # a scale a unit is nearer, and slower
            form = self._finished(name, self._quantised(graph, per_channel=True), "int8, a scale a unit")
        return self._allowed(form)

    @property
    def _rows(self) -> Rows:
        if self._given is None:
            raise ValueError("rows must be given for every form but exact")
        return self._given

    @functools.cached_property
    def model_accuracy(self) -> float:
        """The accuracy of the model as trained, on the held-out rows."""
        return self._held_out(self._trained.predictor)[0]

    @functools.cached_property
    def candidates(self) -> int:
        """The labels that the deeper layers of a pruned form try."""
        return fewest_candidates(self._trained, self._rows)

    @functools.cached_property
    def _readout(self) -> Head:
        return train_head(self._trained, self._rows, self._folded)

    @functools.cached_property
    def _folded(self) -> Folded:
        return fold(self._trained.recipe, self._trained.facts, self._trained.state)

    @functools.cached_property
    def _even(self) -> Folded:
        return fold(self._trained.recipe, self._trained.facts, self._trained.state, even=True)

    def _graph(self, base: str, folded: Folded) -> onnx.ModelProto:
        recipe, facts = self._trained.recipe, self._trained.facts
        if base == "pruned":
            check_prunable(folded)
            return pruned_graph(recipe, facts, folded, self.candidates)
        return (
            head_graph(recipe, facts, folded, self._readout) if base == "head" else exact_graph(recipe, facts, folded)
        )

    def _quantised(self, graph: onnx.ModelProto, *, per_channel: bool) -> onnx.ModelProto:
        return quantised(graph, self._calibration(), per_channel=per_channel)

    def _calibration(self) -> Iterator[Any]:
        rows = self._rows.spread(CALIBRATION_ROWS)
        for start in range(0, len(rows), CALIBRATION_BATCH):
            yield np.ascontiguousarray(self._rows.split.inputs.take(rows[start : start + CALIBRATION_BATCH]))

    def _finished(self, name: str, graph: onnx.ModelProto, weights: str) -> Form:
        """Give a graph its output ``known`` and metadata; it is measured first, so that they tell what it costs."""
        about: dict[str, Any] = {"name": name, "weights": weights}
        candidates = self.candidates if FORMS[name][0] == "pruned" else None
        if candidates is not None:
            about["candidates"] = candidates
        metadata = self._trained.predictor.metadata
        kept = {key: metadata[key] for key in KEPT if key in metadata}
        found, lost, known = None, None, self._trained.predictor.calibration
        if self._given is not None:
            found, scores = self._held_out(Predictor(_with_metadata(graph, kept), threads=1))
            lost = self.model_accuracy - found
            about |= {"held_out_rows": len(self._given.held_out), "accuracy": found, "accuracy_lost": lost}
            coverage = self._coverage or self._trained.recipe.train.coverage
            known = calibrate(*best_and_margin(scores), coverage)
        return Form(name, _answering(graph, kept | {"form": about}, known), found, lost, candidates)

    def _held_out(self, predictor: Predictor) -> tuple[float, NDArray[np.float32]]:
        """Return a predictor's accuracy on the held-out rows, and their scores [N, C]."""
        hits, scores = 0, []
        for true, answers in predicted(predictor, self._rows.split, self._rows.held_out):
            hits += int((answers.label == true).sum())
            scores.append(answers.scores)
        return hits / len(self._rows.held_out), np.concatenate(scores)

    def _too_much(self, form: Form) -> bool:
        return form.lost is not None and 100 * form.lost > self._most + 1e-9

    def _allowed(self, form: Form) -> Form:
        if not self._too_much(form):
            return form
        assert form.accuracy is not None
        assert form.lost is not None
        raise FfedgeError(
            f"{self._trained.name}: the form {form.name} gets {100 * form.accuracy:.2f} % of "
            f"{len(self._rows.held_out):,} held-out rows right and the model {100 * self.model_accuracy:.2f} %: "
            f"{100 * form.lost:.2f} points lost, where {self._most:g} are allowed. "
            "Use another --form or a larger --max-loss"
        )


def _answering(graph: onnx.ModelProto, metadata: dict[str, Any], known: Calibration | None) -> bytes:
    """Return a model's bytes, with the output ``known`` where there is a calibration."""
    return _with_metadata(
        with_known(graph, known.bias()) if known else graph, metadata | {"known": known.to_dict() if known else None}
    )


def _with_metadata(graph: onnx.ModelProto, metadata: dict[str, Any]) -> bytes:
    """Return a model's bytes with these metadata and no others."""
    model = onnx.ModelProto.FromString(graph.SerializeToString())
    del model.metadata_props[:]
    for key, value in metadata.items():
        model.metadata_props.add(key=f"ffedge.{key}", value=json.dumps(value))
    return bytes(model.SerializeToString())
