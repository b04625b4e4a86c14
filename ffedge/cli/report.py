"""ffedge report."""

from pathlib import Path
from typing import Annotated

import typer


def command(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as one JSON document.")] = False,
) -> None:
    """Print the closing table of a finished run again."""
    from ffedge.cli.progress import print_layers
    from ffedge.training.records import Report

    report = Report.read(run / "report.json")
    if as_json:
        print(report.to_json())
    else:
        print_layers(report, run / "model.onnx")
