"""ffedge export."""

from pathlib import Path
from typing import Annotated

import typer


def command(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    out: Annotated[Path, typer.Option(help="The model file to write.")] = Path("model.onnx"),
    force: Annotated[bool, typer.Option("--force", help="Replace the file.")] = False,
) -> None:
    """Write the model of a run's newest checkpoint, also of a run that is not at its end."""
    from ffedge.training.folder import export

    export(run, out, force=force)
    print(f"model {out} ({out.stat().st_size / 1e6:.2f} MB)")
