"""ffedge export."""

import dataclasses
import sys
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from ffedge import json_text
from ffedge.cli.parser import NUMBER, Parser, Plays, argument, check_data_dir, flag, one_of, shared, value, whole

if TYPE_CHECKING:
    from ffedge.export.fastest import Row
    from ffedge.export.forms import Form

FORM = one_of("exact", "pruned", "head", "int8", "pruned-int8", "head-int8")
OF_SPIKES = ("timesteps", "reset", "leak", "current_based", "traces")
SPIKES, FORMS, NO_SPIKES = Plays(only_with=("nir",)), Plays(only_with=("form", "fastest")), Plays(not_with=("nir",))
WITH_ROWS = Plays(only_with=("coverage", "form", "fastest", "nir"))
FORM_HELP = (
    "exact: the same scores. pruned: the deeper layers try only the labels that lead after the first. head: one pass "
    "without a label, read out. int8: whole-number products. (default: the model as trained)"
)
COVERAGE_HELP = "Share of the held-out rows whose answers shall count as known. (default: the training's)"


def add_flags(parser: Parser) -> None:
    """Describe the words of the command."""
    argument(parser, "run", "A run folder; for a form also the model.onnx that training wrote.")
    flag(parser, "--out", "The model file to write.", Path, default=Path("model.onnx"), metavar="FILE", plays=NO_SPIKES)
    flag(parser, "--coverage", COVERAGE_HELP, NUMBER, plays=NO_SPIKES)
    flag(parser, "--data", "What the model learnt from. (default: what it tells)", str, plays=WITH_ROWS)
    shared(parser, "--data-dir", plays=WITH_ROWS)
    flag(parser, "--force", "Replace the file.")
    flag(parser, "--json", "Print one JSON document.")
    forms = parser.add_argument_group("Forms that answer sooner")
    flag(forms, "--form", FORM_HELP, FORM, plays=Plays(not_with=("fastest", "nir")))
    flag(forms, "--fastest", "Measure all forms on this machine and write the fastest.", plays=NO_SPIKES)
    most = "Percentage points of accuracy on the held-out rows that a form may lose."
    flag(forms, "--max-loss", most, NUMBER, default=0.2, plays=FORMS)
    spikes = parser.add_argument_group("Spiking networks")
    flag(spikes, "--nir", "Write a NIR file instead. Needs the extra nir.", Path, metavar="FILE")
    flag(spikes, "--timesteps", "NIR: timesteps of a prediction. (default: 256)", whole(1), plays=SPIKES)
    flag(
        spikes,
        "--reset",
        "NIR: of a neuron that spiked. (default: subtract)",
        value(str, "subtract|zero"),
        plays=SPIKES,
    )
    flag(
        spikes,
        "--leak",
        "NIR: time constant of leaky neurons, in timesteps. (default: no leak)",
        whole(1),
        plays=SPIKES,
    )
    based = "NIR: leaky neurons with a synapse (CubaLIF), for readers that know no others."
    flag(spikes, "--current-based", based, plays=Plays(only_with=("leak",)))
    traces = "NIR: write all spikes of N test samples, too, into FILE.traces.nir, to check others' readers by."
    flag(spikes, "--traces", traces, whole(1), plays=SPIKES)


def run(options: Namespace) -> None:
    """Write the model of a run's newest checkpoint, also of a run that is not at its end, as it is or in another form.

    Forms are made on a workstation, from the rows that the model learnt from and those that were held out. Their file
    says what was lost.
    """
    if options.nir is not None:
        _as_spikes(options)
        return
    if options.form or options.fastest:
        form, table = _in_a_form(options)
    else:
        form, table = None, []
        if drawn := _as_trained(options):
            named = ", ".join(map(str, drawn))
            print(f"{options.run}: the run is not at its end: layers {named} have not begun to learn", file=sys.stderr)
    out: Path = options.out
    size = out.stat().st_size
    if options.json:
        told = {key: value for key, value in dataclasses.asdict(form).items() if key != "model"} if form else {}
        rows = {"table": [dataclasses.asdict(row) for row in table]} if table else {}
        print(json_text.text({"model": str(out), "bytes": size, **told, **rows}))
        return
    if table:
        _print(table)
    if form:
        print(f"form {_said(form)}")
    print(f"model {out} ({size / 1e6:.2f} MB)")
    if not form:
        _tell_of_kept(options.run / "model.onnx", out)


def _tell_of_kept(model: Path, copy: Path) -> None:
    """Say where the kept examples are that a model does not learn on without."""
    from ffedge.training.replay import kept_file

    kept, beside = kept_file(model), kept_file(copy)
    if kept.is_file() and not beside.exists():
        print(f"to go on learning from it, copy {kept} to {beside}")


def _as_trained(options: Namespace) -> list[int]:
    """Write the model as trained; return the layers that have not begun to learn."""
    from ffedge.training.folder import export

    run: Path = options.run
    if not run.exists():
        raise ValueError(f"{run}: there is no such run. Pass the folder of one, or a model.onnx with --form")
    if not run.is_dir():
        raise ValueError(f"export of the model file {run} needs --form or --fastest")
    if options.coverage is None:
        return export(run, options.out, force=options.force)
    _calibrated(options)
    return []


