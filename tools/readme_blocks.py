"""The text of each block of measured numbers: one function a block, from the documents of its result files.

A number that was taken several times is written as median [least, greatest].
"""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from accuracy_blocks import accuracy, accuracy_default, accuracy_spiking, accuracy_wide
from deploy_block import deploy
from known_blocks import drift, rejection
from recipe_blocks import depth, tables
from results import COMMANDS, PAPER, measures, only, points, works
from spikes_block import spikes
from time_block import time_to_accuracy
from wording import DATA, counted, layers, listed, percent, rounded, span, spread, table, wrapped

from ffedge.compare.memory import Point, crossover
from ffedge.compare.paper_found import Found
from ffedge.compare.paper_tables import NAMES, PUBLISHED, comparisons, groups, mean_text
from ffedge.compare.paper_trials import ARMS
from ffedge.compare.paper_verdict import gains

MIB = 2**20
OURS = "ffedge-interleaved"
THEIRS = "backprop"
TRAINERS = {  # arms of bench/epoch_arms.py, as README calls them
    OURS: "**ffedge `ff`, tuned preset**",
    "ffedge-same-rule": "ffedge, mpezeshki's rule",
    "ffedge-as-shipped": "`ffedge train` as it comes",
    "fflib": "fflib",
    "mpezeshki": "mpezeshki's net, minibatched",
    THEIRS: "backprop, torch, Adam",
    "backprop-fused": "the same, fused Adam",
    "sklearn": "backprop, scikit-learn, Adam",
}
FORMS = {  # of `ffedge export --form`, as README calls them
    "model": "model.onnx as trained",
    "exact": "`exact`",
    "pruned": "`pruned`",
    "head": "`head`",
    "int8": "`int8`",
    "pruned-int8": "`pruned-int8`",
    "head-int8": "`head-int8`",
}
PREDICTORS = {  # arms of `ffedge bench --inference`
    "ffedge-session": "**model.onnx in onnxruntime**",
    **{f"ffedge-{name}": f"its form {text}" for name, text in FORMS.items() if name != "model"},
    "ffedge-predictor": "`ffedge.Predictor`",
    "torch-passes": "the same weights in torch, a pass a label",
    "torch-stacked": "the same, all labels in one pass",
    "backprop-ort": "a backprop MLP in onnxruntime",
}
COMPARED = {  # arms of `ffedge bench`
    "ffedge-ff-adam": "ffedge `ff`, Adam",
    "backprop-adam": "backprop, Adam",
    "backprop-adam-hook": "stepped in the hook",
    "backprop-adam-ort-inplace": "in onnxruntime",
    "backprop-sgd": "backprop, SGD",
}
MEMORY_ROWS = (("memory-depth", 2), ("memory-4x500", None), ("memory-depth", 32), ("memory-8x2000", None))


@dataclass(frozen=True)
class Block:
    """What a block is made from: the names of its results, whose documents `text` gets in this order."""

    results: tuple[str, ...]
    text: Callable[..., str]


def machine(*results: Sequence[Any]) -> str:
    """Say on what was measured; results of another machine than most are named."""
    documents = [document for runs in results for document in runs]
    machines: dict[str, list[str]] = {}
    for name, runs in zip(COMMANDS, results, strict=True):
        for m in _each(runs, "machine"):
            machines.setdefault(f"{m['cores']} cores of an {m['processor']} ({m['architecture']})", []).append(name)
    usual, *others = sorted(machines, key=lambda machine: -len(machines[machine]))
    apart = [f"; {listed([f'`{name}`' for name in dict.fromkeys(machines[m])])} on {m}" for m in others]
    known = [
        (package, sorted({v[package] for v in _each(documents, "versions") if v.get(package)}))
        for package in ("onnxruntime", "torch", "fflib", "scikit-learn")
    ]
    versions = [f"{package} {' and '.join(found)}" for package, found in known if found]
    return wrapped(f"Measured on {usual}, with {', '.join(versions)}{''.join(apart)}.")


def memory(*results: Sequence[Any]) -> str:
    """Tabulate peaks of networks by arms."""
    documents, rows = dict(zip(dict.fromkeys(name for name, _ in MEMORY_ROWS), results, strict=True)), []
    for name, value in MEMORY_ROWS:
        work, found = works(documents[name])[value], measures(documents[name], value)
        rows.append([layers(work.widths), *(_peak(found.get(arm)) for arm in COMPARED)])
    columns = ["peak MiB over imports (whole process)", *COMPARED.values()]
    asked = listed([f"`{COMMANDS[name]}`" for name in documents])
    work = next(iter(works(results[0]).values()))
    said = f"Batch {work.batch_size}, {work.threads} threads; {asked}."
    return f"{table(columns, rows)}\n\n{wrapped(said)}"


