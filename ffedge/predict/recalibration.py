"""Chooses anew, without training, what a model counts as known and its temperature: for a coverage, on some rows."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ffedge.data import Data, Dataset, Reading, load
from ffedge.data.matched import matched
from ffedge.errors import DataError, ModelError
from ffedge.files import atomic_file, stands
from ffedge.model.calibration import Calibration
from ffedge.model.file import Model
from ffedge.model.graph import with_proba
from ffedge.model.temperature import calibrated
from ffedge.model.write import write_file, write_model
from ffedge.predict.evaluation import predicted
from ffedge.predict.predictor import Predictor
from ffedge.training.odd import split_as_trained


def recalibrate(
    model: Path | str,
    data: Data,
    coverage: float = 0.95,
    out: Path | str | None = None,
    *,
    data_dir: Path | None = None,
    reading: Reading | None = None,
    threads: int = 0,
) -> Calibration:
    """Write a model whose known answers are the share `coverage` of rows that it has not learnt from.

    Its probabilities (output ``proba``) are fitted on the same rows.

    Odd rows (`ffedge.model.readings`) are left out.

    Parameters
    ----------
    data : what the model was trained on, of which its held-out rows serve, or other data, whose train split serves.
    coverage : above 0, up to 1.
    out : the file to write; None replaces the model, atomically.
    data_dir : where known data sets are looked for first.
    reading : what the data's files leave open. Where training had one, it must be the same: it is by their content
        that the rows are known of which some were held out.

    Raises
    ------
    ModelError
        The model cannot be used, or is older than the output ``known``.
    DataError
        The data cannot be used, or the model has learnt from all of their rows.
    ValueError
        The coverage is outside its range.
    """
    model, target = Path(model), Path(out or model)
    stood = model.stat() if model.is_file() else None
    opened, predictor = Model(model), Predictor(model, threads)
    with atomic_file(target) as temporary:  # before the work, which is for nothing where it cannot be written
        facts = predictor.facts
        dataset = load(data, data_dir, finite=False, table=facts.table, reading=reading, shape=facts.shape)
        calibration = write_calibrated(opened, predictor, temporary, dataset, coverage)
        if stood is not None and not stands(model, stood):
            raise ModelError(f"{model}: another model has taken its place meanwhile, and stands. Recalibrate that")
    return calibration


def write_calibrated(
    model: Model, predictor: Predictor, target: Path, dataset: Dataset, coverage: float
) -> Calibration:
    """Write a model anew to a file that is not its own; errors as `recalibrate`."""
    if "known.bias" not in model.graph.weights:
        raise ModelError(f"{model.name}: has no output known. Export it anew from its run folder")
    rows = _unseen_rows(predictor, dataset)
    split = matched(dataset, dataset.train, predictor.classes)
    blocks = (
        (np.delete(true, list(answers.odd)), np.delete(answers.scores, list(answers.odd), axis=0))
        for true, answers in predicted(predictor, split, rows)
    )
    calibration = calibrated(blocks, coverage)
    if calibration is None:
        raise DataError(f"{dataset.name}: all of its rows are odd. Check the sensor or the units, or pass other data")
    if model.form is None:
        write_model(target, model.recipe, model.facts, model.layers(), model.metadata, calibration)
    else:
        weights = model.weights() | calibration.weights()
        write_file(target, with_proba(model.graph), weights, model.metadata | calibration.to_dict())
    return calibration


def _unseen_rows(predictor: Predictor, dataset: Dataset) -> NDArray[np.int64]:
    """Return the training rows that a model has not learnt from."""
    rows, later = np.arange(len(dataset.train.labels)), predictor.metadata.get("learnt")
    if _tells(predictor.metadata.get("data"), dataset):
        rows = split_as_trained(dataset, predictor.recipe)[0]
    if not len(rows) or (isinstance(later, list) and any(_tells(time, dataset) for time in later)):
        raise DataError(f"{dataset.name}: the model has learnt from all of its rows. Pass other data")
    return rows


def _tells(about: Any, dataset: Dataset) -> bool:
    """Say whether what a model tells of data that it learnt from is of this data set."""
    return isinstance(about, dict) and about.get("sha256") == dataset.sha256
