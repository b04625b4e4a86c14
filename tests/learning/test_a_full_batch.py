"""A full batch of `learn` takes all rows: new ones that are not held out, and kept examples."""

from pathlib import Path

from toys import clusters, make_model, small_spec

from ffedge.learning.learn import learn
from ffedge.training.replay import KEPT_BYTES

OLD, NEW = clusters(rows=300), clusters(rows=200, seed=1)


def test_new_rows_and_kept_examples_make_one_batch(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(make_model(small_spec(), OLD)[0])
    done = learn(path, NEW, batch_size="full", replay_from=OLD, kept_bytes=KEPT_BYTES, max_drop=1.0, holdout=0.1)
    assert done.kept_rows
    assert done.spec["train"]["batch_size"] == 180 + done.kept_rows
