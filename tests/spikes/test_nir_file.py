"""NIR files: nir itself reads what ffedge writes, and a stranger's file is read or refused in one line."""

import dataclasses
import itertools
import json
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from spiking_toys import rows_of, toy

from ffedge.errors import ModelError
from ffedge.spikes import SpikingPredictor, heap, is_nir, read, write

h5py = pytest.importorskip("h5py", reason="needs ffedge[nir]")
nir = pytest.importorskip("nir", reason="needs ffedge[nir]")
META = "node/metadata/ffedge"
WEIGHT = "node/nodes/affine0/weight"


@pytest.fixture
def path(tmp_path):
    write(toy()[0], tmp_path / "toy.nir")
    return tmp_path / "toy.nir"


@pytest.mark.parametrize("changes", [{}, {"reset": "zero", "label_layers": "all"}, {"leak_steps": 20}], ids=str)
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
    for name, value in changes.items():
        text[name] = value
    del file[META]
    file[META] = json.dumps(text)


def layer_about(file, layer=0, **changes):
    text = json.loads(file[META][()])
    text["layers"][layer] |= changes
    about(file, layers=text["layers"])


def replaced(name, value):
    def change(file):
        if name in file:
            del file[name]
        if value is not None:
            file[name] = value

    return change


def created(name, *how, **more):
    def change(file):
        del file[name]
        file.create_dataset(name, *how, **more)

    return change


def claimed(*widths):
    """Claim layers of zeros for 1000 classes, of which nothing is in the file."""

    def change(file):
        facts = json.loads(file[META][()])["input"] | {"shape": [1], "offset": [0.0], "scale": [1.0]}
        about(file, label_mode="concat", input=facts | {"classes": [str(i) for i in range(1000)]})
        for i, (before, units) in enumerate(itertools.pairwise((1001, *widths))):
            layer_about(file, i, units=min(1, units))
            for name in ("v_threshold", "r"):
                replaced(f"node/nodes/neuron{i}/{name}", np.ones(units, "f4"))(file)
            created(f"node/nodes/affine{i}/bias", (units,), "f4")(file)
            created(f"node/nodes/affine{i}/weight", (units, before), "f4")(file)

    return change


def elsewhere(file):
    file["other"] = file["node/nodes/affine0/bias"][()]
    del file["node/nodes/affine0/bias"]
    file["node/nodes/affine0/bias"] = h5py.SoftLink("/other")


def outside(file):
    del file["node/nodes/affine0/bias"]
    file["node/nodes/affine0/bias"] = h5py.ExternalLink("/etc/passwd", "/x")


def raw_outside(file):
    del file["node/nodes/affine0/bias"]
    file.create_dataset("node/nodes/affine0/bias", (12,), "f4", external=[("/etc/passwd", 0, 48)])


def virtual(file):
    del file["node/nodes/affine0/bias"]
    layout = h5py.VirtualLayout((12,), "f4")
    layout[:] = h5py.VirtualSource("/etc/passwd", "x", (12,))
    file.create_virtual_dataset("node/nodes/affine0/bias", layout)


def doubled(file, count):
    """Write the first edge once more, or not at all."""
    edges = [[a.decode(), b.decode()] for a, b in file["node/edges"][()]]
    replaced("node/edges", edges[:count] + edges if count > 0 else edges[1:])(file)


def crowded(file):
    for i in range(200):
        file[f"node/nodes/n{i}/type"] = "IF"


