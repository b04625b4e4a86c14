"""ffedge eval."""

import dataclasses
import json
from argparse import Namespace

from ffedge.cli.parser import NUMBER, Parser, argument, flag, shared
from ffedge.cli.spikes import TIMES
from ffedge.errors import FfedgeError

MOST_CLASSES = 20


def add_flags(parser: Parser) -> None:
    """Describe the words of the command."""
    argument(parser, "model", "A model.onnx, or a NIR file.")
    flag(parser, "--data", "A data set. (default: the one that the model learnt from)", str)
    flag(parser, "--train", "Use the train split instead of the test split.")
    shared(parser, "--data-dir", "--threads")
    flag(parser, "--timesteps", "NIR: measure after each of these. (default: the file's)", TIMES)
    flag(parser, "--margin", "NIR: also measure decisions taken once a margin holds (see `predict`).", NUMBER)
    flag(parser, "--json", "Print one JSON document.")


def run(options: Namespace) -> None:
    """Measure a model's accuracy: of all rows, of each class and layer, and which classes it mistakes.

    Of a NIR file: after each number of timesteps, and of each layer after the last.
    """
    from ffedge.cli import spikes

    if spikes.is_spiking(options.model, options.timesteps is not None or options.margin is not None):
        spikes.evaluate(options)
        return
    from ffedge.data import NAMES, load
    from ffedge.predict.evaluation import evaluate
    from ffedge.predict.predictor import Predictor

    predictor = Predictor(options.model, options.threads)
    about = predictor.metadata.get("data")
    learnt_from = str(about.get("name")) if isinstance(about, dict) else ""
    if (
        options.data is None and learnt_from not in NAMES
    ):  # a stranger's model must not choose the files that are opened
        raise FfedgeError(
            f"{options.model}: learnt from {learnt_from!r}, which ffedge does not know by name. Pass --data"
        )
    found = evaluate(predictor, load(options.data or learnt_from, options.data_dir), on_train=options.train)
    if options.json:
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
