"""The forms that a trained model can be exported in, each with what it costs in accuracy on the held-out rows."""

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ffedge.errors import FfedgeError
from ffedge.export.candidates import fewest_candidates
from ffedge.export.failed import failed_readings, known_share
from ffedge.export.fold import fold
from ffedge.export.readout import train_head
from ffedge.export.source import HeldOut, Trained
from ffedge.model.calibration import Calibration
from ffedge.model.form import (
    FORMS,
    Folded,
    check_prunable,
    exact_graph,
    folded,
    head_graph,
    pruned_graph,
    with_known,
)
from ffedge.model.graph import with_proba
from ffedge.model.temperature import calibrated
from ffedge.model.write import file_bytes
from ffedge.onnx.graph import Graph
from ffedge.predict.evaluation import predicted
from ffedge.predict.predictor import Predictor

Array = NDArray[Any]
MOST_LOST_POINTS = 0.2
CALIBRATION_ROWS, CALIBRATION_BATCH = 512, 32
LASTING = ("format", "spec", "input", "version", "data", "gamma")  # metadata of the model that hold for its forms too


@dataclass(frozen=True)
class Form:
    """An exported form; accuracies are fractions, 0 to 1.

    Attributes
    ----------
    model : the file's bytes.
    accuracy, lost : on the held-out rows, and how much less that is than the model's as trained; None for a form
        ``exact`` that was made without rows.
    candidates : labels that the deeper layers try; None for all.
    failed_known, model_failed_known : share of readings as of a failed sensor (`ffedge.export.failed`) that count as
        known by the form, and by the model as trained; None where it was not measured.
    """

    name: str
    model: bytes
    accuracy: float | None = None
    lost: float | None = None
    candidates: int | None = None
    failed_known: float | None = None
    model_failed_known: float | None = None


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
        rows: HeldOut | None,
        most_lost_points: float = MOST_LOST_POINTS,
        coverage: float | None = None,
    ) -> None:
        self._trained, self._rows_or_none, self._most_lost = trained, rows, most_lost_points
        self._coverage = coverage or trained.recipe.train.coverage

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
            raise ValueError(f"`form` must be one of {', '.join(FORMS)}, got {name!r}")
        base, few_bits = FORMS[name]
        try:
            graph, weights = self._graph(base, self._network(even=few_bits))
        except ValueError as error:
            raise FfedgeError(f"{self._trained.name}: {error}") from error
        if few_bits:
            form = self._quantised(name, graph, weights, per_channel=False)
            if self._loses_too_much(form):  # a scale a unit is nearer, and slower
                form = self._quantised(name, graph, weights, per_channel=True)
        else:
            form = self._finished(name, graph, weights, "float32")
        if self._loses_too_much(form):
            raise FfedgeError(
                f"{self._trained.name}: the form {form.name} gets {100 * (form.accuracy or 0.0):.2f} % of "
                f"{len(self._rows.held_out):,} held-out rows right and the model {100 * self.model_accuracy:.2f} %: "
                f"{100 * (form.lost or 0.0):.2f} points lost, where {self._most_lost:g} are allowed. "
                "Use another `form` or a larger `max_loss`"
            )
        return form

    @functools.cached_property
    def model_accuracy(self) -> float:
        """The accuracy of the model as trained, on the held-out rows."""
        return self._held_out(self._trained.predictor)[0]

    @functools.cached_property
    def model_failed_known(self) -> float | None:
        """The share of failed readings that the model as trained counts as known."""
        return known_share(self._trained.predictor, self._failed)

    @functools.cached_property
    def candidates(self) -> int:
        """The labels that the deeper layers of a pruned form try."""
        return fewest_candidates(self._trained, self._rows)

    @property
    def _rows(self) -> HeldOut:
        if self._rows_or_none is None:
            raise ValueError("`rows` must be given for every form but exact")
        return self._rows_or_none

    @functools.cached_property
    def _failed(self) -> Array | None:
        return failed_readings(self._rows, self._trained.facts) if self._rows_or_none else None

    @functools.cached_property
    def _readout(self) -> dict[str, Array]:
        return train_head(self._trained, self._rows, self._network(even=False))

    def _network(self, *, even: bool) -> Folded:
        return folded(self._trained.recipe, self._trained.facts, self._trained.gammas, even=even)

    def _graph(self, base: str, network: Folded) -> tuple[Graph, dict[str, Array]]:
        """Return the graph of a form, and its weights."""
        layers = self._trained.layers
        if base == "head":
            return head_graph(network), fold(network, layers, tried=False) | self._readout
        if base == "pruned":
            check_prunable(network)
            return pruned_graph(network, self.candidates), fold(network, layers)
        return exact_graph(network), fold(network, layers)

    def _quantised(self, name: str, graph: Graph, weights: dict[str, Array], *, per_channel: bool) -> Form:
        try:
            from ffedge.export.int8 import quantised  # by the onnx package, which float forms do without
        except ModuleNotFoundError as error:
            raise FfedgeError(
                f"the form {name} needs onnx, which is not installed. Run: pip install 'ffedge[int8]'"
            ) from error
        rows, inputs = self._rows.spread(CALIBRATION_ROWS), self._rows.split.inputs
        parts = (rows[start : start + CALIBRATION_BATCH] for start in range(0, len(rows), CALIBRATION_BATCH))
        batches = (np.ascontiguousarray(inputs.take(part)) for part in parts)
        whole = quantised(graph, weights, batches, per_channel=per_channel)
        return self._finished(name, whole, {}, f"int8, a scale a {'unit' if per_channel else 'layer'}")

    def _finished(self, name: str, graph: Graph, weights: dict[str, Array], bits: str) -> Form:
        """Give a graph its output ``known`` and metadata; it is measured first, so that they tell what it costs."""
        candidates = self.candidates if FORMS[name][0] == "pruned" else None
        about: dict[str, Any] = {"name": name, "weights": bits}
        if candidates is not None:
            about["candidates"] = candidates
        stored = self._trained.predictor.metadata
        metadata = {key: stored[key] for key in LASTING if key in stored}
        accuracy, lost, known = None, None, self._trained.predictor.calibration
        if self._rows_or_none is not None:
            model = file_bytes(graph, weights, metadata | {"form": about})
            accuracy, known = self._held_out(Predictor(model, threads=1))
            lost = self.model_accuracy - accuracy
            about |= {"held_out_rows": len(self._rows.held_out), "accuracy": accuracy, "accuracy_lost": lost}
        if known is not None:
            graph, weights = with_known(graph), weights | known.weights()
        if "proba.scale" in weights:
            graph = with_proba(graph)
        metadata |= {"form": about} | (known.to_dict() if known else {"known": None})
        model = file_bytes(graph, weights, metadata)
        failed = known_share(Predictor(model, threads=1), self._failed)
        return Form(name, model, accuracy, lost, candidates, failed, self.model_failed_known)

    def _held_out(self, predictor: Predictor) -> tuple[float, Calibration | None]:
        """Return a predictor's accuracy on the held-out rows, and the calibration that they give it."""
        hits = 0

        def blocks() -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
            nonlocal hits
            for true, answers in predicted(predictor, self._rows.split, self._rows.held_out):
                hits += int((answers.place == true).sum())
                yield true, answers.scores

        found = calibrated(blocks(), self._coverage)
        return hits / len(self._rows.held_out), found

    def _loses_too_much(self, form: Form) -> bool:
        return form.lost is not None and 100 * form.lost > self._most_lost + 1e-9
