"""ffedge bench."""

from argparse import Namespace
from pathlib import Path
from typing import Any

from ffedge import json_text
from ffedge.cli import fail
from ffedge.cli.parser import Parser, Plays, flag, shared, value, whole
from ffedge.cli.spec_flags import reader
from ffedge.cli.stop import Stop
from ffedge.cli.tables import percent, print_table

MIB = 2**20
WIDTHS = reader(tuple[int, ...])
NAMES = value(lambda text: text.split(","), "NAME,NAME", "names with commas between")
TARGETS = value(lambda text: list(map(float, text.split(","))), "X,X", "fractions with commas between")
MEASURES = ("memory", "speed", "inference")
TRAINING, SPEED = Plays(only_with=MEASURES[:2]), Plays(only_with=MEASURES[1:2])
WORK = ("data", "widths", "epochs", "batch_size", "rows", "threads", "seed")
COUNTED = ("weights", "gradients", "moments", "saved_for_backward")


def add_flags(parser: Parser) -> None:
    """Describe the words of the command."""
    measures = parser.add_argument_group("Measures")
    flag(measures, "--memory", "Peak memory and time, layer by layer, of each arm.")
    flag(measures, "--speed", "Rows a second, and time to given accuracies, of each arm.")
    flag(measures, "--inference", "Latency and throughput of an exported model, beside a plain MLP.")
    flag(parser, "--arms", "What is compared. (default: all whose packages are installed; a few with --quick)", NAMES)
    flag(
        parser,
        "--repeat",
        "Memory, speed: runs of each arm, whose median counts. (default: 3; quick: 1)",
        whole(1),
        plays=TRAINING,
    )
    flag(parser, "--targets", "Speed: accuracies to reach. (default: 0.97,0.98; quick: 0.9,0.92)", TARGETS, plays=SPEED)
    flag(parser, "--quick", "A few arms, once, in about a minute.")
    flag(parser, "--data", "A data set. (default: mnist-mini for memory and when quick, else mnist)", str)
    shared(parser, "--data-dir")
    flag(parser, "--widths", "Units of each layer. (default: 4 of 500 for memory, else 2)", WIDTHS)
    flag(parser, "--batch-size", "Memory, speed: samples of a training batch. (default: 64)", whole(1), plays=TRAINING)
    flag(
        parser,
        "--rows",
        "Memory, speed: training rows used, drawn over all. (default: memory 3000; speed 60000, quick 6000)",
        whole(64),
        plays=TRAINING,
    )
    flag(parser, "--epochs", "Passes over the rows, for each layer. (default: 1; speed: 5, quick 4)", whole(1))
    flag(parser, "--seed", "Of the weights and the order of rows.", whole(0), default=0)
    flag(parser, "--threads", "Of every arm. (default: 2; inference: 1)", whole(1))
    text = "Folder of the results; what stands there is not measured again. (default: bench-<measure>)"
    flag(parser, "--out", text, Path, metavar="FOLDER")
    flag(parser, "--json", "Print the results as one JSON document.")


def run(options: Namespace) -> int:
    """Compare ffedge with backpropagation on this machine, each arm in a process of its own.

    Arms of memory and speed are ffedge-<variant>-<optimizer> and backprop-<optimizer>, which needs torch. Those of
    inference are ffedge-session, ffedge-predictor and backprop-ort.
    """
    measures = [name for name in MEASURES if getattr(options, name)]
    if len(measures) != 1:
        raise ValueError("bench needs one of --memory, --speed and --inference, the measure to take")
    (measure,) = measures
    work = {name: getattr(options, name) for name in WORK if getattr(options, name) is not None}
    if options.data_dir:
        work["data_dir"] = str(options.data_dir.resolve())
    folder = options.out or Path(f"bench-{measure}")
    with Stop() as stop:  # what it raises ends the child
        _compare(measure, folder, work, options)
        return 0
    told = "what is measured so far stands there. Go on with the same command"
    return fail(f"{folder}: stopped; {told}", 128 + stop.number, "bench")


def _compare(measure: str, folder: Path, work: dict[str, Any], options: Namespace) -> None:
    """Take a measure, write it and print it."""
    found = _taken(measure, folder, work, options)
    path = folder / f"{measure}.json"
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(json_text.text(found, indent=1) + "\n")
    if options.json:
        print(json_text.text(found))
        return
    if measure == "memory":
        print_memory(found["points"][0])
    else:
        (print_speed if measure == "speed" else _print_inference)(found)
    for doubt in (found["points"][0] if measure == "memory" else found)["doubts"]:
        print(f"The seconds compare nothing: {doubt}. Measure again when it is idle, with another --out")
    print(f"Energy is not measured. {path}")


