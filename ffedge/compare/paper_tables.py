"""The paper's numbers beside ours: groups of equal trials, comparisons over seeds, rows of tables. Plain text in cells.

Percentages are of rows; differences are in points.
"""

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ffedge.compare.paper_found import Found
from ffedge.compare.paper_trials import ARMS, CONTROL
from ffedge.compare.statistics import Paired, holm, interval, paired

PUBLISHED = {  # Tables I and II: train accuracy, test accuracy, percent
    "mnist": {"ff": (91.8, 92.0), "fcff": (92.5, 92.6), "acff": (94.1, 93.8)},
    "fashion-mnist": {"ff": (82.4, 81.0), "fcff": (82.8, 81.8), "acff": (83.3, 83.0)},
}
NAMES = {"ff": "FF", "fcff": "F-CFF", "acff": "A-CFF"} | {
    f"{arm}{CONTROL}": f"{name}, shuffled" for arm, name in (("fcff", "F-CFF"), ("acff", "A-CFF"))
}
DATA_NAMES = {"mnist": "MNIST", "fashion-mnist": "Fashion-MNIST", "mnist-mini": "mnist-mini"}
PARTS = ("train_accuracy", "test_accuracy")
TABLE_HEAD = ["", "train: paper", "train: here", "test: paper", "test: here", "gain: paper", "gain: here"]
STATISTICS_HEAD = ["test accuracy", "seeds", "points [95 %]", "t-test p", "Wilcoxon p", "Cohen's d", "Holm p"]


@dataclass(frozen=True)
class Group:
    """Trials that differ by arm and seed alone."""

    data: str
    point: str
    value: str
    epochs: int
    rows: int
    found: dict[str, dict[int, Found]]

    @property
    def arms(self) -> list[str]:
        """Arms in the order of `NAMES`."""
        return [arm for arm in NAMES if arm in self.found]

    @property
    def size(self) -> int:
        """Trials."""
        return sum(map(len, self.found.values()))

    @property
    def seeds(self) -> int:
        """Seeds that every arm has."""
        return len(set.intersection(*(set(each) for each in self.found.values())))

    def percents(self, arm: str, name: str = "test_accuracy") -> list[float]:
        """Return an accuracy of each seed."""
        return [100 * getattr(each, name) for _, each in sorted(self.found[arm].items())]


@dataclass(frozen=True)
class Comparison:
    """A test: what is compared, in which group."""

    group: Group
    label: str
    result: Paired


def groups(found: Iterable[Found]) -> list[Group]:
    """Gather equal trials, in the order in which they come."""
    gathered: dict[tuple[str, str, str, int, int], dict[str, dict[int, Found]]] = {}
    for each in found:
        key = tuple(each.trial[name] for name in ("data", "point", "value", "epochs", "rows"))
        gathered.setdefault(key, {}).setdefault(each.of("arm"), {})[each.of("seed")] = each
    return [Group(*key, arms) for key, arms in gathered.items()]


def compare(group: Group, arm: str, other: str, names: tuple[str, str] = ("test_accuracy", "test_accuracy")) -> Paired:
    """Compare two arms over the seeds that both have, in points.

    Parameters
    ----------
    names : of the accuracy of each.
    """
    one, two = group.found[arm], group.found[other]
    seeds = sorted(set(one) & set(two))
    return paired(
        [100 * getattr(one[seed], names[0]) for seed in seeds], [100 * getattr(two[seed], names[1]) for seed in seeds]
    )


def comparisons(group: Group) -> list[Comparison]:
    """Return the tests that a group allows: arms against FF and their control, collaborative weights against plain."""
    made = []
    for arm in group.arms:
        pairs = [(arm, other) for other in ("ff", f"{arm}{CONTROL}") if other in group.found and other != arm]
        pairs = pairs if not arm.endswith(CONTROL) else []
        for one, other in pairs:
            if set(group.found[one]) & set(group.found[other]):
                label = f"{NAMES[one]} less {NAMES[other]}"
                made.append(Comparison(group, label, compare(group, one, other)))
        if arm in ARMS and arm != "ff":
            label = f"{NAMES[arm]}: collaborative less plain sums"
            made.append(Comparison(group, label, compare(group, arm, arm, ("test_collaborative", "test_accuracy"))))
    return made


