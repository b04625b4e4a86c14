"""What reproduces and what does not, in sentences that follow from the numbers alone."""

import math
import statistics
from collections.abc import Mapping, Sequence

from ffedge.compare.paper_tables import (
    DATA_NAMES,
    NAMES,
    PUBLISHED,
    Comparison,
    Group,
    compare,
    comparisons,
    mean_text,
    p_text,
    points_text,
)
from ffedge.compare.paper_trials import ARMS, CONTROL
from ffedge.compare.statistics import LEVEL, Paired, holm

FEWEST_SEEDS = 3


def sentences(found: Sequence[Group], limits: Mapping[str, float]) -> list[str]:
    """Say of each of the paper's gains whether it is seen here, and how near training came to the matrix product."""
    main = [group for group in found if group.point == "paper"]
    tests = [test for group in main for test in comparisons(group)]
    return [*baselines(main), *gains(main, tests), *controls(tests), *speed(main, limits)]


def baselines(main: Sequence[Group]) -> list[str]:
    """Say where FF alone lands."""
    return [
        f"{place(group)}: FF alone reaches {mean_text(group.percents('ff'))} of the test set, "
        f"the paper's {PUBLISHED[group.data]['ff'][1]:.1f} %."
        for group in main
        if group.data in PUBLISHED and "ff" in group.found
    ]


def gains(main: Sequence[Group], tests: Sequence[Comparison]) -> list[str]:
    """Say of each claimed gain over FF what is seen here."""
    tests = [test for test in tests if test.result.n > 1]
    adjusted = dict(zip([(id(t.group), t.label) for t in tests], holm([t.result.t_p for t in tests]), strict=True))
    said = []
    for group in main:
        for arm in (arm for arm in ARMS if arm != "ff" and arm in group.found and "ff" in group.found):
            if group.data not in PUBLISHED:
                continue
            claimed = PUBLISHED[group.data][arm][1] - PUBLISHED[group.data]["ff"][1]
            result = compare(group, arm, "ff")
            p = adjusted.get((id(group), f"{NAMES[arm]} less FF"), 1.0)  # of one seed there is no test
            tested = f", t-test p {p_text(result.t_p)}, {p_text(p)} by Holm for {len(tests)} tests" * (result.n > 1)
            said.append(
                f"{place(group)}: {NAMES[arm]} gains {claimed:+.1f} points over FF in the paper, here "
                f"{points_text(result)} ({seeds(result.n)}{tested}): {verdict(claimed, result, p)}."
            )
    return said


def verdict(claimed: float, found: Paired, adjusted_p: float) -> str:
    """Judge a claimed gain (positive, points) by what was found."""
    if found.n < FEWEST_SEEDS or math.isnan(found.low):
        return f"not decided, as {seeds(found.n)} can decide nothing"
    certain = adjusted_p < LEVEL
    if found.low > 0:
        size = "of the paper's size" if found.low <= claimed <= found.high else "of another size than the paper's"
        return f"it reproduces, {size}" if certain else f"a gain {size}, which does not survive the correction"
    if found.high < 0:
        return "it does not reproduce: the sign is the opposite" + ("" if certain else ", if not beyond the correction")
    if found.high < claimed:
        return "it does not reproduce: no gain is seen, and one as large as the paper's is excluded"
    return "not decided: no gain is seen, nor is the paper's excluded"


def controls(tests: Sequence[Comparison]) -> list[str]:
    """Say what is left of a gain once the other layers' goodness carries no information."""
    return [
        f"{place(test.group)}: {test.label}: {points_text(test.result)} points ({seeds(test.result.n)})."
        for test in tests
        if CONTROL.removeprefix("-") in test.label
    ]


def speed(main: Sequence[Group], limits: Mapping[str, float]) -> list[str]:
    """Say which share of a lone matrix product's speed training reached, by the process's own seconds."""
    if not limits:
        return []
    rates, said = list(limits.values()), []
    for arm in (arm for arm in ARMS if any(arm in group.found for group in main)):
        found = [each for group in main for each in group.found.get(arm, {}).values() if each.gemm_flop]
        layers = len(found[0].cpu_s) if found else 0
        shares, rows = [], []
        for layer in range(layers):
            measured = [
                (each.gemm_flop[layer], each.cpu_s[layer], each.of("rows"))
                for each in found
                if each.gemm_flop and each.cpu_s[layer]
            ]
            limit = rates[min(layer, len(rates) - 1)]
            shares.append(statistics.median(flop / (cpu or 1.0) / limit for flop, cpu, _ in measured))
            rows.append(statistics.median(count / (cpu or 1.0) for _, cpu, count in measured))
        each = ", ".join(
            f"layer {layer} {100 * share:.0f} % ({row:,.0f} rows a second)"
            for layer, (share, row) in enumerate(zip(shares, rows, strict=True))
        )
        said.append(
            f"{NAMES[arm]}'s share of the speed of a lone matrix product, by the process's own seconds: {each}."
        )
    return said


def place(group: Group) -> str:
    """Name a group."""
    return f"{DATA_NAMES.get(group.data, group.data)}, {group.rows:,} rows, {group.epochs} epochs a layer"


def seeds(count: int) -> str:
    """Count seeds."""
    return "1 seed" if count == 1 else f"{count} seeds"
