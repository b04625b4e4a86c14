"""The blocks of the recipe: accuracy by depth beside backprop, and tables beside MLPClassifier."""

import statistics
from collections.abc import Sequence
from typing import Any

from results import COMMANDS
from wording import DATA, counted, listed, table, wrapped

ARMS = {"ffedge": "**ffedge**", "backprop": "backprop, torch"}
MARGIN = 2.0  # points that MLPClassifier may be ahead without being called so


def depth(*results: Sequence[Any]) -> str:
    """Tabulate accuracy by depth; say what each side gains up to 4 layers, and loses at the greatest depth."""
    return "\n\n".join(_depth(documents[-1]) for documents in results)


def _depth(document: Any) -> str:
    settings, runs = document["settings"], document["results"]
    depths, rows, said = settings["depths"], [], list[str]()
    for data in settings["data"]:
        gains = []
        for arm in settings["arms"]:
            each = accuracies(runs, data, arm, depths)
            means = [statistics.mean(values) for values in each.values()]
            rows.append([f"{DATA[data]}, {ARMS[arm]}", *(f"{mean:.2f}" for mean in means)])
            shallow, deep = depths[0], max(d for d in depths if d <= 4)
            gained = [b - a for a, b in zip(each[shallow], each[deep], strict=True)]
            gains.append(f"{arm} gains {statistics.mean(gained):+.2f} ({' '.join(f'{g:+.2f}' for g in gained)})")
            if arm == "ffedge":
                lost = max(means) - means[-1]
        said.append(
            f"{DATA[data]}, from {shallow} to {counted(deep, 'layer')}, paired by seed: {listed(gains)} points. "
            f"{counted(depths[-1], 'layer')} of ffedge lie {lost:.2f} below its best depth."
        )
    head = ["test accuracy, %", *(counted(d, "layer") for d in depths)]
    size = f"Layers of {settings['width']}, `{settings['variant']}`, mean of {counted(len(settings['seeds']), 'seed')}"
    said.append(f"{size}; `{COMMANDS[document['benchmark']]}`.")
    return f"{table(head, rows)}\n\n{wrapped(' '.join(said))}"


def accuracies(runs: Sequence[Any], data: str, arm: str, depths: Sequence[int]) -> dict[int, list[float]]:
    """Return percents by depth, one for each seed in order."""
    own = sorted((run for run in runs if (run["data"], run["arm"]) == (data, arm)), key=lambda run: run["seed"])
    return {d: [100 * run["accuracy"][str(d)] for run in own if str(d) in run["accuracy"]] for d in depths}


def tables(documents: Sequence[Any]) -> str:
    """Tabulate balanced accuracy, and name where MLPClassifier is more than 2 points ahead."""
    settings, runs = documents[-1]["settings"], documents[-1]["results"]
    rows, behind = [], list[str]()
    for name in settings["tables"]:
        own = [run for run in runs if run["table"] == name]
        ours, theirs = (
            [100 * statistics.mean(run[side][measure] for run in own) for measure in ("balanced_accuracy", "accuracy")]
            for side in ("ffedge", "mlp")
        )
        rows.append([name, *(f"{a:.1f} ({b:.1f})" for a, b in (ours, theirs)), f"{ours[0] - theirs[0]:+.1f}"])
        if ours[0] < theirs[0] - MARGIN:
            behind.append(name)
    head = ["balanced accuracy, % (accuracy)", "`ffedge train`", "MLPClassifier", "points"]
    ahead = f"MLPClassifier is more than {MARGIN:.0f} points ahead on {listed(behind)}." if behind else ""
    never = f"MLPClassifier is nowhere more than {MARGIN:.0f} points ahead."
    size = f"Layers of {settings['widths']}, both as they come, mean of {counted(len(settings['seeds']), 'seed')}"
    said = f"{ahead or never} {size}; `{COMMANDS['tables']}`."
    return f"{table(head, rows)}\n\n{wrapped(said)}"
