"""The blocks on accuracy, from bench/accuracy.py."""

import statistics
from collections.abc import Sequence
from typing import Any

from results import COMMANDS, only
from wording import DATA, counted, layers, listed, percent, span, table, widest, wrapped

MIB = 2**20


def accuracy(documents: Sequence[Any]) -> str:
    """Tabulate data sets by variants; say how far variants and seeds lie apart, and what a process peaks at."""
    settings, runs = only(documents)
    each = {
        (data, variant): [100 * r["test_accuracy"] for r in runs if (r["data_name"], r["variant"]) == (data, variant)]
        for data in settings["data"]
        for variant in settings["variants"]
    }
    rows = [[DATA[d], *(percent(each[d, v]) for v in settings["variants"])] for d in settings["data"]]
    head = f"{layers(runs[0]['spec']['network']['widths'])}, {settings['epochs']} epochs a layer"
    means = [[statistics.mean(each[d, v]) for v in settings["variants"]] for d in settings["data"]]
    said = (
        f"Mean of {len(settings['seeds'])} seeds (each); `{COMMANDS['accuracy']}`. The variants' means differ by "
        f"up to {widest(means):.2f} points, the seeds of one variant by up to {widest(each.values()):.2f}. Each of "
        f"these `ffedge train` processes peaks at {span([r['rss_peak_bytes'] / MIB for r in runs])} MiB resident, "
        f"{span([r['import_bytes'] / MIB for r in runs])} of them imports."
    )
    return f"{table([head, *(f'`{v}`' for v in settings['variants'])], rows)}\n\n{wrapped(said)}"


def accuracy_wide(*results: Sequence[Any]) -> str:
    """Tabulate what wider layers, more epochs and shifted images reach."""
    rows, commands, runs = [], [], list[Any]()
    for documents in results:
        settings, own = only(documents)
        train = own[0]["spec"]["train"]
        share = "" if train["shift_share"] == 1.0 else f"{100 * train['shift_share']:.0f} % of the "
        name = f"{DATA[own[0]['data_name']]}, {share}images shifted by up to {counted(train['shift'], 'pixel')}"
        rows.append([name, percent([100 * r["test_accuracy"] for r in own])])
        commands.append(f"`{COMMANDS[settings['name']]}`")
        runs += own
    spec = runs[0]["spec"]
    head = [f"{layers(spec['network']['widths'])}, {spec['train']['epochs']} epochs a layer", f"`{runs[0]['variant']}`"]
    peaks = span([r["rss_peak_bytes"] / MIB for r in runs])
    return (
        f"{table(head, rows)}\n\n{wrapped(f'Mean (each seed). The processes peak at {peaks} MiB; {listed(commands)}.')}"
    )


def accuracy_default(documents: Sequence[Any]) -> str:
    """Say what the first command reaches."""
    _, runs = only(documents)
    return wrapped(
        f"The first command above gets {percent([100 * r['test_accuracy'] for r in runs], 1)} of the embedded test "
        f"digits right, in {statistics.median(r['seconds'] for r in runs):.0f} s; `{COMMANDS['accuracy-default']}`."
    )


def accuracy_spiking(spiking: Sequence[Any], tuned: Sequence[Any]) -> str:
    """Tabulate the spiking preset by data sets and variants, each with its distance from the tuned one."""
    settings, runs = spiking[0]["settings"], spiking[0]["results"]

    def mean(found: Sequence[Any], data: str, variant: str) -> float:
        own = [r["test_accuracy"] for r in found if (r["data_name"], r["variant"]) == (data, variant)]
        return 100 * statistics.mean(own)

    rows = []
    for data in settings["data"]:
        each = {variant: mean(runs, data, variant) for variant in settings["variants"]}
        apart = {variant: each[variant] - mean(tuned[0]["results"], data, variant) for variant in each}
        rows.append([DATA[data], *(f"{each[v]:.2f} % ({apart[v]:+.2f})" for v in each)])
    head = f"preset `spiking`, {settings['epochs']} epochs a layer"
    said = (
        f"In brackets: points from the `tuned` preset's mean ({tuned[0]['settings']['epochs']} epochs, README's "
        f"table). Mean of {len(settings['seeds'])} seeds; `{COMMANDS['accuracy-spiking']}`."
    )
    return f"{table([head, *(f'`{v}`' for v in settings['variants'])], rows)}\n\n{wrapped(said)}"
