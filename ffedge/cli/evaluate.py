"""ffedge eval."""

import dataclasses
import json
from pathlib import Path
from typing import Annotated

import typer

from ffedge.errors import FfedgeError

MOST_CLASSES = 20


def command(
    model: Annotated[Path, typer.Argument(help="A model.onnx, or a NIR file.")],
    data: Annotated[str | None, typer.Option(help="A data set. (default: the one that the model learnt from)")] = None,
    train: Annotated[bool, typer.Option("--train", help="Use the train split instead of the test split.")] = False,
    data_dir: Annotated[Path | None, typer.Option(help="Where known data sets are looked for first.")] = None,
    threads: Annotated[int, typer.Option(min=0, help="0 takes all cores.")] = 0,
    timesteps: Annotated[
        str | None, typer.Option(metavar="N,N", help="NIR: measure after each of these. (default: the file's)")
    ] = None,
    margin: Annotated[
        float | None, typer.Option(help="NIR: also measure decisions taken once a margin holds (see `predict`).")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Measure a model's accuracy: of all rows, of each class and layer, and which classes it mistakes.

    Of a NIR file: after each number of timesteps, and of each layer after the last.
    """
    from ffedge.cli import spikes

    if spikes.is_spiking(model, timesteps is not None or margin is not None):
        wanted = spikes.numbers(timesteps) if timesteps else ()
        spikes.evaluate(model, data, wanted, margin, train, data_dir, as_json)
        return
    from ffedge.data import NAMES, load
    from ffedge.evaluation import evaluate
    from ffedge.runtime import Predictor

    predictor = Predictor(model, threads)
    about = predictor.metadata.get("data")
    learnt_from = str(about.get("name")) if isinstance(about, dict) else ""
    if data is None and learnt_from not in NAMES:  # a stranger's model must not choose the files that are opened
        raise FfedgeError(f"{model}: learnt from {learnt_from!r}, which ffedge does not know by name. Pass --data")
    found = evaluate(predictor, load(data or learnt_from, data_dir), on_train=train)
    if as_json:
        print(json.dumps(dataclasses.asdict(found)))
        return
    from ffedge.cli.tables import percent, print_table

    names = found.classes
    rows = [[name, percent(share)] for name, share in zip(names, found.class_accuracy, strict=True)]
    if len(names) <= MOST_CLASSES:
        rows = [[*row, *map(str, counts)] for row, counts in zip(rows, found.confusion, strict=True)]
        print_table("rows of each class by the label they got", ["class", "accuracy", *names], rows)
    else:
        print_table("accuracy of each class", ["class", "accuracy"], rows)
    layers = [[str(i), percent(share)] for i, share in enumerate(found.layer_accuracy)]
    if layers:
        print_table("each layer alone", ["layer", "accuracy"], layers)
    print(f"accuracy {percent(found.accuracy)} of {found.rows:,} rows")
    if predictor.calibration:
        print(f"known    {percent(found.known)} of them, and {percent(found.known_error)} of these are wrong")
