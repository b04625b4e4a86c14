"""The script for an accelerator, in miniature on the processor: so that it runs where there is one."""

import pytest
from accelerator import WORK, apart, random_rows, trained

pytestmark = pytest.mark.torch


@pytest.mark.parametrize("name", WORK)
def test_each_training_runs_by_torch(name):
    asked, shape, _ = WORK[name]
    sizes = {size: 32 for size in ("batch_size", "chunk_size") if size in asked}
    small = {"widths": ("10c3p4", "10c3")} if name == "pictures" else {}
    speed, loss = trained({**asked, **sizes, **small, "engine": "torch"}, random_rows(shape, 64), 2)
    assert speed > 0
    assert 0.1 < loss < 10


def test_its_losses_are_those_of_onnxruntime():
    assert apart("cpu", 5) < 1e-4
