"""Does ffedge compute on ARM what it computes here? Runs it in an emulated aarch64 user-space and compares.

    python tools/arm_check.py [--cache DIR] [--out bench/results]

Every model in models/ predicts and is evaluated, ``ffedge train`` trains an epoch on the embedded data and
``ffedge learn`` goes on with a model, on both sides by the same versions of onnxruntime and numpy. Emulation proves
results; its speed and memory say nothing of a board. Runs on x86-64 Debian as any user and installs nothing.

Exit code 0: nothing differs. 1: something does, or a package cannot be had (a line says what).
"""

import argparse
import importlib.metadata
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "bench"), str(ROOT / "tools")]

from arm_compare import Agreement  # noqa: E402
from arm_root import build  # noqa: E402
from arm_sides import emulated, native  # noqa: E402
from arm_wheels import requirements  # noqa: E402
from arm_work import LOSSES, SCORES, TIES, TRAINED, Job, cases, jobs, train  # noqa: E402
from common import table, write_results  # noqa: E402

from ffedge.errors import FfedgeError  # noqa: E402

SAME = ("numpy", "onnx", "onnxruntime")  # the emulated side has the versions that this side has
HEADER = ("model, check", "rows are", "rows", "labels differ (ties)", "worst", "s", "")
FACTS = (
    "import json, platform, numpy, onnxruntime; print(json.dumps({'architecture': platform.machine(), "
    "'python': platform.python_version(), 'numpy': numpy.__version__, 'onnxruntime': onnxruntime.__version__}))"
)


def main(words: list[str] | None = None) -> int:
    """Build, run, compare, print; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cache = Path(os.environ.get("FFEDGE_CACHE") or ROOT / "build" / "arm")
    parser.add_argument("--cache", type=Path, default=cache, help="folder of the user-space (0.3 GB)")
    parser.add_argument("--models", type=Path, default=ROOT / "models", help="folder of <name>/model.onnx")
    parser.add_argument("--rows", type=int, default=10_000, help="rows that each model predicts, at most")
    parser.add_argument("--minutes", type=float, default=8, help="after these no model begins with further rows")
    parser.add_argument("--cpu", default="cortex-a72", help="what QEMU emulates (cortex-a72: Raspberry Pi 4)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes at a time")
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "results", help="folder of the result")
    options = parser.parse_args(words)
    try:
        return _check(options)
    except FfedgeError as error:
        print(f"arm_check: {error}", file=sys.stderr)
        return 1


def _check(options: argparse.Namespace) -> int:
    if platform.machine() != "x86_64":
        raise FfedgeError(f"compares with x86-64, and this machine is {platform.machine()}. Run the tests here instead")
    began = time.monotonic()
    userspace = build(options.cache, _wanted())
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        here, there = native(work), emulated(userspace, options.cpu, work)
        facts = json.loads(there.python("-c", FACTS)) | {"cpu": options.cpu, "qemu": userspace.qemu_version()}
        print(", ".join(f"{name} {value}" for name, value in facts.items()), f"({time.monotonic() - began:.0f} s)")
        given = cases(train(here, work / "own", epochs=3), options.models, options.rows)
        todo, last = jobs(here, there, given, work), began + 60 * options.minutes
        with ThreadPoolExecutor(options.jobs) as pool:
            lines = summed(todo, list(pool.map(lambda job: _done(job, last), todo)))
    print(table(HEADER, [row(line) for line in lines]))
    seconds = time.monotonic() - began
    print(f"{seconds:.0f} s, which says nothing of a board. Worst: of scores, losses or accuracies, over max(1, |a|)")
    settings = {"rows": options.rows, "scores": SCORES, "ties": TIES, "losses": LOSSES, "trained": TRAINED}
    results = {"emulated": facts, "seconds": seconds, "checks": [asdict(line) for line in lines]}
    print(f"written to {write_results('arm-check', settings, results, options.out, ())}")
    faults = [f"{line.model}, {line.check}: {fault}" for line in lines for fault in line.found.faults]
    for fault in faults:
        print(f"arm_check: {fault}", file=sys.stderr)
    return int(bool(faults))


def _done(job: Job, last: float) -> tuple[Agreement, float] | None:
    """Run a comparison and say so; None where it is a further one and its time is over."""
    if job.further and time.monotonic() > last:
        return None
    found, seconds = job.run()
    print(f"{job.model}, {job.check}, {job.rows:,} rows: {seconds:.0f} s", file=sys.stderr)
    return found, seconds


@dataclass
class Line:
    """A line of the table: what a check found, on how many of its rows, in how many seconds of all its processes."""

    model: str
    check: str
    rows_are: str
    of_rows: int = 0
    found: Agreement = field(default_factory=Agreement)
    seconds: float = 0.0


def summed(todo: Sequence[Job], done: Sequence[tuple[Agreement, float] | None]) -> list[Line]:
    """Put the parts of each check together, in the order in which they began.

    Parameters
    ----------
    done : of each job what it found and its seconds; None where there was no time for it.
    """
    lines: dict[tuple[str, str], Line] = {}
    for job, result in zip(todo, done, strict=True):
        line = lines.setdefault((job.model, job.check), Line(job.model, job.check, job.rows_are))
        line.of_rows += job.rows
        if result is not None:
            line.found.add(result[0])
            line.seconds += result[1]
    return list(lines.values())


def row(line: Line) -> list[object]:
    """Write a line of the table."""
    found = line.found
    rows = f"{found.rows:,}" if found.rows == line.of_rows else f"{found.rows:,} of {line.of_rows:,}"
    differ = f"{found.labels_differ} ({found.ties})"
    agrees = "differs" if found.faults else "same"
    return [
        f"{line.model}, {line.check}",
        line.rows_are,
        rows,
        differ,
        f"{found.worst:.1e}",
        f"{line.seconds:.0f}",
        agrees,
    ]


def _wanted() -> list[str]:
    """Return what the emulated Python gets: the requirements, some in the version that runs here."""
    return requirements() + [f"{package}=={importlib.metadata.version(package)}" for package in SAME]


if __name__ == "__main__":
    sys.exit(main())
