"""A network of bench/rejection.py, trained in a process of its own: what it says of known and strange inputs.

One request in, one answer out (`ffedge.compare.child`). Shape letters: N samples, C classes.
"""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import ffedge
from ffedge.compare.child import serve
from ffedge.data import Dataset, load
from ffedge.data.stream import split_rows
from ffedge.model.calibration import best_and_margin, calibrate, levels
from ffedge.resolve import resolve
from ffedge.training.facts import measure

Array = NDArray[Any]
PATCH = 7  # pixels
ROWS = 1000
WIDTHS = (500, 500)


def strange(known: Array, other: Array, seed: int) -> dict[str, Array]:
    """Return images [N, 28, 28] that are of no class: another data set's, noise, and known ones taken apart."""
    rng = np.random.default_rng(seed)
    n, size, side = len(known), known.shape[1], known.shape[1] // PATCH
    patches = known.reshape(n, side, PATCH, side, PATCH).swapaxes(2, 3).reshape(n, side * side, PATCH, PATCH)
    mixed = np.take_along_axis(patches, rng.random((n, side * side)).argsort(axis=1)[:, :, None, None], axis=1)
    return {
        "other data": other,
        "uniform noise": rng.integers(0, 256, known.shape, np.uint8),
        "shuffled rows": np.take_along_axis(known, rng.random((n, size)).argsort(axis=1)[:, :, None], axis=1),
        "shuffled patches": mixed.reshape(n, side, side, PATCH, PATCH).swapaxes(2, 3).reshape(known.shape),
    }


def ffedge_scores(dataset: Dataset, request: dict[str, Any], images: dict[str, Array]) -> dict[str, Array]:
    """Train ffedge and return its scores [N, C] of each set of images."""
    spec = ffedge.Spec.make(
        variant=request["variant"], widths=WIDTHS, epochs=request["epochs"], seed=request["seed"], threads=1
    )
    with tempfile.TemporaryDirectory() as folder:
        predictor = ffedge.Predictor(ffedge.train(spec, dataset, Path(folder) / "run").model, threads=1)
        return {name: predictor.predict(each).scores for name, each in images.items()}


def backprop_scores(dataset: Dataset, request: dict[str, Any], images: dict[str, Array]) -> dict[str, Array]:
    """Train an MLP of the same widths by backpropagation and return its logits [N, C] of each set of images.

    Its recipe was tuned as ffedge's preset was: input dropout 0.2, label smoothing 0.05, AdamW at 1e-3 with decay
    0.05, linear cooldown.
    """
    import torch
    from torch import nn

    torch.set_num_threads(1)
    torch.manual_seed(request["seed"])
    rng = np.random.default_rng(request["seed"])
    _, rows = split_of(dataset, request["seed"])
    chosen = rows[np.arange(len(rows))]
    raw, labels = dataset.train.inputs.take(chosen), torch.from_numpy(dataset.train.labels[chosen])
    mean, deviation = float(raw.mean()), float(raw.std())

    def scaled(part: Array) -> torch.Tensor:
        return (torch.from_numpy(np.ascontiguousarray(part)).flatten(1).float() - mean) / deviation

    sizes = (raw[0].size, *WIDTHS)
    hidden = [m for i, o in zip(sizes, WIDTHS, strict=False) for m in (nn.Linear(i, o), nn.ReLU())]
    model = nn.Sequential(nn.Dropout(0.2), *hidden, nn.Linear(WIDTHS[-1], dataset.n_classes))
    loss, batch = nn.CrossEntropyLoss(label_smoothing=0.05), 256
    steps = len(raw) // batch
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, request["epochs"] * steps)
    for _ in range(request["epochs"]):
        order = rng.permutation(len(raw))
        for start in range(0, steps * batch, batch):
            part = order[start : start + batch]
            optimizer.zero_grad()
            loss(model(scaled(raw[part])), labels[part]).backward()
            optimizer.step()
            schedule.step()
    model.eval()
    with torch.no_grad():
        return {
            name: np.concatenate([model(scaled(each[i : i + ROWS])).numpy() for i in range(0, len(each), ROWS)])
            for name, each in images.items()
        }


def split_of(dataset: Dataset, seed: int) -> tuple[Array, Any]:
    """Return the rows that training with a seed holds out, and the others."""
    recipe = resolve(ffedge.Spec.make(widths=WIDTHS, seed=seed), measure(dataset), len(dataset.train.labels))
    return split_rows(len(dataset.train.labels), recipe)


def max_softmax(scores: Array) -> Array:
    """Return the greatest probability [N]."""
    return 1.0 / np.exp(scores - scores.max(axis=1, keepdims=True)).sum(axis=1)


def auroc(known: Array, unknown: Array) -> float:
    """Return the probability that a known sample's value exceeds an unknown one's; a tie counts half."""
    ranked = np.sort(known)
    above = len(known) - np.searchsorted(ranked, unknown, "right")
    ties = len(known) - np.searchsorted(ranked, unknown, "left") - above
    return float((above + 0.5 * ties).mean()) / len(known)


def judged(values: dict[str, Array], accepted: dict[str, Array], right: Array, coverage: float) -> dict[str, Any]:
    """Return how well values [N] (higher: known) tell the test rows from each other set, and right answers from wrong.

    Parameters
    ----------
    accepted : by the threshold that the held-out rows gave.
    right : [N] whether each test row got its label.
    """
    names = [name for name in values if name not in ("test", "held out")]
    best = np.argsort(-values["test"], kind="stable")[: round(coverage * len(right))]
    return {
        "auroc": {name: auroc(values["test"], values[name]) for name in names},
        "rejected": {name: float(1 - accepted[name].mean()) for name in names},
        "coverage": float(accepted["test"].mean()),
        "risk": float(1 - right[accepted["test"]].mean()),
        "risk_at_coverage": float(1 - right[best].mean()),
        "auroc_right": auroc(values["test"][right], values["test"][~right]),
    }


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Train one network and judge the ways to tell by its scores what it knows."""
    folder = Path(request["data_dir"]) if request["data_dir"] else None
    dataset, other = load(request["data"], folder), load(request["other"], folder)
    assert dataset.test
    assert other.test
    test, strangers = (d.test.inputs.take(np.arange(len(d.test.labels))) for d in (dataset, other))
    held, _ = split_of(dataset, request["seed"])
    images = {"held out": dataset.train.inputs.take(held), "test": test} | strange(test, strangers, request["seed"])
    train = backprop_scores if request["network"] == "backprop" else ffedge_scores
    scores = train(dataset, request, images)
    right = scores["test"].argmax(axis=1) == dataset.test.labels[np.arange(len(test))]
    both = {name: best_and_margin(each) for name, each in scores.items()}
    bounds = calibrate(*both["held out"], request["coverage"])
    ruled = {
        name: (best >= bounds.least_score) & (best <= bounds.most_score) & (margin >= bounds.least_margin)
        for name, (best, margin) in both.items()
    }
    softmax = {name: max_softmax(each.astype(np.float64)) for name, each in scores.items()}
    least = np.quantile(softmax["held out"], 1 - request["coverage"])
    return {
        "accuracy": float(right.mean()),
        "score and margin": judged(
            {name: levels(*each, both["held out"]) for name, each in both.items()}, ruled, right, request["coverage"]
        ),
        "max softmax": judged(
            softmax, {name: each >= least for name, each in softmax.items()}, right, request["coverage"]
        ),
    }


if __name__ == "__main__":
    serve(answer)
