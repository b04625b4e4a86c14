"""ffedge data."""

from argparse import Namespace

from ffedge.cli.parser import Parser, argument, check_data_dir, one_of, shared


def add_flags(parser: Parser) -> None:
    """Describe the words of the command."""
    argument(
        parser, "action", "list: the data sets known by name; fetch: find one, or download it.", one_of("list", "fetch")
    )
    argument(parser, "name", "Of fetch: a known name, or a file or folder to check.", str, nargs="?")
    shared(parser, "--data-dir")


def run(options: Namespace) -> None:
    """List the data sets that ffedge knows by name; or find one, check it, and say what it holds."""
    if (options.action == "fetch") == (options.name is None) or (options.action == "list" and options.given):
        raise ValueError("data takes list alone, or fetch and a name. Try `ffedge data --help`")
    if options.action == "list":
        _list()
    else:
        _fetch(options)


def _list() -> None:
    from ffedge.cli.tables import print_table
    from ffedge.data import NAMES

    rows = [
        [known.name, f"{known.train_rows:,}", f"{known.test_rows:,}", known.licence, known.description]
        for known in NAMES.values()
    ]
    print_table("", ["name", "train rows", "test rows", "licence", ""], rows)


def _fetch(options: Namespace) -> None:
    from ffedge.data import load
    from ffedge.training.shown import progress

    check_data_dir(options, options.name)
    with progress() as hear:
        dataset = load(options.name, options.data_dir, progress=True, hear=hear)
    test = f", {len(dataset.test.labels):,} test" if dataset.test else ""
    print(
        f"{dataset.name}: {len(dataset.train.labels):,} train{test} rows of {dataset.input_dtype} "
        f"{list(dataset.input_shape)}, {dataset.n_classes} classes, sha256 {dataset.sha256}"
    )
