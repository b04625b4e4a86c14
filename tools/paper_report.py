"""Write bench/PAPER.md and its figures from the raw results of ``ffedge bench --paper`` in bench/results.

    python tools/paper_report.py             # rewrite
    python tools/paper_report.py --check     # change nothing; exit 1 naming what is out of date

Every number and every sentence that judges one comes from the results; what is written here says how to read them.
"""

import re
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import rewriting
from paper_points_text import confirmed, open_points, other_seeds
from readme_tables import stamp, steadily
from results import PAPER, newest, read
from wording import bullets, counted, listed, table, wrapped

from ffedge.compare import paper_tables, paper_verdict
from ffedge.compare.paper_found import Found
from ffedge.compare.paper_tables import DATA_NAMES, NAMES, Group, groups
from ffedge.compare.paper_trials import ARMS, EPOCHS, ROWS

TOOL = "python tools/paper_report.py"
POINTS = ("paper-points", "paper-points-again")  # every reading, and those that gained
FIGURES = ("paper-progress", "paper-bars", "paper-gamma")
TWICE_CHANCE = 0.2
TITLE = "# What reproduces of the NetworkFF paper"
HEAD = f"""Written by `{TOOL}` from [results/](results/); do not edit. The paper is
[arXiv:2512.17531](https://arxiv.org/abs/2512.17531). Accuracies are of the whole test set; ± and brackets are 95 %
intervals of the mean by Student's t. Seeds are paired: one seed gives every arm the same first weights and the same
wrong labels. A claim needs three seeds at least here."""
RECIPE = """The preset `paper`: 784-500-500, the label in the first 10 pixels, images in 0 to 1 and of unit length, mean
goodness with theta 2.0 taken off every layer's (eq. 8), eq. 5 over all other layers with alpha 1, gamma 1.0
(A-CFF: eq. 7, rate 0.01), Adam 0.03, one full batch an epoch, wrong labels drawn once a layer, layer after layer. A
full batch is accumulated exactly, in chunks. The paper leaves several of these open; the readings below try others."""


def main(words: list[str] | None = None) -> int:
    """Rewrite or check; return the exit code."""
    return rewriting.run("paper_report", __doc__, update, words)


def update(root: Path, *, write: bool) -> list[str]:
    """Return what is out of date, a line each; `write` brings it up to date.

    Raises
    ------
    FfedgeError
        A result is missing.
    """
    main = [document for name in PAPER for document in read(name, root)]
    stale, path, wanted = [], root / "bench" / "PAPER.md", text(main, *(read(name, root) for name in POINTS))
    if not path.exists() or path.read_text() != wanted:
        stale.append("bench/PAPER.md: is not what bench/results/paper*.json say")
        if write:
            path.write_text(wanted)
    folder, mark = root / "bench" / "figures", stamp([path for name in PAPER for path in newest(name, root)])
    if not all((folder / f"{name}.svg").exists() and mark in (folder / f"{name}.svg").read_text() for name in FIGURES):
        stale.append("bench/figures/paper-*.svg: are not drawn from the newest results")
        if write:
            _draw(found_in(main), folder, mark)
    return stale


def found_in(documents: Sequence[Any]) -> list[Group]:
    """Return the groups of some documents' trials."""
    return groups(Found(**trial) for document in documents for trial in document["trials"])


def text(main_documents: Sequence[Any], points_documents: Sequence[Any], again_documents: Sequence[Any]) -> str:
    """Return the whole document."""
    found, points, again = (found_in(each) for each in (main_documents, points_documents, again_documents))
    parts = [
        TITLE,
        wrapped(HEAD),
        "## In short\n\n" + bullets([*in_short(found), confirmed(again)]),
        "## What was run\n\n" + wrapped(RECIPE) + "\n\n" + bullets(what_was_run(found) + speeds(main_documents)),
        *(_tables(group, number) for number, group in enumerate(main_groups(found), 1)),
        "## Table III\n\n" + table(*paper_tables.summary_rows(main_groups(found))),
        "## Figures\n\n" + figures_text(found),
        "## What collaboration is here\n\n" + bullets([*untrained(found), *gammas(found)]),
        "## Readings of what the paper leaves open\n\n" + open_points(points),
        "## The readings that gained, on other seeds\n\n" + other_seeds(again),
        "## Limits\n\n" + bullets(limits_of(found)),
    ]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def main_groups(found: Sequence[Group]) -> list[Group]:
    """Return the groups of the preset: those with the most rows last."""
    return sorted((g for g in found if g.point == "paper"), key=lambda g: (g.rows, list(DATA_NAMES).index(g.data)))


