"""The forms that a trained model can be exported in, each with what it costs in accuracy on the held-out rows."""

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ffedge.errors import FfedgeError
from ffedge.export.candidates import fewest_candidates
from ffedge.export.fold import fold
from ffedge.export.readout import train_head
from ffedge.export.source import HeldOut, Trained
from ffedge.model.calibration import Calibration, best_and_margin, calibrate
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
        rows: HeldOut | None,
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
            raise ValueError(f"`form` must be one of {', '.join(FORMS)}, got {name!r}")
        base, few_bits = FORMS[name]
        try:
            graph, weights = self._graph(base, self._even if few_bits else self._folded)
        except ValueError as error:
            raise FfedgeError(f"{self._trained.name}: {error}") from error
        if not few_bits:
            return self._allowed(self._finished(name, graph, weights, "float32"))
        form = self._quantised(name, graph, weights, per_channel=False)
        if self._too_much(form):  # a scale a unit is nearer, and slower
            form = self._quantised(name, graph, weights, per_channel=True)
        return self._allowed(form)

    @property
    def _rows(self) -> HeldOut:
        if self._given is None:
            raise ValueError("`rows` must be given for every form but exact")
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
    def _readout(self) -> dict[str, Array]:
        return train_head(self._trained, self._rows, self._folded)

    @functools.cached_property
    def _folded(self) -> Folded:
        return self._how(even=False)

    @functools.cached_property
    def _even(self) -> Folded:
        return self._how(even=True)

    def _how(self, *, even: bool) -> Folded:
        trained = self._trained
        return folded(trained.recipe, trained.facts, trained.gammas, even=even)

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

        whole = quantised(graph, weights, self._calibration(), per_channel=per_channel)
        return self._finished(name, whole, {}, f"int8, a scale a {'unit' if per_channel else 'layer'}")

    def _calibration(self) -> Iterator[Any]:
        rows = self._rows.spread(CALIBRATION_ROWS)
        for start in range(0, len(rows), CALIBRATION_BATCH):
            yield np.ascontiguousarray(self._rows.split.inputs.take(rows[start : start + CALIBRATION_BATCH]))

    def _finished(self, name: str, graph: Graph, weights: dict[str, Array], bits: str) -> Form:
        """Give a graph its output ``known`` and metadata; it is measured first, so that they tell what it costs."""
        about: dict[str, Any] = {"name": name, "weights": bits}
        candidates = self.candidates if FORMS[name][0] == "pruned" else None
        if candidates is not None:
            about["candidates"] = candidates
        metadata = self._trained.predictor.metadata
        lasting = {key: metadata[key] for key in LASTING if key in metadata}
        accuracy, lost, known = None, None, self._trained.predictor.calibration
        if self._given is not None:
            model = file_bytes(graph, weights, lasting | {"form": about})
            accuracy, scores = self._held_out(Predictor(model, threads=1))
            lost = self.model_accuracy - accuracy
            about |= {"held_out_rows": len(self._given.held_out), "accuracy": accuracy, "accuracy_lost": lost}
            known = calibrate(*best_and_margin(scores), self._coverage or self._trained.recipe.train.coverage)
        model = _answering(graph, weights, lasting | {"form": about}, known)
        return Form(name, model, accuracy, lost, candidates)

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
            "Use another `form` or a larger `max_loss`"
        )


def _answering(graph: Graph, weights: dict[str, Array], metadata: dict[str, Any], known: Calibration | None) -> bytes:
    """Return a model's bytes, with the output ``known`` where there is a calibration."""
    metadata = metadata | {"known": known.to_dict() if known else None}
    if known is None:
        return file_bytes(graph, weights, metadata)
    return file_bytes(with_known(graph), weights | {"known.bias": known.bias()}, metadata)
