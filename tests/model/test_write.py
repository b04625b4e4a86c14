"""Models written block by block: onnx reads and checks them, and what is too much or finds no room is refused."""

import numpy as np
import onnx
import pytest
from toys import clusters, model_bytes, prepared, random_layers, small_spec

from ffedge.errors import FfedgeError
from ffedge.meter import rss_bytes
from ffedge.model import write
from ffedge.model.write import write_model
from ffedge.onnx import wire
from ffedge.pages import on_disk, release


def parts(**changes):
    recipe, facts = prepared(small_spec(**changes), clusters())
    return recipe, facts, random_layers(recipe, facts)


@pytest.mark.parametrize("changes", [{}, {"label_layers": "all"}, {"variant": "ff", "widths": (7,)}], ids=str)
def test_onnx_finds_every_weight_and_the_checker_is_content(changes):
    recipe, facts, layers = parts(**changes)
    model = onnx.load_from_string(model_bytes(recipe, facts, layers, version="é"))
    onnx.checker.check_model(model, full_check=True)
    found = {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}
    for i, layer in enumerate(layers):
        for name in set(layer) - {"gamma"}:
            np.testing.assert_array_equal(found[f"layers.{i}.{name}"], layer[name])
    assert {p.key: p.value for p in model.metadata_props}["ffedge.version"] == '"\\u00e9"'


def test_what_onnx_writes_again_is_as_long():
    """So no length is wrong, and nothing stands there that onnx does not know."""
    recipe, facts, layers = parts()
    written = model_bytes(recipe, facts, layers)
    assert len(onnx.load_from_string(written).SerializeToString()) == len(written)


@pytest.mark.parametrize("number", [0, 1, 127, 128, 300, 2**31 - 1, 2**40])
def test_lengths_are_protobufs(number):
    from google.protobuf.internal.encoder import _VarintBytes

    assert wire.head(1, number) == b"\x0a" + _VarintBytes(number)
    written = wire.whole(1, number)
    assert written == b"\x08" + _VarintBytes(number)
    assert list(wire.fields(written, 0, len(written))) == [(1, wire.VARINT, number)]


def test_weights_that_stand_in_files_are_written_a_block_at_a_time(tmp_path):
    """48 MiB of weights; 6 MiB are left for what else the interpreter does."""
    recipe, facts = prepared(small_spec(widths=(1024, 4096, 2048)), clusters())
    layers = random_layers(recipe, facts)
    for layer in layers:
        kept = on_disk(layer["W"].shape, tmp_path)
        kept[:] = layer["W"]
        layer["W"] = kept
        release(kept)
    before = rss_bytes()
    write_model(tmp_path / "model.onnx", recipe, facts, layers, {})
    assert rss_bytes() - before < 6 * 2**20
    assert (tmp_path / "model.onnx").stat().st_size > 48 * 2**20


def test_a_model_beyond_what_onnx_files_hold_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(write, "MOST_BYTES", 1000)
    recipe, facts, layers = parts()
    with pytest.raises(FfedgeError, match=r"model.onnx: would take .* GB, but an ONNX file ends at 2 GiB"):
        write_model(tmp_path / "model.onnx", recipe, facts, layers, {})
    assert not list(tmp_path.iterdir())
