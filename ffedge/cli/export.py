"""ffedge export."""

import dataclasses
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from ffedge.exporting.fastest import Row
    from ffedge.exporting.forms import Form


def command(
    run: Annotated[Path, typer.Argument(help="A run folder; for a form also the model.onnx that training wrote.")],
    out: Annotated[Path, typer.Option(help="The model file to write.")] = Path("model.onnx"),
    form: Annotated[
        str | None,
        typer.Option(
            metavar="exact|pruned|head|int8|pruned-int8|head-int8",
            help="A form that answers sooner. exact: the same scores. pruned: the deeper layers try only the labels "
            "that lead after the first. head: one pass without a label, read out. int8: whole-number products. "
            "(default: the model as trained)",
        ),
    ] = None,
    fastest: Annotated[
        bool, typer.Option("--fastest", help="Measure all forms on this machine and write the fastest.")
    ] = False,
    max_loss: Annotated[
        float, typer.Option(min=0, help="Percentage points of accuracy on the held-out rows that a form may lose.")
    ] = 0.2,
    coverage: Annotated[
        float | None,
        typer.Option(help="Share of the held-out rows whose answers shall count as known. (default: the training's)"),
    ] = None,
    data: Annotated[str | None, typer.Option(help="What the model learnt from. (default: what it tells)")] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Where known data sets are looked for first.")] = None,
    nir: Annotated[
        Path | None, typer.Option(help="Write a spiking network into this NIR file instead. Needs the extra nir.")
    ] = None,
    timesteps: Annotated[int | None, typer.Option(help="NIR: timesteps of a prediction. (default: 256)")] = None,
    reset: Annotated[
        str | None,
        typer.Option(metavar="subtract|zero", help="NIR: of a neuron that spiked. (default: subtract)"),
    ] = None,
    leak: Annotated[
        int | None, typer.Option(help="NIR: time constant of leaky neurons, in timesteps. (default: no leak)")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the file.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Write the model of a run's newest checkpoint, also of a run that is not at its end, as it is or in another form.

    Forms are made on a workstation, from the rows that the model learnt from and those that were held out. Their file
    says what was lost.
    """
    from ffedge.training.folder import check_free, export, stored

    given = {"timesteps": timesteps, "reset": reset, "leak": leak}
    of_spikes = {name: value for name, value in given.items() if value is not None}
    if nir is not None:
        if form or fastest or coverage is not None:
            raise ValueError("export takes --nir, or --form, --fastest and --coverage, not both")
        from ffedge.cli import spikes

        spikes.export(run, nir, as_json, **of_spikes, data=data, data_dir=data_dir, force=force)
        return
    if of_spikes:
        raise ValueError(f"--{min(of_spikes)} is for spikes. Name their file with --nir")
    if form and fastest:
        raise ValueError("export takes --form or --fastest, not both")
    if form is None and not fastest:
        if not run.exists():
            raise ValueError(f"{run}: there is no such run. Pass the folder of one, or a model.onnx with --form")
        if not run.is_dir():
            raise ValueError(f"export of the model file {run} needs --form or --fastest")
        export(run, out, force=force)
        if coverage is not None:
            from ffedge.recalibration import recalibrate

            recalibrate(out, data or stored(run)[1], coverage, data_dir=data_dir)
        table: list[Row] = []
        made = None
    else:
        check_free(out, force=force)
        made, table = _made(run, form, max_loss, coverage, data, data_dir)
        _write(out, made)
    size = out.stat().st_size
    if as_json:
        told = {key: value for key, value in dataclasses.asdict(made).items() if key != "model"} if made else {}
        rows = {"table": [dataclasses.asdict(row) for row in table]} if table else {}
        print(json.dumps({"model": str(out), "bytes": size, **told, **rows}))
        return
    if table:
        _print(table)
    if made:
        print(f"form {_said(made)}")
    print(f"model {out} ({size / 1e6:.2f} MB)")


def _made(
    run: Path, form: str | None, max_loss: float, coverage: float | None, data: str | None, data_dir: Path | None
) -> "tuple[Form, list[Row]]":
    from ffedge.exporting.fastest import fastest
    from ffedge.exporting.forms import Forms
    from ffedge.exporting.names import FORMS
    from ffedge.exporting.source import open_rows, read_trained

    if form and form not in FORMS:
        raise ValueError(f"--form must be one of {', '.join(FORMS)}, got {form!r}")
    trained = read_trained(run)
    if form == "exact" and data is None and coverage is None:
        return Forms(trained, None).make(form), []
    rows = open_rows(trained, data, data_dir)
    if form:
        return Forms(trained, rows, max_loss, coverage).make(form), []
    choice = fastest(trained, rows, max_loss, lambda name: print(f"{name} …", file=sys.stderr), coverage)
    return choice.form, choice.table


def _write(out: Path, made: "Form") -> None:
    from ffedge.files import atomic_file

    with atomic_file(out) as temporary:
        temporary.write_bytes(made.model)


def _said(made: "Form") -> str:
    tried = f", {made.candidates} labels tried" if made.candidates else ""
    if made.accuracy is None or made.lost is None:
        return f"{made.name}{tried}"
    lost = f"{abs(100 * made.lost):.2f} points {'more' if made.lost < 0 else 'less'} than the model as trained"
    return f"{made.name}{tried}: accuracy {100 * made.accuracy:.2f} % on held-out rows, {lost}"


def _print(table: "list[Row]") -> None:
    from ffedge.cli.tables import percent, print_table

    sizes = list(table[0].call_s)
    rows = [
        [
            row.name + (f" ({row.candidates} labels)" if row.candidates else ""),
            percent(row.accuracy),
            "-" if row.lost is None else f"{100 * row.lost:.2f}",
            *(f"{1e3 * row.call_s[size]:.4f}" if row.call_s else "-" for size in sizes),
            "-" if row.n_bytes is None else f"{row.n_bytes:,}",
        ]
        for row in table
    ]
    print_table(
        "held-out rows; one thread of this machine",
        ["form", "accuracy", "points lost", *(f"ms, batch {size}" for size in sizes), "bytes"],
        rows,
    )
    for row in table:
        if row.why_not:
            print(f"-: {row.name}: {row.why_not}")