def in_short(found: Sequence[Group]) -> list[str]:
    """Judge each claim."""
    main = main_groups(found)
    tests = [test for group in main for test in paper_tables.comparisons(group)]
    return [*paper_verdict.baselines(main), *paper_verdict.gains(main, tests), *weights_said(main)]


def weights_said(main: Sequence[Group]) -> list[str]:
    """Say what the collaborative prediction weights change."""
    tests = [test for group in main for test in paper_tables.comparisons(group) if "collaborative" in test.label]
    return [
        f"{paper_verdict.place(t.group)}: {t.label}: {paper_tables.points_text(t.result)} points "
        f"({paper_verdict.seeds(t.result.n)})."
        for t in tests
    ]


def what_was_run(found: Sequence[Group]) -> list[str]:
    """List the groups, and what the whole would take."""
    main = main_groups(found)
    said = [
        f"{paper_verdict.place(group)}: "
        + listed([f"{NAMES[arm]} {counted(len(group.found[arm]), 'seed')}" for arm in group.arms])
        + "."
        for group in main
    ]
    whole = [group for group in main if group.rows == ROWS and group.epochs == EPOCHS]
    seconds = [
        statistics.median(
            sum(cpu or 0.0 for cpu in each.cpu_s) / each.of("rows") for group in main for each in _each(group, arm)
        )
        for arm in ARMS
        if any(_each(group, arm) for group in main)
    ]
    if seconds:
        hours = statistics.mean(seconds) * ROWS * EPOCHS * len(ARMS) * 2 / 3600
        parts = [f"{counted(group.seeds, 'seed')} of {DATA_NAMES[group.data]}" for group in whole]
        done = f"has {listed(parts)}" if parts else "has no seed yet"
        said += [
            f"The paper's {EPOCHS} epochs a layer of {ROWS:,} rows take {hours:.1f} hours of one core a seed, for "
            f"all arms and both data sets; of these, this table {done}.",
            *_slow_start(main),
        ]
    return said


def speeds(documents: Sequence[Any]) -> list[str]:
    """Say how near training comes to a matrix product, on each processor."""
    said = []
    for processor in dict.fromkeys(document["machine"]["processor"] for document in documents):
        own = [document for document in documents if document["machine"]["processor"] == processor]
        limits = {name: rate for document in own for name, rate in document["gemm_flop_per_s"].items()}
        rates = listed([f"{rate / 1e9:.0f} GFLOP/s ({name})" for name, rate in limits.items()])
        said.append(f"{processor}: a lone float32 matrix product in onnxruntime, one thread: {rates}.")
        said += [f"{processor}: {sentence}" for sentence in paper_verdict.speed(main_groups(found_in(own)), limits)]
    return said


def _slow_start(main: Sequence[Group]) -> list[str]:
    """Say when the first layer of FF leaves chance: why fewer epochs of all rows would tell nothing."""
    starts = []
    for group in main:
        for each in _each(group, "ff"):
            curve = each.trace[0]["accuracy"]
            starts += [next((i + 1 for i, share in enumerate(curve) if (share or 0) > TWICE_CHANCE), len(curve))]
    if not starts:
        return []
    return [
        f"In a full batch FF's first layer takes {_whole_range(starts)} epochs to get {100 * TWICE_CHANCE:.0f} % "
        "right, twice chance. So fewer epochs of all rows would tell nothing; fewer rows keep the paper's epochs and "
        "its exact full batch.",
    ]


def _whole_range(values: Sequence[int]) -> str:
    return f"{min(values)}" if min(values) == max(values) else f"{min(values)} to {max(values)}"


def _each(group: Group, arm: str) -> list[Found]:
    return list(group.found.get(arm, {}).values())


def _tables(group: Group, number: int) -> str:
    name = {"mnist": "Table I", "fashion-mnist": "Table II"}.get(group.data, f"Table {number}")
    parts = [
        f"## {name}: {paper_verdict.place(group)}",
        table(paper_tables.TABLE_HEAD, paper_tables.accuracy_rows(group)),
    ]
    if group.seeds > 1:
        tests = paper_tables.comparisons(group)
        parts += [
            table(paper_tables.STATISTICS_HEAD, paper_tables.statistics_rows(tests)),
            wrapped(
                f"{counted(len(tests), 'test')}; with {counted(group.seeds, 'seed')} Wilcoxon's p cannot be below "
                f"{2 ** (1 - group.seeds):.3g}."
            ),
        ]
    else:
        parts.append("One seed: no test is made.")
    return "\n\n".join(parts)


