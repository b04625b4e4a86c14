"""The blocks on what a model knows and on drift, from bench/rejection.py and bench/drift.py."""

import statistics
from collections.abc import Callable, Sequence
from typing import Any

from results import COMMANDS
from wording import DATA, counted, listed, table, wrapped

RULES = {  # network and rule of bench/rejection.py
    ("ffedge", "score and margin"): "**ffedge, score and margin**",
    ("ffedge", "max softmax"): "ffedge, max softmax",
    ("backprop", "score and margin"): "backprop, score and margin",
    ("backprop", "max softmax"): "backprop, max softmax",
}
OURS, THEIRS = ("ffedge", "score and margin"), ("backprop", "max softmax")
WHO = ("ffedge's rule is", "backprop's max softmax is", "neither is in every seed")
Pick = Callable[[Any], float]


def rejection(documents: Sequence[Any]) -> str:
    """Tabulate how well known rows are told from strange ones, and say against which backprop does it better."""
    (document,) = documents
    settings, runs = document["settings"], document["results"]
    kinds = list(runs[0]["max softmax"]["auroc"])
    picks: dict[str, Pick] = {kind: lambda rule, kind=kind: rule["auroc"][kind] for kind in kinds}  # type: ignore[misc]
    rows = []
    for data in settings["data"]:
        for rule, name in RULES.items():
            areas = [f"{_middle(runs, data, rule, pick):.1f}" for pick in picks.values()]
            risk, found = (_middle(runs, data, rule, lambda r, k=key: r[k]) for key in ("risk_at_coverage", "coverage"))
            accuracy = statistics.median(r["accuracy"] for r in _of(runs, data, rule[0]))
            rows.append([f"{DATA[data]}: {name}", *areas, f"{100 * (1 - accuracy):.2f}", f"{risk:.2f}", f"{found:.1f}"])
    share = f"{100 * settings['coverage']:.0f} %"
    head = ["AUROC, %", *(kind if kind != "other data" else "the other data" for kind in kinds)]
    head += ["error, %", f"of the {share} most known", "known by the bounds, %"]
    said = (
        f"Medians of {counted(len(settings['seeds']), 'seed')}; 2 layers of 500, {settings['epochs']} epochs; "
        f"`{COMMANDS['rejection']}`. {' '.join(_compared(runs, data, picks) for data in settings['data'])}"
    )
    return f"{table(head, rows)}\n\n{wrapped(said)}"


def drift(documents: Sequence[Any]) -> str:
    """Tabulate how soon changes were seen."""
    (document,) = documents
    settings, runs = document["settings"], document["results"]
    rows, alarms, watched = [], 0, 0
    for name in runs[0]["changes"]:
        own = [run["changes"][name] for run in runs]
        every = [delay for change in own for delay in change["delays"]]
        delays = sorted(delay for delay in every if delay is not None)
        alarms, watched = alarms + sum(c["false_alarms"] for c in own), watched + len(every) * settings["before"]
        right = [change["accuracy"] for change in own]
        rows.append(
            [
                name,
                "-" if None in right else f"{100 * statistics.mean(right):.1f} %",
                f"{100 * statistics.mean(change['known'] for change in own):.1f} %",
                f"{statistics.median(delays):.0f} [{delays[0]}, {delays[-1]}]" if delays else "-",
                f"{len(delays)} of {len(every)}",
            ]
        )
    said = (
        f"MNIST's test images, changed after {settings['before']:,}; window {settings['window']}, "
        f"{counted(len(settings['seeds']), 'network')}; {counted(alarms, 'false alarm')} in {watched:,} samples before "
        f"the changes; `{COMMANDS['drift']}`."
    )
    return f"{table(['change', 'accuracy', 'known', 'samples to the alarm', 'seen'], rows)}\n\n{wrapped(said)}"


def _of(runs: Sequence[Any], data: str, network: str) -> list[Any]:
    return [run for run in runs if run["data"] == data and run["network"] == network]


def _middle(runs: Sequence[Any], data: str, rule: tuple[str, str], pick: Pick) -> float:
    """Return the median over seeds, in per cent."""
    return 100 * statistics.median(pick(run[rule[1]]) for run in _of(runs, data, rule[0]))


def _compared(runs: Sequence[Any], data: str, picks: dict[str, Pick]) -> str:
    """Say where ffedge's rule is better in every seed, and where backprop's max softmax."""
    better: dict[str, list[str]] = {who: [] for who in WHO}
    for kind, pick in picks.items():
        better[_better(runs, data, pick)].append(kind)
    better[_better(runs, data, lambda rule: -rule["risk_at_coverage"])].append("errors among the most known")
    told = [f"{who} better at {listed(what)}" for who, what in better.items() if what]
    return f"{DATA[data]}: {'; '.join(told)}."


def _better(runs: Sequence[Any], data: str, pick: Pick) -> str:
    """Name the rule whose value is the greater one in every seed."""
    ours, theirs = ([pick(run[rule]) for run in _of(runs, data, net)] for net, rule in (OURS, THEIRS))
    gains = [a - b for a, b in zip(ours, theirs, strict=True)]
    return WHO[0] if min(gains) > 0 else WHO[1] if max(gains) < 0 else WHO[2]
