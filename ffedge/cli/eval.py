"""ffedge eval."""

import dataclasses
import sys
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from ffedge import json_text
from ffedge.cli.parser import NUMBER, Parser, argument, check_data_dir, flag, shared
from ffedge.cli.reading_flags import add_skip_broken, reading_of
from ffedge.cli.spec_flags import reader
from ffedge.cli.spikes import is_spiking
from ffedge.cli.tables import percent, print_table
from ffedge.errors import FfedgeError, plain

if TYPE_CHECKING:
    from ffedge.columns import Table
    from ffedge.data import Dataset
    from ffedge.spikes import SpikingNetwork

MOST_CLASSES = 20


def add_flags(parser: Parser) -> None:
    """Describe the words of the command."""
    argument(parser, "model", "A model.onnx, or a NIR file.")
    flag(parser, "--data", "A data set. (default: the one that the model learnt from)", str)
    shared(parser, "--label")
    flag(parser, "--train", "Use the train split instead of the test split.")
    shared(parser, "--data-dir", "--threads", "--provider")
    add_skip_broken(parser)
    flag(parser, "--timesteps", "NIR: measure after each of these. (default: the file's)", reader(tuple[int, ...]))
    flag(parser, "--margin", "NIR: also measure decisions taken once a margin holds (see `predict`).", NUMBER)
    flag(parser, "--json", "Print one JSON document.")


def run(options: Namespace) -> int:
    """Measure a model's accuracy: of all rows, of each class and layer, and which classes it mistakes.

    Of a NIR file: after each number of timesteps, and of each layer after the last; or, with traces as --data, whether
    spikes come as they tell.
    """
    if is_spiking(options):
        return _of_spikes(options)
    if options.data and options.data.endswith(".traces.nir"):
        raise ValueError(f"--data {options.data}: traces are of a NIR file, not of {options.model}. Pass that file")
    _of_model(options)
    return 0


def _of_model(options: Namespace) -> None:
    from ffedge.predict.evaluation import evaluate
    from ffedge.predict.predictor import Predictor

    predictor = Predictor(options.model, options.threads, options.provider)
    about = predictor.metadata.get("data")
    learnt_from, facts = str(about.get("name")) if isinstance(about, dict) else "", predictor.facts
    dataset = _data(options, learnt_from, facts.shape, facts.table)
    if dataset.test is None and not options.train and dataset.name == learnt_from:
        same = isinstance(about, dict) and about.get("sha256") == dataset.sha256
        said = "these rows" if same else "data of this name, and so perhaps from these rows"
        told = f"{plain(dataset.name)}: the model learnt from {said}. New ones tell how good it is"
        print(f"ffedge: {told}", file=sys.stderr)
    found = evaluate(predictor, dataset, on_train=options.train)
    if options.json:
        print(json_text.text(dataclasses.asdict(found)))
        return
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
    odd = f", {found.odd_rows:,} of them odd" if found.odd_rows else ""
    print(f"accuracy {percent(found.accuracy)} of {found.rows:,} rows{odd}")
    print(f"balanced {percent(found.balanced_accuracy)}, the mean of the classes' accuracies")
    if found.calibration_error is not None:
        print(f"probability {percent(found.calibration_error)} off in the mean (expected calibration error)")
    if predictor.calibration:
        print(f"known    {percent(found.known)} of them, and {percent(found.known_error)} of these are wrong")


def _of_spikes(options: Namespace) -> int:
    from ffedge.spikes import SpikingPredictor
    from ffedge.spikes.evaluate import evaluate_spikes
    from ffedge.spikes.network import check_timesteps
    from ffedge.spikes.nir_file import is_nir

    times = tuple(sorted(set(options.timesteps or ())))
    for count in times:
        check_timesteps(count)
    predictor = SpikingPredictor(options.model, times[-1] if times else None, options.margin)
    if options.data and is_nir(Path(options.data)):
        return _against_traces(predictor.network, options)
    data = _data(options, predictor.learnt_from, predictor.facts.shape)
    found = evaluate_spikes(predictor, data, times or (predictor.timesteps,), on_train=options.train)
    if options.json:
        print(json_text.text(dataclasses.asdict(found)))
        return 0
    rows = [[str(t), percent(share)] for t, share in zip(found.timesteps, found.accuracy, strict=True)]
    if found.early_accuracy is not None:
        rows.append([f"{found.early_timesteps:.1f} (mean, margin {options.margin:g})", percent(found.early_accuracy)])
    print_table(f"{found.rows:,} rows", ["timesteps", "accuracy"], rows)
    alone = [[str(i), percent(share)] for i, share in enumerate(found.layer_accuracy)]
    print_table(f"each layer alone, after {found.timesteps[-1]} timesteps", ["layer", "accuracy"], alone)
    return 0


def _against_traces(network: "SpikingNetwork", options: Namespace) -> int:
    """Say how ffedge's spikes compare with those of a file; 1 where a layer's sums differ by more than a hundredth."""
    from ffedge.spikes.traces import check_traces, read_traces

    if idle := options.given & {"train", "label", "data_dir", "skip_broken", "timesteps", "margin"}:
        raise ValueError(f"--{min(idle).replace('_', '-')} plays no part for traces. Leave it out")
    checks = check_traces(network, read_traces(Path(options.data)))
    agree = all(check.agrees for check in checks)
    if options.json:
        print(json_text.text({"agree": agree, "layers": [dataclasses.asdict(check) for check in checks]}))
    else:
        rows = [[c.node, f"{c.told:,}", f"{c.found:,}", f"{c.differ:,} of {c.neurons:,}"] for c in checks]
        print_table("spikes of all rows", ["node", "in the file", "found", "neurons with another count"], rows)
        print("as the traces tell" if agree else "not as the traces tell: a layer's sums differ by more than 1 %")
    return 0 if agree else 1


def _data(options: Namespace, learnt_from: str, shape: tuple[int, ...], table: "Table | None" = None) -> "Dataset":
    """Open the data that is named, or else what the model learnt from: it must not choose the files that are opened."""
    from ffedge.data import NAMES, load
    from ffedge.training.shown import progress

    if options.data is None and learnt_from not in NAMES:
        what = f"learnt from {learnt_from!r}, which ffedge does not know by name"
        raise FfedgeError(f"{options.model}: {what}. Pass --data")
    check_data_dir(options, options.data or learnt_from)
    with progress() as hear:
        dataset = load(
            options.data or learnt_from,
            options.data_dir,
            one_class=True,
            finite=False,
            table=table,
            label=options.label,
            reading=reading_of(options),
            shape=shape,
            hear=hear,
        )
        for note in dataset.notes:
            hear.note(f"{dataset.name}: {note}")
    return dataset
