"""ffedge report."""

from argparse import Namespace
from pathlib import Path

from ffedge.cli.parser import Parser, Plays, argument, check_data_dir, flag, shared

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
        print_layers(report, options.run / "model.onnx")


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
