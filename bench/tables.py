"""Accuracy of `ffedge train`, as it comes, on tables, beside scikit-learn's MLPClassifier.

    python bench/tables.py --seeds 10 11 12

Three small data sets of scikit-learn, and drawn ones (`make_classification`, hard on purpose): 2 to 50 classes, 500 to
50,000 rows, classes 50 times rarer than others. Each seed draws the data (or the split, a quarter of it for the test)
and the weights of both sides. Both have the same widths; MLPClassifier has its defaults, and standardised inputs.
ffedge's recipe for tables was chosen on seeds 0 to 2 of some of the drawn ones, which are other data, and of digits and
wine, which are other splits. Results are kept as they come, so that a run can be stopped and begun again; each says on
which processor it was taken.
"""

import math
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from common import Lines, arguments, table, write_results
from numpy.typing import NDArray

from ffedge.training.records import machine

Array = NDArray[Any]
Rows = tuple[Array, Array]
TEST_SHARE = 0.25
MARGIN = 0.02


def drawn(rows: int, inputs: int, classes: int, weights: tuple[float, ...] | None = None) -> Callable[[int], Rows]:
    """Return what draws a data set: two clouds a class, as few informative inputs as they need, or half of them."""
    total = sum(weights or ())
    informative = max(2 * math.ceil(math.log2(2 * classes)), inputs // 2)

    def draw(seed: int) -> Rows:
        from sklearn.datasets import make_classification

        made: Rows = make_classification(
            rows,
            inputs,
            n_informative=informative,
            n_redundant=min(inputs - informative, inputs // 5),
            n_classes=classes,
            weights=[w / total for w in weights] if weights else None,
            random_state=seed,
        )
        return made

    return draw


def stored(name: str) -> Callable[[int], Rows]:
    """Return what loads one of scikit-learn's own data sets."""

    def load(_seed: int) -> Rows:
        from sklearn import datasets

        found: Rows = getattr(datasets, f"load_{name}")(return_X_y=True)
        return found

    return load


TABLES = {
    "digits": stored("digits"),
    "breast-cancer": stored("breast_cancer"),
    "wine": stored("wine"),
    "500x20, 2 classes": drawn(500, 20, 2),
    "1,000x20, 5 classes": drawn(1000, 20, 5),
    "5,000x40, 10 classes": drawn(5000, 40, 10),
    "20,000x54, 7 classes": drawn(20_000, 54, 7),
    "20,000x30, 50 classes": drawn(20_000, 30, 50),
    "50,000x10, 2 classes": drawn(50_000, 10, 2),
    "50,000x54, 7 classes": drawn(50_000, 54, 7),
    "5,000x20, 2 classes, 50:1": drawn(5000, 20, 2, (50, 1)),
    "5,000x20, 3 classes, 50:25:1": drawn(5000, 20, 3, (50, 25, 1)),
    "50,000x54, 7 classes, 50:…:1": drawn(50_000, 54, 7, (50, 40, 10, 5, 3, 2, 1)),
}


def main() -> None:
    """Measure every table and seed that is not there yet, and write the result."""
    parser = arguments(__doc__)
    parser.add_argument("--tables", nargs="+", default=list(TABLES), choices=TABLES, metavar="NAME")
    parser.add_argument("--seeds", nargs="+", type=int, default=[10, 11, 12])
    parser.add_argument("--widths", default="500,500")
    parser.add_argument("--variant", default="acff")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--kept", type=Path, default=Path("tables.jsonl"), help="results so far, a line each")
    options = parser.parse_args()
    lines, widths = Lines(options.kept), tuple(map(int, options.widths.split(",")))
    runs = [
        lines.take({"table": name, "seed": seed}, partial(both, name, seed, widths, options.variant, options.threads))
        for name in options.tables
        for seed in options.seeds
    ]
    print(table(["table", "ffedge %", "MLPClassifier %", "difference"], [row(name, runs) for name in options.tables]))
    write_results("tables", options, runs, ["onnxruntime", "scikit-learn"])


def both(name: str, seed: int, widths: tuple[int, ...], variant: str, threads: int) -> dict[str, Any]:
    """Train both sides on a table; return balanced accuracies (the mean of the classes'), accuracies and seconds."""
    from sklearn.model_selection import train_test_split

    x, y = TABLES[name](seed)
    split = train_test_split(x.astype(np.float32), y, test_size=TEST_SHARE, stratify=y, random_state=seed)
    run: dict[str, Any] = {"train_rows": len(split[0]), "test_rows": len(split[1])}
    run["processor"] = machine()["processor"]
    run["ffedge"] = ffedge_side(*split, seed, widths, variant, threads)
    run["mlp"] = sklearn_side(*split, seed, widths)
    behind = run["mlp"]["balanced_accuracy"] - run["ffedge"]["balanced_accuracy"]
    print(f"{name} seed {seed}: {-100 * behind:+.2f} points", flush=True)
    return run


def ffedge_side(
    x: Array, x_test: Array, y: Array, y_test: Array, seed: int, widths: tuple[int, ...], variant: str, threads: int
) -> dict[str, Any]:
    """Train as `ffedge train` does, with nothing set but widths, variant and seed."""
    import ffedge

    spec = ffedge.Spec.make(widths=widths, variant=variant, seed=seed, threads=threads)
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "table.npz"
        np.savez(data, x_train=x, y_train=y, x_test=x_test, y_test=y_test)
        began = time.perf_counter()
        run = ffedge.train(spec, data, Path(folder) / "run")
        seconds = time.perf_counter() - began
        found = ffedge.Predictor(run.model).predict(x_test).label
    return scores(y_test, found) | {"seconds": seconds, "chosen": run.report.chosen}


def sklearn_side(x: Array, x_test: Array, y: Array, y_test: Array, seed: int, widths: tuple[int, ...]) -> Any:
    """Train MLPClassifier as it comes, on standardised inputs."""
    from sklearn.neural_network import MLPClassifier
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(x)
    net = MLPClassifier(widths, random_state=seed)
    began = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that 200 epochs did not suffice
        net.fit(scaler.transform(x), y)
    return scores(y_test, net.predict(scaler.transform(x_test))) | {
        "seconds": time.perf_counter() - began,
        "epochs": net.n_iter_,
    }


def scores(true: Array, found: Array) -> dict[str, Any]:
    """Return the share of right labels, of all rows and as the mean over classes."""
    each = [float((found[true == label] == label).mean()) for label in np.unique(true)]
    return {"accuracy": float((true == found).mean()), "balanced_accuracy": statistics.mean(each)}


def row(name: str, runs: list[dict[str, Any]]) -> list[str]:
    """Return a row of the table: means of the balanced accuracy, in percent."""
    ours, theirs = (
        statistics.mean(100 * run[side]["balanced_accuracy"] for run in runs if run["table"] == name)
        for side in ("ffedge", "mlp")
    )
    told = " (behind)" if ours < theirs - 100 * MARGIN else ""
    return [name, f"{ours:.2f}", f"{theirs:.2f}", f"{ours - theirs:+.2f}{told}"]


if __name__ == "__main__":
    main()
