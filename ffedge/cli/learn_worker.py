"""What the process that learns from a model file does and prints; it is `ffedge.cli.worker`, on another request."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ffedge.cli import fail

if TYPE_CHECKING:
    from ffedge.learning import Learning

MIB = 2**20


def learn(request: dict[str, Any], stop: Callable[[], bool]) -> int:
    """Learn, print what came of it, and return the exit code: 1 where the model was not replaced."""
    from ffedge.cli.progress import EpochLines, LiveLine
    from ffedge.learning import learn

    changes = {name: tuple(v) if isinstance(v, list) else v for name, v in request["changes"].items()}
    with LiveLine() if sys.stderr.isatty() else EpochLines() as watcher:
        found = learn(
            request["model"],
            request["data"],
            add_classes=request["add_classes"],
            layers=request["layers"],
            replay_share=request["replay_share"],
            replay_from=request["replay_from"],
            kept_bytes=request["kept_bytes"],
            max_drop=request["max_drop"],
            data_dir=Path(request["data_dir"]) if request["data_dir"] else None,
            watcher=watcher,
            stop=stop,
            **changes,
        )
    if request["json"]:
        print(found.to_json())
    elif found.accepted:
        print_learning(found)
    return fail(found.refused, 1) if found.refused else 0


def print_learning(found: "Learning") -> None:
    """Print accuracy before and after, and what it took."""
    for what, held in (("new rows, held out", found.new), ("kept examples", found.kept)):
        if held.before is not None and held.after is not None:
            change = f"{100 * held.before:6.2f} % -> {100 * held.after:6.2f} %"
            print(f"{what:18s} {change} of {held.rows:,}")
    print(f"learnt from {found.rows:,} new rows and {found.kept_rows:,} kept examples")
    if found.classes_added:
        print(f"new classes: {', '.join(found.classes_added)}")
    print(f"{found.seconds:.1f} s, peak {found.rss_peak_bytes / MIB:.0f} MiB ({found.import_bytes / MIB:.0f} imports)")
    print(f"model {found.model}; the one before is {found.previous} (--rollback puts it back)")
