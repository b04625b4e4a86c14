"""The process that trains, without the packages that read flags and draw tables: ``python -m ffedge.cli.worker``.

Those take 11 MiB, which a memory budget can spare: `ffedge.cli.train` reads the flags and goes on as this process, and
this one goes on as ``ffedge report``, which prints the closing table.
"""

import json
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from ffedge.child import become
from ffedge.cli import fail, leave
from ffedge.errors import StoppedError

if TYPE_CHECKING:
    from ffedge.training.plan import Plan

MIB = 2**20
_caught: list[int] = []


def work() -> int:
    """Do what the request says; return the exit code."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _remember)
    request = json.loads(sys.argv[1])
    try:
        if "model" in request:
            from ffedge.cli.learn_worker import learn

            return learn(request, lambda: bool(_caught))
        (_plan if request["plan"] else _train)(request)
        return 0
    except StoppedError as error:
        return fail(str(error), 128 + _caught[0])


def _train(request: dict[str, Any]) -> None:
    from ffedge.cli.progress import EpochLines, LiveLine
    from ffedge.spec import Spec
    from ffedge.training.run import train

    with LiveLine() if sys.stderr.isatty() else EpochLines() as watcher:
        run = train(
            Spec.from_dict(request["spec"]) if request["spec"] else None,
            request["data"],
            Path(request["out"]) if request["out"] else None,
            data_dir=_path(request["data_dir"]),
            resume=request["resume"],
            force=request["force"],
            checkpoint_every=request["checkpoint_every"],
            kept_bytes=request["kept_bytes"],
            watcher=watcher,
            stop=lambda: bool(_caught),
        )
    if request["json"]:
        print(run.report.to_json())
    else:
        become("ffedge", "report", str(run.path))


def _plan(request: dict[str, Any]) -> None:
    from ffedge.spec import Spec
    from ffedge.training.run import plan

    found = plan(Spec.from_dict(request["spec"]), request["data"] or "mnist-mini", _path(request["data_dir"]))
    if request["json"]:
        print(json.dumps(found.to_dict(), indent=1))
    else:
        print_plan(found)


def print_plan(plan: "Plan") -> None:
    """Print what takes how much, what was chosen, and the least that is possible."""
    for name, count in plan.parts.items():
        print(f"{name:34s}{count / MIB:8.1f} MiB")
    budget = "" if plan.budget_bytes is None else f" of a budget of {plan.budget_bytes / MIB:.1f} MiB"
    print(f"{'planned peak':34s}{plan.peak_bytes / MIB:8.1f} MiB{budget}")
    print(f"{'  of it not backed by files':34s}{plan.anonymous_bytes / MIB:8.1f} MiB")
    print(f"{'the least that is possible':34s}{plan.floor_bytes / MIB:8.1f} MiB")
    print(f"{'on disk, beside checkpoints':34s}{plan.disk_bytes / MIB:8.1f} MiB")
    for why in plan.reasons:
        print(why)


def _path(text: str | None) -> Path | None:
    return Path(text) if text else None


def _remember(number: int, _frame: FrameType | None) -> None:
    """Ask training to stop; a second signal does not wait for the batch to end."""
    if _caught:
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)
    _caught.append(number)


if __name__ == "__main__":
    leave(work)
