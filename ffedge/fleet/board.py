"""A board's part of a round: it takes the server's layers into its own model file, learns from its rows, and answers.

No row leaves it. Its model file is one as any other: it predicts, and learns on, between rounds and without a server.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ffedge.data import Data, load
from ffedge.data.matched import matched
from ffedge.data.stream import split_rows
from ffedge.errors import ModelError
from ffedge.files import atomic_file
from ffedge.fleet.rounds import Update
from ffedge.learning.average import Array
from ffedge.learning.classes import learnt_more, opened
from ffedge.learning.kin import kind_of
from ffedge.learning.learn import learn
from ffedge.model.file import Model
from ffedge.model.write import write_model
from ffedge.predict.evaluation import predicted
from ffedge.predict.predictor import Predictor
from ffedge.training.odd import without_odd
from ffedge.training.watch import Watcher

OTHER = "Copy the model that the server began from to this board"


def board_round(
    model: Path,
    data: Data,
    layers: Mapping[int, Mapping[str, Array]],
    which: Sequence[int],
    *,
    kind: str,
    wanted: str,
    **changes: Any,
) -> tuple[Update, dict[str, float]]:
    """Learn from a board's rows, from the server's weights on; return what goes to the server, and measures.

    Parameters
    ----------
    model : the board's model file, which is replaced; the one before stays beside it.
    data : its rows.
    layers : the server's parameters of layers that changed since the board had them.
    which : the layers that learn.
    kind : of the server's model (`ffedge.learning.kin.kind_of`).
    wanted : the fingerprint of the server's weights, which the model has once it has taken the layers.
    changes : of learning, as for `ffedge.learn`.

    Returns
    -------
    tuple
        The update; and of the server's weights on rows that this board holds out: ``accuracy``, ``goodness-true`` and
        ``goodness-wrong`` (means over layers, of the true class and the best wrong one), ``rows-held-out``.

    Raises
    ------
    ModelError
        The model is of another kind than the server's, or lacks layers that were not sent.
    FfedgeError
        As of `ffedge.learn`.
    """
    take(model, layers, kind, wanted)
    about = measures(model, data)
    done = learn(model, data, layers=which, max_drop=1.0, force=True, watcher=Watcher(), **changes)
    after = Model(model)
    return Update("", {index: after.layer(index) for index in which}, done.rows), about


def take(model: Path, layers: Mapping[int, Mapping[str, Array]], kind: str, wanted: str) -> None:
    """Put the server's layers into a model file."""
    start = opened(model)
    if kind_of(start.recipe, start.facts) != kind:
        raise ModelError(f"{model}: has other classes, inputs or layers than the server's model. {OTHER}")
    if start.fingerprint() == wanted:
        return
    if not all(np.isfinite(array).all() for arrays in layers.values() for array in arrays.values()):
        raise ModelError(f"{model}: stands as it was: the server's weights are not finite. Look at its model")
    count = len(start.recipe.network.widths)
    whole = [dict(start.layer(index)) | dict(layers.get(index, {})) for index in range(count)]
    about = start.metadata | learnt_more(start.metadata, {"name": "a fleet's weights", "from": start.fingerprint()})
    with atomic_file(model) as temporary:
        write_model(temporary, start.recipe, start.facts, whole, about, start.calibration)
        if Model(temporary, str(model)).fingerprint() != wanted:
            raise ModelError(f"{model}: lacks layers of the server's model, which sends them all in the next round")


def measures(model: Path, data: Data) -> dict[str, float]:
    """Measure a model on the rows of its data that learning holds out; nothing where there are none."""
    predictor = Predictor(model)
    facts = predictor.facts
    loaded = load(data, one_class=True, finite=False, table=facts.table, shape=facts.shape)
    dataset = without_odd(loaded, facts)[0]
    held_out, _ = split_rows(len(dataset.train.labels), predictor.recipe)
    if not len(held_out):
        return {}
    split, hits, true_sum, wrong_sum, count = matched(dataset, dataset.train, predictor.classes), 0, 0.0, 0.0, 0
    for true, answers in predicted(predictor, split, held_out, layers=True):
        goodness = answers.goodness.mean(axis=1)  # [n, C]
        rows = np.arange(len(true))
        hits += int((answers.place == true).sum())
        true_sum += float(goodness[rows, true].sum())
        goodness[rows, true] = -np.inf
        wrong_sum += float(goodness.max(axis=1).sum())
        count += len(true)
    return {
        "accuracy": hits / count,
        "goodness-true": true_sum / count,
        "goodness-wrong": wrong_sum / count,
        "rows-held-out": float(count),
    }
