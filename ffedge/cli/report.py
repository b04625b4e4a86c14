"""ffedge report."""

from argparse import Namespace

from ffedge.cli.parser import Parser, argument, flag


def add_flags(parser: Parser) -> None:
    """Describe the words of the command."""
    argument(parser, "run", "A run folder.")
    flag(parser, "--json", "Print the report as one JSON document.")


def run(options: Namespace) -> None:
    """Print the closing table of a finished run again."""
    from ffedge.cli.progress import print_layers
    from ffedge.training.records import Report

    report = Report.read(options.run / "report.json")
    if options.json:
        print(report.to_json())
    else:
        print_layers(report, options.run / "model.onnx")
