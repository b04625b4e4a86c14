"""ffedge merge."""

from argparse import Namespace
from pathlib import Path

from ffedge.cli.parser import NUMBER, Parser, argument, flag, one_of, whole
from ffedge.cli.tables import print_table

METHOD_HELP = (
    "mean: by rows. median: of each weight, of three models or more, all alike. trimmed: a mean without a fifth of the "
    "models, at least one, at either end."
)
MOST_HELP = (
    "Refuse a model whose weights in a layer are so many times as long as the others', or have moved so many times as "
    "far. (default: 10)"
)


def add_flags(parser: Parser) -> None:
    """Describe the words of the command."""
    argument(parser, "models", "Two model.onnx or more, which learnt from one.", nargs="+")
    flag(parser, "--out", "The model file to write.", Path, metavar="FILE", required=True)
    rows = "Rows that each model learnt since they parted. (default: as the files tell)"
    flag(parser, "--rows", rows, whole(0), nargs="+")
    flag(parser, "--method", METHOD_HELP, one_of("mean", "median", "trimmed"), default="mean")
    flag(parser, "--most-norm", MOST_HELP, NUMBER)
    flag(parser, "--force", "Replace the file.")
    flag(parser, "--json", "Print one JSON document.")


def run(options: Namespace) -> None:
    """Make one model of several that learnt apart, on rows that never left their boards."""
    from ffedge.learning.merge import merge
    from ffedge.training.folder import check_free

    if options.out not in options.models:  # which `merge` refuses, forced or not
        check_free(options.out, force=options.force)
    merged = merge(options.models, options.out, rows=options.rows, method=options.method, most_norm=options.most_norm)
    if options.json:
        print(merged.to_json())
        return
    rows = [f"{n:,}" for n in merged.rows] if merged.rows is not None else ["-"] * len(merged.models)
    cells = [
        [model, count, f"{100 * share:.1f} %", f"{moved:.2f}"]
        for model, count, share, moved in zip(merged.models, rows, merged.shares, merged.moved, strict=True)
    ]
    print_table("merged", ["model", "rows", "share", "moved, of the others"], cells)
    for note in merged.notes:
        print(f"note: {note}")
    print(f"model {merged.model}")
