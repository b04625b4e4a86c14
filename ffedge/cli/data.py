"""ffedge data."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="List, fetch and check data sets.", no_args_is_help=True)


@app.command("list")
def list_known() -> None:
    """List the data sets that ffedge knows by name."""
    from ffedge.cli.tables import print_table
    from ffedge.data import NAMES

    rows = [
        [known.name, f"{known.train_rows:,}", f"{known.test_rows:,}", known.licence, known.description]
        for known in NAMES.values()
    ]
    print_table("", ["name", "train rows", "test rows", "licence", ""], rows)


@app.command("fetch")
def fetch(
    name: Annotated[str, typer.Argument(help="A known name, or a file or folder to check.")],
    data_dir: Annotated[Path | None, typer.Option(help="Where known data sets are looked for first.")] = None,
) -> None:
    """Find a data set or download it, check it, and say what it holds."""
    from ffedge.data import load

    dataset = load(name, data_dir, progress=True)
    test = f", {len(dataset.test.labels):,} test" if dataset.test else ""
    print(
        f"{dataset.name}: {len(dataset.train.labels):,} train{test} rows of {dataset.input_dtype} "
        f"{list(dataset.input_shape)}, {dataset.n_classes} classes, sha256 {dataset.sha256}"
    )
