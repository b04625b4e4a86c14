"""A whole comparison: what was asked for in; measures, sentences and files out. What `ffedge bench` calls."""

import dataclasses
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ffedge.compare import (
    figures,
    inference,
    memory,
    paper,
    paper_figures,
    paper_found,
    paper_points,
    paper_tables,
    paper_trials,
    paper_verdict,
    speed,
    statistics,
    verdict,
)
from ffedge.compare.arms import ARMS, QUICK, SWEPT, Work, check_arms
from ffedge.compare.measurer import Measurer, Progress
from ffedge.errors import FfedgeError

Kind = Literal["memory", "speed", "inference", "paper"]
OPTIONS_OF = {
    "sweep": ("memory",),
    "targets": ("speed",),
    "repeat": ("memory", "speed", "paper"),
    "rows": ("memory", "speed", "paper"),
    "open_points": ("paper",),
}
QUICK_VALUES = 3
REPEAT = 3


@dataclass(frozen=True)
class Request:
    """What to compare; None and what `work` does not name take the measure's default.

    Attributes
    ----------
    work : changed fields of the measure's `Work`.
    quick : few arms and values, one run of each.
    open_points : of the paper (`ffedge.compare.paper_points`).
    reading : of the open points, these alone.
    out : folder of the results.
    """

    kind: Kind
    out: Path
    work: dict[str, Any] = field(default_factory=dict)
    arms: tuple[str, ...] | None = None
    sweep: str | None = None
    targets: tuple[float, ...] | None = None
    repeat: int | None = None
    quick: bool = False
    open_points: bool | None = None
    reading: tuple[str, ...] | None = None

    def check(self) -> None:
        """Raise ValueError for what does not belong to the measure, or is outside its rule."""
        given = {name: getattr(self, name, None) for name in OPTIONS_OF} | {"rows": self.work.get("rows")}
        for name, kinds in OPTIONS_OF.items():
            if given[name] is not None and self.kind not in kinds:
                *most, last = (f"--{kind}" for kind in kinds)
                listed = f"{', '.join(most)} and {last}" if most else last
                raise ValueError(f"--{name.replace('_', '-')} belongs to {listed} alone")
        if self.reading and not self.open_points:
            raise ValueError("--reading belongs to --open-points alone")
        if self.sweep is not None and self.sweep not in memory.SWEEPS:
            raise ValueError(f"--sweep must be one of {', '.join(memory.SWEEPS)}, got {self.sweep!r}")
        if self.targets is not None and not all(0 < target < 1 for target in self.targets):
            raise ValueError(f"--targets must be fractions between 0 and 1, got {self.targets!r}")

    def work_from(self, default: Work) -> Work:
        """Return the work to do."""
        return dataclasses.replace(default, **{name: v for name, v in self.work.items() if v is not None})

    @property
    def repeats(self) -> int:
        """How often each arm is measured."""
        return self.repeat or (1 if self.quick else REPEAT)


@dataclass(frozen=True)
class Outcome:
    """What was found.

    Attributes
    ----------
    found : points of `memory`, arms' curves of `speed`, what `inference` timed, or the trials' groups of `paper`.
    said : sentences.
    no_figure : why no figure was drawn, or None.
    """

    request: Request
    document: dict[str, Any]
    found: Any
    said: list[str]
    files: list[Path]
    no_figure: str | None = None


def run(request: Request, progress: Progress) -> Outcome:
    """Take a comparison's measures; those in its folder are not taken again. Write JSON and figures.

    Raises
    ------
    FfedgeError, ValueError
        The data, the folder or the request cannot be used, or an arm needs what is not installed.
    """
    request.check()
    kinds = {"memory": _memory, "speed": _speed, "inference": _inference, "paper": _paper}
    outcome = kinds[request.kind](request, progress)
    write = paper_found.document_text if request.kind == "paper" else _text
    outcome.files[0].write_text(write(outcome.document))
    return outcome


def _text(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=1) + "\n"


def _arms(request: Request, default: Sequence[str]) -> list[str]:
    names = list(request.arms or default)
    check_arms(names)
    return names


def _measurer(request: Request, progress: Progress) -> Measurer:
    request.out.mkdir(parents=True, exist_ok=True)
    return Measurer(request.out / "measures.jsonl", progress)