def memory_depth(documents: Sequence[Any]) -> str:
    """Say how ffedge's peak grows with depth and from which depth on it is the lower one."""
    sweep = points(documents)
    (first, last), (own, *others) = (sweep[0], sweep[-1]), COMPARED
    low, high = (next(m for m in p.measures if m.arm == own) for p in (first, last))
    growth = (high.peak_over_imports_bytes - low.peak_over_imports_bytes) / MIB
    weights = ((high.counted_bytes["weights"] or 0) - (low.counted_bytes["weights"] or 0)) / MIB
    names = [COMPARED[other].replace("backprop, ", "with ") for other in others]
    below = [f"{name} {_from(crossover(sweep, own, other), sweep)}" for name, other in zip(names, others, strict=True)]
    share = 100 * (high.peak_over_imports_bytes / low.peak_over_imports_bytes - 1)
    return wrapped(
        f"From {first.value} to {last.value} layers ffedge's peak over imports grows by {growth:.1f} MiB "
        f"({share:.0f} %), and the files of its layers by {weights:.1f} MiB. "
        f"Its peak lies below backprop's {listed(below)}."
    )


def _from(depth: float | None, sweep: Sequence[Point]) -> str:
    if depth is None:
        return "nowhere"
    return "at every depth measured" if depth == sweep[0].value else f"from {rounded(depth, 2)} layers on"


def epoch_time(documents: Sequence[Any]) -> str:
    """Tabulate an epoch's seconds by arms and threads, each with its ratio to backprop."""
    settings, results = only(documents)
    arms = [arm for arm in TRAINERS if arm in settings["arms"]]
    seconds = [results[f"threads_{threads}"]["epoch_s"] for threads in settings["threads"]]
    rows = [[TRAINERS[arm], *(_timed(s[arm], s[THEIRS]) for s in seconds)] for arm in arms]
    head = f"s of an epoch, batch {settings['batch_size']} (times backprop's, torch, Adam)"
    threads = [counted(count, "thread") for count in settings["threads"]]
    said = f"Median of {settings['rounds']} rounds [least, greatest ratio within a round]; `{COMMANDS['epoch-time']}`."
    return f"{table([head, *threads], rows)}\n\n{wrapped(said)}"


def peers_memory(documents: Sequence[Any]) -> str:
    """Tabulate a process's peak by arms: imports, training rows held in memory, the rest."""
    settings, results = only(documents)
    rows = []
    for arm in (arm for arm in TRAINERS if arm in results):
        imports, data, peak = (results[arm][key] for key in ("import_bytes", "data_bytes", "rss_peak_bytes"))
        rest = [p - i - d for p, i, d in zip(peak, imports, data, strict=True)]
        medians = [rounded(statistics.median(part) / MIB) for part in (peak, imports, data)]
        rows.append([TRAINERS[arm], *medians, spread(part / MIB for part in rest)])
    said = (
        f"Batch {settings['batch_size']}, {counted(settings['threads'], 'thread')}, median [least, greatest] of "
        f"{counted(settings['runs'], 'run')}; `{COMMANDS['peers-memory']}`."
    )
    columns = ["peak MiB while training", "whole process", "imports", "data in memory", "the rest"]
    return f"{table(columns, rows)}\n\n{wrapped(said)}"


def predict_latency(documents: Sequence[Any]) -> str:
    """Tabulate a call's milliseconds by arms and batch sizes, each with its ratio to the model file's."""
    settings, results = only(documents)
    sizes = results["batch_size"]
    calls = [{arm: [1e3 * s for s in rounds] for arm, rounds in of["call_s"].items()} for of in sizes.values()]
    ours = next(iter(PREDICTORS))
    present = {arm: name for arm, name in PREDICTORS.items() if arm in calls[0]}
    rows = [[name, *(_timed(ms[arm], ms[ours]) for ms in calls)] for arm, name in present.items()]
    threads = counted(settings["threads"], "thread")
    head = f"ms a call, {threads} (times model.onnx's)"
    said = f"Median of {settings['rounds']} rounds [least, greatest ratio]; `{COMMANDS['predict-latency']}`."
    return f"{table([head, *(f'batch {size}' for size in sizes)], rows)}\n\n{wrapped(said)}"


