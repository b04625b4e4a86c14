"""The page of a run: what its folder holds, and what its data still tell; what is lacking is said in a line.

Every text that comes from a file is escaped, and the page forbids itself scripts and the network.
"""

from collections.abc import Callable
from html import escape
from pathlib import Path

from ffedge.data import Dataset, Listener, load
from ffedge.data.cache_folder import sha256_of
from ffedge.errors import DataError, FfedgeError, ModelError, one_line
from ffedge.model.file import Model
from ffedge.network import InputFacts
from ffedge.page.answers import Answers, answers
from ffedge.page.beside import beside
from ffedge.page.charts import Line, bar_chart, figure, histogram, line_chart
from ffedge.page.document import document, lacking_lines, section
from ffedge.page.epochs import epochs, metrics
from ffedge.page.rows import cards, weights
from ffedge.page.tables import confusion
from ffedge.predict.predictor import Predictor
from ffedge.training.folder import StoredRun
from ffedge.training.records import Report

MIB = 2**20


def page(
    run: Path,
    data: str | None = None,
    data_dir: Path | None = None,
    hear: Listener | None = None,
    say: Callable[[str], str] = str,
    bench: Path | None = None,
) -> str:
    """Return the page of a finished run as HTML.

    Parameters
    ----------
    data : what the run learnt from, where that is no longer where it was.
    hear : is told how the reading of the data goes, and what is lacking.
    say : puts what is lacking into words for a user.
    bench : what ``ffedge bench`` measured, to be shown beside.

    Raises
    ------
    ModelError
        There is no report.json that can be read.
    DataError
        `bench` cannot be read.
    """
    report, hear, lacking = Report.read(run / "report.json"), hear or Listener(), []
    sections = [_summary(report, run)]
    try:
        records = metrics(run, len(report.spec["network"]["widths"]))
        told = sum(layer.epochs for layer in report.layers)
        if len(records) < told:
            lacking.append(f"metrics.jsonl tells {len(records)} of {told} epochs of layers. The others are not shown")
        sections.append(epochs(records))
    except FfedgeError as error:
        lacking.append(str(error))
    sections += [_cost(report), beside(bench) if bench else ""]
    try:
        predictor, model = Predictor(run / "model.onnx"), Model(run / "model.onnx")
        if sha256_of(run / "model.onnx") != report.model_sha256:
            lacking.append(
                "model.onnx has changed since this run, as by `ffedge learn`; what follows is of it as it is"
            )
        try:
            found = answers(predictor, _data(report, predictor.facts, run, data, data_dir, hear))
            sections += _answered(found, predictor)
        except (FfedgeError, ValueError) as error:
            lacking.append(f"The rows cannot be shown, and what the model says of them: {error}")
        sections.append(weights(model))
    except FfedgeError as error:
        lacking.append(str(error))
    lacking = [say(line) for line in lacking]
    for line in lacking:
        hear.note(line)
    return document(_title(report), [sections[0], lacking_lines(lacking), *sections[1:], _about(report)])


def _data(
    report: Report, facts: InputFacts, run: Path, data: str | None, data_dir: Path | None, hear: Listener
) -> Dataset:
    """Open the data that a run learnt from, and no other: they must have its checksum."""
    reading = None
    try:
        stored = StoredRun.read(run, though_learnt=True)
        source, reading = data or stored.source, stored.reading
    except ModelError:
        if data is None:
            raise
        source = data
    dataset = load(source, data_dir, table=facts.table, reading=reading, shape=facts.shape, hear=hear)
    if dataset.sha256 != report.data.get("sha256"):
        raise DataError(f"{dataset.name}: is not what the run learnt from (its sha256 differs). Pass that as `data`")
    return dataset


def _title(report: Report) -> str:
    return one_line(f"{report.spec['rule']['variant']} on {report.data['name']}")


def _summary(report: Report, run: Path) -> str:
    tested = [] if report.test_accuracy is None else [("test accuracy", f"{report.test_accuracy:.2%}")]
    widths = ", ".join(map(str, report.spec["network"]["widths"]))
    facts = [
        *tested,
        ("train accuracy", f"{report.train_accuracy:.2%}"),
        ("layers", widths),
        ("seconds", f"{report.seconds:.1f}"),
        ("peak memory", f"{report.rss_peak_bytes / MIB:.0f} MiB"),
        ("model", f"{report.model_bytes / 1e6:.2f} MB"),
    ]
    told = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in facts)
    notes = [str(note) for note in report.data.get("notes", []) if isinstance(note, str)]
    notes += [str(report.data["odd"])] if report.data.get("odd") else []
    notes += [report.stopped] if report.stopped else []
    more = "".join(f"<li>{escape(one_line(note))}</li>" for note in notes)
    where = escape(one_line(str(run)))
    return f"<h1>{escape(_title(report))}</h1><p>{where}</p><dl>{told}</dl>" + (f"<ul>{more}</ul>" if more else "")


def _cost(report: Report) -> str:
    seconds = [(f"layer {r.index}", r.seconds, f"{r.seconds:.1f} s") for r in report.layers]
    peaks = [(f"layer {r.index}", r.rss_peak_bytes / MIB, f"{r.rss_peak_bytes / MIB:.0f} MiB") for r in report.layers]
    state = [(f"layer {r.index}", r.state_bytes / MIB, f"{r.state_bytes / MIB:.2f} MiB") for r in report.layers]
    charts = [
        bar_chart("Seconds of each layer", seconds),
        bar_chart("Peak memory of the process in each layer", peaks),
        bar_chart("Weights and moments of each layer", state),
    ]
    return section("What it took", charts)


def _answered(found: Answers, predictor: Predictor) -> list[str]:
    """Return what the model says of the rows: confusion, goodness, rejection, and rows to look at."""
    of = f"{found.count:,} {found.of}"
    rejecting = [Line("by margin", found.rejection, 0)]
    if found.known:
        rejecting.append(Line("what counts as known", [found.known], 1))
    even = Line("as it should be", [(0.0, 0.0), (1.0, 1.0)], 7, dashed=True)
    calibrated = [Line("share that is right", found.calibration, 0), even] if found.calibration else []
    charts = [
        line_chart("Calibration of the probabilities", calibrated, "probability", per_cent=True, last=False),
        line_chart(f"Accuracy where the least sure of {of} are rejected", rejecting, "share answered", per_cent=True),
        *(
            histogram(f"Goodness of layer {i} on {found.of}", edges, [("true label", mine), ("best other", best)])
            for i, (edges, mine, best) in enumerate(found.goodness)
        ),
    ]
    surest = cards(found.mistakes, predictor.recipe, predictor.facts) or "<p>There are none.</p>"
    unsure = cards(found.unsure, predictor.recipe, predictor.facts)
    counts = figure("True classes, and the labels that their rows got", confusion(found.confusion, predictor.classes))
    return [
        f"<section><h2>What it says of {of}: {found.accuracy:.2%} are right</h2>{counts}</section>",
        section("How sure it is", charts),
        f"<section><h2>The surest mistakes</h2>{surest}</section>",
        f"<section><h2>The least sure</h2>{unsure}</section>",
    ]


def _about(report: Report) -> str:
    parts = [f"{name} {value}" for name, value in (*report.versions.items(), *report.machine.items())]
    return f"<footer>{escape(one_line(', '.join(parts)))}</footer>"
