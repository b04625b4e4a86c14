"""What learning from a model file is planned to take, and what of it may change."""

import pytest
from toys import clusters, make_model, small_spec

from ffedge.learning.classes import opened
from ffedge.learning.session import fitted, learning_spec

ROWS = 4000


@pytest.fixture
def start(tmp_path):
    """Return a model whose recipe is for one batch of all rows and for a machine that it has left."""
    path = tmp_path / "model.onnx"
    spec = small_spec(widths=(200, 100), batch_size="full", chunk_size=64, tile_bytes=4096, moments="file", threads=3)
    path.write_bytes(make_model(spec, clusters(rows=ROWS))[0])
    return opened(path)


def test_a_tight_budget_cuts_the_chunks_that_learning_takes(start):
    recipe, roomy = fitted(start, learning_spec(start, {"batch_size": 1024}, ROWS), ROWS)
    assert (recipe.train.batch_size, roomy.chunk_size) == (1024, 2048)
    budget = (roomy.floor_bytes + roomy.peak_bytes) // 2
    recipe, tight = fitted(start, learning_spec(start, {"batch_size": 1024, "memory_budget": budget}, ROWS), ROWS)
    assert recipe.train.chunk_size == tight.chunk_size < 1024
    assert tight.peak_bytes <= budget


def test_what_belongs_to_the_machine_that_trained_is_asked_anew(start):
    spec = learning_spec(start, {}, ROWS)
    assert spec.left_open("plan") == ["chunk_size", "tile_bytes", "moments", "threads"]
    assert spec.left_open("data") == []
    assert (spec.train.memory_budget, spec.train.cache, spec.train.engine) == ("none", "none", "onnx")
    assert learning_spec(start, {"threads": 2, "chunk_size": 7}, ROWS).left_open("plan") == ["tile_bytes", "moments"]


def test_a_batch_is_as_stored_but_for_fewer_rows(start):
    sizes = [learning_spec(start, {"holdout": 0.5}, rows).train.batch_size for rows in (100, 10_000)]
    assert sizes == [50, ROWS]


@pytest.mark.parametrize("name", ["optimizer", "momentum", "weight_decay", "input_dropout", "n_negatives", "widths"])
def test_what_is_inside_the_step_cannot_change(start, name):
    with pytest.raises(ValueError, match=f"^{name} is part of the model's learning step and cannot change"):
        learning_spec(start, {name: 1}, ROWS)