HOSTILE = {
    "no metadata": (replaced("node/metadata", None), "it lacks ffedge's metadata"),
    "metadata of numbers": (replaced(META, np.ones(3)), "must be a string"),
    "metadata no JSON": (replaced(META, "{"), "Expecting property name"),
    "a newer format": (lambda f: about(f, format=2), "it has format 2, not 1"),
    "an unknown field": (lambda f: about(f, more=1), "must have just the fields"),
    "other timesteps": (lambda f: about(f, timesteps=10**9), "timesteps must be 1 to 4096"),
    "another dt": (lambda f: about(f, dt=1.0), "and a dt of 0.0001"),
    "another reset": (lambda f: about(f, reset="none"), "label_mode and reset must be known"),
    "other data": (lambda f: about(f, data=[1]), "data and version must be names"),
    "layers no list": (lambda f: about(f, layers=3), "must have just the fields"),
    "a layer of text": (lambda f: about(f, layers=["a"]), "a layer must have just the fields"),
    "too many units": (lambda f: layer_about(f, units=13), "units must be 1 to 12, got 13"),
    "units no number": (lambda f: layer_about(f, units="a"), "units must be 1 to 12, got 'a'"),
    "an infinite scale": (lambda f: layer_about(f, goodness_scale=float("inf")), "must be finite"),
    "a path as a name": (lambda f: layer_about(f, affine="../x"), "nodes must have names that differ"),
    "another name": (lambda f: layer_about(f, affine="x"), "its nodes must be those that its metadata name"),
    "an unknown node": (replaced("node/nodes/neuron0/type", "Conv2d"), "nodes must be Affine and IF or LIF"),
    "an input elsewhere": (replaced("node/nodes/input/type", "Output"), "node 'input' must be Input"),
    "another edge": (replaced("node/edges", [["input", "output"]]), "its edges must make a chain"),
    "edges of numbers": (replaced("node/edges", np.ones((3, 2))), "must be a string of at most 8388608 bytes"),
    "NaN": (replaced("node/nodes/affine0/bias", np.full(12, np.nan)), "must be finite"),
    "complex": (replaced("node/nodes/affine0/bias", np.ones(12, complex)), "must be numbers on 1 axes"),
    "another shape": (replaced("node/nodes/affine1/weight", np.ones((10, 3), "f4")), "layer 1 must have 12 inputs"),
    "one axis": (replaced("node/nodes/affine1/weight", np.ones(3, "f4")), "must be numbers on 2 axes"),
    "too few biases": (replaced("node/nodes/affine1/bias", np.ones(3, "f4")), "neurons"),
    "thresholds apart": (replaced("node/nodes/neuron0/v_threshold", np.arange(12.0)), "one number for all 12 neurons"),
    "a threshold of 0": (replaced("node/nodes/neuron0/v_threshold", np.zeros(12)), "threshold must be positive"),
    "another reset level": (replaced("node/nodes/neuron0/v_reset", np.ones(12)), "neurons must reset and leak to 0"),
    "another r": (replaced("node/nodes/neuron0/r", np.full(12, 2.0)), "with an input factor of 1"),
    "no r": (replaced("node/nodes/neuron0/r", None), "'node/nodes/neuron0/r' is missing"),
    "a group for an array": (
        lambda f: (replaced("node/nodes/affine0/bias", None)(f), f.create_group("node/nodes/affine0/bias")),
        "must be a dataset",
    ),
    "more than the file": (
        created(WEIGHT, (1 << 12, 1 << 13), "f4", chunks=(1024, 1024), compression="gzip"),
        "'node/nodes/affine0/weight' is larger than the file bears out",
    ),
    "neurons for more potentials than the file": (claimed(12, 64_000, 8), "one sample is larger than the file bears"),
    "more work than the file": (claimed(300, 300, 300), "a timestep of one sample takes 0.5 G multiply-adds, too many"),
    "a layer of nothing": (claimed(12, 0, 8), "one number for all 0 neurons"),
    "a chunk larger than its array": (
        created(WEIGHT, (12, 20), "f4", chunks=(1 << 12, 1 << 8), maxshape=(None, None), compression="gzip"),
        "few chunks, of few bytes, got 1 of 4194304 bytes",
    ),
    "a crowd of chunks": (
        created(WEIGHT, (1 << 10, 1 << 10), "f4", chunks=(8, 8)),
        "few chunks, of few bytes, got 16384 of 256 bytes",
    ),
    "a text of a long type": (created(META, (), "S9000000"), "must be a string of at most 8388608 bytes"),
    "a text of many bytes": (replaced(META, " " * 9_000_000), "claims a text of 9000000 bytes, more than 8388608"),
    "a number that float32 cannot hold": (replaced(WEIGHT, np.full((12, 20), 1e308)), "must be finite"),
    "an edge twice": (lambda f: doubled(f, 1), "its edges must make a chain"),
    "an edge too few": (lambda f: doubled(f, -1), "its edges must make a chain"),
    "a soft link": (elsewhere, "'node/nodes/affine0/bias' is missing"),
    "an external link": (outside, "'node/nodes/affine0/bias' is missing"),
    "external storage": (raw_outside, "must stand in the file"),
    "a virtual array": (virtual, "must stand in the file"),
    "a crowd of nodes": (crowded, "more than 130"),
    "no nodes": (replaced("node/nodes", None), "'node/nodes' is missing"),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_file_that_is_not_ffedges_is_refused_in_one_line(path, what):
    change, why = HOSTILE[what]
    with h5py.File(path, "r+") as file:
        change(file)
    with pytest.raises(ModelError) as caught:
        read(path)
    text = str(caught.value)
    assert text.startswith(f"{path}: is no NIR file that ffedge can run (")
    assert why in text
    assert text.endswith("). Pass one of `ffedge export --nir`")
    assert len(text.splitlines()) == 1


def test_texts_are_what_hdf5_reads(path):
    with h5py.File(path, "r+") as file:
        file["many"] = [["é" * n, "x" * 31 * n] for n in range(9)]
    with h5py.File(path) as file:
        for name in ("many", META, "node/edges", "node/nodes/affine0/type"):
            wanted = [bytes(text) for text in np.ravel(file[name][()]).tolist()]
            assert list(heap.texts(path.read_bytes(), file[name])) == wanted


@pytest.mark.parametrize(
    "changes",
    [{"length": 3_000_000}, {"length": 2**32 - 1}, {"index": 4000}, {"index": 0}]
    + [{"address": address} for address in (0, 8, 2**40, 2**64 - 1)],
    ids=str,
)
def test_a_text_that_a_file_does_not_hold_is_refused(path, changes):
    """HDF5's own reader takes the memory that is claimed, and looks for ever for an object that is not there."""
    with h5py.File(path) as file:
        at = file[META].id.get_offset()
    data = bytearray(path.read_bytes())
    reference = dict(zip(("length", "address", "index"), heap.REFERENCE.unpack_from(data, at), strict=True)) | changes
    heap.REFERENCE.pack_into(data, at, *reference.values())
    path.write_bytes(data)
    with pytest.raises(ModelError, match=r"a text has no place in|lies out of|claims a text of"):
        read(path)


def test_a_chunk_that_claims_more_bytes_than_the_file_is_not_read(path):
    with h5py.File(path, "r+") as file:
        replaced(WEIGHT, None)(file)
        file.create_dataset(WEIGHT, data=np.ones((12, 20), "f4"), chunks=(12, 20), compression="gzip")
        file.flush()
        size = file[WEIGHT].id.get_chunk_info(0).size
    content = bytearray(path.read_bytes())
    at = content.index(b"TREE\1") + 24  # the B-tree of chunks: each key begins with the bytes of its chunk
    while content[at : at + 4] != size.to_bytes(4, "little"):
        at = content.index(b"TREE\1", at) + 24
    content[at : at + 4] = (1 << 30).to_bytes(4, "little")
    path.write_bytes(content)
    with pytest.raises(ModelError, match=rf"'{WEIGHT}' claims {1 << 30} bytes of a file of {len(content)}\)"):
        read(path)


def test_edges_that_share_one_long_name_are_not_all_held(path):
    with h5py.File(path, "r+") as file:
        created("node/edges", (120, 2), h5py.string_dtype())(file)
        file["node/edges"][...] = "x"
        file["node/edges"][0, 0] = "x" * 1_000_000
        file.flush()
        at = file["node/edges"].id.get_offset()
    content = bytearray(path.read_bytes())
    content[at : at + 240 * 16] = content[at : at + 16] * 240  # a text is 16 bytes, which say where it is
    path.write_bytes(content)
    tracemalloc.start()
    try:
        with pytest.raises(ModelError, match="its edges must make a chain"):
            read(path)
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("reset", ["subtract", "zero"])
@pytest.mark.parametrize("margin", [None, 0.5])
def test_extreme_numbers_in_a_file_warn_of_nothing(path, reset, margin):
    with h5py.File(path, "r+") as file:
        about(file, reset=reset)
        layer_about(file, goodness_scale=1e308, weight=-1e308)
        for i in range(3):
            name = f"node/nodes/affine{i}/weight"
            replaced(name, np.where(np.arange(file[name].shape[1]) % 2, 3e38, -3e38) * np.ones(file[name].shape))(file)
    predictor = SpikingPredictor(path, 20, margin)
    assert len(predictor.predict(rows_of(toy()[-1], 9))) == 9  # a warning is an error here


def test_a_foreign_nir_file_is_refused(tmp_path):
    nodes = {"a": nir.Input({"input": np.array([3])}), "b": nir.Output({"output": np.array([3])})}
    nir.write(tmp_path / "foreign.nir", nir.NIRGraph(nodes, [("a", "b")]))
    with pytest.raises(ModelError, match="it lacks ffedge's metadata"):
        read(tmp_path / "foreign.nir")


def test_a_file_that_is_not_there_is_one_line(tmp_path):
    with pytest.raises(ModelError, match=r"none.nir: no such file. Write one with `ffedge export --nir`$"):
        read(tmp_path / "none.nir")


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_a_damaged_file_is_read_or_refused_in_one_line(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("damaged")
    write(toy(widths=(4,))[0], folder / "a.nir")
    content = bytearray((folder / "a.nir").read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(content) - 1))
        content[at] ^= 1 << data.draw(st.integers(0, 7))
    (folder / "a.nir").write_bytes(content)
    assert len(outcome(folder / "a.nir").splitlines()) == 1


def outcome(path):
    """Return what becomes of a file: a word, or the line that refuses it."""
    try:
        read(path)
    except ModelError as error:
        return str(error)
    return "read"
