"""ffedge info."""

import json
from pathlib import Path
from typing import Annotated

import typer


def command(
    model: Annotated[Path, typer.Argument(help="A model.onnx.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print the metadata as one JSON document.")] = False,
) -> None:
    """Say everything that a model file knows of itself."""
    from ffedge.runtime import Predictor

    predictor = Predictor(model)
    if as_json:
        print(json.dumps(predictor.metadata, indent=1))
        return
    from ffedge.cli.tables import print_table

    facts = predictor.facts
    rows = [
        ["file", f"{model} ({model.stat().st_size / 1e6:.2f} MB)"],
        ["input", f"{facts.dtype} [N, {', '.join(map(str, facts.shape))}]"],
        ["scaling", f"(input - {_short(facts.offset)}) * {_short(facts.scale)}"],
        ["classes", ", ".join(facts.classes)],
        *([key, _text(value)] for key, value in predictor.metadata.items() if key not in ("spec", "input")),
    ]
    print_table("model", ["", "value"], rows, figures=False)
    for part, fields in predictor.metadata["spec"].items():
        print_table(part, ["", "value"], [[name, _text(value)] for name, value in fields.items()], figures=False)


def _text(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_text(item)}" for key, item in value.items())
    if isinstance(value, list):
        return ", ".join(map(_text, value))
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _short(values: tuple[float, ...]) -> str:
    return f"{values[0]:.6g}" if len(values) == 1 else f"one number for each of {len(values)} inputs"