def _taken(measure: str, folder: Path, work: dict[str, Any], options: Namespace) -> dict[str, Any]:
    """Take a measure; those that stand in the folder are not taken again."""
    from ffedge.compare import inference, memory, runner, speed

    arms, repeat, quick = options.arms or (), options.repeat or 0, options.quick
    own = runner.Runner(folder / "measures.jsonl")
    if measure == "inference":
        return inference.compare(own, work, arms, quick=quick)
    if measure == "speed":
        return speed.compare(own, work, arms, repeat, options.targets or (), quick=quick)
    return memory.compare(own, work, arms, repeat, quick=quick)


def print_memory(point: dict[str, Any]) -> None:
    """Print the medians of each arm, and each layer of one arm and of one baseline."""
    measures, several = point["measures"], len(point["runs"][0]) > 1
    rows = [
        [
            m["arm"],
            *(_mib(m[key], 1) for key in ("import_bytes", "peak_over_imports_bytes")),
            f"{100 * apart['peak_over_imports_bytes']:.0f}" if several else "-",
            _mib(m["rss_peak_bytes"], 1),
            *(_mib(m["counted_bytes"][key]) for key in COUNTED),
            f"{m['setup_s']:.1f}",
            f"{m['seconds']:.1f}",
            percent(m["accuracy"]),
        ]
        for m, apart in zip(measures, point["spread"], strict=True)
    ]
    columns = ["arm", "imports", "over\nimports", "+-\n%", "process", "weights", "grad.", "moments"]
    columns += ["saved f.\nbackward", "set-up\ns", "all\ns", "held out"]
    print_table(f"MiB, {_runs(point['runs'][0])}; +-: greatest less least run", columns, rows)
    baselines = [m for m in measures if m["arm"].startswith("backprop")]
    for m in measures[:1] + baselines[:1]:
        layers = [
            [
                f"{x['index']}: {x['units']}",
                "-" if x["seconds"] is None else f"{x['seconds']:.2f}",
                *(_mib(x[key], 1) for key in ("rss_start_bytes", "rss_peak_bytes")),
            ]
            for x in m["layers"]
        ]
        print_table(m["arm"], ["layer", "seconds", "start MiB", "peak MiB"], layers)
    for why in sorted({f"-: {name}: {why}" for m in measures for name, why in m["unknown"].items()}):
        print(why)


def print_speed(found: dict[str, Any]) -> None:
    """Print the medians of each arm, and the seconds to each target with the least and the greatest run."""
    from ffedge.compare.runner import spread_text

    rows = [
        [
            a["arm"],
            f"{a['rows_per_second']:,.0f}",
            *(f"{a[key]:.1f}" for key in ("setup_s", "seconds")),
            *(
                "-" if t["seconds"] is None else spread_text([s for s in t["runs"] if s is not None])
                for t in a["time_to"]
            ),
            percent(a["accuracy"]),
        ]
        for a in found["arms"]
    ]
    first, targets = found["arms"][0]["runs"][0], (f"s to\n{100 * t:g} %" for t in found["targets"])
    title = f"{first['epochs']} epochs of {first['rows']:,} rows, {_runs(found['arms'][0]['runs'])}"
    print_table(title, ["arm", "rows/s", "set-up\ns", "all\ns", *targets, "held out"], rows)
    for a in found["arms"]:
        for t in (t for t in a["time_to"] if t["why"]):
            print(f"-: {a['arm']}, {100 * t['target']:g} %: {t['why']}")
    print("Seconds are of training alone: the clock stands still while accuracy is measured.")


def _print_inference(found: dict[str, Any]) -> None:
    """Print milliseconds, throughput and ratios of each batch size: median [least, greatest] of the rounds."""
    from ffedge.compare.runner import spread_text

    for size, result in found["batch_size"].items():
        medians = result["call_s_median"]
        rows = [
            [name, spread_text([1e3 * s for s in rounds], 3), f"{int(size) / medians[name]:,.0f}"]
            for name, rounds in result["call_s"].items()
        ]
        print_table(f"batch {size}", ["arm", "ms a call", "samples/s"], rows)
        if result["ratio"]:
            ratios = [[name, spread_text(rounds)] for name, rounds in result["ratio"].items()]
            print_table("", ["", "ratio of times"], ratios)
    aside = ", of rows that were taken aside, as the data have none to test on" * found["test_rows_taken_aside"]
    print(f"test accuracy {percent(found['test_accuracy'])}{aside}")
    print(f"labels unlike the first arm's, of {found['samples']:,}: {found['labels_unlike_the_first']}")


def _runs(runs: list[Any]) -> str:
    return f"medians of {len(runs)} runs" if len(runs) > 1 else "1 run"


def _mib(count: int | None, digits: int = 2) -> str:
    return "-" if count is None else f"{count / MIB:.{digits}f}"
