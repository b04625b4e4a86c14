"""Measures every form of a model on this machine and takes the fastest that loses little enough accuracy."""

import functools
import statistics
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ffedge.errors import FfedgeError
from ffedge.export.clock import plain_session, take_turns
from ffedge.export.forms import Form, Forms
from ffedge.export.source import HeldOut, Trained
from ffedge.model.form import FORMS

BATCHES = (1, 100)
ROUNDS, BLOCK_S = 9, 0.05
SAMPLES_MOST = 1000
MODEL = "model"


@dataclass(frozen=True)
class Row:
    """One form in the table; accuracies are fractions, 0 to 1.

    Attributes
    ----------
    failed_known : as of a `Form`.
    call_s : by batch size, the median seconds of a call; empty where the form was not made.
    why_not : why it was not made; empty where it was.
    """

    name: str
    accuracy: float | None
    lost: float | None
    n_bytes: int | None
    candidates: int | None
    failed_known: float | None
    call_s: dict[int, float]
    why_not: str = ""


def fastest(
    trained: Trained,
    rows: HeldOut,
    most_lost_points: float,
    tell: Callable[[str], None] = lambda name: None,
    coverage: float | None = None,
) -> tuple[Form, list[Row]]:
    """Make all forms, time them on one thread, and take the fastest at batch 1.

    Parameters
    ----------
    most_lost_points : of accuracy on the held-out rows, in percentage points.
    tell : is told the name of each form before it is made.
    coverage : share of the held-out rows whose answers shall count as known; None takes the training's.

    Returns
    -------
    tuple
        The form, and the table that it was chosen by: the model as trained first.

    Raises
    ------
    FfedgeError
        No form could be made, and why not the first.
    """
    forms, made, refused = Forms(trained, rows, most_lost_points, coverage), dict[str, Form](), dict[str, str]()
    for name in FORMS:
        tell(name)
        try:
            made[name] = forms.make(name)
        except FfedgeError as error:
            refused[name] = str(error)
    if not made:
        raise FfedgeError(next(iter(refused.values())))
    tell("timing")
    models = {MODEL: trained.model} | {name: form.model for name, form in made.items()}
    seconds = {size: _timed(models, rows, size) for size in BATCHES}
    as_trained = Form(MODEL, trained.model, forms.model_accuracy, 0.0, failed_known=forms.model_failed_known)
    table = [
        Row(f.name, f.accuracy, f.lost, len(f.model), f.candidates, f.failed_known, _calls(seconds, f.name))
        for f in (as_trained, *made.values())
    ]
    table += [Row(name, None, None, None, None, None, {}, why) for name, why in refused.items()]
    return made[min(made, key=lambda name: seconds[BATCHES[0]][name])], table


def _calls(seconds: dict[int, dict[str, float]], name: str) -> dict[int, float]:
    return {size: seconds[size][name] for size in BATCHES}


def _timed(models: dict[str, bytes], rows: HeldOut, size: int) -> dict[str, float]:
    """Return the median seconds of a call of each model, on held-out rows that change from call to call."""
    count = max(size, min(SAMPLES_MOST, len(rows.held_out)) // size * size)
    samples = rows.split.inputs.take(np.resize(rows.held_out, count))
    batches = [np.ascontiguousarray(samples[start : start + size]) for start in range(0, count, size)]
    sessions = {name: plain_session(model, 1) for name, model in models.items()}
    calls = {
        name: [functools.partial(session.run, ["label"], {"input": batch}) for batch in batches]
        for name, session in sessions.items()
    }
    return {name: statistics.median(values) for name, values in take_turns(calls, ROUNDS, BLOCK_S).items()}
