"""Whether later layers rest on what earlier ones tell apart already, with collaboration and without.

    python bench/free_riding.py

Where a layer's loss sees the goodness of other layers too, its slope falls as their margin grows, so that a later layer
may learn little of its own: "free-riding" (Yousefiramandi, arXiv:2605.06240). Of the three remedies named there two can
be said to ffedge as it is: a loss for each layer alone (``ff``), and the others' goodness over the number of layers
(``--alpha mean``). What its gate by hardness is, its abstract does not say.

Of each layer, on rows of the training set that are held out: the share of rows that it alone, and the sum up to it,
gets right; its separation, the mean margin (the true label's goodness less the wrong ones' mean) over the margins'
standard deviation; and the mean size of the slope that its loss has left, dLoss/dG of the true label.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from common import Lines, arguments, table, write_results
from loops import loop_of
from numpy.typing import NDArray

import ffedge
from ffedge.data.dataset import Dataset, Split
from ffedge.data.rows import ArrayRows
from ffedge.recipe import Recipe
from ffedge.rule.collaboration import others
from ffedge.training.checkpoint import Place
from ffedge.training.loop import Loop

ARMS: dict[str, dict[str, Any]] = {  # each layer hears those before it, as the preset has it
    "ff": {"variant": "ff"},
    "fcff, gamma 0.3": {"variant": "fcff"},
    "fcff, gamma 1": {"variant": "fcff", "gamma": 1.0},
    "fcff, gamma 1, mean": {"variant": "fcff", "gamma": 1.0, "alpha": "mean"},
    "acff": {"variant": "acff"},
}
HELD = 5000
RATES: dict[str, dict[str, Any]] = {"logistic": {"rate": (0.002,)}, "contrastive": {}}  # at more the first dies
Floats = NDArray[np.float32]


def rows_of(data: str, count: int, size: int | None = None) -> tuple[Dataset, Floats, NDArray[np.int64]]:
    """Return a data set of some training rows alone, drawn at random, and other ones with their labels."""
    whole = ffedge.load(data, reading=ffedge.Reading(size=size) if size else None)
    rows = np.random.default_rng(0).permutation(len(whole.train.labels))[: count + HELD]
    raw, labels = whole.train.inputs.take(rows), np.asarray(whole.train.labels[rows], np.int64)
    split = Split(ArrayRows(raw[:count]), labels[:count])
    return Dataset(whole.name, split, None, whole.classes, whole.sha256), raw[count:], labels[count:]


def trained(asked: dict[str, Any], data: Dataset, raw: Floats) -> tuple[Loop, Floats, Floats]:
    """Train; return the loop, and the goodness [N, L, C] and the scores [N, C] of rows."""
    loop = loop_of(asked, data)
    loop.train(Place(), lambda: False)
    parts = [raw[start : start + 250].reshape(-1, raw[0].size) for start in range(0, len(raw), 250)]
    found = [loop.learner.scored(part, len(loop.recipe.network.widths)) for part in parts]
    goodness, scores = (np.concatenate(each) for each in zip(*found, strict=True))
    return loop, goodness, scores


def slope_left(recipe: Recipe, G: Floats, true: NDArray[np.int64]) -> float:
    """Return the mean size of dLoss/dG of the true label, from G [N, C] with all labels tried."""
    import torch

    from ffedge.rule import loss

    order = (true[:, None] + np.arange(G.shape[1])) % G.shape[1]  # the true one first
    leaf = torch.tensor(np.take_along_axis(G, order, 1), requires_grad=True)
    loss.torch(leaf, recipe.rule).sum().backward()
    assert leaf.grad is not None
    return float(leaf.grad[:, 0].abs().mean())


def measured(work: dict[str, Any], options: argparse.Namespace) -> dict[str, Any]:
    """Train an arm, and measure each of its layers."""
    data, raw, true = rows_of(work["data"], options.rows)
    asked = ARMS[work["arm"]] | {
        "loss": work["loss"],
        "seed": work["seed"],
        "widths": (options.width,) * options.layers,
    }
    asked |= {"schedule": "interleaved", "epochs": options.epochs, "holdout": 0.0, "threads": 1}
    asked |= RATES[work["loss"]]
    loop, goodness, _ = trained(asked, data, raw)
    gammas = [float(layer.get("gamma", 0.0)) for layer in loop.engine.state()]
    layers, by_layer = goodness.shape[1], dict(enumerate(goodness.transpose(1, 0, 2)))
    rule, found = loop.recipe.rule, []
    for layer in range(layers):
        g = by_layer[layer]
        right = g[np.arange(len(g)), true]
        margins = right - (g.sum(1) - right) / (g.shape[1] - 1)
        heard = others(layer, by_layer, g.shape, rule, range(layers))
        found.append(
            {
                "layer": layer,
                "alone": float((g.argmax(1) == true).mean()),
                "sum": float((goodness[:, : layer + 1].sum(1).argmax(1) == true).mean()),
                "separation": float(margins.mean() / margins.std()),
                "slope": slope_left(loop.recipe, g - rule.theta + gammas[layer] * heard, true),
                "gamma": gammas[layer],
            }
        )
    return {"layers": found}


def main() -> None:
    """Train every arm and write the result."""
    parser = arguments(__doc__)
    parser.add_argument("--data", nargs="+", default=["mnist", "fashion-mnist"])
    parser.add_argument("--losses", nargs="+", default=["logistic", "contrastive"])
    parser.add_argument("--rows", type=int, default=12000)
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--width", type=int, default=500)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--kept", type=Path, default=Path("free-riding.jsonl"), help="results so far, a line each")
    options = parser.parse_args()
    lines, runs = Lines(options.kept), list[dict[str, Any]]()
    for seed in options.seeds:
        for data in options.data:
            for loss in options.losses:
                for arm in ARMS:
                    work = {"data": data, "loss": loss, "arm": arm, "seed": seed}
                    runs.append(lines.take(work, lambda work=work: measured(work, options)))
    rows = [
        [run["data"], run["loss"], run["arm"], name, *(f"{layer[name]:.3f}" for layer in run["layers"])]
        for run in runs
        for name in ("alone", "sum", "separation", "slope")
    ]
    print(table(["data", "loss", "arm", "", *(f"layer {i}" for i in range(options.layers))], rows))
    write_results("free-riding", options, runs, ["onnxruntime", "torch"])


if __name__ == "__main__":
    main()
