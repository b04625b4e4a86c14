"""How the rule for known answers was chosen: statistics of the scores against strange images made of held-out rows.

    ffedge train --data mnist --epochs 10 --out runs/choice
    python bench/rejection_choice.py runs/choice/model.onnx       # half a minute; any number of models

Nothing of a test set is read, and no image here is of the kinds that bench/rejection.py reports on, but for columns in
another order. A rule ranks the held-out rows of the model's training data against each kind of strange image.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from common import arguments, table, write_results
from numpy.typing import NDArray
from rejection_arms import auroc, max_softmax
from scipy.ndimage import gaussian_filter

import ffedge
from ffedge.data.stream import split_rows

Array = NDArray[Any]
Values = dict[str, Array]
Rule = Callable[[Values], Array]
COVERAGE = 0.95


def strange(images: Array, labels: Array, rng: np.random.Generator) -> dict[str, Array]:
    """Return images [N, 28, 28] that are of no class, made of images [N, 28, 28] or of nothing."""
    n, half = len(images), images.shape[1] // 2
    order = rng.permutation(n)
    apart, other = labels[order] != labels, images[order]
    blobs = gaussian_filter(rng.random(images.shape), (0, 1.5, 1.5))
    low, high = blobs.min(axis=(1, 2), keepdims=True), blobs.max(axis=(1, 2), keepdims=True)
    columns = rng.random((n, images.shape[2])).argsort(axis=1)[:, None]
    return {
        "two over each other": np.maximum(images, other)[apart],
        "mean of two": ((images.astype(int) + other) // 2).astype(np.uint8)[apart],
        "halves of two": np.concatenate([images[:, :half], other[:, half:]], axis=1)[apart],
        "turned by 90 degrees": np.rot90(images, axes=(1, 2)),
        "inverted": 255 - images,
        "quadrants changed": np.roll(images, (half, half), axis=(1, 2)),
        "columns in another order": np.take_along_axis(images, columns, axis=2),
        "blobs": (255 * (blobs - low) / (high - low)).astype(np.uint8),
        "sparse noise": (rng.integers(0, 256, images.shape) * (rng.random(images.shape) < 0.2)).astype(np.uint8),
        "normal noise": np.clip(rng.normal(33, 78, images.shape), 0, 255).astype(np.uint8),
        "strokes": strokes(min(n, 1000), rng),
    }


def strokes(count: int, rng: np.random.Generator) -> Array:
    """Draw 2 to 4 curved strokes an image: writing, but no digits."""
    drawn = np.zeros((count, 56, 56), np.float32)
    t = np.linspace(0, 1, 80)[:, None]
    for image in drawn:
        start = rng.uniform(12, 44, 2)
        for _ in range(rng.integers(2, 5)):
            if rng.random() < 0.4:
                start = rng.uniform(12, 44, 2)
            end = rng.uniform(10, 46, 2)
            middle = (start + end) / 2 + rng.normal(0, 8, 2)
            for row, column in ((1 - t) ** 2 * start + 2 * t * (1 - t) * middle + t**2 * end).clip(1, 54).astype(int):
                image[row - 1 : row + 2, column - 1 : column + 2] = 1
            start = end
    drawn = gaussian_filter(drawn, (0, 0.8, 0.8)).reshape(count, 28, 2, 28, 2).mean(axis=(2, 4))
    return (255 * (1.1 * drawn / drawn.max(axis=(1, 2), keepdims=True)).clip(0, 1)).astype(np.uint8)


def statistics_of(predictor: ffedge.Predictor, images: Array) -> Values:
    """Return what the scores say of each image [N]."""
    found = predictor.predict(images, layers=True)
    scores, goodness = found.scores.astype(np.float64), found.goodness.astype(np.float64)
    ranked, own = np.sort(scores, axis=1), goodness[np.arange(len(images)), :, found.label]
    others = np.where(np.arange(scores.shape[1]) == found.label[:, None, None], -np.inf, goodness).max(axis=2)
    best = ranked[:, -1]
    values = {
        "best": best,
        "margin": best - ranked[:, -2],
        "margin / best": (best - ranked[:, -2]) / best,
        "max softmax": max_softmax(scores),
        "log-sum": best + np.log(np.exp(scores - best[:, None]).sum(axis=1)),
        "mean": scores.mean(axis=1),
        "best - mean": best - scores.mean(axis=1),
        "least margin of a layer": (own - others).min(axis=1),
    }
    return values | {f"goodness {layer}": own[:, layer] for layer in range(own.shape[1])}


def rules(held: Values) -> dict[str, Rule]:
    """Return the rules that are tried: single statistics, and several joined by their share of held-out rows."""
    ranked = {name: np.sort(values) for name, values in held.items()}

    def low(name: str) -> Rule:
        return lambda v: np.searchsorted(ranked[name], v[name], "right") / len(ranked[name])

    def high(name: str) -> Rule:
        return lambda v: 1 - np.searchsorted(ranked[name], v[name], "left") / len(ranked[name])

    def least(*parts: tuple[float, Rule]) -> Rule:
        return lambda v: np.minimum.reduce([rule(v) / share for share, rule in parts])

    def both(name: str) -> Rule:
        return least((1, low(name)), (1, high(name)))

    single: dict[str, Rule] = {name: (lambda v, name=name: v[name]) for name in held}  # type: ignore[misc]
    layers = [name for name in held if name.startswith("goodness")]
    joined = {
        "best, margin": least((1, low("best")), (1, low("margin"))),
        "best, margin / best": least((1, low("best")), (1, low("margin / best"))),
        "best on both sides": both("best"),
        "mean on both sides, margin": least((1, both("mean")), (1, low("margin"))),
        "best on both sides, max softmax 1:1:8": least((1, both("best")), (8, low("max softmax"))),
        "best on both sides, least margin 1:1:8": least((1, both("best")), (8, low("least margin of a layer"))),
        "each layer on both sides, margin 1:1:8": least(*((1, both(n)) for n in layers), (8, low("margin"))),
    }
    shares = {f"best on both sides, margin 1:1:{s}": least((1, both("best")), (s, low("margin"))) for s in (1, 2, 4, 8)}
    return single | joined | shares


def judged(model: Path, data_dir: Path | None, seed: int) -> dict[str, Any]:
    """Return each rule's AUROC by kind of strange image, and the error of the rows that it accepts."""
    predictor = ffedge.Predictor(model, threads=1)
    dataset = ffedge.load(predictor.metadata["data"]["name"], data_dir)
    rows, _ = split_rows(len(dataset.train.labels), predictor.recipe)
    images, labels = dataset.train.inputs.take(rows), dataset.train.labels[rows]
    kinds = strange(images, labels, np.random.default_rng(seed))
    held = statistics_of(predictor, images)
    others = {kind: statistics_of(predictor, each) for kind, each in kinds.items()}
    wrong = predictor.predict(images).label != labels
    found = {}
    for name, rule in rules(held).items():
        known = rule(held)
        areas = {kind: auroc(known, rule(values)) for kind, values in others.items()}
        found[name] = {
            "auroc": areas,
            "mean": float(np.mean(list(areas.values()))),
            "least": min(areas.values()),
            "risk_at_coverage": float(wrong[np.argsort(-known, kind="stable")[: round(COVERAGE * len(known))]].mean()),
        }
    return {
        "data": dataset.name,
        "variant": predictor.recipe.rule.variant,
        "error": float(wrong.mean()),
        "rules": found,
    }


def main() -> None:
    """Judge every rule on every model and write the result."""
    parser = arguments(__doc__)
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--seed", type=int, default=1, help="of the strange images")
    parser.add_argument("--data-dir", type=Path, help="where MNIST and Fashion-MNIST are looked for first")
    options = parser.parse_args()
    found = [judged(model, options.data_dir, options.seed) for model in options.models]
    for each in found:
        order = sorted(each["rules"].items(), key=lambda item: -item[1]["mean"])
        rows = [[n, *(f"{100 * r[k]:.2f}" for k in ("mean", "least", "risk_at_coverage"))] for n, r in order]
        print(table([f"{each['data']} {each['variant']}", "mean AUROC %", "least", "error of 95 %"], rows), end="\n\n")
    write_results("rejection-choice", options, found, ["onnxruntime", "scipy"], coverage=COVERAGE)


if __name__ == "__main__":
    main()
