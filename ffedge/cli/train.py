"""ffedge train: reads the flags, then goes on as the process that trains (`ffedge.cli.worker`)."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from ffedge.child import become
from ffedge.cli.options import with_spec_flags
from ffedge.fields import bytes_of
from ffedge.presets import PRESETS
from ffedge.spec import Spec


@with_spec_flags
def command(
    data: Annotated[
        str | None, typer.Option(help="mnist-mini (built in, the default), mnist, fashion-mnist, or a file or folder.")
    ] = None,
    preset: Annotated[str, typer.Option(metavar="|".join(PRESETS), help="What the other flags begin from.")] = "tuned",
    out: Annotated[Path | None, typer.Option(help="Run folder. (default: runs/<variant>-<data>-<n>)")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the checkpoint in --out.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace the run that stands in --out.")] = False,
    plan: Annotated[
        bool,
        typer.Option("--plan", help="Say what training would take in memory, and the least that it can; train not."),
    ] = False,
    checkpoint_every: Annotated[
        str,
        typer.Option(metavar="N|SECONDSs|auto", help="Steps, or seconds (2s), between checkpoints; auto: 1 % of time."),
    ] = "auto",
    keep_examples: Annotated[
        str, typer.Option(metavar="SIZE", help="Room for examples beside model.onnx, for `ffedge learn`; 0 keeps none.")
    ] = "4MiB",
    data_dir: Annotated[Path | None, typer.Option(help="Where known data sets are looked for first.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as one JSON document.")] = False,
    changes: Any = None,
) -> None:
    """Train a network and write model.onnx, report.json, metrics.jsonl and a checkpoint into a run folder."""
    if resume and out is None:
        raise ValueError("--resume needs --out, the folder of the run to go on with")
    spec = None if resume and not changes else Spec.make(preset, **changes)
    request = {
        "spec": spec and spec.to_dict(),
        "data": data,
        "out": out and str(out),
        "data_dir": data_dir and str(data_dir),
        "resume": resume,
        "force": force,
        "checkpoint_every": checkpoint_every,
        "plan": plan,
        "kept_bytes": bytes_of(keep_examples),
        "json": as_json,
    }
    become("ffedge.cli.worker", json.dumps(request))
