"""Starts a trial's process and waits for it; what the trials of one machine share: memory, and the wish to stop."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from typing import Any

from ffedge.compare.child import variables
from ffedge.errors import one_line
from ffedge.sweeps.log import Record

POLL_S = 0.1
PLANNING_BYTES = 64 << 20  # of a process that plans: imports, and a block of rows
MIB = 2**20
REMEDY = "Run fewer trials at once, or give a memory budget"


class Here:
    """Shared by the threads that wait for trials.

    Parameters
    ----------
    budget : bytes that the trials which run at once may take by their plans, together; None: as many as they like.
    stop : True ends the trials at their checkpoints.
    started : is told how many trials run, as one begins.
    """

    def __init__(self, budget: int | None, stop: Callable[[], bool], started: Callable[[int], None]) -> None:
        self.budget, self.stop, self.started = budget, stop, started
        self.running, self._taken, self._freed = 0, 0, threading.Condition()
        self._plans: dict[str, int] = {}

    def planned(self, job: dict[str, Any]) -> int:
        """Return the bytes of a trial's plan, or of its budget; asked once for trials that differ in their seeds alone.

        Raises
        ------
        ValueError
            There is no plan; the text says why.
        """
        key = json.dumps([job["data"], job["how"], job["fields"] | {"seed": 0}], sort_keys=True)
        if key not in self._plans:
            with self.room(min(PLANNING_BYTES, self.budget or 0)):
                said = _in_child(job | {"out": None}, self.stop)
            if said["status"] != "planned":
                raise ValueError(said.get("reason", "stopped"))
            self._plans[key] = said["bytes"]
        return self._plans[key]

    @contextlib.contextmanager
    def room(self, count: int) -> Iterator[None]:
        """Hold so many bytes of the budget; wait until the trials that run leave them."""
        with self._freed:
            while self.budget is not None and self._taken + count > self.budget and not self.stop():
                self._freed.wait(POLL_S)
            self._taken, self.running = self._taken + count, self.running + 1
        try:
            yield
        finally:
            with self._freed:
                self._taken, self.running = self._taken - count, self.running - 1
                self._freed.notify_all()


def run_trial(job: dict[str, Any], here: Here | None = None) -> Record:
    """Run a trial to its end, or until it is stopped; return fields of its record. It raises nothing.

    Parameters
    ----------
    job : the request of `ffedge.sweeps.child`, with the trial's ``threads``.
    here : None on another machine than that of the sweep, which neither counts memory there nor stops what runs there.
    """
    return {"trial": job["trial"]} | _run(job, here)


def _run(job: dict[str, Any], here: Here | None) -> Record:
    if here is None:
        return _in_child(job, lambda: False)
    if here.stop():
        return {"status": "stopped"}
    planned = 0
    if here.budget is not None:
        try:
            planned = here.planned(job)
        except ValueError as error:
            return {"status": "stopped" if here.stop() else "failed", "reason": str(error)}
        if planned > here.budget:
            need = f"{planned / MIB:.1f} MiB, more than the {here.budget / MIB:.1f} MiB of all trials together"
            return {"status": "refused", "reason": f"it needs {need}. Give it a `memory_budget` or narrower layers"}
    with here.room(planned):
        if here.stop():
            return {"status": "stopped"}
        here.started(here.running)
        record = _in_child(job, here.stop)
    return record | ({"planned_bytes": planned} if planned else {})


def _in_child(job: dict[str, Any], stop: Callable[[], bool]) -> Record:
    """Run `ffedge.sweeps.child`; say of what it died, where it does not say so itself."""
    command = [sys.executable, "-m", "ffedge.sweeps.child", json.dumps(job)]
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(job["threads"]))
    how: dict[str, Any] = {"env": variables() | threads, "stdin": subprocess.PIPE}
    how["start_new_session"] = True  # Ctrl-C is for the sweep, which ends its trials at their checkpoints
    try:
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as said:
            with subprocess.Popen(command, stdout=out, stderr=said, **how) as child:
                while child.poll() is None:
                    if stop() and child.stdin is not None:
                        child.stdin.close()
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        child.wait(POLL_S)
            if child.returncode:
                return {"status": "failed", "reason": _death(child.returncode, _tail(said))}
            try:
                answer: Record = json.loads(_tail(out))
            except ValueError:
                return {"status": "failed", "reason": f"its process ended with 0 and no answer. {REMEDY}"}
            return answer
    except OSError as error:
        return {"status": "failed", "reason": f"its process cannot be started ({error.strerror or error}). {REMEDY}"}


def _death(code: int, said: str) -> str:
    """Return why a process ended that gave no answer."""
    if code == -signal.SIGKILL:
        return f"its process was killed (SIGKILL), as Linux does where memory runs out. {REMEDY}"
    if code < 0:
        return f"its process ended by {signal.Signals(-code).name}"
    return one_line(f"its process ended with {code}: {said}")


def _tail(file: Any) -> str:
    """Return the last line of what a process wrote."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - 65536))
    lines = file.read().decode(errors="replace").strip().splitlines()
    return str(lines[-1]) if lines else ""
