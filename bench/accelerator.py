"""What an accelerator makes of training by torch: rows a second, the share of its matrix products, equal losses.

    python bench/accelerator.py --device cuda            # some minutes
    python bench/accelerator.py --device cpu --small     # the same in miniature, to try it

Rows are random bytes in memory, and the second epoch counts: reading, learning, and waiting for its end. The share of
the device's products takes two multiply-adds a weight and row (forward, and the weights' gradient) over the rate of
one product of the same size. Losses are those of the second layer over 100 steps, in float32 on the device and by
onnxruntime.
"""

import time
from typing import Any

import numpy as np
from common import arguments, table, write_results
from loops import loop_of

from ffedge.data.dataset import Dataset, Split
from ffedge.data.rows import ArrayRows
from ffedge.training.checkpoint import Place
from ffedge.training.watch import Journal

ALIKE: dict[str, Any] = {"variant": "ff", "schedule": "interleaved", "holdout": 0.0}
DENSE: dict[str, Any] = {"preset": "tuned", **ALIKE}
BATCH, LARGE = 256, 16384
WORK: dict[str, tuple[dict[str, Any], tuple[int, ...], int]] = {  # what is asked, a row's shape, rows
    "784-500-500, tried": ({**DENSE, "widths": (500, 500), "batch_size": BATCH}, (784,), 200_000),
    "784-500-500, groups": (
        {**DENSE, "widths": (500, 500), "batch_size": BATCH, "class_goodness": "groups"},
        (784,),
        200_000,
    ),
    "784-2000-2000, groups": (
        {**DENSE, "widths": (2000, 2000), "batch_size": LARGE, "chunk_size": LARGE, "class_goodness": "groups"},
        (784,),
        500_000,
    ),
    "pictures": ({"preset": "pictures", **ALIKE, "chunk_size": 256}, (32, 32, 3), 50_000),
}
STEPS = 100
REPEATS = 100


def random_rows(shape: tuple[int, ...], count: int) -> Dataset:
    """Make rows of random bytes and labels of ten classes."""
    rng = np.random.default_rng(0)
    raw = rng.integers(0, 256, (count, *shape), np.uint8)
    return Dataset("random", Split(ArrayRows(raw), rng.integers(0, 10, count)), None, tuple("0123456789"), "random")


def trained(asked: dict[str, Any], data: Dataset, epochs: int) -> tuple[float, float]:
    """Train; return the rows a second of the last epoch, of all layers together, and the last layer's loss in it."""
    journal = Journal()
    loop = loop_of({**asked, "epochs": epochs}, data, journal)
    loop.train(Place(), lambda: False)
    last = journal.records[-len(loop.recipe.network.widths) :]
    return len(data.train.labels) / sum(record.seconds for record in last), last[-1].loss


def products_per_s(device: str, precision: str, rows: int, units: int, repeats: int) -> float:
    """Return the multiply-adds a second of a product [rows, units] x [units, units]."""
    import torch

    a, b = (
        torch.rand(size, device=device, dtype=getattr(torch, precision)) for size in ((rows, units), (units, units))
    )
    for count in (3, repeats):  # the first ones warm it up
        began = time.perf_counter()
        for _ in range(count):
            c = a @ b
        float(c[0, 0])  # waits
    return rows * units * units * repeats / (time.perf_counter() - began)


def apart(device: str, steps: int) -> float:
    """Return how far the losses of as many steps lie from onnxruntime's, relative, in float32."""
    data, asked = random_rows((784,), BATCH * steps), {**DENSE, "widths": (500, 500), "batch_size": BATCH}
    ours = trained(asked, data, 1)[1]
    return abs(trained({**asked, "engine": "torch", "device": device}, data, 1)[1] - ours) / ours


def main() -> None:
    """Measure all of it and write the result."""
    parser = arguments(__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--small", action="store_true", help="a hundredth of the rows, to try the script")
    options = parser.parse_args()
    runs, less = list[dict[str, Any]](), 100 if options.small else 1
    for precision in ("float32", "bfloat16"):
        products = products_per_s(options.device, precision, LARGE // less, 2000, REPEATS // less)
        for name, (changes, shape, count) in WORK.items():
            asked = {**changes, "engine": "torch", "device": options.device, "precision": precision}
            if changes.get("batch_size") == LARGE:
                asked |= {"batch_size": LARGE // less, "chunk_size": LARGE // less}
            speed = trained(asked, random_rows(shape, count // less), 2)[0]
            share = speed * 2 * (784 * 2000 + 2000 * 2000) / products if "2000" in name else None
            runs.append({"name": name, "precision": precision, "rows_per_s": speed, "share_of_products": share})
            print(runs[-1], flush=True)
    steps = 10 if options.small else STEPS
    runs.append({"name": "losses", "precision": "float32", "steps": steps, "apart": apart(options.device, steps)})
    shown = [[r["name"], r["precision"], f"{r['rows_per_s']:,.0f}", r["share_of_products"] or ""] for r in runs[:-1]]
    print(table(["training", "precision", "rows a second", "of a lone product"], shown))
    print(f"losses of {steps} steps lie {runs[-1]['apart']:.1e} apart")
    write_results("accelerator", options, runs, ["onnxruntime", "torch"])


if __name__ == "__main__":
    main()
