"""Runs one trial in a process of its own, so that its peak is its own and its death nobody else's.

The request is the one argument, JSON; the answer is the last line of standard output. The process ends at a checkpoint
when its standard input does: when the sweep is stopped, or dies.
"""

import json
import select
import shutil
import sys
import time
from pathlib import Path
from typing import Any

from ffedge.data import Reading
from ffedge.errors import FfedgeError, ModelError, StoppedError, TrainingError
from ffedge.files import locked
from ffedge.spec import Spec
from ffedge.training.checkpoint import Checkpoints
from ffedge.training.records import Report
from ffedge.training.train import plan, train

WAIT_S = 0.2


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Train, or, where there is no ``out``, say what training would take; return fields of the trial's record."""
    try:
        how = dict(request["how"])
        how["reading"] = Reading.from_dict(how.pop("reading", {}))
        how["data_dir"] = Path(how["data_dir"]) if "data_dir" in how else None
        spec = Spec.make(**request["fields"])
        if request["out"] is None:
            planned = plan(spec, request["data"], **how)
            return {"status": "planned", "bytes": planned.budget_bytes or planned.peak_bytes}
        return _trained(Path(request["out"]), spec, request["data"], how)
    except StoppedError:
        return {"status": "stopped"}
    except TrainingError as error:
        return {"status": "diverged", "reason": str(error)}
    except (FfedgeError, ValueError) as error:
        return {"status": "failed", "reason": str(error)}


def _trained(out: Path, spec: Spec, data: Any, how: dict[str, Any]) -> dict[str, Any]:
    """Train; a finished run is read, one that was begun goes on, and one that cannot be taken up begins anew."""
    note, more = dict[str, Any](), dict[str, Any](stop=_stopped, progress=False, kept_bytes=0)
    _wait(out)
    report = out / "report.json"
    if not report.exists() and Checkpoints(out / "checkpoint").generations():
        try:
            train(None, None, out, data_dir=how["data_dir"], resume=True, **more)
        except ModelError as error:
            note = {"note": f"began anew: {error}"}
            shutil.rmtree(out)
    if not report.exists():
        train(spec, data, out, **how, **more)
    return _result(Report.read(report)) | note


def _wait(folder: Path) -> None:
    """Wait until no process trains in a folder, such as one of a sweep that was killed and ends at a checkpoint."""
    while not _stopped():
        try:
            with locked(folder, "busy"):
                return
        except FfedgeError:
            time.sleep(WAIT_S)
    raise StoppedError("stopped")


def _stopped() -> bool:
    """Tell whether standard input has ended, to which nothing is ever written."""
    return bool(select.select([0], [], [], 0)[0])


def _result(report: Report) -> dict[str, Any]:
    """Return what a finished run reached; `seconds` are of training, also of what was done before it was resumed."""
    if report.stopped:
        return {"status": "diverged", "reason": report.stopped}
    if report.layers[-1].accuracy_sum is None:
        few = f"`holdout` leaves none of {report.train_accuracy_rows} rows to compare trials by. Use a larger share"
        return {"status": "failed", "reason": few}
    return {
        "status": "done",
        "accuracy": report.layers[-1].accuracy_sum,
        "test_accuracy": report.test_accuracy,
        "seconds": round(sum(layer.seconds for layer in report.layers), 3),
        "peak_bytes": max(report.rss_peak_bytes, *(layer.rss_peak_bytes for layer in report.layers)),
        "data_sha256": report.data.get("sha256"),
    }


if __name__ == "__main__":
    print(json.dumps(answer(json.loads(sys.argv[1]))))
