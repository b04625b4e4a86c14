"""What `--similarity` is worth: accuracy on rows of the training set that are held out, by its weight.

    python bench/similarity.py --data cifar-10 --widths 32c3p2,64c3p2,128c3p2 --size 32
    python bench/similarity.py --data fashion-mnist --widths 500,500

``cifar-10`` is a folder of pictures, one class a folder (docs/pictures.md). Convolutions learn by torch in bfloat16.
"""

import argparse
from pathlib import Path
from typing import Any

from common import Lines, arguments, table, write_results
from free_riding import rows_of, trained

from ffedge.recipe import convolves


def measured(work: dict[str, Any], options: argparse.Namespace) -> dict[str, Any]:
    """Train with a weight; return the share that each layer, and all together, get right."""
    data, raw, true = rows_of(options.data, options.rows, options.size)
    widths: tuple[int | str, ...] = tuple(int(w) if w.isdecimal() else w for w in options.widths.split(","))
    asked: dict[str, Any] = {"preset": "pictures", "engine": "torch", "precision": "bfloat16", "chunk_size": 64}
    if not convolves(widths):
        asked = {"preset": "tuned", "schedule": "interleaved", "threads": 1}
    asked |= {"widths": widths, "variant": "ff", "holdout": 0.0, "epochs": options.epochs, "seed": work["seed"]}
    asked |= {"class_goodness": work["class_goodness"], "similarity": work["similarity"]}
    _, goodness, scores = trained(asked, data, raw)
    right = [float((each.argmax(1) == true).mean()) for each in (*goodness.transpose(1, 0, 2), scores)]
    return {"layers": right[:-1], "together": right[-1]}


def main() -> None:
    """Train with every weight and write the result."""
    parser = arguments(__doc__)
    parser.add_argument("--data", default="cifar-10")
    parser.add_argument("--size", type=int, help="to which pictures in files are brought")
    parser.add_argument("--widths", default="32c3p2,64c3p2,128c3p2")
    parser.add_argument("--class-goodness", nargs="+", default=["readout"])
    parser.add_argument("--weights", type=float, nargs="+", default=[0.0, 1.0, 10.0, 50.0])
    parser.add_argument("--rows", type=int, default=15000)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--name", default="similarity", help="of the result file")
    parser.add_argument("--kept", type=Path, default=Path("similarity.jsonl"), help="results so far, a line each")
    options = parser.parse_args()
    lines, runs = Lines(options.kept), list[dict[str, Any]]()
    alike = {name: getattr(options, name) for name in ("data", "widths", "rows", "epochs")}
    for seed in options.seeds:
        for kind in options.class_goodness:
            for weight in options.weights:
                work = alike | {"class_goodness": kind, "similarity": weight, "seed": seed}
                runs.append(lines.take(work, lambda work=work: measured(work, options)))
    shown = [
        [
            run["class_goodness"],
            f"{run['similarity']:g}",
            run["seed"],
            *(f"{100 * share:.2f}" for share in (*run["layers"], run["together"])),
        ]
        for run in runs
    ]
    layers = [f"layer {index}" for index in range(len(runs[0]["layers"]))]
    print(table(["class goodness", "weight", "seed", *layers, "together"], shown))
    write_results(options.name, options, runs, ["onnxruntime", "torch"])


if __name__ == "__main__":
    main()
