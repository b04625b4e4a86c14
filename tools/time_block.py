"""The block on the time to an accuracy, from bench/time_to_accuracy.py."""

import statistics
from collections.abc import Sequence
from typing import Any

from results import COMMANDS
from wording import DATA, counted, table, wrapped

ARMS = {  # of bench/time_to_accuracy.py
    "ffedge": "**`ffedge train` as it comes**",
    "ffedge-interleaved": "ffedge `ff`, interleaved, one random wrong label",
    "backprop-tuned": "backprop, torch, AdamW, dropout, smoothing, cooldown",
    "backprop": "backprop, torch, Adam",
    "sklearn": "backprop, scikit-learn, Adam",
    "fflib": "fflib",
    "mpezeshki": "mpezeshki's net, minibatched",
}
TARGETS = {"mnist": (0.95, 0.97, 0.98, 0.985), "fashion-mnist": (0.85, 0.88, 0.89, 0.90)}


def time_to_accuracy(documents: Sequence[Any]) -> str:
    """Tabulate the seconds of training until a test accuracy is reached, data set by data set."""
    settings, runs = documents[0]["settings"], documents[0]["results"]
    tables = []
    for data in settings["data"]:
        rows = []
        for name in (name for name in ARMS if name in settings["arms"]):
            own = [run for run in runs if (run["data"], run["name"]) == (data, name)]
            best = 100 * max(_final(own, epochs) for epochs in {run["epochs"] for run in own})
            rows.append([ARMS[name], *(_least(own, target) for target in TARGETS[data]), f"{best:.2f} %"])
        head = f"{DATA[data]}: s to a test accuracy of"
        tables.append(table([head, *(f"{100 * target:g} %" for target in TARGETS[data]), "in the end"], rows))
    said = (
        f"2 layers of 500, batch 256, one thread, seconds of the processor, evaluation left out; medians of "
        f"{counted(len(settings['seeds']), 'seed')}, of the number of epochs that gets there first (in brackets; up to "
        f"{settings['most_epochs']}); `{COMMANDS['time-to-accuracy']}`."
    )
    return "\n\n".join([*tables, wrapped(said)])


def _final(runs: Sequence[Any], epochs: int) -> float:
    return statistics.median(run["points"][-1][1] for run in runs if run["epochs"] == epochs)


def _least(runs: Sequence[Any], target: float) -> str:
    """Write the least median over the seeds, all of which must get there, and its number of epochs."""
    found = []
    for epochs in {run["epochs"] for run in runs}:
        times = [
            next((seconds for seconds, accuracy in run["points"] if accuracy >= target), None)
            for run in runs
            if run["epochs"] == epochs
        ]
        reached = [time for time in times if time is not None]
        if len(reached) == len(times):
            found.append((statistics.median(reached), epochs))
    return "never" if not found else "{:.1f} ({})".format(*min(found))
