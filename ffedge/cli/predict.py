"""ffedge predict."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from ffedge.runtime import Prediction

MOST_SCORES = 10
ROWS = 256


def command(
    model: Annotated[Path, typer.Argument(help="A model.onnx, or a NIR file.")],
    files: Annotated[list[Path], typer.Argument(help="PNG, JPEG, .npy, .npz or IDX files.")],
    resize: Annotated[bool, typer.Option("--resize", help="Bring images to the model's size.")] = False,
    invert: Annotated[bool, typer.Option("--invert", help="Swap black and white of images.")] = False,
    threads: Annotated[int, typer.Option(min=0, help="0 takes all cores.")] = 0,
    timesteps: Annotated[int | None, typer.Option(help="Of a NIR file. (default: the file's)")] = None,
    margin: Annotated[
        float | None, typer.Option(help="NIR: decide once a label has led by this share of its score for 8 timesteps.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON document with a list of samples.")] = False,
) -> None:
    """Say the label of each sample, the margin to the second best, and the scores of all."""
    import numpy as np

    from ffedge.cli.spikes import open_model
    from ffedge.data import read_inputs

    predictor = open_model(model, threads, timesteps, margin)
    facts = predictor.facts
    found: list[dict[str, Any]] = []
    for path in files:
        source = read_inputs(path, facts.shape, facts.dtype, resize=resize, invert=invert)
        for start in range(0, len(source), ROWS):
            prediction = predictor.predict(source.take(np.arange(start, min(start + ROWS, len(source)))))
            found += [
                {"file": str(path), "row": start + row, **sample}
                for row, sample in enumerate(_samples(prediction, facts.classes))
            ]
    if as_json:
        print(json.dumps({"model": str(model), "samples": found}))
        return
    from ffedge.cli.tables import print_table

    shown = facts.classes if facts.n_classes <= MOST_SCORES else ()
    rows = [
        [s["file"], str(s["row"]), s["label"], f"{s['margin']:.3f}", *(f"{s['scores'][name]:.3f}" for name in shown)]
        for s in found
    ]
    print_table("", ["file", "row", "label", "margin", *shown], rows)


def _samples(prediction: "Prediction", classes: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    for label, margin, scores in zip(prediction.label, prediction.margin, prediction.scores, strict=True):
        yield {
            "label": classes[label],
            "margin": float(margin),
            "scores": dict(zip(classes, map(float, scores), strict=True)),
        }
