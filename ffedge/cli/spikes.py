"""What export, predict and eval do with NIR files."""

import dataclasses
import json
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from ffedge.cli.parser import value
from ffedge.errors import FfedgeError

if TYPE_CHECKING:
    from ffedge.predict.predictor import Predictor
    from ffedge.spikes import SpikingPredictor


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(sorted({int(part) for part in text.split(",")}))


TIMES = value(_numbers, "N,N")


def is_spiking(path: Path, asked: bool) -> bool:
    """Tell whether a model is a NIR file; ValueError where flags for NIR files were used (`asked`) and it is none."""
    from ffedge.spikes import is_nir

    if asked and path.is_file() and not is_nir(path):
        raise ValueError("--timesteps and --margin are for NIR files. Write one with `ffedge export RUN --nir FILE`")
    return is_nir(path)


def open_model(options: Namespace) -> "Predictor | SpikingPredictor":
    """Open a model.onnx or a NIR file."""
    if is_spiking(options.model, options.timesteps is not None or options.margin is not None):
        if options.reject:
            raise ValueError("--reject needs a model.onnx; a NIR file does not say which answers count as known")
        from ffedge.spikes import SpikingPredictor

        return SpikingPredictor(options.model, options.timesteps, options.margin)
    from ffedge.predict.predictor import Predictor

    return Predictor(options.model, options.threads)


def evaluate(options: Namespace) -> None:
    """Print the accuracy after each number of timesteps."""
    from ffedge.data import NAMES, load
    from ffedge.spikes import SpikingPredictor
    from ffedge.spikes.evaluate import evaluate_spikes
    from ffedge.spikes.network import check_timesteps

    times, path = options.timesteps or (), options.model
    for count in times:
        check_timesteps(count)
    predictor = SpikingPredictor(path, times[-1] if times else None, options.margin)
    if options.data is None and predictor.learnt_from not in NAMES:
        raise FfedgeError(f"{path}: learnt from {predictor.learnt_from!r}, which ffedge does not know. Pass --data")
    dataset = load(options.data or predictor.learnt_from, options.data_dir)
    found = evaluate_spikes(predictor, dataset, times or (predictor.timesteps,), on_train=options.train)
    if options.json:
        print(json.dumps(dataclasses.asdict(found)))
        return
    from ffedge.cli.tables import percent, print_table

    rows = [[str(t), percent(share)] for t, share in zip(found.timesteps, found.accuracy, strict=True)]
    if found.early_accuracy is not None:
        rows.append([f"{found.early_timesteps:.1f} (mean, margin {options.margin:g})", percent(found.early_accuracy)])
    print_table(f"{found.rows:,} rows", ["timesteps", "accuracy"], rows)
    alone = [[str(i), percent(share)] for i, share in enumerate(found.layer_accuracy)]
    print_table(f"each layer alone, after {found.timesteps[-1]} timesteps", ["layer", "accuracy"], alone)
