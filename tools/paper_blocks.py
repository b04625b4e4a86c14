"""The blocks of bench/PAPER.md, and that of the paper in docs/measurements.md."""

import statistics
from collections.abc import Sequence
from typing import Any

import paper_tables
from paired import LEVEL, false_discovery, holm
from paper_tables import DATA_NAMES, NAMES, PUBLISHED, Group, Tested, groups_of, mean_text, place
from paper_trials import ARMS, SCHEDULES
from wording import caption, counted, rounded, span, table

FEWEST_SEEDS = 3  # for a claim
Results = Sequence[Any]


def main_groups(*results: Results) -> list[Group]:
    """Return the groups of the preset: those with the most rows last."""
    found = groups_of(document for documents in results for document in documents)
    return sorted((g for g in found if g.point == "paper"), key=lambda g: (g.rows, list(DATA_NAMES).index(g.data)))


def paper(*results: Results) -> str:
    """Tabulate the paper's arms beside ours, of few rows and of all."""
    found = [g for g in main_groups(*results) if g.data in PUBLISHED and set(ARMS) <= set(g.found)]
    rows = [
        [
            f"{DATA_NAMES[group.data]}, {group.rows:,} rows, {counted(group.seeds, 'seed')}",
            *(f"{mean_text(group.percents(arm))} ({PUBLISHED[group.data][arm][1]:.1f})" for arm in ARMS),
        ]
        for group in found
    ]
    text = f"Test accuracy (the paper's), {found[0].epochs} epochs a layer in full batches"
    return table(["", *(NAMES[arm] for arm in ARMS)], rows, text, "paper", "paper-whole", "paper-whole-fashion")


def runs(*results: Results) -> str:
    """Tabulate what was run, how fast, and how near that comes to a lone matrix product."""
    rows = []
    for document in (document for documents in results for document in documents):
        limits = list(document["gemm_flop_per_s"].values())
        for group in main_groups([document]):
            for arm in group.arms:
                each = [r for r in group.found[arm].values() if r.gemm_flop and None not in r.cpu_s]
                cells = []
                for layer in range(len(each[0].cpu_s) if each else 0):
                    limit = limits[min(layer, len(limits) - 1)]
                    speed = statistics.median(r.of("rows") / r.cpu_s[layer] for r in each)
                    share = statistics.median(r.gemm_flop[layer] / r.cpu_s[layer] / limit for r in each)
                    cells.append(f"{speed:,.0f} ({100 * share:.0f} %)")
                seeds = str(len(group.found[arm]))
                rows.append([f"{place(group)}: {NAMES[arm]}", seeds, *cells, document["machine"]["processor"]])
    columns = ["", "seeds", "layer 0, rows a second", "layer 1", "processor"]
    text = "In brackets: of the speed of a lone float32 product of the layer's shape, by the process's own seconds"
    return table(columns, rows, text, "paper", "paper-whole", "paper-whole-fashion")


def tables(*results: Results) -> str:
    """Write the paper's Tables I and II of each group, the tests, and its Table III."""
    parts, main = [], main_groups(*results)
    for group in main:
        parts += [f"**{place(group)}**", table(paper_tables.TABLE_HEAD, paper_tables.accuracy_rows(group))]
        if group.seeds > 1:
            tests = paper_tables.comparisons(group)
            least = f"{2 ** (1 - group.seeds):.3g}"
            text = f"{len(tests)} tests; with {group.seeds} seeds Wilcoxon's p cannot be below {least}"
            parts.append(table(paper_tables.STATISTICS_HEAD, paper_tables.statistics_rows(tests), text))
        else:
            parts.append("One seed: no test is made.")
    return "\n\n".join([*parts, "**Table III**", table(*paper_tables.summary_rows(main))])


def gammas(*results: Results) -> str:
    """Tabulate where A-CFF's gamma goes, and the second layer's goodness before its first step."""
    rows = []
    for group in main_groups(*results):
        each = list(group.found.get("acff", {}).values())
        for layer in range(len(each[0].trace) if each else 0):
            traces = [[v for v in r.trace[layer]["gamma"] if v is not None] for r in each]
            first = max(r.trace[layer]["goodness_positive"][0] for r in each)
            ends = span((t[-1] for t in traces), 3)
            rows.append(
                [f"{place(group)}, layer {layer}", ends, *(span(map(f, traces), 3) for f in (min, max)), rounded(first)]
            )
    columns = ["gamma of A-CFF, from 1", "at the end", "least", "most", "first goodness of true labels"]
    return table(columns, rows)


def readings(documents: Results) -> str:
    """Tabulate the readings by data set and schedule, and how many comparisons stand out."""
    found = groups_of(documents)
    first = next(result for group in found for arm in group.found.values() for result in arm.values())
    size = dict(first.of("changes"))["batch_size"]
    name = "paper-points" if first.of("seed") == 0 else "paper-points-again"
    text = f"{first.of('epochs')} epochs a layer of {first.of('rows'):,} rows in batches of {size}"
    parts = [caption(text, name)]
    for data in dict.fromkeys(group.data for group in found):
        for schedule in SCHEDULES:
            if rows := paper_tables.reading_rows(found, data, schedule):
                parts += [f"**{DATA_NAMES[data]}, {schedule}**", table(paper_tables.READING_HEAD, rows)]
    return "\n\n".join([*parts, tests_table([t for t in paper_tables.tested(found) if t.result.n >= FEWEST_SEEDS])])


def tests_table(tests: Sequence[Tested]) -> str:
    """Tabulate how many tests there are, and what is below 0.05 by each way to count them."""
    alone = [t.result.t_p for t in tests]
    corrected = zip(tests, false_discovery(alone), holm(alone), strict=True)
    stands = [(t.label, rate, strict) for t, rate, strict in corrected if rate < LEVEL or strict < LEVEL]
    row = [str(len(tests)), str(sum(p < LEVEL for p in alone)), f"{LEVEL * len(tests):.1f}", str(len(stands))]
    columns = ["tests", "p < 0.05 alone", "by chance", "by false discovery rate or Holm", "which"]
    return table(columns, [[*row, "; ".join(label for label, *_ in stands) or "-"]])
