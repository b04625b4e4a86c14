"""A page that asks a model, served on this machine alone: draw, choose a picture or fill in columns, correct, watch.

What is learnt from corrections is in memory; the model's file stays as it is.
"""

import json
import math
import random
import threading
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ffedge.columns import Column
from ffedge.errors import FfedgeError, TrainingError, one_line
from ffedge.learning.learner import Learner
from ffedge.model.temperature import softened
from ffedge.page.document import document
from ffedge.page.pictures import size_of
from ffedge.page.serve import POLICY, Site, script
from ffedge.predict.predictor import Prediction, Predictor
from ffedge.training.folder import check_free
from ffedge.training.replay import Examples, kept_file, read_kept

MOST_STEPS, ANCHOR = 20, 0.05
MOST_SHOWN = 10
BYTES_AN_INPUT, MOST_BYTES = 2048, 1 << 23  # of what is posted


class Demo:
    """A model, and a learner that goes on from it.

    Parameters
    ----------
    save : where what has learnt is written after each correction; None writes nothing.
    force : replace what stands at `save`.

    Raises
    ------
    FfedgeError
        The model cannot be read; with `save`, it cannot learn, or the place is taken.
    """

    def __init__(self, model: Path, save: Path | None = None, *, force: bool = False, threads: int = 0) -> None:
        self._model, self._path, self._save, self._note = Predictor(model, threads), model, save, ""
        self._teaching, self._corrections = threading.Lock(), 0
        for place in (save, kept_file(save)) if save else ():
            check_free(place, force=force, name="save")
        self._threads = threads
        self._learner = self._opened()
        self._examples = self._kept(model)

    def site(self, port: int) -> Site:
        """Return the server of the page."""
        most = min(MOST_BYTES, max(1 << 16, self._model.facts.size * BYTES_AN_INPUT))
        get = {"/": self.page, "/demo.js": lambda: script("demo.js")}
        return Site(port, get, {"/ask": self.ask, "/learn": self.learn, "/example": self.example}, most)

    def page(self) -> str:
        """Return the page, which its script fills by what is known of the model."""
        facts, name = self._model.facts, escape(one_line(repr(self._model)[1:-1]))
        about: dict[str, Any] = {"classes": facts.classes, "size": self._size, "inputs": facts.size}
        about |= {"learns": self._learner is not None, "note": self._note, "columns": None}
        about |= {"examples": self._examples is not None}
        if facts.table:
            columns = facts.table.columns
            about["columns"] = [{"name": c.name, "categories": c.categories, "fill": f"{c.fill:.15g}"} for c in columns]
        told = escape(json.dumps(about), quote=True)
        demo = f'<section id="demo" data-about="{told}"><noscript>This page needs its script.</noscript></section>'
        return document("ffedge demo", [f"<h1>Ask the model</h1><p>{name}</p>", demo], "/demo.js", POLICY)

    def ask(self, value: Any) -> dict[str, Any]:
        """Return what the model in the file says of ``{"input": …}``, and what the one that has learnt since says."""
        (sample,) = _fields(value, "input")
        return self._answers(self._read(sample))

    def learn(self, value: Any) -> dict[str, Any]:
        """Learn from ``{"input": …, "label": …}`` until that is the answer, in a few steps at most; return the answers.

        Raises
        ------
        ValueError
            The input is odd, or the label is no class's name.
        """
        sample, label = _fields(value, "input", "label")
        x = self._read(sample)
        if label not in self._model.classes:
            raise ValueError("label must name one of the model's classes")
        if self._learner is None:
            raise ValueError(self._note)
        if odd := self._model.predict(x).odd:
            raise ValueError(f"this is odd, and not learnt from: {odd[0]}")
        with self._teaching:
            try:
                steps = self._taught(self._learner, x, label)
            except TrainingError as error:  # its weights are no numbers any more
                self._learner, self._corrections = self._opened(), 0
                raise ValueError(f"What was learnt here is lost, and begins again from the file: {error}") from error
            self._corrections += 1
            return self._answers(x) | {"steps": steps, "saved": self._saved()}

    def _taught(self, learner: Learner, x: NDArray[Any], label: str) -> int:
        """Take steps until a label is the answer, and return how many."""
        for step in range(1, MOST_STEPS + 1):
            learner.observe(x, [label])
            if learner.classes[int(learner.predict(x).place[0])] == label:
                return step
        return MOST_STEPS

    def example(self, value: Any) -> dict[str, Any]:
        """Return one of the examples that are kept beside the model, as it would be asked, and its label."""
        _fields(value)
        if self._examples is None:
            raise ValueError("no examples are kept beside this model")
        facts, at = self._model.facts, random.randrange(len(self._examples))
        row = np.asarray(self._examples.take(np.array([at])))[0]
        if self._size and self._model.recipe.network.layout == "chw":
            row = row.reshape(facts.shape).transpose(1, 2, 0).ravel()
        told: Any = row.tolist()
        if facts.table:
            told = {c.name: _text(c, v) for c, v in zip(facts.table.columns, told, strict=True)}
        return {"input": told, "label": facts.classes[int(self._examples.labels[at])]}

    def _kept(self, model: Path) -> Examples | None:
        """Return examples beside a model, if they can be read: such as it has not learnt from, or else all."""
        try:
            learn, check = read_kept(kept_file(model), self._model.facts)
        except FfedgeError:
            return None  # the learner has said why
        return check if len(check) else learn if len(learn) else None

    def _opened(self) -> Learner | None:
        try:
            return Learner(self._path, threads=self._threads)
        except FfedgeError:
            if self._save:
                raise
        try:
            learner = Learner(self._path, threads=self._threads, force=True, anchor=ANCHOR)
        except FfedgeError as error:
            self._note = f"It takes no corrections. {error}"
            return None
        self._note = "No examples are kept beside this model: nothing shows what corrections make it forget."
        return learner

    def _saved(self) -> str:
        if self._save is None or self._learner is None:
            return "Learnt in memory alone; no file has changed."
        try:
            self._learner.save(self._save)
        except FfedgeError as error:
            return f"Not saved. {error}"
        return f"Saved in {self._save}."

    @property
    def _size(self) -> tuple[int, int, int] | None:
        """Height, width and channels of the picture that an input is; None where it is none for certain."""
        facts = self._model.facts
        return size_of(self._model.recipe, facts.shape) if facts.dtype == "uint8" else None

    def _read(self, value: Any) -> NDArray[Any]:
        """Return what was posted as one sample; a picture's pixels come row by row, with the channels last."""
        try:
            return self._sample(value)
        except OverflowError as error:  # of an endless whole number
            raise ValueError("input must hold finite numbers alone") from error

    def _sample(self, value: Any) -> NDArray[Any]:
        facts = self._model.facts
        if facts.table:
            if not isinstance(value, dict) or not all(
                v is None or isinstance(v, str | int | float) for v in value.values()
            ):
                raise ValueError("input must be an object of texts and numbers by column")
            row = np.array([facts.table.row(value)])
            if np.isinf(row).any():
                raise ValueError("input must hold finite numbers")
            return row
        if not isinstance(value, list) or len(value) != facts.size:
            raise ValueError(f"input must be a list of {facts.size} numbers")
        plain = all(type(each) in (int, float) for each in value)
        sample = np.array([float(each) if abs(each) >= 1 << 63 else each for each in value] if plain else [math.nan])
        if not np.isfinite(sample).all():
            raise ValueError("input must hold finite numbers alone")
        if self._size and self._model.recipe.network.layout == "chw":
            sample = sample.reshape(self._size).transpose(2, 0, 1)
        return sample.reshape(1, *facts.shape)

    def _answers(self, x: NDArray[Any]) -> dict[str, Any]:
        told: dict[str, Any] = {"file": self._told(self._model.predict(x, layers=self._model.has_layers))}
        if self._learner is not None and self._corrections:
            told |= {"now": self._told(self._learner.predict(x)), "corrections": self._corrections}
        return told

    def _told(self, found: Prediction) -> dict[str, Any]:
        """Return one answer: the likeliest classes, their probability, score, and goodness in each layer."""
        temperature, classes = self._model.temperature, self._model.classes
        order = np.argsort(-found.scores[0], kind="stable")[:MOST_SHOWN].tolist()
        share = None if temperature is None else softened(found.scores, temperature)[0]
        goodness = found.goodness[0] if found.goodness.size else np.empty((0, len(classes)), np.float32)
        return {
            "label": classes[int(found.place[0])],
            "known": bool(found.known[0]),
            "odd": found.odd.get(0),
            "classes": [
                {
                    "name": classes[c],
                    "share": None if share is None else float(share[c]),
                    "score": float(found.scores[0, c]),
                    "goodness": goodness[:, c].tolist(),
                }
                for c in order
            ],
        }


def _text(column: Column, value: float) -> str:
    """Return what stands in a form's field: a category's text, a number, or nothing where that is missing."""
    if column.categories:
        return column.categories[int(value)] if value >= 0 else ""
    return "" if math.isnan(value) else f"{value:.15g}"


def _fields(value: Any, *names: str) -> list[Any]:
    """Return the fields of an object that has these and no others."""
    if not isinstance(value, dict) or set(value) != set(names):
        raise ValueError(f"what is posted must be an object with {' and '.join(names)}")
    return [value[name] for name in names]
