"""What export, predict and eval do with NIR files."""

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ffedge.errors import FfedgeError

if TYPE_CHECKING:
    from ffedge.runtime import Predictor
    from ffedge.spikes import SpikingPredictor


def is_spiking(path: Path, asked: bool) -> bool:
    """Tell whether a model is a NIR file; ValueError where flags for NIR files were used (`asked`) and it is none."""
    from ffedge.spikes import is_nir

    if asked and path.is_file() and not is_nir(path):
        raise ValueError("--timesteps and --margin are for NIR files. Write one with `ffedge export RUN --nir FILE`")
    return is_nir(path)


def numbers(text: str) -> tuple[int, ...]:
    """Read numbers of timesteps."""
    if not all(part.strip().isdecimal() for part in text.split(",")):
        raise ValueError(f"--timesteps must be N,N, got {text!r}")
    return tuple(sorted({int(part) for part in text.split(",")}))


def open_model(
    path: Path, threads: int, timesteps: int | None, margin: float | None, reject: bool
) -> "Predictor | SpikingPredictor":
    """Open a model.onnx or a NIR file."""
    if is_spiking(path, timesteps is not None or margin is not None):
        if reject:
            raise ValueError("--reject needs a model.onnx; a NIR file does not say which answers count as known")
        from ffedge.spikes import SpikingPredictor

        return SpikingPredictor(path, timesteps, margin)
    from ffedge.runtime import Predictor

    return Predictor(path, threads)


def export(run: Path, out: Path, as_json: bool, **chosen: Any) -> None:
    """Write a NIR file, as `export_nir` takes it, and say what stands in it."""
    from ffedge.spikes.export import export_nir

    network = export_nir(run, out, **chosen)
    size, neurons = out.stat().st_size, sum(len(layer.b) for layer in network.layers)
    if as_json:
        about = {"bytes": size, "neurons": neurons, "timesteps": network.timesteps, "reset": network.reset}
        print(json.dumps({"model": str(out)} | about))
        return
    said = f"{neurons:,} neurons, {network.timesteps} timesteps, reset {network.reset}"
    print(f"spiking network {out} ({size / 1e6:.2f} MB, {said})")


def evaluate(
    path: Path,
    data: str | None,
    timesteps: tuple[int, ...],
    margin: float | None,
    train: bool,
    data_dir: Path | None,
    as_json: bool,
) -> None:
    """Print the accuracy after each number of timesteps."""
    from ffedge.data import NAMES, load
    from ffedge.spikes import SpikingPredictor
    from ffedge.spikes.evaluate import evaluate_spikes
    from ffedge.spikes.network import check_timesteps

    for count in timesteps:
        check_timesteps(count)
    predictor = SpikingPredictor(path, timesteps[-1] if timesteps else None, margin)
    if data is None and predictor.learnt_from not in NAMES:
        raise FfedgeError(f"{path}: learnt from {predictor.learnt_from!r}, which ffedge does not know. Pass --data")
    dataset = load(data or predictor.learnt_from, data_dir)
    found = evaluate_spikes(predictor, dataset, timesteps or (predictor.timesteps,), on_train=train)
    if as_json:
        print(json.dumps(dataclasses.asdict(found)))
        return
    from ffedge.cli.tables import percent, print_table

    rows = [[str(t), percent(share)] for t, share in zip(found.timesteps, found.accuracy, strict=True)]
    if found.early_accuracy is not None:
        rows.append([f"{found.early_timesteps:.1f} (mean, margin {margin:g})", percent(found.early_accuracy)])
    print_table(f"{found.rows:,} rows", ["timesteps", "accuracy"], rows)
    alone = [[str(i), percent(share)] for i, share in enumerate(found.layer_accuracy)]
    print_table(f"each layer alone, after {found.timesteps[-1]} timesteps", ["layer", "accuracy"], alone)