def _memory(request: Request, progress: Progress) -> Outcome:
    sweep, work = request.sweep, request.work_from(Work())
    names = _arms(request, SWEPT if sweep else QUICK if request.quick else tuple(ARMS))
    values = memory.SWEEPS[sweep] if sweep else ()
    values = values[:QUICK_VALUES] if request.quick else values
    found = memory.points(_measurer(request, progress), names, work, sweep, values, request.repeats)
    said = [
        *verdict.sentences(found[-1].measures),
        *(verdict.crossings(found, sweep) if sweep else []),
        *verdict.where_backprop_is_better(found, sweep),
    ]
    stem = request.out / ("memory" if sweep is None else f"memory-{sweep}")
    bounds = [memory.bound_bytes(point.work, point.inputs, "adam") for point in found]
    drawn, why = _drawn(lambda: figures.draw_memory(found, sweep, bounds, stem))
    files = [stem.with_suffix(".json"), *drawn]
    return Outcome(request, memory.document(found, sweep, said), found, said, files, why)


def _speed(request: Request, progress: Progress) -> Outcome:
    work = request.work_from(speed.QUICK if request.quick else speed.DEFAULT)
    names = _arms(request, speed.QUICK_ARMS if request.quick else tuple(ARMS))
    targets = request.targets or (speed.QUICK_TARGETS if request.quick else speed.TARGETS)
    found = speed.curves(_measurer(request, progress), names, work, request.repeats)
    said = speed.sentences(found, targets)
    stem = request.out / "speed"
    drawn, why = _drawn(lambda: figures.draw_speed(found, targets, stem))
    files = [stem.with_suffix(".json"), *drawn]
    return Outcome(request, speed.document(found, work, targets, said), found, said, files, why)


def _inference(request: Request, progress: Progress) -> Outcome:
    choice = inference.Choice(
        work=request.work_from(inference.QUICK if request.quick else inference.DEFAULT),
        arms=request.arms or inference.ARMS,
        rounds=inference.QUICK_ROUNDS if request.quick else inference.ROUNDS,
    )
    choice.check()
    request.out.mkdir(parents=True, exist_ok=True)
    progress.begin(1, choice.rough_s, kept=False)
    try:
        found = inference.compare(choice, alive=progress.alive)
    finally:
        progress.end()
    said = inference.sentences(found)
    files = [request.out / "inference.json"]
    return Outcome(request, inference.document(choice, found, said), found, said, files)


def _paper_choice(request: Request) -> paper_trials.Choice:
    """Return what is asked for; what is not, is the paper's, or, of the open points, their own."""
    work, points = request.work, bool(request.open_points)
    first, usual = work.get("seed") or 0, paper_points.SEEDS if points else paper_trials.SEEDS
    data = str(work["data"]).split(",") if work.get("data") else ["mnist-mini"] if request.quick else paper_trials.DATA
    size = work.get("batch_size") or (paper_points.BATCH_SIZE if points else None)
    changes = {"widths": work.get("widths"), "batch_size": size}
    return paper_trials.Choice(
        data=tuple(data),
        arms=request.arms or paper_trials.ARMS,
        seeds=tuple(range(first, first + (request.repeat or (2 if request.quick else usual)))),
        epochs=work.get("epochs") or (1 if request.quick else paper_points.EPOCHS if points else paper_trials.EPOCHS),
        rows=work.get("rows") or (paper_points.ROWS if points else paper_trials.ROWS),
        changes=tuple(sorted((name, value) for name, value in changes.items() if value is not None)),
        open_points=points,
        readings=request.reading or (),
    )


def _paper(request: Request, progress: Progress) -> Outcome:
    choice, threads = _paper_choice(request), request.work.get("threads") or 1
    choice.check()
    paper_points.check(choice)
    statistics.scipy_stats()  # before hours of trials, which need it at their end
    trials = paper_points.trials(choice) if choice.open_points else choice.trials()
    data_dir = request.work.get("data_dir")
    runner = paper.Runner(request.out, progress, Path(data_dir) if data_dir else None, threads)
    limits = paper.limits(threads, dict(choice.changes).get("widths", paper_trials.WIDTHS))
    file = request.out / f"{choice.name}.json"
    try:
        taken = runner.take(trials)
    except BaseException:  # stopped: what is there can be read already
        if known := runner.known(trials):
            file.write_text(paper_found.document_text(paper_found.document(choice, known, limits)))
        raise
    found = paper_tables.groups(taken)
    said = paper_verdict.sentences(found, limits)
    drawn, why = ([], None) if choice.open_points else _drawn(lambda: paper_figures.draw(found, request.out))
    return Outcome(request, paper_found.document(choice, taken, limits), found, said, [file, *drawn], why)


def _drawn(draw: Callable[[], list[Path]]) -> tuple[list[Path], str | None]:
    try:
        return draw(), None
    except FfedgeError as error:
        return [], str(error)
