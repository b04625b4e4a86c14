"""ffedge bench."""

import json
import sys
from argparse import Namespace
from pathlib import Path

from ffedge.cli.parser import Parser, flag, shared, value, whole
from ffedge.cli.spec_flags import reader

WIDTHS = reader(tuple[int, ...])
TARGETS = value(lambda text: tuple(map(float, text.split(","))), "X,X", "fractions with commas between")
WORK = ("data", "widths", "epochs", "batch_size", "rows", "threads", "seed")
NOT_OF_SPIKES = (
    *("memory", "speed", "inference", "paper", "open_points", "reading", "sweep", "targets", "repeat", "arms"),
)


def add_flags(parser: Parser) -> None:
    """Describe the words of the command."""
    measures = parser.add_argument_group("Measures")
    flag(measures, "--memory", "Peak memory and time, layer by layer, of each arm.")
    flag(measures, "--speed", "Rows a second, and time to given accuracies, of each arm.")
    flag(measures, "--inference", "Latency and throughput of an exported model, beside others.")
    flag(measures, "--paper", "FF, F-CFF and A-CFF as the NetworkFF paper trains them, over seeds.")
    flag(measures, "--open-points", "Paper: each reading of what it leaves open, with the shuffled control.")
    flag(measures, "--neuromorphic", "A network as spikes, as numbers, and an MLP, by NeuroBench's metrics.")
    text = "Open points: this reading only, and FF beside it; may be given several times. (default: all)"
    flag(parser, "--reading", text, value(str, "'POINT: VALUE'"), action="append")
    flag(parser, "--sweep", "Memory at several depths, widths or batch sizes.", value(str, "depth|width|batch"))
    flag(parser, "--targets", "Accuracies to reach. (default: 0.97,0.98; quick: 0.9,0.92)", TARGETS)
    text = "Runs of each arm, whose median counts; seeds of the paper. (default: 3; paper: 5; quick: 1)"
    flag(parser, "--repeat", text, whole(1))
    flag(parser, "--arms", "Names, with commas. (default: all; a few with --sweep or --quick)", str)
    flag(parser, "--quick", "A few arms and values, in about a minute.")
    text = "A data set. (default: mnist-mini for memory and when quick, else mnist; paper: mnist,fashion-mnist)"
    flag(parser, "--data", text, str)
    shared(parser, "--data-dir")
    flag(parser, "--widths", "Units of each layer. (default: 4 of 500 for memory, else 2)", WIDTHS)
    text = "Samples of a training batch. (default: 64; neuromorphic: 256; paper: all, open points 125)"
    flag(parser, "--batch-size", text, whole(1))
    text = "Training rows used; neuromorphic: test rows. (default: 3000 for memory, else all; paper: 50000, its open "
    flag(parser, "--rows", f"{text}points 25000)", whole(64))
    text = "Passes over the rows, for each layer. (default: 1; speed: 5, quick 4; neuromorphic: 15, quick 8; paper: "
    flag(parser, "--epochs", f"{text}1000, open points 5)", whole(1))
    flag(parser, "--seed", "Of the weights and the order of rows.", whole(0), default=0)
    flag(parser, "--threads", "Of every arm. (default: 2; inference, paper: 1)", whole(1))
    text = "Folder of the results; what stands there is not measured again. (default: bench-<measure>)"
    flag(parser, "--out", text, Path, metavar="FOLDER")
    flag(parser, "--json", "Print the results as one JSON document.")


def run(options: Namespace) -> None:
    """Compare ffedge with backpropagation, each arm in a process of its own.

    Backprop arms need torch, those in onnxruntime onnxsim. The paper's arms are ff, fcff and acff, with -shuffled the
    control of a collaborating one; they train in this process, and go on where they were stopped.
    """
    if options.neuromorphic:
        from ffedge.cli import bench_spikes

        if any(getattr(options, name) for name in NOT_OF_SPIKES):
            raise ValueError("--neuromorphic goes with no other measure, open points, sweep, targets, repeat or arms")
        given = {name: getattr(options, name) for name in WORK}
        bench_spikes.run(given, options.out, options.data_dir, quick=options.quick, as_json=options.json)
        return
    from ffedge.cli.bench_live import Live
    from ffedge.compare import runs

    chosen = [kind for kind in ("memory", "speed", "inference", "paper") if getattr(options, kind)]
    if len(chosen) != 1:
        raise ValueError(
            "bench needs one of --memory, --speed, --inference, --paper and --neuromorphic, the measure to take"
        )
    work = {name: getattr(options, name) for name in WORK}
    work["data_dir"] = str(options.data_dir.resolve()) if options.data_dir else None
    request = runs.Request(
        kind=chosen[0],  # type: ignore[arg-type]
        out=options.out or Path(f"bench-{chosen[0]}"),
        work=work,
        arms=tuple(options.arms.split(",")) if options.arms else None,
        sweep=options.sweep,
        targets=options.targets,
        repeat=options.repeat,
        quick=options.quick,
        open_points=options.open_points or None,
        reading=tuple(options.reading) if options.reading else None,
    )
    outcome = runs.run(request, Live())
    if outcome.no_figure:
        print(f"no figure: {outcome.no_figure}", file=sys.stderr)
    if options.json:
        print(json.dumps(outcome.document))
    else:
        from ffedge.cli.bench_tables import print_outcome

        print_outcome(outcome)