def forms(documents: Sequence[Any]) -> str:
    """Tabulate the test accuracy and the bytes of each form, and the labels that pruned forms try."""
    settings, runs = only(documents)
    rows = []
    for form, name in FORMS.items():
        own = [run for run in runs if run["form"] == form]
        each = [
            percent([100 * run["test_accuracy"] for run in own if run["data_name"] == data])
            for data in settings["data"]
        ]
        tried = "none" if form.startswith("head") else "all"
        if form.startswith("pruned"):
            tried = span([run["candidates"] for run in own])
        rows.append([name, *each, tried, f"{statistics.median(run['bytes'] for run in own) / 1e6:.2f}"])
    columns = ["form", *(DATA[data] for data in settings["data"]), "labels that deeper layers try", "MB"]
    lost = max(100 * (run["lost"] or 0) for run in runs)
    said = (
        f"Test accuracy of `ffedge train --epochs {settings['epochs']}`, {counted(len(settings['seeds']), 'seed')}; on "
        f"the held-out rows no form loses more than {lost:.2f} points; `{COMMANDS['forms']}`."
    )
    return f"{table(columns, rows)}\n\n{wrapped(said)}"


def _timed(own: Sequence[float], other: Sequence[float]) -> str:
    """Write a median and, in brackets, the ratio to another arm's, round by round."""
    ratio = "" if own == other else f" ({spread(a / b for a, b in zip(own, other, strict=True))})"
    return f"{rounded(statistics.median(own))}{ratio}"


def _peak(runs: Sequence[Any] | None) -> str:
    if runs is None:
        return "not run"
    whole = statistics.median(run["rss_peak_bytes"] for run in runs) / MIB
    return f"{spread(run['peak_over_imports_bytes'] / MIB for run in runs)} ({whole:.0f})"


def _each(documents: Sequence[Any], key: str) -> list[Any]:
    return [document[key] for document in documents]


def speed(documents: Sequence[Any]) -> str:
    """Tabulate rows a second and the seconds to given accuracies by arms."""
    (document,) = documents
    rows = [
        [
            f"`{arm['arm']}`",
            rounded(arm["rows_per_second"] / 1000),
            *("never" if to["seconds"] is None else rounded(to["seconds"]) for to in arm["time_to"]),
            f"{100 * arm['accuracy']:.1f} %",
        ]
        for arm in document["arms"]
    ]
    work = document["work"]
    columns = ["training", "1000 rows a second", *(f"s to {100 * t:g} %" for t in document["targets"]), "in the end"]
    said = (
        f"MNIST, {layers(work['widths'])}, batch {work['batch_size']}, {counted(work['threads'], 'thread')}, at most "
        f"{work['epochs']} epochs (of each layer), on held-out rows; `{COMMANDS['speed']}`."
    )
    return f"{table(columns, rows)}\n\n{wrapped(said)}"


def budget(documents: Sequence[Any]) -> str:
    """Say how budgets of drawn networks were kept, and how near the plan was."""
    _, found = only(documents)
    shares = {name: f"{100 * share:.0f} %" for name, share in found["measured_by_planned"].items()}
    return wrapped(
        f"Of {found['of']} drawn networks under drawn budgets {found['kept']} kept theirs; the measured peak was "
        f"{shares['median']} of the planned one in the median [{shares['least']}, {shares['most']}]; "
        f"`{COMMANDS['budget']}`."
    )


def budget_speed(documents: Sequence[Any]) -> str:
    """Tabulate what a budget costs in time."""
    _, runs = only(documents)
    rows = [
        [
            run["network"],
            f"{run['budget_bytes'] / MIB:.0f}",
            f"{run['measured_bytes'] / MIB:.1f}",
            rounded(run["training_seconds"]),
            str(run["plan"]["chunk_size"]),
            run["plan"]["moments"],
        ]
        for run in runs
    ]
    columns = ["network", "budget, MiB", "measured peak, MiB", "s of an epoch, all layers", "chunk", "moments in"]
    return f"{table(columns, rows)}\n\n{wrapped('`' + COMMANDS['budget-speed'] + '`')}"


