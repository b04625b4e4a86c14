"""What the ARM check runs on both sides: which models on which rows, training, learning; and what may differ."""

import functools
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from arm_compare import Agreement, compare_evaluations, compare_losses, compare_predictions
from arm_sides import Side
from numpy.typing import NDArray

from ffedge.data import load
from ffedge.errors import FfedgeError
from ffedge.network import InputFacts
from ffedge.runtime import Predictor

SCORES = 1e-4
TIES = 1e-5
LOSSES = 1e-4
TRAINED = 1e-3  # scores and ties of models that were trained on different sides
BLOCK = 2500  # rows that one process predicts
EVALUATED = 1000
NEW_ROWS = 500  # that `ffedge learn` gets
IMAGES = ("mnist", "fashion-mnist")


@dataclass(frozen=True)
class Case:
    """A model and what it is given.

    Attributes
    ----------
    inputs : [N, …] as the data came.
    labels : [N] numbers; None where no data set is known.
    rows_are : where the inputs come from.
    """

    name: str
    model: Path
    inputs: NDArray[Any]
    labels: NDArray[Any] | None
    rows_are: str


@dataclass(frozen=True)
class Job:
    """One comparison.

    Attributes
    ----------
    rows : how many it compares.
    further : its check has begun with other rows, so that it can be left out where time is short.
    """

    model: str
    check: str
    rows_are: str
    rows: int
    compare: Callable[[], Agreement]
    further: bool = False

    def run(self) -> tuple[Agreement, float]:
        """Return what was found and the seconds that it took; a side that fails is a fault."""
        began = time.monotonic()
        try:
            found = self.compare()
        except FfedgeError as error:
            found = Agreement(faults=[str(error)])
        return found, time.monotonic() - began


def train(side: Side, folder: Path, epochs: int) -> Path:
    """Train on the embedded data; return the run folder."""
    side.ffedge("train", "--epochs", epochs, "--seed", 0, "--threads", 1, "--out", folder, "--json")
    return folder


def cases(own: Path, models: Path, most: int) -> list[Case]:
    """Return the models of a folder, and a run's own, which takes few rows where there are others."""
    paths = sorted(models.glob("*/model.onnx"))
    found = [_case("trained here", own / "model.onnx", EVALUATED if paths else most)]
    return found + [_case(path.parent.name, path, most) for path in paths]


def jobs(here: Side, there: Side, given: list[Case], work: Path) -> list[Job]:
    """Return all comparisons: what takes longest first, and the first rows of each model before any further ones.

    Training and learning are judged by what the models that come of them say of the first case's rows.
    """

    def job(
        check: str, call: Callable[..., Agreement], case: Case, rows: int, *more: Any, further: bool = False
    ) -> Job:
        compare = functools.partial(call, here, there, case, work, *more)
        return Job(case.name, check, case.rows_are, rows, compare, further)

    own = given[0]
    made = {"train": _train} | ({"learn": _learn} if here.knows("learn") else {})
    first = [job(check, call, own, len(own.inputs)) for check, call in made.items()]
    for case in given:
        first.append(job("predict", _predict, case, min(BLOCK, len(case.inputs)), 0))
        if case.labels is not None:
            first.append(job("eval", _evaluate, case, min(EVALUATED, len(case.inputs))))
    further = [
        job("predict", _predict, case, min(BLOCK, len(case.inputs) - start), start, further=True)
        for case in given
        for start in range(BLOCK, len(case.inputs), BLOCK)
    ]
    return first + further


def _case(name: str, model: Path, most: int) -> Case:
    """Find rows for a model: its own data set's test rows, or drawn ones."""
    predictor = Predictor(model, 1)
    about = predictor.metadata.get("data")
    learnt_from = about.get("name") if isinstance(about, dict) else None
    facts = predictor.facts
    for data in _data_sets(learnt_from):
        found = load(data)
        test = found.test
        if test is not None and (test.inputs.row_shape, test.inputs.dtype) == (facts.shape, facts.dtype):
            places = np.arange(min(most, len(test.labels)))
            labels = test.labels[places] if found.n_classes == facts.n_classes else None
            return Case(name, model, test.inputs.take(places), labels, f"{data}, test")
    return Case(name, model, _drawn(facts, min(most, EVALUATED)), None, "drawn")