def accuracy_rows(group: Group) -> list[list[str]]:
    """Return the rows of the paper's Table I or II under `TABLE_HEAD`."""
    published, rows = PUBLISHED.get(group.data, {}), []
    for arm in (arm for arm in ARMS if arm in group.found):
        theirs, claimed, gain = ["-", "-"], "-", "-"
        if arm in published:
            theirs = [f"{value:.1f} %" for value in published[arm]]
            claimed = f"{published[arm][1] - published['ff'][1]:+.1f}"
        if "ff" in group.found:
            gain = points_text(compare(group, arm, "ff"))
        if arm == "ff":
            claimed = gain = "baseline"
        ours = [mean_text(group.percents(arm, name)) for name in PARTS]
        rows.append([NAMES[arm], theirs[0], ours[0], theirs[1], ours[1], claimed, gain])
    return rows


def summary_rows(main: Sequence[Group]) -> tuple[list[str], list[list[str]]]:
    """Return head and rows of the paper's Table III: a row for each fact and side, an arm each column."""
    arms, rows = [arm for arm in ARMS if any(arm in group.found for group in main)], []
    for group in main:
        name, published = DATA_NAMES.get(group.data, group.data), PUBLISHED.get(group.data)
        if [other.data for other in main].count(group.data) > 1:
            name += f", {group.rows:,} rows"
        train, test = ({arm: statistics.mean(group.percents(arm, part)) for arm in group.found} for part in PARTS)
        if published:
            rows.append([f"{name}, test: paper", *(f"{published[arm][1]:.1f} %" for arm in arms)])
        rows.append([f"{name}, test: here", *(f"{test[arm]:.2f} %" if arm in test else "-" for arm in arms)])
        if published:
            gaps = (f"{published[arm][0] - published[arm][1]:+.1f}" for arm in arms)
            rows.append([f"{name}, train less test: paper", *gaps])
        gaps = (f"{train[arm] - test[arm]:+.2f}" if arm in test else "-" for arm in arms)
        rows.append([f"{name}, train less test: here", *gaps])
    return ["", *(NAMES[arm] for arm in arms)], rows


def statistics_rows(tests: Sequence[Comparison]) -> list[list[str]]:
    """Return a row a test under `STATISTICS_HEAD`; Holm's correction is over all of them."""
    adjusted = holm([test.result.t_p for test in tests])
    return [
        [
            f"{DATA_NAMES.get(test.group.data, test.group.data)}: {test.label}",
            str(test.result.n),
            points_text(test.result),
            p_text(test.result.t_p),
            p_text(test.result.wilcoxon_p),
            number_text(test.result.d),
            p_text(p),
        ]
        for test, p in zip(tests, adjusted, strict=True)
    ]


def mean_text(percents: Sequence[float]) -> str:
    """Write a mean of percentages and half of its 95 % interval."""
    mean, reach = interval(percents)
    return f"{mean:.2f} %" if math.isnan(reach) else f"{mean:.2f} ± {reach:.2f} %"


def points_text(found: Paired) -> str:
    """Write a difference and its 95 % interval; one pair has none."""
    if math.isnan(found.low):
        return f"{found.mean:+.2f}"
    return f"{found.mean:+.2f} [{found.low:+.2f}, {found.high:+.2f}]"


def p_text(p: float) -> str:
    """Write a p-value."""
    return "-" if math.isnan(p) else "<0.001" if p < 0.001 else f"{p:.3f}"


def number_text(value: float) -> str:
    """Write a number, or a dash."""
    return f"{value:+.2f}" if math.isfinite(value) else "-"
