"""The block on boards that learn together."""

from collections.abc import Sequence
from typing import Any

from results import only
from wording import DATA, MIB, table

NAMES = {
    "ffedge, all layers": "**ffedge**, all layers",
    "ffedge, one layer a round": "**ffedge**, one layer a round",
    "backprop": "backprop, torch",
}
DEALT = {"evenly": "evenly", "by class": "by class", "on one": "one has all"}


def fleet(documents: Sequence[Any]) -> str:
    """Tabulate accuracy, and rounds and bytes to some accuracies, of boards that learn together."""
    settings, runs = only(documents)
    rows = []
    for run in sorted(runs, key=lambda run: (list(DATA).index(run["data"]), run["boards"] > settings["boards"])):
        dealt = DEALT[run["dealt"]]
        if run["faulty"]:
            dealt += "; one killed, one slow"
        if run["asked"]:
            dealt += f" to {run['boards']}, {run['asked']} a round"
        goals = [_reached(*item, alone=run["boards"] == 1) for item in run["reached"].items()]
        cells = [f"{100 * run['test_accuracy']:.2f}", str(len(run["points"])), *goals]
        rows.append([f"{DATA[run['data']]}: {NAMES[run['name']]}", dealt, *cells])
    many = next(run for run in runs if run["asked"])
    text = (
        f"784-500-500, 1 seed; {settings['rows'][0]:,} rows of MNIST and {settings['rows'][1]:,} of Fashion-MNIST; "
        f"{settings['boards']} boards, one epoch a round, batches of 32; rounds and bytes by 2,000 rows that are held "
        f"out. The fleet of {many['boards']} took {many['rss_peak_bytes'] / MIB:.0f} MiB in all, boards in turn"
    )
    heads = ["", "rows dealt", "test accuracy, %", "rounds", "rounds and bytes to …", "… and to"]
    return table(heads, rows, text, "fleet")


def _reached(goal: str, at: Any, *, alone: bool) -> str:
    """Say after how many rounds and bytes an accuracy was reached."""
    name = f"{100 * float(goal):.0f} %"
    if at is None:
        return f"{name}: not"
    return f"{name}: {at[0]}" + ("" if alone else f", {at[1] / 1e6:.0f} MB")
