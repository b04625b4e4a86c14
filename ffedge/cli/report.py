"""ffedge report."""

from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from ffedge.cli.parser import Parser, Plays, argument, check_data_dir, flag, shared

if TYPE_CHECKING:
    from ffedge.training.records import Report

PAGE = Plays(only_with=("html",))


def add_flags(parser: Parser) -> None:
    """Describe the words of the command."""
    argument(parser, "run", "A run folder.")
    flag(parser, "--json", "Print the report as one JSON document.")
    page = parser.add_argument_group("A page to look at")
    text = "Write one HTML file that needs no network: curves, confusion, mistakes, weights."
    flag(page, "--html", text, Path, metavar="FILE", plays=Plays(not_with=("json",)))
    flag(page, "--force", "Replace the file.", plays=PAGE)
    flag(page, "--data", "What the run learnt from, where that has moved.", str, plays=PAGE)
    shared(page, "--data-dir", plays=PAGE)
    beside = "What `ffedge bench --memory` or --speed measured beside backprop: its file or folder."
    flag(page, "--bench", beside, Path, metavar="RESULT", plays=PAGE)


def run(options: Namespace) -> None:
    """Print the closing table of a finished run again, or write a page that shows it."""
    from ffedge.cli.progress import print_layers
    from ffedge.training.records import Report

    if options.html:
        _write(options)
        return
    report = Report.read(options.run / "report.json")
    if options.json:
        print(report.to_json())
    else:
        model = options.run / "model.onnx"
        print_layers(report, model)
        for note in _notes(report, model):
            print(f"note: {note}")


def _notes(report: "Report", model: Path) -> list[str]:
    """Return what the table does not tell: why the run stopped early, and that its model is another one by now."""
    from ffedge.data.cache_folder import sha256_of

    notes = [f"{report.stopped}. The network of the last checkpoint is told"] if report.stopped else []
    if not model.is_file():
        notes.append(f"{model} is not there any more")
    elif sha256_of(model) != report.model_sha256:
        notes.append(f"{model} has changed since this run, as by `ffedge learn`; the table tells what it was")
    return notes


def _write(options: Namespace) -> None:
    from ffedge.cli.commands import with_flags
    from ffedge.files import atomic_file
    from ffedge.page.page import page
    from ffedge.training.folder import check_free
    from ffedge.training.records import Report
    from ffedge.training.shown import progress

    check_free(options.html, force=options.force, name="html")
    check_data_dir(options, options.data or Report.read(options.run / "report.json").data["name"])
    with progress() as hear:
        text = page(
            options.run, options.data, options.data_dir, hear, lambda text: with_flags(text, "report"), options.bench
        )
    with atomic_file(options.html) as temporary:
        temporary.write_text(text)
    print(f"page {options.html} ({len(text) / 1e3:,.0f} kB)")
