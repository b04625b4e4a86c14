"""Tables and figures for a person, on stdout."""


def percent(share: float | None) -> str:
    """Print a fraction as per cent, or a dash."""
    return "-" if share is None else f"{100 * share:.2f} %"


def print_table(title: str, columns: list[str], rows: list[list[str]], *, figures: bool = True) -> None:
    """Print a table; figures stand to the right, words to the left."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for place, column in enumerate(columns):
        table.add_column(column, justify="right" if figures and place else "left", overflow="fold")
    for row in rows:
        table.add_row(*row)
    console = Console(highlight=False, markup=False, emoji=False)  # a name may be anything
    if not console.is_terminal:
        console.width = 200
    console.print(table)
