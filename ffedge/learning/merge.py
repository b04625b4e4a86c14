"""``ffedge merge``: the models of several boards, which learnt apart, become one; no row leaves its board.

All must have learnt from one model. Each then counts by the rows that it learnt since they parted, which its file
tells: every time of learning stands there with the fingerprint of the weights that it went out from.

Shape letters: K models.
"""

import dataclasses
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ffedge import json_text
from ffedge.errors import ModelError
from ffedge.fields import is_finite, is_whole
from ffedge.files import atomic_file
from ffedge.learning.average import (
    METHODS,
    MOST_NORM,
    Array,
    Method,
    Source,
    average,
    averaged_sizes,
    judged,
    shares_of,
)
from ffedge.learning.classes import learnt_more
from ffedge.learning.kin import START_ANEW, Parting, check_fits, parting_of
from ffedge.model.calibration import Calibration, pooled
from ffedge.model.file import Model
from ffedge.model.write import write_model


@dataclass(frozen=True)
class Merge:
    """What `merge` did.

    Attributes
    ----------
    model : the file that it wrote.
    models : [K] those that it read.
    rows : [K] that each learnt since they parted; None where each counts alike.
    shares : [K] of each in the average.
    moved : [K] how far each has moved, beside the others (`ffedge.learning.average.judged`).
    notes : what is to know beside that.
    """

    model: str
    models: list[str]
    rows: list[int] | None
    shares: list[float]
    moved: list[float]
    method: str
    notes: list[str]

    def to_json(self) -> str:
        """Return it as indented JSON."""
        return json_text.text(dataclasses.asdict(self), indent=1)


def merge(
    models: Sequence[str | Path],
    out: str | Path,
    *,
    rows: Sequence[int] | None = None,
    method: Method = "mean",
    most_norm: float | None = None,
) -> Merge:
    """Write the average of two models or more, which predicts and learns on; the file takes its place whole.

    What counts as known, and the temperature, are means until `recalibrate`, or learning on a board, chooses them.
    Kept examples stay where they are: none are read, and none are written beside the merged model.

    Parameters
    ----------
    out : the file to write, none of the models.
    rows : [K] that each learnt since they parted; None takes what the files tell.
    method : ``mean``, by rows; or, of three models or more, all alike: the ``median`` of each value, or ``trimmed``,
        its mean without a fifth of the models, at least one, at either end.
    most_norm : of the mean: how many times as long as the others', or as far from the middle as they, a model's weights
        in a layer may be (`ffedge.learning.average.judged`); None: 10.

    Raises
    ------
    ModelError
        A model cannot be used, does not fit the first one, holds numbers that are not finite, lies too far from the
        others, or does not tell its rows. Nothing is written.
    FfedgeError
        The disk is full or the folder cannot be written.
    ValueError
        An argument is outside its rule.
    """
    if isinstance(models, str | Path):
        raise ValueError(f"`models` must be a list of two or more, got {models}")
    paths, target = [Path(model) for model in models], Path(out)
    rows = None if rows is None else [n.item() if isinstance(n, np.integer) else n for n in rows]
    _check_arguments(paths, rows, method, most_norm)
    _check_files(paths, target)
    opened = [Model(path) for path in paths]
    first = opened[0]
    for other in opened:
        other.check_trained()
        check_fits(other.name, other.recipe, other.facts, first)
    parting = parting_of(opened)
    if parting is None and len(seeds := {model.recipe.train.seed for model in opened}) > 1:
        drawn = f"from other weights (seeds {', '.join(map(str, sorted(seeds)))}), and no mean of them means anything"
        raise ModelError(f"{opened[1].name}: went out, as {first.name} did, {drawn}. {START_ANEW}")
    counts = list(rows) if rows is not None else parting.rows if parting else None
    if counts is None and method == "mean":
        raise ModelError(
            f"{first.name}: does not tell how many rows it learnt since it and the others parted. Pass `rows`, a "
            "number for each model"
        )
    sources, most = [_source(model) for model in opened], math.inf if method != "mean" else most_norm or MOST_NORM
    moved, faults = judged(first.recipe, first.facts, sources, most)
    for place, fault in faults.items():
        raise ModelError(f"{opened[place].name}: {fault}. Leave it out")
    shares = shares_of(counts if counts is not None and method == "mean" else [1] * len(opened))
    layers = [
        average(index, sizes, sources, shares, method)
        for index, sizes in enumerate(averaged_sizes(first.recipe, first.facts))
    ]
    known, notes = _known(opened)
    with atomic_file(target, like=paths[0]) as temporary:
        write_model(temporary, first.recipe, first.facts, layers, _about(opened, counts, method, parting), known)
    return Merge(str(target), [*map(str, paths)], counts, shares.tolist(), moved, method, notes)


