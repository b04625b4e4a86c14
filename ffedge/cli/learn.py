"""ffedge learn: reads the flags, then goes on as the process that learns (`ffedge.cli.learn_worker`)."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from ffedge.child import become
from ffedge.cli.options import with_spec_flags
from ffedge.fields import bytes_of
from ffedge.spec import OPEN


def _command(
    model: Annotated[Path, typer.Argument(help="A model.onnx, which is replaced; the old one stays beside it.")],
    data: Annotated[str | None, typer.Option(help="New rows: a data set, of which the train split is taken.")] = None,
    add_class: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="A class that the model is to know, too; may be repeated.")
    ] = None,
    layers: Annotated[str | None, typer.Option(metavar="N,N", help="The layers that learn. (default: all)")] = None,
    replay: Annotated[
        str, typer.Option(metavar="SIZE", help="Room for kept examples beside the model; 0 keeps none.")
    ] = "4MiB",
    replay_share: Annotated[
        float, typer.Option(metavar="X", help="Share of kept examples in each batch, against forgetting.")
    ] = 0.5,
    replay_from: Annotated[
        str | None, typer.Option(metavar="DATA", help="What to take examples from where none are kept.")
    ] = None,
    max_drop: Annotated[
        float,
        typer.Option(metavar="X", help="Refuse to replace the model where held-out accuracy falls by more than this."),
    ] = 0.01,
    rollback: Annotated[
        bool, typer.Option("--rollback", help="Put the model back that was replaced last; learn nothing.")
    ] = False,
    data_dir: Annotated[Path | None, typer.Option(help="Where known data sets are looked for first.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
    changes: Any = None,
) -> None:
    """Go on training from a model file alone, on new rows, without forgetting the old ones; or undo it."""
    if rollback:
        from ffedge.learning import roll_back

        print(f"model {roll_back(model)} is the one before")
        return
    if data is None:
        raise ValueError("learn needs --data, the new rows, or --rollback")
    request = {
        "model": str(model),
        "data": data,
        "add_classes": add_class or [],
        "layers": [_layer(part) for part in layers.split(",")] if layers else None,
        "replay_share": replay_share,
        "replay_from": replay_from,
        "kept_bytes": bytes_of(replay),
        "max_drop": max_drop,
        "data_dir": data_dir and str(data_dir),
        "changes": changes,
        "json": as_json,
    }
    become("ffedge.cli.worker", json.dumps(request))


def _layer(text: str) -> int:
    if not text.strip().isdecimal():
        raise ValueError(f"layers must be numbers from 0, as in 1,2, got {text!r}")
    return int(text)


_command.__name__ = "command"
command = with_spec_flags(_command, OPEN, stored=True)
