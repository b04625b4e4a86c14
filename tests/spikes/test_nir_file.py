"""NIR files: nir itself reads what ffedge writes; another's file and a damaged one are refused in one line."""

import contextlib
import dataclasses
import itertools
import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from spiking_toys import rows_of, toy
from toys import GROUPS

from ffedge.errors import ModelError
from ffedge.meter import PeakMeter
from ffedge.spikes import SpikingPredictor, is_nir, read, write
from ffedge.spikes.nir_file import CHECKSUM

h5py = pytest.importorskip("h5py", reason="needs ffedge[nir]")
nir = pytest.importorskip("nir", reason="needs ffedge[nir]")
META = "node/metadata/ffedge"


@pytest.fixture
def path(tmp_path):
    write(toy()[0], tmp_path / "toy.nir")
    return tmp_path / "toy.nir"


@contextlib.contextmanager
def changing(path):
    """Open a file as another program would, which drops the checksum."""
    path.write_bytes(path.read_bytes().rpartition(CHECKSUM)[0])
    with h5py.File(path, "r+") as file:
        yield file


KINDS = [
    {},
    {"reset": "zero", "label_layers": "all"},
    {"leak_steps": 20},
    {"leak_steps": 20, "current_based": True},
    GROUPS,
    {"pictures": True},
]


@pytest.mark.parametrize("changes", KINDS, ids=str)
def test_a_network_survives_its_file(tmp_path, changes):
    network = toy(**changes)[0]
    write(network, tmp_path / "a.nir")
    again = read(tmp_path / "a.nir")
    for a, b in zip(network.layers, again.layers, strict=True):
        np.testing.assert_array_equal(a.W, b.W)
        np.testing.assert_array_equal(a.b, b.b)
        assert dataclasses.replace(a, W=b.W, b=b.b, decay=b.decay) == b
        assert a.decay == pytest.approx(b.decay, abs=1e-6)
    assert dataclasses.replace(network, layers=again.layers) == again
    raw = rows_of(toy(**changes)[-1], 9)
    found, wanted = (SpikingPredictor(n).predict(raw).scores for n in (again, network))
    np.testing.assert_allclose(found, wanted, rtol=0.02)


def test_nir_reads_convolutions_with_the_shapes_of_their_pictures(tmp_path):
    network = toy(pictures=True)[0]
    write(network, tmp_path / "a.nir")
    graph = nir.read(tmp_path / "a.nir")
    order = ["input", "conv0", "neuron0", "pool0", "conv1", "neuron1", "flatten2", "affine2", "neuron2", "output"]
    assert sorted(graph.edges) == sorted(itertools.pairwise(order))
    assert graph.nodes["input"].input_type["input"].tolist() == [3, 9, 8]
    for name, shape in (("neuron0", (8, 9, 8)), ("neuron1", (8, 2, 2))):
        assert graph.nodes[name].v_threshold.shape == shape
    assert graph.nodes["conv1"].input_type["input"].tolist() == [8, 4, 4]
    assert graph.nodes["conv1"].output_type["output"].tolist() == [8, 2, 2]
    assert graph.nodes["flatten2"].output_type["output"].tolist() == [32]


@pytest.mark.parametrize("leak_steps", [None, 20])
def test_nir_reads_a_chain_of_affine_maps_and_neurons(tmp_path, leak_steps):
    network = toy(leak_steps=leak_steps)[0]
    write(network, tmp_path / "a.nir")
    graph = nir.read(tmp_path / "a.nir")
    order = ["input", *(name for i in range(3) for name in (f"affine{i}", f"neuron{i}")), "output"]
    assert sorted(graph.edges) == sorted(itertools.pairwise(order))
    for i, layer in enumerate(network.layers):
        affine, neuron = graph.nodes[f"affine{i}"], graph.nodes[f"neuron{i}"]
        np.testing.assert_array_equal(affine.weight, layer.W)
        np.testing.assert_array_equal(neuron.v_threshold, np.ones(len(layer.b)))
        assert isinstance(neuron, nir.IF if leak_steps is None else nir.LIF)
        if leak_steps:  # dv = dt / tau (r I - v)
            np.testing.assert_allclose(1e-4 / neuron.tau, 1 / leak_steps, rtol=1e-5)
            np.testing.assert_allclose(neuron.r * 1e-4 / neuron.tau, 1.0, rtol=1e-5)
    about = json.loads(graph.metadata["ffedge"])
    assert about["input"]["classes"] == ["class 0", "class 1", "class 2", "class 3"]
    assert (about["timesteps"], about["reset"]) == (40, "subtract")
    with h5py.File(tmp_path / "a.nir") as file:
        assert "v_reset" not in file["node/nodes/neuron0"]


