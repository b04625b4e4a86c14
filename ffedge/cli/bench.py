"""ffedge bench."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ffedge.cli.options import parse

if TYPE_CHECKING:
    from ffedge.compare.memory import Point

MIB = 2**20
QUICK_VALUES = 3


def command(
    memory: Annotated[
        bool, typer.Option("--memory", help="Peak memory and time, layer by layer, of each arm.")
    ] = False,
    sweep: Annotated[
        str | None, typer.Option(metavar="depth|width|batch", help="Measure at several depths, widths or batch sizes.")
    ] = None,
    arms: Annotated[
        str | None, typer.Option(help="Names, with commas. (default: all; a few with --sweep or --quick)")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="A few arms and values, in about a minute.")] = False,
    data: Annotated[str, typer.Option(help="A data set.")] = "mnist-mini",
    data_dir: Annotated[Path | None, typer.Option(help="Where known data sets are looked for first.")] = None,
    widths: Annotated[str, typer.Option(metavar="N,N", help="Units of each layer.")] = "500,500,500,500",
    batch_size: Annotated[int, typer.Option(min=1, help="Samples of a batch.")] = 64,
    rows: Annotated[int, typer.Option(min=64, help="Training rows used.")] = 3000,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the rows; ffedge takes as many for each layer.")] = 1,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    threads: Annotated[int, typer.Option(min=1, help="Of every arm.")] = 2,
    out: Annotated[Path, typer.Option(help="Folder of the results; what stands there is not measured again.")] = Path(
        "bench-memory"
    ),
    as_json: Annotated[bool, typer.Option("--json", help="Print the results as one JSON document.")] = False,
) -> None:
    """Compare ffedge with backpropagation, each arm in a process of its own. Needs torch for the backprop arms."""
    from ffedge.compare import memory as comparison
    from ffedge.compare.arms import ARMS, QUICK, SWEPT, Work, check_arms

    if not memory:
        raise ValueError("bench needs --memory, the measure to take")
    if sweep is not None and sweep not in comparison.SWEEPS:
        raise ValueError(f"--sweep must be one of {', '.join(comparison.SWEEPS)}, got {sweep!r}")
    names = arms.split(",") if arms else list(SWEPT if sweep else QUICK if quick else ARMS)
    check_arms(names)
    values = comparison.SWEEPS[sweep] if sweep else ()
    where = str(data_dir.resolve()) if data_dir else None
    work = Work(data, where, parse("widths", widths), batch_size, rows, epochs, seed, threads)
    out.mkdir(parents=True, exist_ok=True)
    measurer = comparison.Measurer(out / "measures.jsonl", lambda text: print(text, file=sys.stderr, flush=True))
    found = comparison.points(measurer, names, work, sweep, values[:QUICK_VALUES] if quick else values)
    result = comparison.document(found, sweep)
    stem = out / ("memory" if sweep is None else f"memory-{sweep}")
    stem.with_suffix(".json").write_text(json.dumps(result, indent=1) + "\n")
    written = _draw(found, sweep, stem)
    if as_json:
        print(json.dumps(result))
        return
    for point in found:
        _print(point, sweep)
    _print_conclusion(found, sweep)
    print(", ".join(str(path) for path in [stem.with_suffix(".json"), *written]))


def _draw(found: "list[Point]", sweep: str | None, stem: Path) -> list[Path]:
    from ffedge.compare.figures import draw
    from ffedge.compare.memory import bound_bytes
    from ffedge.errors import FfedgeError

    try:
        return draw(found, sweep, [bound_bytes(p.work, p.inputs, "adam") for p in found], stem)
    except FfedgeError as error:
        print(f"no figure: {error}", file=sys.stderr)
        return []


def _print(point: "Point", sweep: str | None) -> None:
    from ffedge.cli.tables import percent, print_table

    rows = [
        [
            m.arm,
            f"{m.import_bytes / MIB:.0f}",
            f"{m.peak_over_imports_bytes / MIB:.1f}",
            f"{m.rss_peak_bytes / MIB:.0f}",
            *(_counted(m.counted_bytes[key]) for key in ("weights", "gradients", "moments", "saved_for_backward")),
            f"{m.seconds:.1f}",
            percent(m.accuracy),
        ]
        for m in point.measures
    ]
    title = f"{sweep} {point.value}, MiB" if sweep else "MiB"
    columns = [
        "arm",
        "imports",
        "over\nimports",
        "process",
        "weights",
        "grad.",
        "moments",
        "saved f.\nbackward",
        "s",
        "held out",
    ]
    print_table(title, columns, rows)
    if sweep is None:
        for m in point.measures[:1] + [m for m in point.measures if m.arm == "backprop-adam"][:1]:
            layers = [
                [
                    f"{x.index}: {x.units}",
                    "-" if x.seconds is None else f"{x.seconds:.2f}",
                    f"{x.rss_start_bytes / MIB:.0f}",
                    "-" if x.rss_peak_bytes is None else f"{x.rss_peak_bytes / MIB:.0f}",
                ]
                for x in m.layers
            ]
            print_table(m.arm, ["layer", "seconds", "start MiB", "peak MiB"], layers)


def _counted(count: int | None) -> str:
    return "-" if count is None else f"{count / MIB:.2f}"


def _print_conclusion(found: "list[Point]", sweep: str | None) -> None:
    from ffedge.compare.memory import crossover, sentences

    for sentence in sentences(found[-1].measures):
        print(sentence)
    if sweep is None:
        return
    names = [m.arm for m in found[0].measures]
    for own in (name for name in names if name.startswith("ffedge")):
        for other in (name for name in names if name.startswith("backprop")):
            start = crossover(found, own, other)
            where = "at no value measured" if start is None else f"from {sweep} {start:.3g} on"
            print(f"{own} takes less than {other} {where}.")
