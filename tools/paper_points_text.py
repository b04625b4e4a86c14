"""The sections of bench/PAPER.md on the readings of what the paper leaves open."""

from collections.abc import Sequence

from results import COMMANDS
from wording import bullets, counted, table, wrapped

from ffedge.compare import paper_readings, paper_tables, paper_verdict
from ffedge.compare.paper_points import SCHEDULES
from ffedge.compare.paper_tables import DATA_NAMES, NAMES, Group
from ffedge.compare.statistics import LEVEL, false_discovery, holm

READINGS = """One point at a time is changed, in minibatches ({epochs} epochs a layer of {rows:,} rows in batches of
{size}); the test set's accuracy, differences in points with their 95 % intervals. *Shuffled* is the control: the other
layers' goodness is that of another sample, the same threshold on the average without information about the sample.
Gamma is each layer's at its end."""
AGAIN = """Three readings with a gain of p < 0.05 in the tables above were trained anew, in both schedules, with seeds
that had no part in picking them: what holds here is no pick of the best of many."""


def open_points(found: Sequence[Group]) -> str:
    """Tabulate the readings, and say which of them make collaboration help."""
    first = next((each for group in found for arms in group.found.values() for each in arms.values()), None)
    if first is None:
        return "None was run."
    size = dict(first.of("changes"))["batch_size"]
    about = READINGS.format(epochs=first.of("epochs"), rows=first.of("rows"), size=size)
    parts = [wrapped(about), bullets(helping(enough_seeds(found))), *reading_tables(found)]
    parts.append(
        wrapped(
            f"`{COMMANDS['paper-points']}`. Two points have no run: a gradient through other layers is no "
            "forward-only rule and ffedge has none; a full batch is the tables above."
        )
    )
    return "\n\n".join(parts)


def other_seeds(found: Sequence[Group]) -> str:
    """Say which of the readings that gained at first do so on seeds that had no part in choosing them."""
    parts = [wrapped(AGAIN), bullets(helping(enough_seeds(found))), *reading_tables(found)]
    return "\n\n".join([*parts, wrapped(f"`{COMMANDS['paper-points-again']}`.")])


def confirmed(again: Sequence[Group]) -> str:
    """Name the readings whose gains hold over FF and over the shuffled control, on seeds that did not pick them."""
    tested = enough_seeds(again)
    gained: dict[str, list[paper_readings.Tested]] = {}
    for t, p in zip(tested, false_discovery([t.result.t_p for t in tested]), strict=True):
        if p < LEVEL and t.result.mean > 0:
            gained.setdefault(f"{NAMES[t.arm]}, {t.group.point} {t.group.value}", []).append(t)
    held = [
        f"{name}, {' and '.join(f'{t.result.mean:+.2f}' for t in both)}"
        for name, both in gained.items()
        if len(both) == 2
    ]
    return (
        "Other readings of what the paper leaves open do make collaboration help, in minibatches: on seeds that had no "
        "part in picking them these gain over FF and over the shuffled control (points; last section but one): "
        f"{'; '.join(held)}."
        if held
        else "No reading of what the paper leaves open is known to make collaboration help."
    )


def helping(tested: Sequence[paper_readings.Tested]) -> list[str]:
    """Say which comparisons hold: before and after two corrections for their number."""
    if not tested:
        return ["No reading has three seeds yet."]
    alone = [t.result.t_p for t in tested]
    by_holm, by_rate = holm(alone), false_discovery(alone)
    below = [sum(p < LEVEL for p in values) for values in (alone, by_rate, by_holm)]
    said = [
        f"{counted(len(tested), 'test')} of {paper_verdict.FEWEST_SEEDS} seeds or more; {below[0]} have p < {LEVEL} "
        f"alone, where chance would make {LEVEL * len(tested):.1f}; at a false discovery rate of {100 * LEVEL:.0f} % "
        f"(Benjamini and Hochberg; **bold** below) {below[1]} remain, by Holm's correction {below[2]}."
    ]
    for sign, words in ((1, "Gains"), (-1, "Losses")):
        for other, name in (("ff", "over FF"), ("shuffled", "over the shuffled control")):
            hits = [
                f"{bold}{NAMES[t.arm]}, {t.group.point} {t.group.value}{bold} ({paper_tables.points_text(t.result)}"
                f"{', also by Holm' if strict < LEVEL else ''})"
                for t, strict, rate in zip(tested, by_holm, by_rate, strict=True)
                if t.other.endswith(other) and sign * t.result.mean > 0 and t.result.t_p < LEVEL
                for bold in ["**" if rate < LEVEL else ""]
            ]
            said.append(f"{words} {name} with p < {LEVEL}: {'; '.join(hits) or 'none'}.")
    return said


def enough_seeds(found: Sequence[Group]) -> list[paper_readings.Tested]:
    """Return the comparisons within readings that have the seeds for a claim."""
    return [t for t in paper_readings.tested(found) if t.result.n >= paper_verdict.FEWEST_SEEDS]


def reading_tables(found: Sequence[Group]) -> list[str]:
    """Tabulate readings by data set and schedule, each table after its title."""
    parts = []
    for data in dict.fromkeys(group.data for group in found):
        for schedule in SCHEDULES:
            if rows := paper_readings.rows(found, data, schedule):
                parts += [f"{DATA_NAMES[data]}, {schedule}:", table(paper_readings.HEAD, rows)]
    return parts
