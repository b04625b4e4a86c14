"""Convolutions that cannot be are refused in one line, by the command and from Python, before rows are read."""

from pathlib import Path

import numpy as np
import pytest

import ffedge as library
from tests.cli.conftest import Ffedge

PICTURES = (16, 16, 3)
REFUSED = [
    ((16, 16, 5), {"widths": "8c3"}, "got rows of [16, 16, 5]. Use --layout hwc or --layout chw"),
    ((3, 16, 3), {"widths": "8c3"}, "got rows of [3, 16, 3]. Use --layout hwc or --layout chw"),
    ((64,), {"widths": "8c3"}, "got rows of [64]. Use dense layers, as in 500,500"),
    ((64,), {"preset": "pictures"}, "got rows of [64]. Use dense layers, as in 500,500"),
    ((2, 8, 8, 3), {"widths": "8c3"}, "got rows of [2, 8, 8, 3]. Use dense layers"),
    ((16, 16), {"widths": "8c3", "layout": "chw"}, "--layout chw does not fit rows of [16, 16]. Leave it out"),
    (PICTURES, {"widths": "8c17"}, "layer 0, '8c17': the kernel must be no larger than the picture of 16 x 16"),
    (PICTURES, {"widths": "8c3p2,8c9"}, "layer 1, '8c9': the kernel must be no larger than the picture of 8 x 8"),
    (PICTURES, {"widths": "8c3p17"}, "layer 0, '8c3p17': pooling 17 x 17 leaves nothing of 16 x 16"),
    (PICTURES, {"widths": "8c3p16,8c1p2"}, "layer 1, '8c1p2': pooling 2 x 2 leaves nothing of 1 x 1"),
    (PICTURES, {"widths": "8c3", "class_goodness": "groups"}, "got 8 for 10 classes in layer 0. Use wider layers"),
    (PICTURES, {"widths": "80c3,8", "class_goodness": "groups"}, "got 8 for 10 classes in layer 1. Use wider layers"),
    (PICTURES, {"widths": "8c3", "class_goodness": "tried"}, "Use --class-goodness readout or --class-goodness groups"),
    (PICTURES, {"widths": "99999c3"}, "a convolution takes 1 to 65536 channels, an odd kernel"),
    (PICTURES, {"widths": "8c3", "cutout": "17"}, "--cutout must be at most 16, the pictures' smaller side, got 17"),
    (None, {"widths": "8c3"}, "--widths names a convolution, which reads pictures, got a table"),
    (None, {"widths": "1e3"}, "--widths has '1e3', which is no number of units. Use dense layers, as in 500,500"),
    ((64,), {"widths": "500.0"}, "--widths has '500.0', which is no number of units. Use dense layers, as in 500,500"),
    (None, {"preset": "pictures-small"}, "--widths names a convolution, which reads pictures, got a table"),
]


@pytest.mark.parametrize(("shape", "asked", "text"), REFUSED, ids=[f"{shape} {asked}" for shape, asked, _ in REFUSED])
def test_what_cannot_be_is_refused_before_rows_are_read(
    shape: tuple[int, ...] | None,
    asked: dict[str, str],
    text: str,
    tmp_path: Path,
    ffedge: Ffedge,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = tmp_path / "data.csv"  # which is not even opened
    if shape:
        data = tmp_path / "data.npz"
        np.savez(data, x=np.random.default_rng(0).integers(0, 256, (40, *shape), np.uint8), y=np.arange(40) % 10)
    flags = [word for name, value in asked.items() for word in (f"--{name.replace('_', '-')}", value)]
    done = ffedge("train", "--data", data, *flags, "--out", tmp_path / "run")
    assert done.code == 2
    assert text in done.err
    assert done.err.startswith("ffedge: ")
    assert done.err.count("\n") == 1
    assert not (tmp_path / "run").exists()
    monkeypatch.setattr("ffedge.training.prepare.without_absurd", lambda dataset: pytest.fail("rows are read"))
    preset, fields = asked.get("preset", "tuned"), {n: v for n, v in asked.items() if n != "preset"}
    widths = {"widths": tuple(fields["widths"].split(","))} if "widths" in fields else {}
    cutout = {"cutout": int(fields["cutout"])} if "cutout" in fields else {}
    with pytest.raises(ValueError, match=r"^(`|layer )") as caught:
        library.train(library.Spec.make(preset, **(fields | widths | cutout)), data, tmp_path / "run")
    assert "\n" not in str(caught.value)
