"""What the benchmarks share: arguments, clean child processes, commands of ffedge, result files, tables, figures.

The parent of a benchmark imports neither torch nor a peer: arms run in a child, started anew and never forked.
"""

import argparse
import datetime
import importlib.metadata
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from ffedge.compare.child import ask, variables
from ffedge.compare.load import Others
from ffedge.compare.runner import thread_variables
from ffedge.training.records import machine, versions

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
PATHS = {"PYTHONPATH": os.pathsep.join([str(HERE), str(ROOT)]), "TQDM_DISABLE": "1"}  # of a child
MIB = 2**20
QUIET_CORES = 0.25
TRIES = 3
WAIT_S = 30


def arguments(about: str | None, *, out: Path = HERE / "results") -> argparse.ArgumentParser:
    """Return a parser of a script with its docstring, and the flag that all have."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=out, help="folder of the result file")
    return parser


def settings_of(options: argparse.Namespace) -> dict[str, Any]:
    """Return everything that was chosen for a run, but for the places of files."""
    chosen = {name: value for name, value in vars(options).items() if name not in ("data_dir", "models")}
    return {name: value for name, value in chosen.items() if not isinstance(value, Path)}


def ffedge(*words: object) -> dict[str, Any]:
    """Run a command of ffedge in a process of its own; return what it prints with ``--json``.

    Raises
    ------
    RuntimeError
        It printed none; its last line on standard error is in the text.
    """
    command = [sys.executable, "-m", "ffedge", *map(str, words), "--json"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=variables())
    if not done.stdout:
        raise RuntimeError(f"{' '.join(command[2:])}: {(done.stderr.splitlines() or [str(done.returncode)])[-1]}")
    return dict(json.loads(done.stdout))


def child(module: str, request: dict[str, Any], threads: int, tries: int = TRIES) -> dict[str, Any]:
    """Run a module of this folder in a new interpreter, which answers one request (see `ffedge.compare.child`).

    It begins when other processes are quiet, or after half a minute. The answer also holds ``cores_elsewhere``: how
    many cores other processes kept busy meanwhile. Where that was more than a quarter of a core the child runs again,
    `tries` times at most; the quietest run counts.

    Parameters
    ----------
    module : calls `ffedge.compare.child.serve` where it is run.
    threads : for every library that reads its count from the environment; the module sets the others.

    Raises
    ------
    RuntimeError
        The child failed; its standard error is in the text.
    """
    answers = []
    for _ in range(tries):
        _wait_for_quiet()
        others = Others()
        answer = ask(module, request, thread_variables(threads) | PATHS)
        answers.append(answer | {"cores_elsewhere": others.cores() or 0.0})
        if answers[-1]["cores_elsewhere"] <= QUIET_CORES:
            break
    return min(answers, key=lambda answer: answer["cores_elsewhere"])


def _wait_for_quiet() -> None:
    for _ in range(WAIT_S):
        others = Others()
        time.sleep(1)
        if (others.cores() or 0.0) <= QUIET_CORES:
            break


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Lay out rows in columns: the first to the left, the others to the right."""
    cells = [[str(cell) for cell in row] for row in (header, *rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ([cell.rjust(width) for cell, width in zip(row, widths, strict=True)] for row in cells)
    return "\n".join("  ".join([row[0].strip().ljust(widths[0]), *row[1:]]) for row in lines)


def scaling_of(dataset: Any) -> tuple[Any, Any]:
    """Return what ffedge left to itself takes off a data set's inputs and multiplies them by, float32 [1] or [I]."""
    import numpy as np

    from ffedge.training.facts import measure

    facts = measure(dataset)
    return np.array(facts.offset, np.float32), np.array(facts.scale, np.float32)


def pyplot() -> Any:
    """Return matplotlib's pyplot, set to draw the same figure in the same bytes."""
    import matplotlib as mpl

    mpl.use("Agg")
    mpl.rcParams |= {"svg.hashsalt": "ffedge", "svg.fonttype": "none"}
    import matplotlib.pyplot as plt

    return plt


def save_figure(figure: Any, path: Path) -> None:
    """Write a figure, without the date, and close it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})
    pyplot().close(figure)
    print(path)


def write_results(
    name: str, options: argparse.Namespace, results: Any, packages: Sequence[str], **settings: Any
) -> None:
    """Write ``<name>-<date>-<architecture>-<cores>cores.json`` and print its name; no host, no path, no user in it.

    Parameters
    ----------
    options, settings : everything that was chosen for this run; the file goes to ``options.out``.
    results : raw rounds and medians; units stand in the names.
    packages : whose versions matter beside ffedge's own.
    """
    facts, today = machine(), datetime.datetime.now(datetime.UTC).date().isoformat()
    document = {
        "benchmark": name,
        "date": today,
        "commit": _commit(),
        "machine": facts | {"load_average": os.getloadavg()[0]},
        "versions": versions() | {package: _version(package) for package in packages},
        "settings": settings_of(options) | settings,
        "results": results,
    }
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / f"{name}-{today}-{facts['architecture']}-{facts['cores']}cores.json"
    path.write_text(json.dumps(document, indent=1) + "\n")
    print(path.name)


class Lines:
    """Results in a file, a line each, so that a benchmark can be stopped and begun again.

    A result is known by its key, the items of it that were asked for, and by the commit that it was measured on.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._commit = path, {"commit": _commit()}
        whole, end, torn = path.read_text().rpartition("\n") if path.exists() else ("", "", "")
        if torn:  # whoever wrote it was stopped
            path.write_text(whole + end)
        self._results = [json.loads(line) for line in whole.splitlines()]

    def take(self, key: dict[str, Any], measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Return the result of a key, measured where it does not stand in the file."""
        key = self._commit | key
        for result in self._results:
            if key.items() <= result.items():
                return dict(result)
        result = key | measure()
        self._results.append(result)
        with self._path.open("a") as file:
            file.write(json.dumps(result) + "\n")
        print({name: value for name, value in result.items() if not isinstance(value, list | dict)}, file=sys.stderr)
        return result


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _commit() -> str | None:
    """Return the commit of the checkout, with ``+`` where the package has changes that are not committed."""
    git = ["git", "-C", str(ROOT)]
    head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    changed = subprocess.run([*git, "status", "--porcelain", "ffedge"], capture_output=True, text=True, check=False)
    return None if head.returncode else head.stdout.strip() + ("+" if changed.stdout.strip() else "")
