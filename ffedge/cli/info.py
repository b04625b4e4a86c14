"""ffedge info."""

from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from ffedge import json_text
from ffedge.cli.parser import Parser, argument, flag
from ffedge.cli.spikes import is_spiking
from ffedge.cli.tables import print_table

if TYPE_CHECKING:
    from ffedge.columns import Column
    from ffedge.model.calibration import Calibration
    from ffedge.network import InputFacts

MOST_CATEGORIES = 12


def add_flags(parser: Parser) -> None:
    """Describe the words of the command."""
    argument(parser, "model", "A model.onnx, or a NIR file.")
    flag(parser, "--json", "Print the metadata as one JSON document.")


def run(options: Namespace) -> None:
    """Say everything that a model file knows of itself."""
    model: Path = options.model
    if is_spiking(options):
        _of_spikes(model, as_json=options.json)
        return
    from ffedge.predict.predictor import Predictor

    predictor = Predictor(model)
    if options.json:
        print(json_text.text(predictor.metadata, indent=1))
        return
    facts = predictor.facts
    rows = [
        ["file", f"{model} ({model.stat().st_size / 1e6:.2f} MB)"],
        ["input", f"{facts.dtype} [N, {', '.join(map(str, facts.shape))}]"],
        ["scaling", f"(input - {_short(facts.offset)}) * {_short(facts.scale)}"],
        ["classes", ", ".join(facts.classes)],
        ["known", _known(predictor.calibration)],
        ["kept examples", _kept(model, facts)],
        *([key, _text(value)] for key, value in predictor.metadata.items() if key not in ("spec", "input", "known")),
    ]
    print_table("model", ["", "value"], rows)
    if facts.table:
        columns = [
            [column.name, column.kind, *_fill(column), _codes(column.categories)] for column in facts.table.columns
        ]
        heads = ["column", "kind", "a missing one counts as", "was missing", "codes of categories"]
        print_table(f"columns (the label stood in {facts.table.label})", heads, columns)
    for part, fields in predictor.metadata["spec"].items():
        print_table(part, ["", "value"], [[name, _text(value)] for name, value in fields.items()])


def _of_spikes(path: Path, *, as_json: bool) -> None:
    from ffedge.cli.tables import print_table
    from ffedge.spikes import read

    network = read(path)
    about, facts = network.about(), network.facts
    if as_json:
        print(json_text.text(about, indent=1))
        return
    rows = [
        ["file", f"{path} ({path.stat().st_size / 1e6:.2f} MB)"],
        ["input", f"{facts.dtype} [N, {', '.join(map(str, facts.shape))}]"],
        ["classes", ", ".join(facts.classes)],
        *([key, _text(about[key])] for key in about if key not in ("input", "layers")),
    ]
    print_table("spiking network", ["", "value"], rows)
    layers = [
        [str(i), str(layer.neurons), str(layer.inputs), str(layer.units), *map(_text, (layer.threshold, layer.decay))]
        for i, layer in enumerate(network.layers)
    ]
    print_table("layers", ["", "neurons", "inputs", "units", "threshold", "decay"], layers)


def _known(found: "Calibration | None") -> str:
    if found is None:
        return "every answer, as none was calibrated on held-out rows"
    return (
        f"a score from {found.least_score:.4g} to {found.most_score:.4g} and a margin from {found.least_margin:.4g}: "
        f"{100 * found.known:.2f} % of {found.rows:,} rows not learnt from"
    )


def _kept(model: Path, facts: "InputFacts") -> str:
    from ffedge.training.replay import kept_file, read_kept

    learn, check = read_kept(kept_file(model), facts)
    classes = len({*learn.labels.tolist(), *check.labels.tolist()})
    return f"{len(learn):,} to learn again and {len(check):,} to check by, of {classes} of {facts.n_classes} classes"


def _fill(column: "Column") -> tuple[str, str]:
    """Return what a missing value counts as, and whether one was missing in training."""
    return f"{column.fill:g}" if column.kind == "number" else "none of them", "yes" if column.gaps else "no"


def _codes(categories: tuple[str, ...]) -> str:
    more = [f"and {len(categories) - MOST_CATEGORIES} more"] if len(categories) > MOST_CATEGORIES else []
    return ", ".join([*(f"{code} {text}" for code, text in enumerate(categories[:MOST_CATEGORIES])), *more])


def _text(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_text(item)}" for key, item in value.items())
    if isinstance(value, list):
        return ", ".join(map(_text, value))
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _short(values: tuple[float, ...]) -> str:
    return f"{values[0]:.6g}" if len(values) == 1 else f"one number for each of {len(values)} inputs"