def _check_arguments(
    paths: Sequence[Path], rows: Sequence[int] | None, method: Method, most_norm: float | None
) -> None:
    if len(paths) < 2:
        raise ValueError(f"`models` must be two or more, got {len(paths)}")
    if method not in METHODS:
        raise ValueError(f"`method` must be {', '.join(METHODS)}, got {method!r}")
    if method != "mean" and len(paths) < 3:
        raise ValueError(f"`method` {method} must have three models or more, got {len(paths)}")
    for name, given in (("rows", rows), ("most_norm", most_norm)):
        if given is not None and method != "mean":
            raise ValueError(f"`{name}` plays no part where `method` is {method}. Leave it out")
    if most_norm is not None and not (is_finite(most_norm) and most_norm >= 1):
        raise ValueError(f"`most_norm` must be a number from 1, got {most_norm}")
    if rows is not None:
        if len(rows) != len(paths):
            raise ValueError(f"`rows` must be a number for each of the {len(paths)} models, got {len(rows)}")
        if not all(is_whole(n) and 0 <= n < 1 << 53 for n in rows) or not any(rows):
            got = ", ".join(map(repr, rows))
            raise ValueError(f"`rows` must be whole numbers from 0 to 2 ** 53 - 1, not all 0, got {got}")


def _check_files(paths: Sequence[Path], out: Path) -> None:
    for place, path in enumerate(paths):
        if _are_one(path, out):
            raise ValueError(f"`out` must be none of the models, got {out}")
        for before in paths[:place]:
            if _are_one(path, before):
                raise ValueError(f"`models` must each be there once, but {before} and {path} are one file")


def _are_one(path: Path, other: Path) -> bool:
    """Say whether two paths lead to one file."""
    same = os.path.realpath(path) == os.path.realpath(other)
    return same or (os.path.exists(path) and os.path.exists(other) and os.path.samefile(path, other))


def _source(model: Model) -> Source:
    def read(layer: int, name: str, part: slice) -> Array:
        try:
            return model.values(layer, name, part)
        except (ValueError, OSError) as error:
            raise ModelError(f"{model.name}: cannot be read ({error}). Copy it anew") from error

    return Source(model.name, read)


def _about(models: Sequence[Model], rows: list[int] | None, method: str, parting: Parting | None) -> dict[str, Any]:
    """Return the merged model's metadata: what all have in common, and that they were merged."""
    about = dict(models[0].metadata)
    if any(model.metadata.get("data") != about.get("data") for model in models):
        about.pop("data", None)
    learnt = about.get("learnt")
    if isinstance(learnt, list):
        about["learnt"] = learnt[: len(learnt) - parting.times] if parting else []
    time: dict[str, Any] = {"name": f"{len(models)} models, merged ({method})"}
    time |= {"rows": sum(rows)} if rows else {}
    return about | learnt_more(about, time | ({"from": parting.fingerprint} if parting else {}))


def _known(models: Sequence[Model]) -> tuple[Calibration | None, list[str]]:
    """Return the bounds of what is known that a merged model gets, and what is to know of them."""
    parts = [model.calibration for model in models if model.calibration is not None]
    if len(parts) < len(models):
        return None, ["every answer counts as known, as a model chose no bounds; `ffedge.recalibrate` chooses them"]
    if all(part == parts[0] for part in parts):
        return parts[0], []
    return pooled(parts), ["what counts as known is their mean, until `ffedge.recalibrate` or learning chooses it anew"]