def _calibrated(options: Namespace) -> None:
    from ffedge.data import load
    from ffedge.errors import DataError
    from ffedge.files import atomic_file
    from ffedge.model.file import Model
    from ffedge.predict.predictor import Predictor
    from ffedge.predict.recalibration import write_calibrated
    from ffedge.training.folder import StoredRun, check_free

    check_free(options.out, force=options.force)
    stored = StoredRun.read(options.run)
    check_data_dir(options, options.data or stored.source)
    with atomic_file(options.out) as temporary:
        stored.write(temporary)
        model = temporary.read_bytes()
        dataset = load(
            options.data or stored.source,
            options.data_dir,
            finite=False,
            table=stored.facts.table,
            reading=stored.reading,
            shape=stored.facts.shape,
        )
        if options.data is None and dataset.sha256 != stored.data["sha256"]:
            raise DataError(
                f"{dataset.name}: has changed since {options.run} learnt from it, so that its held-out rows are not "
                "known. Pass --data with rows that it has not learnt from"
            )
        write_calibrated(Model(model), Predictor(model), temporary, dataset, options.coverage)


def _in_a_form(options: Namespace) -> "tuple[Form, list[Row]]":
    from ffedge.files import atomic_file
    from ffedge.training.folder import check_free

    check_free(options.out, force=options.force)
    with atomic_file(options.out) as temporary:  # before the work, which is for nothing where it cannot be written
        form, table = _made(options)
        temporary.write_bytes(form.model)
    return form, table


def _made(options: Namespace) -> "tuple[Form, list[Row]]":
    from ffedge.export.fastest import fastest
    from ffedge.export.forms import Forms
    from ffedge.export.source import open_rows, read_trained

    name = options.form
    trained = read_trained(options.run)
    if name == "exact" and not options.given & {"data", "data_dir", "coverage", "max_loss"}:
        return Forms(trained, None).make(name), []
    about = trained.predictor.metadata.get("data")
    named = str(about.get("name")) if isinstance(about, dict) else None
    check_data_dir(options, options.data or trained.source or named)
    rows = open_rows(trained, options.data, options.data_dir)
    if name:
        return Forms(trained, rows, options.max_loss, options.coverage).make(name), []
    return fastest(trained, rows, options.max_loss, _tell, options.coverage)


def _tell(form: str) -> None:
    print(f"{form} …", file=sys.stderr)


def _as_spikes(options: Namespace) -> None:
    from ffedge.spikes.export import export_nir, traces_file
    from ffedge.training.folder import StoredRun

    if "data_dir" in options.given:
        check_data_dir(options, options.data or StoredRun.read(options.run).source)
    given = {name: getattr(options, name) for name in OF_SPIKES if getattr(options, name) is not None}
    more = {"data": options.data, "data_dir": options.data_dir, "force": options.force}
    network = export_nir(options.run, options.nir, **given, **more)
    size, neurons = options.nir.stat().st_size, sum(layer.neurons for layer in network.layers)
    if options.json:
        about = {"bytes": size, "neurons": neurons, "timesteps": network.timesteps, "reset": network.reset}
        print(json_text.text({"model": str(options.nir)} | about))
        return
    said = f"{neurons:,} neurons, {network.timesteps} timesteps, reset {network.reset}"
    print(f"spiking network {options.nir} ({size / 1e6:.2f} MB, {said})")
    if options.traces:
        print(f"traces {traces_file(options.nir)}")


def _said(made: "Form") -> str:
    tried = f", {made.candidates} labels tried" if made.candidates else ""
    if made.accuracy is None or made.lost is None:
        return f"{made.name}{tried}"
    lost = f"{abs(100 * made.lost):.2f} points {'more' if made.lost < 0 else 'less'} than the model as trained"
    said = f"{made.name}{tried}: accuracy {100 * made.accuracy:.2f} % on held-out rows, {lost}"
    if made.failed_known is None or made.model_failed_known is None:
        return said
    shares = f"{100 * made.failed_known:.0f} % (as trained {100 * made.model_failed_known:.0f} %)"
    return f"{said}; of readings as of a failed sensor {shares} count as known"


def _print(table: "list[Row]") -> None:
    from ffedge.cli.tables import percent, print_table

    sizes, failed = list(table[0].call_s), table[0].failed_known is not None
    rows = [
        [
            row.name + (f" ({row.candidates} labels)" if row.candidates else ""),
            percent(row.accuracy),
            "-" if row.lost is None else f"{100 * row.lost:.2f}",
            *([percent(row.failed_known)] if failed else []),
            *(f"{1e3 * row.call_s[size]:.4f}" if row.call_s else "-" for size in sizes),
            "-" if row.n_bytes is None else f"{row.n_bytes:,}",
        ]
        for row in table
    ]
    print_table(
        "held-out rows; one thread of this machine",
        [
            "form",
            "accuracy",
            "points lost",
            *(["failed sensor\nknown"] if failed else []),
            *(f"ms, batch {size}" for size in sizes),
            "bytes",
        ],
        rows,
    )
    for row in table:
        if row.why_not:
            print(f"-: {row.name}: {row.why_not}")
