"""ffedge sweep."""

from argparse import Namespace
from pathlib import Path

from ffedge.cli import fail
from ffedge.cli.parser import Parser, Plays, argument, flag, one_of, value, whole
from ffedge.cli.stop import Stop
from ffedge.errors import FfedgeError, StoppedError
from ffedge.fields import bytes_of

MOST_ROWS = 12
RUNS = Plays(not_with=("show",))


def add_flags(parser: Parser) -> None:
    """Describe the words of the command."""
    argument(parser, "spec", "A TOML file that says what to try (docs/sweeps.md), or, with --show, a sweep's folder.")
    flag(parser, "--out", "The sweep's folder. (default: sweeps/<name>)", Path, metavar="FOLDER", plays=RUNS)
    jobs = "Trials at once; each gets its share of the cores."
    flag(parser, "--jobs", jobs, whole(1), default=1, plays=Plays(not_with=("show", "backend")))
    size = value(bytes_of, "SIZE", "a size as in 4GiB")
    budget = "Most that the trials at once may take by their plans, together. (default: no limit)"
    flag(parser, "--memory-budget", budget, size, plays=Plays(not_with=("show", "backend")))
    flag(parser, "--test-accuracy", "Record the accuracy on the test rows, too; it chooses nothing.", plays=RUNS)
    flag(parser, "--backend", "Run the trials on a dask cluster: $DASK_SCHEDULER_ADDRESS.", one_of("dask"), plays=RUNS)
    flag(parser, "--show", "Run nothing; print the table of a sweep's folder again.")


def run(options: Namespace) -> int:
    """Train every combination of a TOML file's values, some at once, and print the best by held-out rows.

    The same command again goes on where it was stopped or killed. It exits with 1 where a trial failed.
    """
    if options.show:
        from ffedge.sweeps.log import read_log

        records = list(read_log(options.spec).values())
        if not records:
            raise FfedgeError(f"{options.spec}: holds no trials that have ended. Pass the folder of a sweep")
        return _print(records, options.spec)
    from ffedge.sweeps.run import on, sweep

    out = options.out or Path("sweeps") / options.spec.stem
    with Stop(busy=options.backend is None) as stop, on(options.backend):
        how = {"jobs": options.jobs, "memory_budget": options.memory_budget, "test": options.test_accuracy}
        try:
            return _print(sweep(options.spec, out, stop=stop, **how), out)
        except StoppedError as error:
            return fail(str(error), 128 + stop.number, "sweep")
    ends = "trials under way on the cluster go on to their ends"
    return fail(f"{out}: stopped; {ends}. Go on with the same command", 128 + stop.number, "sweep")


def _print(records: list[dict[str, object]], folder: Path) -> int:
    """Print the best points; return 1 where a trial failed."""
    from ffedge.cli.tables import print_table
    from ffedge.sweeps.points import changed, ranked
    from ffedge.sweeps.show import PAGE, table

    points = ranked(records)
    if points:
        heads, rows = table(points, MOST_ROWS)
        print_table(f"the best of {len(points)}, by the mean of their seeds", heads, rows)
        print(f"model {folder / 'trials' / str(points[0].records[0]['trial']) / 'model.onnx'}")
        print(f"all trials {folder / 'trials.jsonl'}, charts {folder / PAGE}")
    for data in changed(records):
        print(f"note: {data} changed between the trials, which compare no more. Sweep it anew into another --out")
    failed = [record for record in records if record["status"] in ("failed", "refused")]
    if failed:
        first = f"{failed[0]['trial']}: {failed[0].get('reason')}"
        some = f"{len(failed)} of {len(records)} trials failed, the first of them {first}"
        return fail(some.replace("`", ""), 1, "sweep")  # these are the names of the file
    return 0
