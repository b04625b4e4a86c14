"""ffedge bench."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from ffedge.cli.options import parse


def command(
    memory: Annotated[
        bool, typer.Option("--memory", help="Peak memory and time, layer by layer, of each arm.")
    ] = False,
    speed: Annotated[
        bool, typer.Option("--speed", help="Rows a second, and time to given accuracies, of each arm.")
    ] = False,
    inference: Annotated[
        bool, typer.Option("--inference", help="Latency and throughput of an exported model, beside others.")
    ] = False,
    paper: Annotated[
        bool, typer.Option("--paper", help="FF, F-CFF and A-CFF as the NetworkFF paper trains them, over seeds.")
    ] = False,
    open_points: Annotated[
        bool,
        typer.Option("--open-points", help="Paper: each reading of what it leaves open, with the shuffled control."),
    ] = False,
    neuromorphic: Annotated[
        bool,
        typer.Option("--neuromorphic", help="A network as spikes, as numbers, and an MLP, by NeuroBench's metrics."),
    ] = False,
    reading: Annotated[
        list[str] | None,
        typer.Option(
            metavar="'POINT: VALUE'",
            help="Open points: this reading only, and FF beside it; may be given several times. (default: all)",
        ),
    ] = None,
    sweep: Annotated[
        str | None, typer.Option(metavar="depth|width|batch", help="Memory at several depths, widths or batch sizes.")
    ] = None,
    targets: Annotated[
        str | None, typer.Option(metavar="X,X", help="Accuracies to reach. (default: 0.97,0.98; quick: 0.9,0.92)")
    ] = None,
    repeat: Annotated[
        int | None,
        typer.Option(
            min=1, help="Runs of each arm, whose median counts; seeds of the paper. (default: 3; paper: 5; quick: 1)"
        ),
    ] = None,
    arms: Annotated[
        str | None, typer.Option(help="Names, with commas. (default: all; a few with --sweep or --quick)")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="A few arms and values, in about a minute.")] = False,
    data: Annotated[
        str | None,
        typer.Option(
            help="A data set. (default: mnist-mini for memory and when quick, else mnist; paper: mnist,fashion-mnist)"
        ),
    ] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Where known data sets are looked for first.")] = None,
    widths: Annotated[
        str | None, typer.Option(metavar="N,N", help="Units of each layer. (default: 4 of 500 for memory, else 2)")
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option(
            min=1, help="Samples of a training batch. (default: 64; neuromorphic: 256; paper: all, open points 125)"
        ),
    ] = None,
    rows: Annotated[
        int | None,
        typer.Option(
            min=64,
            help="Training rows used; neuromorphic: test rows. (default: 3000 for memory, else all; paper: 50000, its "
            "open points 25000)",
        ),
    ] = None,
    epochs: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Passes over the rows, for each layer. (default: 1; speed: 5, quick 4; neuromorphic: 15, quick 8; "
            "paper: 1000, open points 5)",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    threads: Annotated[int | None, typer.Option(min=1, help="Of every arm. (default: 2; inference, paper: 1)")] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder of the results; what stands there is not measured again. (default: bench-<measure>)"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the results as one JSON document.")] = False,
) -> None:
    """Compare ffedge with backpropagation, each arm in a process of its own.

    Backprop arms need torch, those in onnxruntime onnxsim. The paper's arms are ff, fcff and acff, with -shuffled the
    control of a collaborating one; they train in this process, and go on where they were stopped.
    """
    if neuromorphic:
        from ffedge.cli import bench_spikes

        if memory or speed or inference or paper or open_points or reading or sweep or targets or repeat or arms:
            raise ValueError("--neuromorphic goes with no other measure, open points, sweep, targets, repeat or arms")
        given = {"data": data, "widths": parse("widths", widths) if widths else None, "epochs": epochs}
        given |= {"batch_size": batch_size, "rows": rows, "threads": threads, "seed": seed}
        bench_spikes.run(given, out, data_dir, quick=quick, as_json=as_json)
        return
    from ffedge.cli.bench_live import Live
    from ffedge.compare.runs import Request, run

    measures = {"memory": memory, "speed": speed, "inference": inference, "paper": paper}
    chosen = [kind for kind, on in measures.items() if on]
    if len(chosen) != 1:
        raise ValueError(
            "bench needs one of --memory, --speed, --inference, --paper and --neuromorphic, the measure to take"
        )
    work = {
        "data": data,
        "data_dir": str(data_dir.resolve()) if data_dir else None,
        "widths": parse("widths", widths) if widths else None,
        "batch_size": batch_size,
        "rows": rows,
        "epochs": epochs,
        "seed": seed,
        "threads": threads,
    }
    request = Request(
        kind=chosen[0],  # type: ignore[arg-type]
        out=out or Path(f"bench-{chosen[0]}"),
        work=work,
        arms=tuple(arms.split(",")) if arms else None,
        sweep=sweep,
        targets=_fractions(targets) if targets else None,
        repeat=repeat,
        quick=quick,
        open_points=open_points or None,
        reading=tuple(reading) if reading else None,
    )
    outcome = run(request, Live())
    if outcome.no_figure:
        print(f"no figure: {outcome.no_figure}", file=sys.stderr)
    if as_json:
        print(json.dumps(outcome.document))
    else:
        from ffedge.cli.bench_tables import print_outcome

        print_outcome(outcome)


def _fractions(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise ValueError(f"--targets must be fractions with commas between, got {text!r}") from error
