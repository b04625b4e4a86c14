"""A field that was asked for changes what is learnt or planned, or is refused: alone, and beside each other one."""

import contextlib
import os

import numpy as np
import pytest

from ffedge.data.dataset import Dataset, Split
from ffedge.data.rows import ArrayRows
from ffedge.errors import FfedgeError
from ffedge.model.file import Model
from ffedge.predict.predictor import Predictor
from ffedge.presets import PRESETS
from ffedge.spec import Spec
from ffedge.training.train import plan, train

ASKED = {
    "widths": (8, 8, 9),
    "norm": "unit",
    "bound": 0.5,
    "skip": "add",
    "goodness": "sum",
    "class_goodness": "groups",
    "layout": "chw",
    "label_mode": "concat",
    "label_layers": "first",
    "label_scale": 3.0,
    "scaling": "standard",
    "input_norm": "unit",
    "variant": "fcff",
    "loss": "logistic",
    "slope": 2.5,
    "smoothing": 0.2,
    "sparsity": 0.3,
    "similarity": 0.5,
    "theta": 0.7,
    "theta_placement": "once",
    "scope": "next",
    "alpha": "mean",
    "gamma": 0.4,
    "gamma_rate": 0.3,
    "gamma_optimizer": "adam",
    "prediction_weights": "collaborative",
    "epochs": 3,
    "batch_size": 9,
    "memory_budget": 2**36,
    "chunk_size": 5,
    "tile_bytes": 128,
    "moments": "file",
    "schedule": "interleaved",
    "class_weight": "0=3",
    "negatives": "fresh",
    "n_negatives": 1,
    "optimizer": "sgd",
    "rate": (0.03,),
    "momentum": 0.5,
    "cooldown": "none",
    "weight_decay": 0.3,
    "input_dropout": 0.5,
    "shift": 1,
    "shift_share": 0.4,
    "mirror": 0.5,
    "cutout": 3,
    "cache": "activations",
    "holdout": 0.4,
    "coverage": 0.6,
    "statistics": "stored",
    "engine": "torch",
    "device": "cuda",
    "precision": "bfloat16",
    "threads": 3,
    "seed": 5,
}
OTHERS = {"variant": "ff", "loss": "symmetric", "widths": ("6c3", "6c3", 8), "holdout": 0.0}
BASE = {"widths": (8, 8, 8), "skip": "none", "epochs": 2, "batch_size": 20, "input_dropout": 0.0}


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    """Return what comes of a training, its weights, answers and memory plan; None where it cannot be had here."""
    folder, known = tmp_path_factory.mktemp("runs"), {}
    images, labels = np.random.default_rng(0).integers(0, 255, (60, 5, 5)).astype(np.uint8), np.arange(60) % 4
    images[:, 0], images[np.arange(60), 1, labels] = 0, 255
    data = Dataset("images", Split(ArrayRows(images), labels), None, ("a", "b", "c", "d"), "sha")

    def of(changes):
        spec, key = Spec.make(**BASE | changes), repr(sorted(changes.items()))
        if key not in known:
            known[key] = None
            with contextlib.suppress(FfedgeError):  # no torch, no GPU
                model = Model(train(spec, data, folder / str(len(known)), kept_bytes=0).model)
                answers = Predictor(folder / str(len(known)) / "model.onnx", threads=1).predict(images)
                weights = [
                    array.tobytes() for i in range(len(spec.network.widths)) for array in model.layer(i).values()
                ]
                learnt = weights, answers.scores.tobytes(), answers.known.tobytes()
                known[key] = learnt, None if spec.train.engine == "torch" else planned(spec, data)
        return known[key]

    return of


def planned(spec, data):
    found = plan(spec, data)
    parts = {name: size for name, size in found.parts.items() if not name.startswith("interpreter")}
    return parts, found.disk_bytes, found.budget_bytes


def hold(result, changes, without):
    """Assert that changes are refused, or come to something else than without one of them."""
    with contextlib.suppress(ValueError):
        asked, otherwise = result(changes), result(without)
        changed = asked is None or otherwise is None or asked != otherwise
        assert changed, changes


def test_every_field_is_asked_for_here():
    assert set(ASKED) == set(Spec.options())


@pytest.mark.parametrize("name", ASKED)
def test_a_field_that_is_asked_for_changes_something_or_is_refused(result, name):
    hold(result, {name: ASKED[name]}, {})


@pytest.mark.slow
@pytest.mark.parametrize("name", ASKED)
def test_so_it_does_beside_each_other_field(result, name):
    """A sixth of the pairs; all of them with FFEDGE_ALL_PAIRS=1, in half an hour."""
    every, at = 1 if os.environ.get("FFEDGE_ALL_PAIRS") else 6, list(ASKED).index(name)
    for place, (other, value) in enumerate([*ASKED.items(), *OTHERS.items()]):
        if other != name and (place + at) % every == 0:
            hold(result, {name: ASKED[name], other: value}, {other: value})


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"theta": 1.0}, "`theta` plays no part where `loss` is contrastive. Leave it out"),
        ({"gamma": 0.5, "variant": "ff"}, "`gamma` plays no part where `variant` is ff. Leave it out"),
        ({"gamma": 0.5, "widths": (8,)}, "`gamma` plays no part in one layer. Leave it out"),
        ({"shift_share": 0.5}, "`shift_share` plays no part where `shift` is 0. Leave it out"),
        ({"momentum": 0.5, "optimizer": "sgd"}, "`momentum` plays no part where `optimizer` is sgd. Leave it out"),
        (
            {"n_negatives": 1, "widths": ("6c3", 8)},
            "`n_negatives` plays no part where `class_goodness` is readout. Leave it out",
        ),
        (
            {"label_scale": 2.0, "widths": ("6c3",)},
            "`label_scale` plays no part where `class_goodness` is readout. Leave it out",
        ),
        ({"threads": 2, "engine": "torch"}, "`threads` plays no part where `engine` is torch. Leave it out"),
    ],
)
def test_the_refusal_says_why(changes, text):
    with pytest.raises(ValueError, match=f"^{text}$"):
        Spec.make(**changes)


@pytest.mark.parametrize("changes", [{"smoothing": "auto", "loss": "logistic"}, {"cache": "none", "widths": (8,)}])
def test_what_asks_for_nothing_is_not_refused(changes):
    assert Spec.make(**changes)


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("changes", [{"variant": "ff"}, {"widths": (8,)}, {"loss": "symmetric"}, {"optimizer": "sgd"}])
def test_what_a_preset_asks_for_is_not_refused(preset, changes):
    assert Spec.make(preset, **changes)
