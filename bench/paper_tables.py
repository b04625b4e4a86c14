"""The paper's numbers beside ours: groups of equal trials, comparisons over seeds, rows of tables. Plain text in cells.

Percentages are of rows; differences are in points. A result file of `paper.py` is read by `groups_of`.
"""

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from paired import Paired, holm, interval, paired
from paper_trials import ARMS, CONTROL, SCHEDULES, base_of

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
READING_HEAD = [
    "reading",
    "FF %",
    "F-CFF less FF",
    "F-CFF less shuffled",
    "A-CFF less FF",
    "A-CFF less shuffled",
    "last gamma",
]


@dataclass
class Result:
    """What a trial came to; accuracies are fractions.

    Attributes
    ----------
    train_accuracy, test_accuracy : of the plain sum of the layers' goodness.
    train_collaborative, test_collaborative : of the sum in which layer l weighs ``1 + sum_{m != l} gamma_m alpha_ml``.
    train_layers, test_layers : of each layer alone.
    trace : of each layer, by epoch, its loss, goodness, gamma, ``accuracy`` on some of the rows that are trained on,
        and ``accuracy_sum`` of all layers so far.
    seconds : of training each layer, evaluation left out.
    cpu_s : the process's own seconds of training each layer for one epoch, the mean of those since it last began.
    gemm_flop : of the products that an epoch of each layer cannot do without; None where they are not counted.
    """

    trial: dict[str, Any]
    versions: dict[str, str]
    train_accuracy: float
    test_accuracy: float
    train_collaborative: float
    test_collaborative: float
    train_layers: list[float]
    test_layers: list[float]
    gamma: list[float | None]
    trace: list[dict[str, list[float | None]]]
    seconds: list[float]
    cpu_s: list[float | None]
    gemm_flop: list[float] | None
    train_rows: int

    def of(self, name: str) -> Any:
        """Return a field of the trial."""
        return self.trial[name]


@dataclass(frozen=True)
class Group:
    """Trials that differ by arm and seed alone."""

    data: str
    point: str
    value: str
    epochs: int
    rows: int
    found: dict[str, dict[int, Result]]

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


def groups_of(documents: Iterable[Any]) -> list[Group]:
    """Return the groups of some result files' trials."""
    return groups(Result(**trial) for document in documents for trial in document["trials"])


def groups(found: Iterable[Result]) -> list[Group]:
    """Gather equal trials, in the order in which they come."""
    gathered: dict[tuple[str, str, str, int, int], dict[str, dict[int, Result]]] = {}
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


def place(group: Group) -> str:
    """Name a group."""
    return f"{DATA_NAMES.get(group.data, group.data)}, {group.rows:,} rows, {group.epochs} epochs a layer"


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


@dataclass(frozen=True)
class Tested:
    """A comparison within a reading; `other` is an arm of the same reading, or FF of its base."""

    group: Group
    arm: str
    other: str
    result: Paired

    @property
    def label(self) -> str:
        """Name it."""
        return f"{self.group.point} {self.group.value}: {NAMES[self.arm]} less {NAMES[self.other]}"


def tested(found: Sequence[Group]) -> list[Tested]:
    """Compare the collaborating arms of every reading with FF and with their control."""
    made = []
    for group in (group for group in found if group.point != "paper"):
        for arm in ("fcff", "acff"):
            for other in ("ff", f"{arm}{CONTROL}"):
                one, two = group.found.get(arm, {}), _arm(found, group, other)
                if common := sorted(set(one) & set(two)):
                    values = [[100 * side[seed].test_accuracy for seed in common] for side in (one, two)]
                    made.append(Tested(group, arm, other, paired(*values)))
    return made


def reading_rows(found: Sequence[Group], data: str, schedule: str) -> list[list[str]]:
    """Return a row a reading of a data set in a schedule, under `READING_HEAD`."""
    results = {(id(t.group), t.arm, t.other): t.result for t in tested(found)}
    made = []
    for group in found:
        if group.data != data or group.point == "paper" or schedule_of(group) != schedule:
            continue
        own = _arm(found, group, "ff")
        alone = f"{statistics.mean(100 * each.test_accuracy for each in own.values()):.2f}" if own else "-"
        cells = [
            points_text(results[key]) if (key := (id(group), arm, other)) in results else "-"
            for arm in ("fcff", "acff")
            for other in ("ff", f"{arm}{CONTROL}")
        ]
        made.append([reading_of(group), alone, *cells, _gamma(group)])
    return made


def reading_of(group: Group) -> str:
    """Name a reading without its schedule."""
    return f"{group.point}: {group.value.removesuffix(f', {schedule_of(group)}')}"


def schedule_of(group: Group) -> str:
    """Return a reading's schedule."""
    return next(schedule for schedule in SCHEDULES if group.value.endswith(f", {schedule}"))


def _arm(found: Sequence[Group], group: Group, arm: str) -> dict[int, Result]:
    """Return an arm's trials by seed; FF's, which no reading of collaboration changes, may be the base's."""
    if arm in group.found or arm != "ff":
        return dict(group.found.get(arm, {}))
    point, value = base_of(group.point)
    wanted = (group.data, point, f"{value}, {schedule_of(group)}", group.epochs, group.rows)
    for other in found:
        if (other.data, other.point, other.value, other.epochs, other.rows) == wanted:
            return dict(other.found.get("ff", {}))
    return {}


def _gamma(group: Group) -> str:
    """Write the least and the greatest last gamma of A-CFF's seeds, layer by layer."""
    ends = [each.gamma for each in group.found.get("acff", {}).values()]
    if not ends:
        return "-"
    texts = []
    for values in zip(*ends, strict=True):
        numbers = [value for value in values if value is not None]
        low, high = f"{min(numbers):.2f}", f"{max(numbers):.2f}"
        texts.append(low if low == high else f"{low} to {high}")
    return "; ".join(texts)
