"""Five tables as CSV files: `ffedge train` as it comes beside scikit-learn's MLPClassifier and HistGradientBoosting.

    python bench/csv_peers.py --seeds 0 1 2

Nothing of ffedge was chosen on these tables: iris and Hastie's ten (of scikit-learn), and three drawn ones with what
real ones have: categories, missing values, a sensor's -999, time stamps, long tails, rare classes. Each seed draws the
table (of iris the split), a quarter of it for the test, and the weights. Each arm reads the same two files in a process
of its own, on one thread, as it comes; scikit-learn's get the columns by pandas, gaps filled by the median and numbers
standardised for MLPClassifier, categories as such for HistGradientBoosting. Seconds are the processor's, from opening
the file to the end of training; peaks are of the whole process. Results are kept as they come.
"""

import csv
import statistics
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from common import MIB, PATHS, Lines, arguments, table, write_results
from numpy.typing import NDArray

from ffedge.compare.child import ask
from ffedge.compare.runner import thread_variables

Columns = dict[str, NDArray[Any]]
ARMS = ("ffedge", "mlp", "boosting")
TEST_SHARE = 0.25


def iris(_rng: np.random.Generator) -> Columns:
    """Return 150 flowers."""
    from sklearn.datasets import load_iris

    found = load_iris()
    columns = {name: found.data[:, at] for at, name in enumerate(found.feature_names)}
    return columns | {"label": found.target_names[found.target]}


def hastie(rng: np.random.Generator) -> Columns:
    """Draw ten numbers, whose squares sum up to more than 9.34 or not."""
    from sklearn.datasets import make_hastie_10_2

    x, y = make_hastie_10_2(6000, random_state=int(rng.integers(2**31)))
    return {f"x{at}": x[:, at] for at in range(10)} | {"label": np.where(y > 0, "outside", "inside")}


def faults(rng: np.random.Generator, rows: int = 6000) -> Columns:
    """Draw a machine's log: two rare faults, a clock, gaps, and -999 where a sensor failed."""
    machine, mode = rng.choice(list("ABCDEF"), rows), rng.choice(["auto", "hand", "service"], rows, p=[0.8, 0.15, 0.05])
    load, hours = rng.beta(2, 3, rows), rng.uniform(0, 2000, rows)
    vibration = np.exp(rng.normal(-0.5 + hours / 2000, 0.5))
    temperature = 40 + 25 * load + 3 * (machine == "C") + rng.normal(0, 2, rows)
    pressure = 5 + 2 * load - 0.5 * (mode == "hand") + rng.normal(0, 0.3, rows)
    worn = -6.5 + 2.2 * vibration + 2 * load * (machine == "C") + rng.logistic(0, 0.5, rows) > 0
    leaks = (pressure < 5.6 - 0.8 * (mode == "hand") + rng.normal(0, 0.15, rows)) & (load > 0.42)
    return {
        "stamp": 1.75e9 + np.cumsum(rng.exponential(60, rows)),
        "machine": machine,
        "mode": _gaps(mode, 0.02, rng),
        "hours": hours.round(1),
        "temperature": np.where(rng.random(rows) < 0.01, -999, temperature.round(2)),
        "vibration": vibration.round(4),
        "pressure": _gaps(pressure.round(3), 0.05, rng),
        "label": np.where(worn, "bearing", np.where(leaks, "leak", "ok")),
    }


def customers(rng: np.random.Generator, rows: int = 5000) -> Columns:
    """Draw customers, mostly told by categories, one of them of 40 kinds; spending has a long tail."""
    plan, region = rng.choice(["free", "basic", "plus", "team"], rows), rng.integers(0, 12, rows)
    source = np.minimum(rng.zipf(1.5, rows), 40) - 1
    months, visits = rng.geometric(0.06, rows), rng.poisson(6, rows)
    spend = np.exp(rng.normal(2 + 0.6 * (plan == "team") + 0.3 * (plan == "plus"), 1.0))
    pull = rng.normal(0, 0.8, 12)[region] + rng.normal(0, 0.8, 40)[source]
    stays = 0.05 * months + 0.15 * visits - 0.8 * (plan == "free") + pull
    grows = 0.6 * np.log(spend) + 0.8 * (plan == "basic") * (visits > 6) - 0.5 * pull
    scores = np.stack([np.full(rows, 1.6), stays, grows]) + rng.gumbel(0, 0.5, (3, rows))
    return {
        "plan": plan,
        "region": np.array([f"region {at}" for at in region]),
        "source": _gaps(np.array([f"source {at}" for at in source]), 0.1, rng),
        "months": months,
        "visits": _gaps(visits, 0.03, rng),
        "spend": spend.round(2),
        "label": np.array(["leaves", "stays", "grows"])[scores.argmax(axis=0)],
    }


