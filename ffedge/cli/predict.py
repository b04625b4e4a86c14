"""ffedge predict: from files, or line by line from standard input."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from ffedge.cli.words import Argument, Flag

if TYPE_CHECKING:
    from ffedge.runtime import Prediction, Predictor
    from ffedge.spikes import SpikingPredictor

MOST_SCORES = 10
ROWS = 256
UNKNOWN = "unknown"


def command(
    model: Annotated[Path, Argument("A model.onnx, or a NIR file.")],
    files: Annotated[
        list[Path], Argument("PNG, JPEG, .npy, .npz or IDX files; or - for a JSON sample a line on stdin.")
    ],
    resize: Annotated[bool, Flag("--resize", "Bring images to the model's size.")] = False,
    invert: Annotated[bool, Flag("--invert", "Swap black and white of images.")] = False,
    reject: Annotated[bool, Flag("--reject", "Say unknown, and why, where an answer does not count as known.")] = False,
    strict: Annotated[bool, Flag("--strict", "End at the first line of stdin that cannot be used.")] = False,
    threads: Annotated[int, Flag("--threads", "0 takes all cores.", least=0)] = 0,
    timesteps: Annotated[int | None, Flag("--timesteps", "Of a NIR file. (default: the file's)")] = None,
    margin: Annotated[
        float | None, Flag("--margin", "NIR: decide once a label has led by this share of its score for 8 timesteps.")
    ] = None,
    as_json: Annotated[bool, Flag("--json", "Print a JSON document with a list of samples.")] = False,
) -> None:
    """Say the label of each sample, the margin to the second best, and the scores of all.

    With - each line of stdin, a list of numbers or {"input": [...], "id": ...}, is answered by a JSON line at once.
    """
    if Path("-") in files:
        if len(files) > 1:
            raise ValueError("- must stand alone: samples come from stdin or from files")
        _answer_lines(lambda: _opened(model, threads, timesteps, margin, reject), reject=reject, strict=strict)
        return
    predictor = _opened(model, threads, timesteps, margin, reject)
    found = _of_files(predictor, files, resize=resize, invert=invert, reject=reject)
    if as_json:
        print(json.dumps({"model": str(model), "samples": list(found)}))
    else:
        _print(found, predictor.classes, files, reject=reject)


def _opened(
    model: Path, threads: int, timesteps: int | None, margin: float | None, reject: bool
) -> "Predictor | SpikingPredictor":
    if model.suffix == ".onnx" and timesteps is None and margin is None:  # what must start fast
        return small_predictor(model, threads)
    from ffedge.cli.spikes import open_model

    return open_model(model, threads, timesteps, margin, reject)


def small_predictor(model: Path, threads: int) -> "Predictor":
    """Load a model, and give back what only imports and loading needed of the libraries: 15 MiB."""
    from ffedge.pages import release_libraries

    release_libraries()
    from ffedge.runtime import Predictor

    release_libraries()
    predictor = Predictor(model, threads)
    release_libraries()
    return predictor


def _answer_lines(opened: "Callable[[], Predictor | SpikingPredictor]", *, reject: bool, strict: bool) -> None:
    import sys

    from ffedge.cli.lines import Stop, answer, read_lines, refused

    with Stop() as stop:
        predictor = opened()
        for line in read_lines(sys.stdin.buffer, predictor.facts, stop):
            if line.sample is None:
                refused(line, strict=strict)
                continue
            (said,) = _said(predictor, predictor.predict(line.sample), reject=reject)
            del said["scores"]
            answer(line.about | said)


def _of_files(
    predictor: "Predictor | SpikingPredictor", files: list[Path], *, resize: bool, invert: bool, reject: bool
) -> Iterator[dict[str, Any]]:
    import numpy as np

    from ffedge.data import read_inputs
    from ffedge.pages import release_libraries

    facts, begins = predictor.facts, True
    for path in files:
        source = read_inputs(path, facts.shape, facts.dtype, resize=resize, invert=invert)
        for start in range(0, len(source), ROWS):
            inputs = source.take(np.arange(start, min(start + ROWS, len(source))))
            if begins:  # what importing the readers of files has left: 4 MiB that the first run would stand upon
                release_libraries()
                begins = False
            prediction = predictor.predict(inputs)
            for row, sample in enumerate(_said(predictor, prediction, reject=reject), start):
                yield {"file": str(path), "row": row, **sample}


def _said(predictor: "Predictor | SpikingPredictor", found: "Prediction", *, reject: bool) -> Iterator[dict[str, Any]]:
    """Yield what is said of each sample; `reject` puts ``unknown`` in the place of a label that is not known."""
    classes, bounds = predictor.classes, predictor.calibration
    taken = getattr(predictor, "taken", None)  # timesteps of each sample, where it spikes
    for row, (label, margin, scores, known) in enumerate(
        zip(found.label, found.margin, found.scores, found.known, strict=True)
    ):
        score = float(scores[label])
        why = bounds.why_not(score, float(margin)) if bounds and not known else ()
        yield {
            "label": classes[label] if known or not reject else UNKNOWN,
            "class": int(label),
            "score": score,
            "margin": float(margin),
            **({"known": bool(known)} if taken is None else {"timesteps": int(taken[row])}),
            **({"why": list(why)} if why else {}),
            "scores": dict(zip(classes, map(float, scores), strict=True)),
        }


def _print(found: Iterator[dict[str, Any]], classes: tuple[str, ...], files: list[Path], *, reject: bool) -> None:
    """Print a line a sample, as they come: files and labels to the left, figures to the right."""
    shown = classes if len(classes) <= MOST_SCORES else ()
    named = max(len("file"), *(len(str(path)) for path in files))
    label = max(len(name) for name in (*classes, "label", *([UNKNOWN] if reject else [])))
    wide = [max(9, len(name)) for name in shown]
    head = f"{'file':{named}}  {'row':>6}  {'label':{label}}  {'margin':>9}"
    print("  ".join([head, *(f"{name:>{w}}" for name, w in zip(shown, wide, strict=True))]))
    for s in found:
        line = f"{s['file']:{named}}  {s['row']:6}  {s['label']:{label}}  {s['margin']:9.3f}"
        scores = [f"{s['scores'][name]:{w}.3f}" for name, w in zip(shown, wide, strict=True)]
        why = [f"({', '.join(s['why'])})"] if reject and "why" in s else []
        print("  ".join([line, *scores, *why]))
