"""ffedge train."""

import contextlib
import dataclasses
import shlex
import sys
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from ffedge import json_text
from ffedge.cli import fail
from ffedge.cli.commands import with_flags
from ffedge.cli.parser import PORT, Parser, Plays, check_data_dir, flag, shared, value
from ffedge.cli.reading_flags import add_reading_flags, reading_of
from ffedge.cli.spec_flags import add_spec_flags, changes
from ffedge.cli.stop import Stop
from ffedge.errors import StoppedError
from ffedge.fields import bytes_of
from ffedge.presets import PRESETS
from ffedge.spec import Spec

if TYPE_CHECKING:
    from ffedge.training.memory import Plan

MIB = 2**20
SIZE = value(bytes_of, "SIZE", "a size as in 4MiB")


def add_flags(parser: Parser) -> None:
    """Describe the words of the command."""
    data = (
        "mnist-mini (built in, the default), mnist, fashion-mnist, arrays (a file or folder), pictures or event "
        "recordings (a folder of class folders), or tables: files, or - for stdin."
    )
    flag(parser, "--data", data, str, nargs="+")
    shared(parser, "--label")
    without = "Of a table, a column not to learn from; may be repeated."
    flag(parser, "--leave-out", without, str, default=[], metavar="COLUMN", action="append")
    flag(parser, "--preset", "What the other flags begin from.", value(str, "|".join(PRESETS)), default="tuned")
    trains = Plays(not_with=("plan",))
    flag(parser, "--out", "Run folder. (default: runs/<variant>-<data>-<n>)", Path, metavar="FOLDER", plays=trains)
    goes_on = Plays(only_with=("out",), not_with=("plan",))
    flag(parser, "--resume", "Go on from the checkpoint in --out.", plays=goes_on)
    anew = Plays(only_with=("out",), not_with=("plan", "resume"))
    force = "Replace the run that stands in --out; it goes with the first checkpoint of the new one."
    flag(parser, "--force", force, plays=anew)
    flag(parser, "--plan", "Do not train; say what training would take in memory, and the least that it can.")
    steps = "Steps, or seconds (2s), between checkpoints; auto: 1 % of time."
    flag(parser, "--checkpoint-every", steps, value(str, "N|SECONDSs|auto"), default="auto", plays=trains)
    kept = "Room for examples beside model.onnx, for `ffedge learn`; 0 keeps none."
    flag(parser, "--keep-examples", kept, SIZE, default="4MiB", dest="kept_bytes", plays=trains)
    shown = "Serve a page that shows the run while it trains, on this machine alone; 0 takes a free port."
    flag(parser, "--live", shown, PORT, plays=trains)
    shared(parser, "--data-dir")
    flag(parser, "--json", "Print the report as one JSON document.")
    add_reading_flags(parser)
    add_spec_flags(parser)


def run(options: Namespace) -> int:
    """Train a network and write model.onnx, report.json, metrics.jsonl and a checkpoint into a run folder."""
    options.data = options.data[0] if options.data and len(options.data) == 1 else options.data
    if not options.resume or options.data:
        check_data_dir(options, options.data if isinstance(options.data, str) else None)
    changed = changes(options)
    as_begun = options.resume and not changed and "preset" not in options.given
    spec = None if as_begun else Spec.make(options.preset, **changed)
    with Stop(busy=True) as stop:
        try:
            if options.plan:
                _plan(spec or Spec.make(options.preset), options)
            else:
                _train(spec, options, stop)
        except StoppedError as error:
            if error.folder is None:
                return fail(str(error), 128 + stop.number)
            place = shlex.quote(str(error.folder))
            again = f"{error.folder}: stopped at a checkpoint. Go on with: ffedge train --resume --out {place}"
            return fail(again, 128 + stop.number)
    return 0


def _train(spec: Spec | None, options: Namespace, stop: Stop) -> None:
    from ffedge.cli.progress import print_layers
    from ffedge.training.shown import progress
    from ffedge.training.train import train

    with contextlib.ExitStack() as stack:
        watcher = stack.enter_context(progress())
        if options.live is not None:
            from ffedge.page.live import Live

            watcher = stack.enter_context(Live(watcher, options.live))
            print(f"ffedge: {watcher.url} shows the run while it trains", file=sys.stderr, flush=True)
        done = train(
            spec,
            options.data,
            options.out,
            data_dir=options.data_dir,
            reading=reading_of(options),
            resume=options.resume,
            force=options.force,
            checkpoint_every=options.checkpoint_every,
            kept_bytes=options.kept_bytes,
            watcher=watcher,
            label=options.label,
            leave_out=options.leave_out,
            stop=stop,
        )
    if options.json:
        print(done.report.to_json())
    else:
        print_layers(done.report, done.model)


def _plan(spec: Spec, options: Namespace) -> None:
    from ffedge.training.shown import progress
    from ffedge.training.train import plan

    with progress() as watcher:
        planned = plan(
            spec,
            options.data or "mnist-mini",
            options.data_dir,
            label=options.label,
            leave_out=options.leave_out,
            reading=reading_of(options),
            watcher=watcher,
        )
    planned = dataclasses.replace(planned, reasons=[with_flags(why) for why in planned.reasons])
    if options.json:
        print(json_text.text(planned.to_dict(), indent=1))
    else:
        _print_plan(planned)


def _print_plan(plan: "Plan") -> None:
    """Print what takes how much, what was chosen, and the least that is possible."""
    for name, count in plan.parts.items():
        print(f"{name:34s}{count / MIB:8.1f} MiB")
    budget = "" if plan.budget_bytes is None else f" of a budget of {plan.budget_bytes / MIB:.1f} MiB"
    print(f"{'planned peak':34s}{plan.peak_bytes / MIB:8.1f} MiB{budget}")
    print(f"{'  of it not backed by files':34s}{plan.anonymous_bytes / MIB:8.1f} MiB")
    print(f"{'the least that is possible':34s}{plan.floor_bytes / MIB:8.1f} MiB")
    print(f"{'on disk, beside checkpoints':34s}{plan.disk_bytes / MIB:8.1f} MiB")
    for why in plan.reasons:
        print(why)
