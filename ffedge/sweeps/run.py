"""A sweep: trials that have not ended yet run, some at once, and each one's record is appended to trials.jsonl."""

import contextlib
import os
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ffedge import json_text
from ffedge.data import NAMES
from ffedge.errors import FfedgeError, StoppedError
from ffedge.fields import bytes_of, is_whole
from ffedge.files import atomic_file, locked
from ffedge.sweeps.asked import Asked, Trial, read
from ffedge.sweeps.log import NAME, Record, append, mend, read_log
from ffedge.sweeps.points import ranked, text_of
from ffedge.sweeps.show import PAGE, Progress, write_page
from ffedge.sweeps.worker import Here, run_trial
from ffedge.version import __version__

ENDED = ("done", "diverged")  # what is not run again; what failed, or was refused, is
ASKED = "sweep.json"
CONTENT = {NAME, "trials", *(f"{mark}{name}{end}" for name in (ASKED, PAGE) for mark, end in (("", ""), (".", ".tmp")))}


def sweep(
    spec: Mapping[str, Any] | str | Path,
    out: str | Path | None = None,
    *,
    jobs: int = 1,
    memory_budget: int | str | None = None,
    test: bool = False,
    progress: bool = True,
    stop: Callable[[], bool] = lambda: False,
) -> list[Record]:
    """Run the trials of a sweep that have not ended yet; return the records of all, in their order.

    A sweep that was stopped or killed goes on where it stood: ended trials are not run again, one under way goes on
    from its checkpoint, and one that failed or was refused is tried again.

    Parameters
    ----------
    spec : a TOML file, or a dict of the same names: any field of a spec with a value or a list of values, ``data``,
        ``seeds``, ``random``, ``halving``; see docs/sweeps.md.
    out : the sweep's folder; None takes sweeps/<name of the file>.
    jobs : trials that run at once. Each gets that share of the cores, unless it names ``threads``. Where another
        back-end than joblib's threads is active (``joblib.parallel_config``), as many run at once as that one likes,
        with one thread each.
    memory_budget : bytes, or a text as in ``4GiB``: the most that the plans of the trials that run at once may come to.
        A trial waits until there is room for its plan; it is refused if it needs more alone.
    test : record the accuracy on the test rows, too. Trials are compared by held-out rows alone.
    progress : show on stderr how it goes.
    stop : asked ten times a second; True ends the trials at their checkpoints.

    Returns
    -------
    Records, each a dict as a line of trials.jsonl: trial, status, accuracy (of held-out rows, 0 to 1), seconds (of
    training), peak_bytes, data, and the fields of the spec that were named. With halving, those of all rungs.

    Raises
    ------
    FfedgeError
        joblib is missing, the file or the folder cannot be used, or the sweep was stopped (`StoppedError`).
    ValueError
        A dict, or another argument, asks for what cannot be.
    """
    asked, budget = read(spec), bytes_of(memory_budget) if isinstance(memory_budget, str) else memory_budget
    if not is_whole(jobs) or jobs < 1:
        raise ValueError(f"`jobs` must be a whole number from 1, got {jobs!r}")
    if budget is not None and any(trial.fields.get("engine") == "torch" for trial in asked.trials):
        raise ValueError("`memory_budget` needs plans, which the torch engine has none of. Leave it out")
    if out is None and isinstance(spec, Mapping):
        raise ValueError("`out` must be a folder where the sweep is no file. Pass one")
    folder = Path("sweeps") / Path(str(spec)).stem if out is None else Path(out)
    with _alone(folder):
        trials = _Trials(asked, folder, jobs, budget, test=test)
        with atomic_file(folder / ASKED) as temporary:
            about = {"version": __version__, "trials": [trial.about() for trial in asked.trials]}
            temporary.write_text(json_text.text(about, indent=1))
        try:
            return trials.run(stop, progress=progress)
        finally:
            write_page(folder, list(trials.known.values()))


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Make a sweep's folder, and keep other sweeps out of it.

    Raises
    ------
    FfedgeError
        Another one is in it, it holds other things, or it cannot be made.
    """
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(locked(folder, f"{folder}: another sweep runs there. Choose another `out`, or wait"))
            strange = {path.name for path in folder.iterdir()} - CONTENT
        except OSError as error:
            raise FfedgeError(f"{folder}: cannot be made ({error.strerror}). Choose another `out`") from error
        if strange:
            raise FfedgeError(f"{folder}: is no sweep's folder (it holds {min(strange)}). Choose another `out`")
        yield


class _Trials:
    """The trials of a sweep, and what became of them: `known` are the records, by their trials' ids."""

    def __init__(self, asked: Asked, folder: Path, jobs: int, budget: int | None, *, test: bool) -> None:
        self._asked, self._folder, self._jobs, self._budget, self._test = asked, folder, jobs, budget, test
        mend(folder)
        self.known = read_log(folder)
        each = [trial.about() for trial in asked.trials]
        names = dict.fromkeys(name for about in each for name in about)
        self._varied = [name for name in names if any(about.get(name) != each[0].get(name) for about in each)]

    def run(self, stop: Callable[[], bool], *, progress: bool) -> list[Record]:
        """Run all rungs; return the records of each, in the trials' order."""
        going, result, divisors = self._asked.trials, list[Record](), self._asked.rungs()
        for rung, divisor in enumerate(divisors):
            trials = [trial.of_rung(rung, divisor) for trial in going] if self._asked.halving else going
            title = f"{self._folder}" + (f", rung {rung + 1} of {len(divisors)}" if self._asked.halving else "")
            each = list({trial.id: trial for trial in trials}.values())  # of 9 and 10 epochs a third is the same
            left = [trial for trial in each if not self._ended(trial)]
            with Progress(title, len(each), len(each) - len(left), shown=progress) as shown:
                self._train(left, stop, shown)
            if stop():
                ended = f"{sum(map(self._ended, each))} of {len(each)} trials have ended"
                raise StoppedError(f"{title}: stopped, {ended}. Go on with the same command", self._folder)
            result += [self._of_this_rung(trial) for trial in each]
            if rung + 1 < len(divisors):
                going = self._best(going, trials, divisor // divisors[rung + 1])
        return result

    def _best(self, going: list[Trial], trials: list[Trial], one_in: int) -> list[Trial]:
        """Return the trials whose points are the best of their data set in a rung, one point in so many."""
        chosen = set[str]()
        for data in dict.fromkeys(trial.source for trial in trials):
            here = {trial.id: trial for trial in trials if trial.source == data}
            points = ranked(self.known[name] for name in here)
            keep = points[: max(1, len({trial.point for trial in here.values()}) // one_in)]
            chosen |= {here[point.records[0]["trial"]].point for point in keep if point.done}
        return [whole for whole, short in zip(going, trials, strict=True) if short.point in chosen]

    def _of_this_rung(self, trial: Trial) -> Record:
        """Return a trial's record, which says the rung that it has in this sweep, whichever it was trained for."""
        known = self.known[trial.id]
        record = {name: value for name, value in known.items() if name != "rung"} | self._rung(trial)
        if record != known:
            self.known[trial.id] = record
            append(self._folder, record)
        return record

    def _rung(self, trial: Trial) -> dict[str, int]:
        return {"rung": trial.rung} if self._asked.halving else {}

    def _ended(self, trial: Trial) -> bool:
        record = self.known.get(trial.id, {"status": "new"})
        lacks = self._test and record["status"] == "done" and "test_accuracy" not in record
        return record["status"] in ENDED and not lacks

    def _train(self, trials: list[Trial], stop: Callable[[], bool], shown: Progress) -> None:
        """Run trials and append what becomes of each."""
        joblib, over = _joblib(), threading.Event()
        backend, _ = joblib.parallel.get_active_backend(prefer="threads")
        here, cores = None, 1
        if isinstance(backend, joblib.parallel.ThreadingBackend | joblib.parallel.SequentialBackend):
            here = Here(self._budget, lambda: over.is_set() or stop(), shown.started)
            cores = max(1, (os.cpu_count() or 1) // self._jobs)
        elif self._budget is not None:
            raise ValueError("`memory_budget` plays no part with `backend`: what runs at once is that one's choice")
        by_id = {trial.id: trial for trial in trials}
        work = (joblib.delayed(run_trial)(self._job(trial, cores), here) for trial in by_id.values())
        how = {"prefer": "threads", "return_as": "generator_unordered", "pre_dispatch": self._jobs}
        found = joblib.Parallel(self._jobs, **how)(work)
        try:
            for said in found:
                if said["status"] != "stopped":
                    trial = by_id[said["trial"]]
                    record = self.known[trial.id] = self._record(trial, said)
                    append(self._folder, record)
                    what = (f"{name} {text_of(trial.about().get(name))}" for name in self._varied)
                    shown.ended(record, ", ".join(what))
        finally:
            over.set()  # what still runs ends at a checkpoint, after an error too
            with warnings.catch_warnings(action="ignore"):  # of results that nobody reads
                found.close()

    def _job(self, trial: Trial, threads: int) -> dict[str, Any]:
        """Return the request of a trial's process; its paths are absolute, as it may run elsewhere."""

        def absolute(file: Any) -> Any:
            if isinstance(file, list):
                return [absolute(each) for each in file]
            return file if file in NAMES else os.path.abspath(file)

        fields, how = dict(trial.fields), dict(trial.how)
        if fields.get("engine") != "torch":
            fields.setdefault("threads", threads)
        if "data_dir" in how:
            how["data_dir"] = absolute(how["data_dir"])
        out = absolute(self._folder / "trials" / trial.id)
        job = {"trial": trial.id, "data": absolute(trial.data), "how": how, "fields": fields, "out": out}
        return job | {"threads": fields.get("threads") or threads}

    def _record(self, trial: Trial, said: Record) -> Record:
        """Return what is appended: what the trial said, and what was asked of it."""
        said = {name: value for name, value in said.items() if self._test or name != "test_accuracy"}
        return said | self._rung(trial) | trial.about() | {"version": __version__}


def _joblib() -> Any:
    try:
        import joblib
    except ModuleNotFoundError as error:
        raise FfedgeError("a sweep needs joblib, which is not installed. Run: pip install 'ffedge[sweep]'") from error
    return joblib


@contextlib.contextmanager
def on(backend: str | None) -> Iterator[None]:
    """Let sweeps run their trials on joblib's back-end of a name; of dask, on the cluster that its settings name.

    Raises
    ------
    FfedgeError
        A package is missing.
    """
    if backend is None:
        yield
        return
    joblib = _joblib()
    try:
        from distributed import Client
    except ModuleNotFoundError as error:
        raise FfedgeError(
            "`backend='dask'` needs distributed, which is not installed. Run: pip install 'ffedge[dask]'"
        ) from error
    if not (address := os.environ.get("DASK_SCHEDULER_ADDRESS")):
        raise FfedgeError("`backend='dask'` needs the address of a scheduler. Set DASK_SCHEDULER_ADDRESS")
    try:
        client = Client(address)
    except (OSError, ValueError) as error:
        raise FfedgeError(f"{address}: no dask cluster answers ({error}). Check DASK_SCHEDULER_ADDRESS") from error
    with client, joblib.parallel_config(backend=backend):
        yield
