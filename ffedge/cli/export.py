"""ffedge export."""

from pathlib import Path
from typing import Annotated

import typer


def command(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    out: Annotated[Path, typer.Option(help="The model file to write.")] = Path("model.onnx"),
    nir: Annotated[
        Path | None, typer.Option(help="Write a spiking network into this NIR file instead. Needs ffedge[nir].")
    ] = None,
    timesteps: Annotated[int, typer.Option(help="NIR: timesteps of a prediction.")] = 256,
    reset: Annotated[str, typer.Option(metavar="subtract|zero", help="NIR: of a neuron that spiked.")] = "subtract",
    leak: Annotated[
        int | None, typer.Option(help="NIR: time constant of leaky neurons, in timesteps. (default: no leak)")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the file.")] = False,
) -> None:
    """Write the model of a run's newest checkpoint, also of a run that is not at its end."""
    if nir is not None:
        from ffedge.cli import spikes

        spikes.export(run, nir, timesteps, reset, leak, force)
        return
    from ffedge.training.folder import export

    export(run, out, force=force)
    print(f"model {out} ({out.stat().st_size / 1e6:.2f} MB)")
