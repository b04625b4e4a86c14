"""What a deployed model costs: bytes, latency, throughput, and the whole process ``ffedge predict MODEL digit.png``.

    python bench/deploy.py                          # model.onnx as `ffedge train` writes it
    python bench/deploy.py --forms pruned int8      # and what `ffedge export --form` makes of it
    python bench/deploy.py --models a.onnx b.onnx   # files that there are

README.md says how to read the result.
"""

import argparse
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from common import arguments, child, ffedge, table, write_results
from deploy_arms import FLOORS

from ffedge.compare.runner import medians, spread_text

AS_TRAINED = "model.onnx"
BATCH_SIZES = (1, 100)


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--models", type=Path, nargs="+", help="uint8 images in; default: trains one")
    parser.add_argument("--forms", nargs="*", default=[], help="of `ffedge export --form`, beside the model as trained")
    parser.add_argument("--data", default="mnist")
    parser.add_argument("--widths", default="500,500")
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--runs", type=int, default=15, help="of each process")
    parser.add_argument("--block-s", type=float, default=0.2, help="least seconds of one arm's turn")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        models = named(options.models) if options.models else trained(options, folder)
        request = {"data": options.data, "threads": options.threads}
        child("deploy_arms", request | {"picture": str(folder / "digit.png")}, options.threads, tries=1)
        request |= {"models": {form: str(path) for form, path in models.items()}, "batch_sizes": BATCH_SIZES}
        found = child("deploy_arms", request | {"rounds": options.rounds, "block_s": options.block_s}, options.threads)
        request |= {"processes": options.runs, "shown": str(folder / "digit.png")}
        found["processes"] = child("deploy_arms", request, options.threads)
    print(report(found))
    write_results("deploy", options, found, ["Pillow"], models=list(found["forms"]))


def named(paths: Sequence[Path]) -> dict[str, Path]:
    """Name files by their stems, or by their folders where the stems are alike."""
    for names in ([path.stem for path in paths], [path.resolve().parent.name for path in paths]):
        if len(set(names)) == len(paths):
            return dict(zip(names, paths, strict=True))
    raise SystemExit("--models must differ in their names or in their folders' names")


def trained(options: argparse.Namespace, folder: Path) -> dict[str, Path]:
    """Train a model and export the forms asked for."""
    spec = ["--data", options.data, "--widths", options.widths, "--epochs", options.epochs]
    ffedge("train", *spec, "--threads", options.threads, "--out", folder / "run")
    models = {AS_TRAINED: folder / "run" / "model.onnx"}
    for form in options.forms:
        models[form] = folder / f"{form}.onnx"
        ffedge("export", folder / "run", "--form", form, "--out", models[form])
    return models


def report(found: dict[str, Any]) -> str:
    """Lay out all forms, then the floors."""
    one, many = (medians(found["call_s"][str(size)]) for size in BATCH_SIZES)
    rows = [
        (
            form,
            f"{facts['bytes'] / 1e6:.2f}",
            f"{100 * facts['accuracy']:.2f}",
            *(f"{1e3 * one[f'{form} {way}']:.3f}" for way in ("session", "predictor")),
            *(f"{BATCH_SIZES[1] / many[f'{form} {way}']:,.0f}" for way in ("session", "predictor")),
            *process(found["processes"][form]),
        )
        for form, facts in found["forms"].items()
    ]
    times = ("ms in ort", "in Predictor", "rows/s in ort", "in Predictor")
    head = ("form", "file MB", "accuracy %", *times, "s of ffedge predict", "peak MB")
    floors = [(name, *process(found["processes"][name])) for name in FLOORS]
    return f"{table(head, rows)}\n\n{table(('onnxruntime alone', 's', 'peak MB'), floors)}"


def process(measured: dict[str, list[float]]) -> tuple[str, str]:
    """Write the seconds with their spread, and the median peak."""
    peak = statistics.median(measured["rss_peak_bytes"])
    return spread_text(measured["seconds"]), f"{peak / 1e6:.1f}"


if __name__ == "__main__":
    main()
