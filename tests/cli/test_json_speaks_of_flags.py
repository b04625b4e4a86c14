"""Sentences inside JSON documents of the command line name its flags, as those on standard error do."""

import json
import shutil
from pathlib import Path

import numpy as np

from tests.cli.conftest import Ffedge, bars


def test_a_refusal_of_learn(ffedge: Ffedge, run_folder: Path, tmp_path: Path) -> None:
    model = Path(shutil.copy(run_folder / "model.onnx", tmp_path))
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "lies.npz", x=bars(300, 9)[0], y=rng.integers(0, 3, 300))
    done = ffedge(
        "learn", model, "--data", tmp_path / "lies.npz", "--epochs", 6, "--max-drop", "-1", "--force", "--json"
    )
    refused = json.loads(done.out)["refused"]
    assert done.code == 1
    assert "--max-drop -1. Use a smaller --rate, fewer --epochs or a larger --replay-share" in refused


def test_the_reasons_of_a_plan(ffedge: Ffedge) -> None:
    done = ffedge("train", "--widths", "8,8,8", "--plan", "--json")
    assert json.loads(done.out)["reasons"][-1].endswith("--cache activations spares that")
