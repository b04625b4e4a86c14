"""The presets: fields of a spec that differ from their defaults. ``auto`` is filled in from the data."""

from typing import Any

_TUNED: dict[str, Any] = {
    "layout": "auto",
    "skip": "add",
    "class_goodness": "auto",
    "label_layers": "all",
    "label_scale": "auto",
    "slope": "auto",
    "smoothing": "auto",
    "scope": "previous",
    "gamma": 0.3,
    "prediction_weights": "auto",
    "epochs": "auto",
    "input_dropout": "auto",
    "rate": "auto",
    "cache": "auto",
}
_PICTURES = _TUNED | {"schedule": "interleaved", "shift": "auto", "mirror": "auto"}

PRESETS: dict[str, dict[str, Any]] = {
    "tuned": _TUNED,
    "pictures": _PICTURES | {"widths": ("64c3p2+",)},
    "pictures-small": _PICTURES | {"widths": ("32c3p2+",)},
    "spiking": {
        "layout": "auto",
        "label_layers": "all",
        "scope": "previous",
        "gamma": 0.3,
        "norm": "fixed",
        "bound": 60.0,
        "sparsity": 0.07,
        "prediction_weights": "auto",
        "rate": "auto",
    },
    "paper": {
        "layout": "auto",
        "norm": "unit",
        "label_scale": 1.0,
        "scaling": "range",
        "input_norm": "unit",
        "loss": "logistic",
        "smoothing": 0.0,
        "epochs": 1000,
        "batch_size": "full",
        "negatives": "fixed",
        "n_negatives": 1,
        "rate": (0.03,),
        "cooldown": "none",
        "weight_decay": 0.0,
        "input_dropout": 0.0,
    },
}