def figures_text(found: Sequence[Group]) -> str:
    """Show the figures and say what they are."""
    logs = listed(
        [
            f"{paper_tables.PUBLISHED[data]['acff'][0]:.1f} % is {value} ({DATA_NAMES[data]})"
            for data, value in (("mnist", "4.555"), ("fashion-mnist", "4.4345"))
        ]
    )
    said = (
        f"The paper's log scale is ln(1 + accuracy in %): its last values are A-CFF's training accuracy ({logs}). "
        "Dotted: the paper's last training accuracy of each arm. Each figure shows the runs of the most seeds."
    )
    shown = [
        ("progress", "Training accuracy by layer and epoch, log scale (the paper's Fig. 2 and 3)"),
        ("bars", "Last training and test accuracy (the paper's Fig. 1 and 4)"),
        ("gamma", "Gamma of A-CFF by layer and epoch"),
    ]
    return "\n\n".join([wrapped(said), *(f"![{name}](figures/paper-{stem}.svg)" for stem, name in shown)])


def untrained(found: Sequence[Group]) -> list[str]:
    """Say what the first layer hears of the second, which has not learnt yet."""
    each = [f for group in main_groups(found) for arm in ("fcff", "acff") for f in _each(group, arm)]
    heard = [value for f in each for value in (f.trace[1]["goodness_positive"][0],) if value is not None]
    if not heard:
        return []
    return [
        "Layer after layer, the second layer has not learnt while the first one does: before its first step its "
        f"goodness is {max(heard):.2g} at most, for true and wrong labels alike. So with theta taken off every layer's "
        "goodness, eq. 5 gives the first layer the threshold (1 + gamma) theta and no information; only the second "
        "layer hears one that has learnt.",
        "With two layers, alpha 1 and one fixed gamma the collaborative prediction weights are equal, so F-CFF "
        "predicts the same by them as by plain sums.",
    ]


def gammas(found: Sequence[Group]) -> list[str]:
    """Say where gamma goes."""
    said = []
    for group in main_groups(found):
        for layer in range(len(_each(group, "acff")[0].trace) if _each(group, "acff") else 0):
            traces = [[v for v in each.trace[layer]["gamma"] if v is not None] for each in _each(group, "acff")]
            ends, least, most = [t[-1] for t in traces], min(map(min, traces)), max(map(max, traces))
            said.append(
                f"{paper_verdict.place(group)}, layer {layer}: from 1 to {_range(ends)}; on the way "
                f"{least:.3f} at least, {most:.3f} at most ({paper_verdict.seeds(len(ends))})."
            )
    return said or ["No A-CFF was run."]


def _range(values: Sequence[float]) -> str:
    low, high = f"{min(values):.3f}", f"{max(values):.3f}"
    return low if low == high else f"{low} to {high}"


def limits_of(found: Sequence[Group]) -> list[str]:
    """Say what was not seen."""
    most = max((group.seeds for group in main_groups(found)), default=0)
    return [
        f"At most {counted(most, 'seed')}: an effect smaller than about a standard deviation of the differences stays "
        "unseen.",
        "Train accuracy is of 10,000 rows of those trained on, or of all where they are fewer; the curves' of 2,000.",
        "The paper does not say how often it ran, nor which reading of eq. 5 it took; it reports one number an arm.",
        "Test accuracy was read once a run. No setting was chosen by it but one: gamma 0.3 is among the readings "
        "because it had helped on these test sets before, so its gain is flattered.",
    ]


def _draw(found: Sequence[Group], folder: Path, mark: str) -> None:
    """Draw as `ffedge bench` does; the same data and versions give the same bytes."""
    from ffedge.compare.paper_figures import draw

    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        for path in steadily(lambda: draw(found, Path(temporary))):
            if path.suffix == ".svg":
                svg = re.sub(r" *<dc:date>.*?</dc:date>\n", "", path.read_text()).rstrip()
                (folder / path.name).write_text(f"{svg}\n<!-- data: sha256 {mark} -->\n")


if __name__ == "__main__":
    sys.exit(main())