def kills(documents: Sequence[Any]) -> str:
    """Say how runs that were killed ended."""
    _, found = only(documents)
    total = found["total"]
    return wrapped(
        f"{total['kills']} kills (`kill -9`) at random moments, over both engines, both schedules and all variants: "
        f"{total['equal']} of {total['ends']} runs ended with the weights and metrics of a run that nobody killed, bit "
        f"for bit; `{COMMANDS['kills']}`."
    )


def paper(*results: Sequence[Any]) -> str:
    """Tabulate the paper's arms beside ours, of few rows and of all; say how many claims were seen again."""
    found = [
        group
        for group in groups(Found(**trial) for runs in results for document in runs for trial in document["trials"])
        if group.data in PUBLISHED and set(ARMS) <= set(group.found)
    ]
    rows = [
        [
            f"{DATA[group.data]}, {group.rows:,} rows, {counted(group.seeds, 'seed')}",
            *(f"{mean_text(group.percents(arm))} ({PUBLISHED[group.data][arm][1]:.1f})" for arm in ARMS),
        ]
        for group in found
    ]
    said = [line for line in gains(found, [t for group in found for t in comparisons(group)]) if "reproduce" in line]
    held = sum(": it reproduces" in line for line in said)
    text = (
        f"Test accuracy (the paper's), {found[0].epochs} epochs a layer in full batches. Of the two gains over FF in "
        f"each row, {2 * len(found)} in all, {held} reproduced here, {len(said) - held} did not, and "
        f"{2 * len(found) - len(said)} cannot be decided by so few seeds; `{COMMANDS['paper']}`; "
        f"`{COMMANDS['paper-whole']}` and `{COMMANDS['paper-whole-fashion']}` for all rows."
    )
    return f"{table(['', *(NAMES[arm] for arm in ARMS)], rows)}\n\n{wrapped(text)}"


def learn(documents: Sequence[Any]) -> str:
    """Tabulate what models learnt on the spot, and what they kept of what they knew."""
    settings, runs = only(documents)
    cases = dict.fromkeys(run["case"] for run in runs)
    rows = []
    for case in cases:
        own = [run for run in runs if run["case"] == case]
        ends = [
            [statistics.mean(100 * run[f"{kind}_{when}"] for run in own) for when in ("before", "after")]
            for kind in ("old", "new")
        ]
        rows.append([case, *(f"{before:.2f} -> {after:.2f}" for before, after in ends)])
    peaks = [run["rss_peak_bytes"] / MIB for run in runs]
    said = (
        f"MNIST, 2 layers of 500, {settings['epochs']} epochs a layer, then {settings['learn_epochs']} epochs on "
        f"{settings['new_rows']:,} new rows; {counted(len(settings['seeds']), 'seed')}; the processes peak at "
        f"{span(peaks)} MiB resident; `{COMMANDS['learn']}`."
    )
    return f"{table(['test accuracy, %', 'old rows', 'new rows'], rows)}\n\n{wrapped(said)}"


BLOCKS = {
    "machine": Block(tuple(COMMANDS), machine),
    "accuracy": Block(("accuracy",), accuracy),
    "accuracy-wide": Block(("accuracy-wide-shifts-mnist", "accuracy-wide-shifts"), accuracy_wide),
    "accuracy-default": Block(("accuracy-default",), accuracy_default),
    "depth": Block(("depth", "depth-deep"), depth),
    "tables": Block(("tables",), tables),
    "memory": Block(tuple(dict.fromkeys(name for name, _ in MEMORY_ROWS)), memory),
    "memory-depth": Block(("memory-depth",), memory_depth),
    "peers-memory": Block(("peers-memory",), peers_memory),
    "epoch-time": Block(("epoch-time",), epoch_time),
    "predict-latency": Block(("predict-latency",), predict_latency),
    "forms": Block(("forms",), forms),
    "speed": Block(("speed",), speed),
    "budget": Block(("budget",), budget),
    "budget-speed": Block(("budget-speed",), budget_speed),
    "kills": Block(("kills",), kills),
    "deploy": Block(("deploy",), deploy),
    "paper": Block(PAPER, paper),
    "learn": Block(("learn",), learn),
    "accuracy-spiking": Block(("accuracy-spiking", "accuracy"), accuracy_spiking),
    "spikes": Block(("spikes",), spikes),
    "time-to-accuracy": Block(("time-to-accuracy",), time_to_accuracy),
    "rejection": Block(("rejection",), rejection),
    "drift": Block(("drift",), drift),
}
