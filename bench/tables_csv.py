"""Tables from CSV files: what a scaling costs on clean rows (``scaling``), and what a large file takes (``size``).

python bench/tables_csv.py scaling OUT.json         needs scikit-learn
python bench/tables_csv.py size OUT.json 200 1000   megabytes of generated CSV, one pass each
"""

import csv
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

SCALINGS, SEEDS = ("feature", "robust"), (0, 1, 2)


def clean_tables() -> dict[str, tuple[Any, Any]]:
    from sklearn import datasets

    rng = np.random.default_rng(0)
    made, of = datasets.make_classification(3000, 20, n_informative=10, n_classes=4, random_state=0)
    tails = np.exp(made[:, :10])  # long tails, as of counts and concentrations
    built_in = {
        name: getattr(datasets, f"load_{name}")(return_X_y=True) for name in ("breast_cancer", "wine", "digits")
    }
    return built_in | {"made": (made, of), "long-tails": (tails + rng.normal(0, 0.01, tails.shape), of)}


def scaling(folder: Path) -> dict[str, Any]:
    """Return the accuracy on a quarter of the training rows, for each table, scaling and seed."""
    import ffedge

    result: dict[str, Any] = {}
    for name, (x, y) in clean_tables().items():
        rows = np.random.default_rng(1).permutation(len(y))[: len(y) * 3 // 4]  # the rest is for a test that none is
        for kind in SCALINGS:
            for seed in SEEDS:
                order = np.random.default_rng(seed).permutation(rows)
                cut = len(order) * 3 // 4
                with (folder / "t.csv").open("w", newline="") as file:
                    out = csv.writer(file)
                    out.writerow([*(f"c{i}" for i in range(x.shape[1])), "label"])
                    out.writerows([*map(float, x[row]), f"class {y[row]}"] for row in order[:cut])
                spec = ffedge.Spec.make("tuned", scaling=kind, widths=(100, 100), seed=seed, threads=1)
                run = ffedge.train(spec, folder / "t.csv", folder / "run", force=True)
                predictor = ffedge.Predictor(run.model)
                found = predictor.predict(x[order[cut:]].astype(float))
                told = np.array([predictor.classes[place] for place in found.place])
                right = float((told == np.array([f"class {label}" for label in y[order[cut:]]])).mean())
                result.setdefault(name, {}).setdefault(kind, []).append(right)
        print(name, {kind: round(100 * float(np.mean(of)), 2) for kind, of in result[name].items()}, flush=True)
    return result


def size(folder: Path, megabytes: list[int]) -> dict[str, Any]:
    """Return seconds and peak of training one epoch on a generated CSV."""
    result = {}
    for count in megabytes:
        path, rng = folder / f"{count}.csv", np.random.default_rng(0)
        with path.open("w") as file:
            file.write("stamp,temp,hum,wind,flow,state\n")
            at, block = 0, 20_000
            while file.tell() < count * 10**6:
                c, v = rng.integers(0, 3, block), rng.normal(size=(block, 3))
                file.writelines(
                    f"{1.7e9 + at + i:.1f},{20 + 5 * c[i] + a:.3f},{b:.5f},{'NESW'[i % 4]},{d:.4f},s{c[i]}\n"
                    for i, (a, b, d) in enumerate(v)
                )
                at += block
        words = ["train", "--data", path, "--epochs", "1", "--widths", "16", "--threads", "1", "--batch-size", "2048"]
        began = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "ffedge", *map(str, words), "--out", folder / f"run-{count}", "--json"],
            capture_output=True,
            text=True,
            check=True,
        )
        report = json.loads(done.stdout)
        result[str(count)] = {
            "rows": at,
            "bytes": path.stat().st_size,
            "rss_peak_bytes": report["rss_peak_bytes"],
            "seconds": time.perf_counter() - began,
            "train_accuracy": report["train_accuracy"],
        }
        print(count, result[str(count)], flush=True)
        path.unlink()
    return result


if __name__ == "__main__":
    what, out, *rest = sys.argv[1:]
    with tempfile.TemporaryDirectory() as place:
        found = scaling(Path(place)) if what == "scaling" else size(Path(place), [int(word) for word in rest])
    about = {"what": what, "machine": platform.machine(), "cores": os.cpu_count(), "python": platform.python_version()}
    Path(out).write_text(json.dumps(about | {"result": found}, indent=1) + "\n")
