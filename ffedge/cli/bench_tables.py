"""The tables of `ffedge bench`, on stdout."""

from typing import Any

from ffedge.cli.tables import percent, print_table
from ffedge.compare import paper_readings, paper_tables, paper_verdict
from ffedge.compare.memory import Point
from ffedge.compare.paper_points import SCHEDULES
from ffedge.compare.paper_tables import Group
from ffedge.compare.rounds import spread_text
from ffedge.compare.runs import Outcome
from ffedge.compare.speed import ArmCurves, Time

MIB = 2**20
MEMORY_COLUMNS = [
    "arm",
    "imports",
    "over\nimports",
    "+-\n%",
    "process",
    "weights",
    "grad.",
    "moments",
    "saved f.\nbackward",
    "set-up\ns",
    "all\ns",
    "held out",
]


def print_outcome(outcome: Outcome) -> None:
    """Print tables, sentences, and where the files are."""
    kind = outcome.request.kind
    if kind == "memory":
        for point in outcome.found:
            print_memory(point, outcome.request.sweep)
    elif kind == "speed":
        print_speed(outcome.found, outcome.document["targets"])
    elif kind == "paper":
        print_paper(outcome.found)
    else:
        print_inference(outcome.document)
    print("\n".join(outcome.said))
    print(", ".join(map(str, outcome.files)))


def print_memory(point: Point, sweep: str | None) -> None:
    """Print the medians of each arm; without a sweep also each layer of one arm and of one baseline."""
    rows = [
        [
            m.arm,
            f"{m.import_bytes / MIB:.0f}",
            f"{m.peak_over_imports_bytes / MIB:.1f}",
            f"{100 * point.spread(arm, 'peak_over_imports_bytes'):.0f}" if len(point.runs[arm]) > 1 else "-",
            f"{m.rss_peak_bytes / MIB:.0f}",
            *(_mib(m.counted_bytes[key]) for key in ("weights", "gradients", "moments", "saved_for_backward")),
            f"{m.setup_s:.1f}",
            f"{m.seconds:.1f}",
            percent(m.accuracy),
        ]
        for arm, m in enumerate(point.measures)
    ]
    runs = len(point.runs[0])
    median = f"medians of {runs} runs; +-: greatest less least" if runs > 1 else "1 run"
    print_table(f"MiB, {'' if sweep is None else f'{sweep} {point.value}, '}{median}", MEMORY_COLUMNS, rows)
    if sweep is None:
        for m in point.measures[:1] + [m for m in point.measures if m.arm == "backprop-adam"][:1]:
            layers = [
                [
                    f"{x.index}: {x.units}",
                    "-" if x.seconds is None else f"{x.seconds:.2f}",
                    f"{x.rss_start_bytes / MIB:.0f}",
                    _mib(x.rss_peak_bytes, 0),
                ]
                for x in m.layers
            ]
            print_table(m.arm, ["layer", "seconds", "start MiB", "peak MiB"], layers)
        for why in sorted({f"-: {name}: {why}" for m in point.measures for name, why in m.unknown.items()}):
            print(why)


def print_speed(found: list[ArmCurves], targets: list[float]) -> None:
    """Print the medians of each arm, and the seconds to each target with the least and the greatest run."""
    rows = [
        [
            a.arm,
            f"{a.median('rows_per_second'):,.0f}",
            f"{a.median('setup_s'):.1f}",
            f"{a.median('seconds'):.1f}",
            *(_seconds(a.time_to(target)) for target in targets),
            percent(a.median("accuracy")),
        ]
        for a in found
    ]
    columns = ["arm", "rows/s", "set-up\ns", "all\ns", *(f"s to\n{100 * t:g} %" for t in targets), "held out"]
    first = found[0].runs[0]
    runs = len(found[0].runs)
    print_table(f"{first.epochs} epochs of {first.rows:,} rows, {runs} run{'s' * (runs > 1)}", columns, rows)
    for a in found:
        for time in map(a.time_to, targets):
            if time.why:
                print(f"-: {a.arm}, {100 * time.target:g} %: {time.why}")


def print_inference(document: dict[str, Any]) -> None:
    """Print milliseconds, throughput and ratios of each batch size: median [least, greatest] of the rounds."""
    for size, result in document["batch_size"].items():
        rows = [
            [
                name,
                spread_text([1e3 * s for s in rounds], 3),
                f"{int(size) / result['call_s_median'][name]:,.0f}",
            ]
            for name, rounds in result["call_s"].items()
        ]
        print_table(f"batch {size}", ["arm", "ms a call", "samples/s"], rows)
        ratios = [[name, spread_text(rounds)] for name, rounds in result["ratio"].items()]
        if ratios:
            print_table("", ["", "ratio of times"], ratios)
    print(f"labels unlike the first arm's, of {document['samples']:,}: {document['labels_unlike_the_first']}")


def print_paper(found: list[Group]) -> None:
    """Print the paper's tables beside ours, the tests, and a row for each reading of an open point."""
    for group in (group for group in found if group.point == "paper"):
        print_table(paper_verdict.place(group), paper_tables.TABLE_HEAD, paper_tables.accuracy_rows(group))
        tests = paper_tables.comparisons(group)
        if tests and group.seeds > 1:
            print_table("", paper_tables.STATISTICS_HEAD, paper_tables.statistics_rows(tests))
    for data in dict.fromkeys(group.data for group in found if group.point != "paper"):
        for schedule in SCHEDULES:
            print_table(f"{data}, {schedule}", paper_readings.HEAD, paper_readings.rows(found, data, schedule))


def _seconds(time: Time) -> str:
    reached = [seconds for seconds in time.runs if seconds is not None]
    if time.seconds is None:
        return "-"
    return f"{time.seconds:.2f}" if len(time.runs) == 1 else spread_text(reached)


def _mib(count: int | None, digits: int = 2) -> str:
    return "-" if count is None else f"{count / MIB:.{digits}f}"
