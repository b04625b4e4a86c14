"""ffedge predict: from files, or line by line from standard input."""

import sys
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ffedge import json_text
from ffedge.cli.parser import NUMBER, Parser, argument, flag, shared, whole
from ffedge.cli.reading_flags import add_skip_broken
from ffedge.errors import DataError, one_line, plain

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ffedge.data import RowSource
    from ffedge.network import InputFacts
    from ffedge.predict.predictor import Prediction, Predictor
    from ffedge.spikes import SpikingPredictor

MOST_SCORES = 10
ROWS = 256
UNKNOWN = "unknown"


def add_flags(parser: Parser) -> None:
    """Describe the words of the command."""
    argument(parser, "model", "A model.onnx, or a NIR file.")
    add_files(parser)
    shared(parser, "--resize", "--invert")
    flag(parser, "--reject", "Say unknown, and why, where an answer does not count as known.")
    flag(parser, "--proba", "Say probabilities: of every class, in the place of scores in the table.")
    shared(parser, "--strict", "--threads", "--provider")
    flag(parser, "--timesteps", "Of a NIR file. (default: the file's)", whole(1))
    flag(parser, "--margin", "NIR: decide once a label has led by this share of its score for 8 timesteps.", NUMBER)
    flag(parser, "--json", "Print a JSON document with a list of samples.")


def add_files(parser: Parser) -> None:
    """Describe the samples' files."""
    argument(
        parser,
        "files",
        "Pictures (PNG, JPEG, …), event recordings, folders of them, .npy, .npz, IDX files or tables; or - for a JSON "
        "sample a line on stdin (of a table: also an object by column, or a CSV line).",
        nargs="+",
    )
    add_skip_broken(parser)


def run(options: Namespace) -> None:
    """Say the label of each sample, the margin to the second best, and the scores (or probabilities) of all.

    With - each line of stdin, a list of numbers or {"input": [...], "id": ...}, is answered by a JSON line at once.
    """
    if from_stdin(options):
        _answer_lines(options)
    else:
        predictor = _opened(options)
        samples = _of_files(predictor, options)
        if options.json:
            print(json_text.text({"model": str(options.model), "samples": list(samples)}))
        else:
            _print(samples, predictor.classes, options)
    from ffedge.pages import release_libraries

    release_libraries()  # the end of the process touches other code than its work


def from_stdin(options: Namespace) -> bool:
    """Tell whether samples come from standard input; ValueError where they come from files too, or a flag is idle."""
    stdin = Path("-") in options.files
    if stdin and len(options.files) > 1:
        raise ValueError("- must stand alone: samples come from stdin or from files")
    if idle := options.given & ({"resize", "invert", "skip_broken"} if stdin else {"strict"}):
        name = min(idle).replace("_", "-")
        raise ValueError(f"--{name} plays no part for {'lines of stdin' if stdin else 'files'}. Leave it out")
    return stdin


def _opened(options: Namespace) -> "Predictor | SpikingPredictor":
    if options.model.suffix == ".onnx" and options.timesteps is None and options.margin is None:
        return _rejecting(options)  # what must start fast
    from ffedge.cli.spikes import is_spiking

    if not is_spiking(options):
        return _rejecting(options)
    from ffedge.spikes import SpikingPredictor

    if options.proba:
        raise ValueError("--proba plays no part for a NIR file, which gives scores alone. Leave it out")
    return SpikingPredictor(options.model, options.timesteps, options.margin)


def _rejecting(options: Namespace) -> "Predictor":
    predictor = small_predictor(options.model, options.threads, options.provider)
    if options.reject and predictor.calibration is None:
        raise ValueError("--reject plays no part for a model that says of no answer that it is not known. Leave it out")
    if options.proba and predictor.temperature is None:
        raise ValueError(
            "--proba needs probabilities, and this model has none: they are fitted on rows held out. Run `ffedge "
            "export RUN --coverage 0.95` on its run folder, or train anew"
        )
    return predictor


def small_predictor(model: Path, threads: int, provider: str = "cpu") -> "Predictor":
    """Load a model, and give back what only imports and loading needed of the libraries: 15 MiB."""
    from ffedge.pages import release_libraries

    release_libraries()
    from ffedge.predict.predictor import Predictor

    release_libraries()
    predictor = Predictor(model, threads, provider)
    release_libraries()
    return predictor


def _answer_lines(options: Namespace) -> None:
    from ffedge.cli.stop import Stop

    with Stop() as stop:
        from ffedge.cli.lines import answer, complain, read_lines, refused

        predictor = _opened(options)
        for line in read_lines(sys.stdin.buffer, predictor.facts, stop):
            if line.sample is None:
                refused(line, strict=options.strict)
                continue
            found = predictor.predict(line.sample)
            if found.odd and options.strict:
                complain(line._replace(error=found.odd[0]), strict=True)
            (said,) = _said(predictor, found, reject=options.reject, proba=options.proba)
            del said["scores"]
            answer(line.about | said)


def _of_files(predictor: "Predictor | SpikingPredictor", options: Namespace) -> Iterator[dict[str, Any]]:
    for path, row, inputs in blocks(predictor.facts, options):
        prediction = predictor.predict(inputs)
        for number, sample in enumerate(_said(predictor, prediction, reject=options.reject, proba=options.proba), row):
            if number - row in prediction.odd and not options.json:
                print(f"ffedge: {path}, row {number}: {prediction.odd[number - row]}", file=sys.stderr)
            yield {"file": str(path), "row": number, **sample}