def test_a_nir_file_is_told_by_its_first_bytes(path, tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"\x08\x08")
    assert is_nir(path)
    assert not is_nir(tmp_path / "model.onnx")
    assert not is_nir(tmp_path / "none")


def about(file, **changes):
    text = json.loads(file[META][()])
    replaced(META, json.dumps(text | changes))(file)


def replaced(name, value):
    def change(file):
        del file[name]
        file[name] = value

    return change


REFUSED = {
    "a newer format": (lambda f: about(f, format=3), "it has format 3, not 1 or 2"),
    "a format with more": (lambda f: about(f, format=2), "must have just the fields"),
    "an unknown field": (lambda f: about(f, more=1), "must have just the fields"),
    "other timesteps": (lambda f: about(f, timesteps=10**9), "`timesteps` must be 1 to 4096"),
    "another dt": (lambda f: about(f, dt=1.0), "and a dt of 0.0001"),
    "another reset": (lambda f: about(f, reset="none"), "label_mode and reset must be known"),
    "data that are a list": (lambda f: about(f, data=[1]), "its data must be a text"),
    "a layer of text": (lambda f: about(f, layers=["a"]), "its edges must make a chain"),
    "metadata no JSON": (replaced(META, "{"), "Expecting property name"),
    "metadata of a list": (replaced(META, "[]"), "'list' object has no attribute"),
    "an unknown node": (
        replaced("node/nodes/neuron0/type", "Conv2d"),
        "nodes must be Affine or Conv2d, and IF, LIF or Cuba",
    ),
    "another edge": (replaced("node/edges", [["input", "output"]]), "its edges must make a chain"),
    "NaN": (replaced("node/nodes/affine0/bias", np.full(12, np.nan)), "must be finite"),
    "more than float32": (replaced("node/nodes/affine0/bias", np.full(12, 1e308)), "must be finite"),
    "text for numbers": (replaced("node/nodes/affine0/bias", "abc"), ""),
    "another shape": (replaced("node/nodes/affine1/weight", np.ones((10, 3), "f4")), "layer 1 must have 12 inputs"),
    "too few biases": (replaced("node/nodes/affine1/bias", np.ones(3, "f4")), "W and b must have shapes"),
    "thresholds apart": (replaced("node/nodes/neuron0/v_threshold", np.arange(12.0)), "one number for all neurons"),
    "another reset level": (
        lambda f: f.update({"node/nodes/neuron0/v_reset": np.ones(12)}),
        "must reset and leak to 0",
    ),
    "another r": (replaced("node/nodes/neuron0/r", np.full(12, 2.0)), "with an input factor of 1"),
    "no r": (lambda f: f.pop("node/nodes/neuron0/r"), "'r' doesn't exist"),
    "no bias": (lambda f: f.pop("node/nodes/affine0/bias"), "'bias' doesn't exist"),
    "no nodes": (lambda f: f.pop("node/nodes"), "'nodes' doesn't exist"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_file_that_ffedge_did_not_write_is_refused_in_one_line(path, what):
    change, why = REFUSED[what]
    with changing(path) as file:
        change(file)
    assert why in refusal(path)


PLACES = {
    "another stride": (replaced("node/nodes/conv0/stride", [1, 2]), "stride must be one number for both sides"),
    "a stride of nothing": (replaced("node/nodes/conv0/stride", [0, 0]), "whole numbers above 0"),
    "no padding": (replaced("node/nodes/conv0/padding", [0, 0]), "padding must be 1, got 0"),
    "grouped": (replaced("node/nodes/conv0/groups", 2), "groups must be 1, got 2"),
    "dilated": (replaced("node/nodes/conv0/dilation", [2, 2]), "dilation must be 1, got 2"),
    "a huge picture": (replaced("node/nodes/conv0/input_shape", [1 << 20, 1 << 20]), "1 to 16777216 neurons"),
    "another picture": (replaced("node/nodes/conv0/input_shape", [8, 9]), "layer 0 must read (3, 9, 8), got (3, 8, 9)"),
    "half a pixel": (replaced("node/nodes/conv0/input_shape", [9, 7.5]), "must be whole numbers, got 7.5"),
    "no end": (replaced("node/nodes/conv0/input_shape", [9, np.inf]), "must be whole numbers, got inf"),
    "one side": (replaced("node/nodes/conv0/input_shape", [9]), ""),
    "a kernel of two sides": (replaced("node/nodes/conv0/weight", np.ones((8, 3, 3, 5), "f4")), "[O, I, k, k]"),
    "an affine map for it": (replaced("node/nodes/conv0/type", "Affine"), "W and b must have shapes [H, D] and [H]"),
    "another pool": (replaced("node/nodes/pool0/type", "AvgPool2d"), "pool0 must be SumPool2d, got AvgPool2d"),
    "pools that overlap": (replaced("node/nodes/pool0/stride", [1, 1]), "stride must be 2, got 1"),
    "a pool too large": (replaced("node/nodes/pool0/kernel_size", [50, 50]), ""),
    "another layout": (lambda f: about(f, layout="none"), "layout must be hwc or chw for convolutions"),
    "labels tried": (lambda f: about(f, label_mode="concat"), ""),
}


@pytest.mark.parametrize("what", PLACES)
def test_a_convolution_that_ffedge_does_not_write_is_refused_in_one_line(tmp_path, what):
    write(toy(pictures=True)[0], tmp_path / "toy.nir")
    change, why = PLACES[what]
    with changing(tmp_path / "toy.nir") as file:
        change(file)
    assert why in refusal(tmp_path / "toy.nir")


def test_a_nir_file_of_others_is_refused(tmp_path):
    nodes = {"a": nir.Input({"input": np.array([3])}), "b": nir.Output({"output": np.array([3])})}
    nir.write(tmp_path / "foreign.nir", nir.NIRGraph(nodes, [("a", "b")]))
    assert "(it lacks ffedge's metadata)" in refusal(tmp_path / "foreign.nir")


def test_an_array_that_claims_a_great_size_is_refused_before_it_is_read(path):
    with changing(path) as file:
        del file["node/nodes/affine0/weight"]
        file.create_dataset("node/nodes/affine0/weight", (1 << 15, 1 << 16), "f4", chunks=True)
    assert "weight claims 8589934592 bytes" in refusal(path)


def test_a_small_file_does_not_fill_the_memory(path):
    with changing(path) as file:
        del file["node/nodes/affine0/weight"]
        file.create_dataset("node/nodes/affine0/weight", (1 << 14, 1 << 13), "f4", chunks=True)
    meter = PeakMeter()
    begin = meter.start()
    assert "allocate" in refusal(path)
    assert meter.peak() - begin < 100 << 20


def test_a_file_that_is_searched_without_end_is_refused(path, monkeypatch):
    monkeypatch.setattr("ffedge.spikes.trial.MOST_S", 0.001)
    assert "(HDF5 does not come to an end with it)" in refusal(path)


def refusal(path):
    """Return the line that refuses a file."""
    with pytest.raises(ModelError) as caught:
        read(path)
    text = str(caught.value)
    assert text.startswith(f"{path}: is no NIR file that ffedge can run (")
    assert text.endswith("). Pass one of `ffedge export --nir`")
    assert len(text.splitlines()) == 1
    return text


@pytest.mark.parametrize("reset", ["subtract", "zero"])
@pytest.mark.parametrize("margin", [None, 0.5])
def test_extreme_numbers_in_a_file_warn_of_nothing(path, reset, margin):
    with changing(path) as file:
        layers = json.loads(file[META][()])["layers"]
        about(file, reset=reset, layers=[layer | {"goodness_scale": 3e38, "weight": -3e38} for layer in layers])
        for i in range(3):
            name = f"node/nodes/affine{i}/weight"
            replaced(name, np.where(np.arange(file[name].shape[1]) % 2, 3e38, -3e38) * np.ones(file[name].shape))(file)
    predictor = SpikingPredictor(path, 20, margin)
    assert len(predictor.predict(rows_of(toy()[-1], 9))) == 9  # a warning is an error here


def test_a_file_that_is_not_there_is_one_line(tmp_path):
    with pytest.raises(ModelError, match=r"none.nir: no such file. Write one with `ffedge export --nir`$"):
        read(tmp_path / "none.nir")


def test_a_file_that_was_cut_is_refused(path):
    content = path.read_bytes()
    for share in (0.1, 0.5, 0.9):
        path.write_bytes(content[: int(share * len(content))])
        refusal(path)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.floats(0, 1, exclude_max=True), change=st.integers(1, 255))
def test_a_file_with_a_wrong_byte_is_refused(path, at, change):
    content = bytearray(path.read_bytes())
    content[int(at * (len(content) - len(CHECKSUM) - 32))] ^= change  # but for those that hold the checksum
    (path.parent / "damaged.nir").write_bytes(content)
    assert "(it is damaged: its checksum differs)" in refusal(path.parent / "damaged.nir")


def test_a_file_without_a_checksum_is_read_too(path):
    path.write_bytes(path.read_bytes().rpartition(CHECKSUM)[0])
    assert len(read(path).layers) == 3
