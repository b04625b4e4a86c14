"""ffedge train."""

import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer

from ffedge.cli.options import with_spec_flags
from ffedge.spec import PRESETS, Spec

_caught: list[int] = []


def stopped_by() -> int:
    """Return the number of the signal that stopped training."""
    return _caught[0] if _caught else int(signal.SIGINT)


@with_spec_flags
def command(
    data: Annotated[
        str | None, typer.Option(help="mnist-mini (built in, the default), mnist, fashion-mnist, or a file or folder.")
    ] = None,
    preset: Annotated[str, typer.Option(metavar="|".join(PRESETS), help="What the other flags begin from.")] = "tuned",
    out: Annotated[Path | None, typer.Option(help="Run folder. (default: runs/<variant>-<data>-<n>)")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the checkpoint in --out.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace the run that stands in --out.")] = False,
    data_dir: Annotated[Path | None, typer.Option(help="Where known data sets are looked for first.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as one JSON document.")] = False,
    changes: Any = None,
) -> None:
    """Train a network and write model.onnx, report.json, metrics.jsonl and a checkpoint into a run folder."""
    if resume and out is None:
        raise ValueError("--resume needs --out, the folder of the run to go on with")
    spec = None if resume and not changes else Spec.make(preset, **changes)
    from ffedge.cli.progress import EpochLines, ProgressBar, print_layers
    from ffedge.training.run import train

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _remember)
    watcher = ProgressBar() if sys.stderr.isatty() else EpochLines()
    with watcher:
        run = train(
            spec,
            data,
            out,
            data_dir=data_dir,
            resume=resume,
            force=force,
            watcher=watcher,
            stop=lambda: bool(_caught),
        )
    if as_json:
        print(run.report.to_json())
    else:
        print_layers(run.report, run.model)


def _remember(number: int, _frame: FrameType | None) -> None:
    """Ask training to stop; a second signal does not wait for the batch to end."""
    if _caught:
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)
    _caught.append(number)