def blocks(facts: "InputFacts", options: Namespace) -> "Iterator[tuple[Path, int, NDArray[Any]]]":
    """Yield the rows of all files a block at a time: the file, the first row's number, the rows."""
    from ffedge.data import files_of
    from ffedge.data.files import TEXTS, TYPED, is_array, is_table
    from ffedge.pages import release_libraries

    begins = True
    for path in (each for given in options.files for each in files_of(given)):
        if is_table(path):
            yield from _table_blocks(path, facts, options)
            continue
        if facts.table is not None and not is_array(path) and path.exists():
            raise DataError(f"{path}: is no table by its name. Pass a {', '.join((*TEXTS, *TYPED))}, .npy or .npz file")
        source = _read(path, facts, options)
        for number, inputs in enumerate(source.blocks(ROWS) if source else ()):
            if begins:  # what importing the readers of files has left: 4 MiB that the first run would stand upon
                release_libraries()
                begins = False
            yield path, number * ROWS, inputs
    if begins and options.skip_broken:
        raise DataError(f"{options.files[0]}: nothing of it can be read, so that nothing is left. Pass other files")


def _read(path: Path, facts: "InputFacts", options: Namespace) -> "RowSource | None":
    """Open a file; None, and a line, where it is a picture or a recording that does not fit and may be left out."""
    from ffedge.data import read_inputs
    from ffedge.data.files import is_array

    if options.skip_broken and is_array(path):
        raise ValueError(f"{path}: is no picture or recording, so that `skip_broken` plays no part. Leave it out")
    try:
        return read_inputs(path, facts.shape, facts.dtype, resize=options.resize, invert=options.invert)
    except DataError as error:
        if not options.skip_broken:
            raise
        print(f"ffedge: {one_line(str(error))}; left out", file=sys.stderr)
        return None


def _table_blocks(path: Path, facts: "InputFacts", options: Namespace) -> "Iterator[tuple[Path, int, NDArray[Any]]]":
    from ffedge.data.tables import table_blocks

    if facts.table is None:
        raise DataError(f"{path}: is a table, but the model learnt from arrays. Pass a .npy or .npz file")
    if idle := options.given & {"resize", "invert", "skip_broken"}:
        raise ValueError(f"{path}: is no picture, so that `{min(idle)}` plays no part. Leave it out")
    schema = None
    for start, inputs, schema in table_blocks(path, facts.table, ROWS):  # noqa: B007
        yield path, start, inputs
    for note in schema.unknown_notes() if schema else ():
        print(f"ffedge: {path}: {one_line(note)}", file=sys.stderr)


def _said(
    predictor: "Predictor | SpikingPredictor", found: "Prediction", *, reject: bool, proba: bool
) -> Iterator[dict[str, Any]]:
    """Yield what is said of each sample.

    Parameters
    ----------
    reject : put ``unknown`` in the place of a label that is not known.
    proba : say the classes' probabilities too.
    """
    classes, bounds = predictor.classes, predictor.calibration
    shares = found.proba if proba else None
    taken = getattr(predictor, "taken", None)  # timesteps of each sample, where it spikes
    for row, (label, margin, scores, known) in enumerate(
        zip(found.place, found.margin, found.scores, found.known, strict=True)
    ):
        score = float(scores[label])
        why = tuple(reasons[row] for reasons in (found.odd, found.unknown) if row in reasons)
        if bounds and not known and row not in found.odd:
            why += bounds.why_not(score, float(margin))
        yield {
            "label": classes[label] if known or not reject else UNKNOWN,
            "class": int(label),
            "score": score,
            "margin": float(margin),
            **({"known": bool(known)} if taken is None or why else {}),
            **({} if taken is None else {"timesteps": int(taken[row])}),
            **({"why": list(why)} if why else {}),
            **({} if shares is None else {"proba": dict(zip(classes, map(float, shares[row]), strict=True))}),
            "scores": dict(zip(classes, map(float, scores), strict=True)),
        }


def _print(samples: Iterator[dict[str, Any]], classes: tuple[str, ...], options: Namespace) -> None:
    """Print a line a sample, as they come: files and labels to the left, figures to the right."""
    shown = classes if len(classes) <= MOST_SCORES else ()
    named = max(len("file"), *(len(plain(str(path))) for path in options.files))
    label = max(len(name) for name in (*classes, "label", *([UNKNOWN] if options.reject else [])))
    wide = [max(9, len(name)) for name in shown]
    head = f"{'file':{named}}  {'row':>6}  {'label':{label}}  {'margin':>9}"
    begun = False
    for s in samples:
        if not begun:  # an error of the first file comes alone
            print("  ".join([head, *(f"{name:>{w}}" for name, w in zip(shown, wide, strict=True))]))
            begun = True
        line = f"{plain(s['file']):{named}}  {s['row']:6}  {s['label']:{label}}  {s['margin']:9.3f}"
        values = s["proba" if options.proba else "scores"]
        scores = [f"{values[name]:{w}.3f}" for name, w in zip(shown, wide, strict=True)]
        why = [f"({', '.join(s['why'])})"] if options.reject and "why" in s else []
        print("  ".join([line, *scores, *why]))