def _data_sets(learnt_from: str | None) -> Iterator[str]:
    """Name the data sets that suit a model and are here; nothing is downloaded."""
    folder = os.environ.get("FFEDGE_DATA")
    wanted = learnt_from if learnt_from in IMAGES else "mnist"
    if folder and (Path(folder) / wanted).is_dir():
        yield wanted
    yield "mnist-mini"


def _drawn(facts: InputFacts, count: int) -> NDArray[Any]:
    random, shape = np.random.default_rng(0), (count, *facts.shape)
    if facts.dtype == "uint8":
        return random.integers(0, 256, shape, dtype=np.uint8)
    return random.standard_normal(shape, dtype=np.float32)


def _samples(side: Side, model: Path, rows: Path) -> list[dict[str, Any]]:
    answer = side.ffedge("predict", model, rows, "--threads", 1, "--json")
    return list(json.loads(answer)["samples"])


def _predict(here: Side, there: Side, case: Case, work: Path, start: int) -> Agreement:
    rows = work / f"{case.name} {start}.npy"
    np.save(rows, case.inputs[start : start + BLOCK])
    ours, theirs = (_samples(side, case.model, rows) for side in (here, there))
    return compare_predictions(ours, theirs, SCORES, TIES)


def _evaluate(here: Side, there: Side, case: Case, work: Path) -> Agreement:
    assert case.labels is not None
    data = work / f"{case.name}.npz"
    np.savez(data, x=case.inputs[:EVALUATED], y=case.labels[:EVALUATED])
    words = ("eval", case.model, "--data", data, "--threads", 1, "--json")
    ours, theirs = (json.loads(side.ffedge(*words)) for side in (here, there))
    return compare_evaluations(ours, theirs)


def _train(here: Side, there: Side, case: Case, work: Path) -> Agreement:
    """Compare the losses of an epoch, then what the two models say here."""
    runs = [train(side, work / f"epoch on {name}", 1) for side, name in ((here, "here"), (there, "there"))]
    ours, theirs = ([json.loads(line) for line in (run / "metrics.jsonl").open()] for run in runs)
    losses = compare_losses(ours, theirs, LOSSES)
    found = _as_one(here, [run / "model.onnx" for run in runs], case, work)
    found.add(replace(losses, rows=0))
    return found


def _learn(here: Side, there: Side, case: Case, work: Path) -> Agreement:
    """Let both sides learn the same new rows with a copy of a model, then compare what the two say here."""
    data, before, after = work / "new.npz", case.model.read_bytes(), []
    new = load("mnist-mini").train
    np.savez(data, x=new.inputs.take(np.arange(NEW_ROWS)), y=new.labels[:NEW_ROWS])
    for side, name in ((here, "here"), (there, "there")):
        model = work / f"learn {name}" / "model.onnx"
        model.parent.mkdir()
        shutil.copy(case.model, model)
        side.ffedge("learn", model, "--data", data, "--max-drop", 1)  # whatever its accuracy: it is to be replaced
        if model.read_bytes() == before:
            raise FfedgeError(f"`ffedge learn` left the model as it was on {side.name}")
        after.append(model)
    return _as_one(here, after, case, work)


def _as_one(side: Side, models: list[Path], case: Case, work: Path) -> Agreement:
    """Compare, on one side, what models say that two sides have made."""
    rows = work / f"{models[0].parent.name}.npy"
    np.save(rows, case.inputs)
    ours, theirs = (_samples(side, model, rows) for model in models)
    return compare_predictions(ours, theirs, TRAINED, TRAINED)
