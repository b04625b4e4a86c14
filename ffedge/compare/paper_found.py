"""What a trial of `ffedge bench --paper` found, and the document of many.

Shape letters: N rows, L layers, C classes.
"""

import dataclasses
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ffedge.compare.gemm import gemm_flop
from ffedge.compare.measurer import all_versions
from ffedge.compare.paper_trials import Choice, Trial
from ffedge.data import Dataset, Split
from ffedge.predict.evaluation import predicted
from ffedge.predict.predictor import Predictor
from ffedge.presets import PRESETS
from ffedge.training.loop import spread_evenly
from ffedge.training.records import EpochRecord, machine
from ffedge.training.run import Run

CURVE_ROWS = 2000  # whose accuracy is measured while training
TRAIN_ROWS = 10_000  # whose accuracy is measured in the end
TRACED = ("loss", "goodness_positive", "goodness_negative", "accuracy", "accuracy_sum", "gamma")


@dataclass
class Found:
    """What a trial found; accuracies are fractions.

    Attributes
    ----------
    train_accuracy, test_accuracy : of the plain sum of the layers' goodness.
    train_collaborative, test_collaborative : of the sum in which layer l weighs ``1 + sum_{m != l} gamma_m alpha_ml``.
    train_layers, test_layers : of each layer alone.
    trace : of each layer, each record's `TRACED` values, by epoch; ``accuracy`` on `CURVE_ROWS` of the rows that are
        trained on, ``accuracy_sum`` of all layers so far.
    seconds : of training each layer, evaluation left out.
    cpu_s : the process's own seconds of training each layer for one epoch, the mean of those since it last began.
    gemm_flop : of the products that an epoch of each layer cannot do without; None where they are not counted.
    """

    trial: dict[str, Any]
    versions: dict[str, str]
    train_accuracy: float
    test_accuracy: float
    train_collaborative: float
    test_collaborative: float
    train_layers: list[float]
    test_layers: list[float]
    gamma: list[float | None]
    trace: list[dict[str, list[float | None]]]
    seconds: list[float]
    cpu_s: list[float | None]
    gemm_flop: list[float] | None
    train_rows: int

    def of(self, name: str) -> Any:
        """Return a field of the trial."""
        return self.trial[name]


def found(trial: Trial, run: Run, dataset: Dataset, cpu_s: list[float | None]) -> Found:
    """Sum up a finished run, and measure its model on the test split and on `TRAIN_ROWS` of the training rows."""
    report, predictor = run.report, Predictor(run.model, threads=1)
    layers = range(len(predictor.recipe.network.widths))
    gammas = [report.layers[layer].gamma for layer in layers]
    rule = dataclasses.replace(predictor.recipe.rule, prediction_weights="collaborative")
    collaborative = dataclasses.replace(predictor.recipe, rule=rule)
    weights = np.array(collaborative.score_weights([{"gamma": gamma or 0.0} for gamma in gammas]))
    assert dataset.test is not None
    shown = spread_evenly(len(dataset.train.labels), TRAIN_ROWS)
    on_train = _accuracies(predictor, dataset.train, shown, weights)
    on_test = _accuracies(predictor, dataset.test, np.arange(len(dataset.test.labels)), weights)
    greedy = predictor.recipe.train.schedule == "greedy"
    inputs, classes = predictor.facts.size, predictor.facts.n_classes
    return Found(
        trial=dataclasses.asdict(trial),
        versions=all_versions(),
        train_accuracy=on_train[-2],
        test_accuracy=on_test[-2],
        train_collaborative=on_train[-1],
        test_collaborative=on_test[-1],
        train_layers=on_train[:-2],
        test_layers=on_test[:-2],
        gamma=gammas,
        trace=_traces(run.path / "metrics.jsonl", len(layers)),
        seconds=[report.layers[layer].seconds for layer in layers],
        cpu_s=cpu_s,
        gemm_flop=[trial.rows * gemm_flop(predictor.recipe, layer, inputs, classes) for layer in layers]
        if greedy
        else None,
        train_rows=len(shown),
    )


def _accuracies(
    predictor: Predictor, split: Split, rows: NDArray[np.int64], weights: NDArray[np.float64]
) -> list[float]:
    """Return the accuracy of each layer, of their plain sum, and of their weighted sum [L + 2]."""
    hits = np.zeros(len(weights) + 2, np.int64)
    for true, answers in predicted(predictor, split, rows, layers=True):
        goodness = answers.goodness
        sums = [goodness.sum(axis=1), (goodness * weights[:, None]).sum(axis=1)]
        scores = np.concatenate([goodness, np.stack(sums, axis=1)], axis=1)
        hits += (scores.argmax(axis=2) == true[:, None]).sum(axis=0)
    return [float(hit) / len(rows) for hit in hits]


def _traces(path: Path, layers: int) -> list[dict[str, list[float | None]]]:
    """Return each layer's records by name, to six digits."""
    records = [EpochRecord.read(line) for line in path.read_text().splitlines()]

    def rounded(value: float | None) -> float | None:
        return None if value is None else float(f"{value:.6g}")

    return [
        {name: [rounded(getattr(r, name)) for r in records if r.layer == layer] for name in TRACED}
        for layer in range(layers)
    ]


def document(choice: Choice, taken: Iterable[Found], limits: dict[str, float]) -> dict[str, Any]:
    """Return everything found as one JSON document; units stand in the names.

    Parameters
    ----------
    limits : floating-point operations a second that a lone matrix product reaches, by its shape (`limits`).
    """
    return {
        "benchmark": choice.name,
        "machine": machine(),
        "versions": all_versions(),
        "settings": dataclasses.asdict(choice),
        "preset": PRESETS["paper"],
        "gemm_flop_per_s": limits,
        "trials": [dataclasses.asdict(each) for each in taken],
    }


def document_text(document: dict[str, Any]) -> str:
    """Write a document with a line for each trial."""
    whole = json.dumps(document | {"trials": []}, indent=1)
    lines = ",\n  ".join(json.dumps(trial) for trial in document["trials"])
    return whole.replace('"trials": []', f'"trials": [\n  {lines}\n ]') + "\n"