def demand(rng: np.random.Generator, rows: int = 6000) -> Columns:
    """Draw hours of a year, whose demand of power is one of four kinds, by clock, weekday, holiday and weather."""
    at = rng.integers(0, 8760, rows)
    hour, day = at % 24, at // 24
    holiday = rng.random(rows) < 0.04
    warmth = 11 - 10 * np.cos(2 * np.pi * (day - 15) / 365) - 4 * np.cos(2 * np.pi * (hour - 3) / 24)
    warmth, wind = warmth + rng.normal(0, 3, rows), rng.weibull(2, rows) * 6
    people = np.exp(-((hour - 8) ** 2) / 8) + 1.2 * np.exp(-((hour - 19) ** 2) / 10)
    people *= np.where((day % 7 > 4) | holiday, 0.6, 1.0)
    level = people + 0.05 * np.maximum(15 - warmth, 0) * (1 + 0.02 * wind) + 0.09 * np.maximum(warmth - 22, 0)
    level += rng.normal(0, 0.08, rows)
    return {
        "hour": hour,
        "weekday": np.array(["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"])[day % 7],
        "month": day // 30.5,
        "holiday": np.where(holiday, "yes", "no"),
        "temperature": _gaps(warmth.round(1), 0.02, rng),
        "wind": wind.round(1),
        "label": np.array(["low", "normal", "high", "peak"])[np.searchsorted([0.45, 1.1, 1.6], level)],
    }


TABLES: dict[str, Callable[[np.random.Generator], Columns]] = {
    "iris": iris,
    "hastie": hastie,
    "faults": faults,
    "customers": customers,
    "demand": demand,
}


def _gaps(values: NDArray[Any], share: float, rng: np.random.Generator) -> NDArray[Any]:
    """Return values as texts, a share of them empty."""
    return np.where(rng.random(len(values)) < share, "", values.astype(str))


def written(name: str, seed: int, folder: Path) -> tuple[Path, Path, dict[str, int]]:
    """Write a table's rows to learn from and to test on; return the files, and how many rows each class has."""
    rng = np.random.default_rng(seed)
    columns = TABLES[name](rng)
    names, order = list(columns), rng.permutation(len(columns["label"]))
    rows = list(zip(*(columns[one].tolist() for one in names), strict=True))
    files, cut = (folder / "train.csv", folder / "test.csv"), round(TEST_SHARE * len(rows))
    for file, part in zip(files, (order[cut:], order[:cut]), strict=True):
        with file.open("w", newline="") as out:
            csv.writer(out).writerows([names, *(rows[at] for at in part)])
    counts = dict(zip(*(one.tolist() for one in np.unique(columns["label"], return_counts=True)), strict=True))
    return *files, counts


def measure(name: str, seed: int, arm: str) -> dict[str, Any]:
    """Let an arm learn a table in a process of its own."""
    with tempfile.TemporaryDirectory() as place:
        train, test, classes = written(name, seed, Path(place))
        request = {"arm": arm, "train": str(train), "test": str(test), "seed": seed, "folder": place}
        return {"classes": classes} | ask("csv_arms", request, thread_variables(1) | PATHS)


def main() -> None:
    """Measure every table, seed and arm that is not there yet, and write the result."""
    parser = arguments(__doc__)
    parser.add_argument("--tables", nargs="+", default=list(TABLES), choices=TABLES, metavar="NAME")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--kept", type=Path, default=Path("csv-peers.jsonl"), help="results so far, a line each")
    options = parser.parse_args()
    lines = Lines(options.kept)
    runs = [
        lines.take({"table": name, "seed": seed, "arm": arm}, partial(measure, name, seed, arm))
        for name in options.tables
        for seed in options.seeds
        for arm in ARMS
    ]
    rows = [[name, *(cell(runs, name, arm) for arm in ARMS)] for name in options.tables]
    print(table(["balanced accuracy, processor s, peak MiB", *ARMS], rows))
    write_results("csv-peers", options, runs, ["onnxruntime", "scikit-learn", "pandas"])


def cell(runs: list[dict[str, Any]], name: str, arm: str) -> str:
    """Return an arm's means on a table as text."""
    own = [run for run in runs if (run["table"], run["arm"]) == (name, arm)]
    right, seconds, peak = (
        statistics.mean(run[of] for run in own) for of in ("balanced_accuracy", "cpu_s", "peak_bytes")
    )
    return f"{100 * right:.1f} {seconds:.1f} {peak / MIB:.0f}"


if __name__ == "__main__":
    main()
