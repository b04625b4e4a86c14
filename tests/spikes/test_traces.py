"""Traces beside a NIR file: others read them by the package nir, and what does not agree is told."""

import h5py
import nir
import numpy as np
import pytest
from spiking_toys import counted, rows_of, toy

from ffedge.errors import ModelError
from ffedge.spikes.nir_file import write
from ffedge.spikes.traces import check_traces, read_traces, traced, write_traces

if not hasattr(nir, "write_data"):
    pytest.skip("traces need nir 1.0.8 or newer", allow_module_level=True)
GROUPS = {"class_goodness": "groups", "label_mode": "none", "n_negatives": 3}
TIMESTEPS = 30


@pytest.fixture
def place(tmp_path):
    """Write a network and the traces of three samples."""
    network, *_, data = toy()
    write(network, tmp_path / "a.nir")
    write_traces(traced(network, rows_of(data, 3), TIMESTEPS), tmp_path / "a.traces.nir")
    return network, data, tmp_path


def test_nir_reads_them_and_finds_them_to_be_of_the_graph(place):
    network, data, folder = place
    found = nir.read_data(folder / "a.traces.nir")
    found.check_nodes(nir.read(folder / "a.nir"))
    assert set(found.nodes) == {"input", "neuron0", "neuron1", "neuron2"}
    current = found.nodes["input"].observables["current"]
    rows, classes = rows_of(data, 3), network.facts.n_classes
    assert (current.shape, current.dt) == ((3 * classes, TIMESTEPS, network.inputs + classes), 0.0001)
    np.testing.assert_array_equal(current.data[:, 0], current.data[:, -1])
    np.testing.assert_array_equal(current.data[:, 0, -classes:].argmax(axis=1), np.tile(np.arange(classes), 3))
    for row in (0, classes + 1):
        told = [found.nodes[f"neuron{i}"].observables["spikes"].data[row].sum(axis=0).tolist() for i in range(3)]
        assert told == counted(network, rows[row // classes], row % classes, TIMESTEPS)


@pytest.mark.parametrize("kind", [{}, GROUPS, {"pictures": True}, {"leak_steps": 40, "reset": "zero"}])
def test_what_was_written_agrees_with_what_is_run(tmp_path, kind):
    network, *_, data = toy(**kind)
    write_traces(traced(network, rows_of(data, 2), TIMESTEPS), tmp_path / "t.nir")
    checks = check_traces(network, read_traces(tmp_path / "t.nir"))
    assert len(checks) == len(network.layers)
    assert all(check.agrees and check.told == check.found > 0 and check.differ == 0 for check in checks)


def test_another_networks_traces_do_not_agree(place):
    network, data, _ = place
    other, *_ = toy(reset="zero")
    checks = check_traces(other, traced(network, rows_of(data, 3), TIMESTEPS))
    assert not all(check.agrees for check in checks)
    assert sum(check.differ for check in checks) > 0
    wider, *_ = toy(widths=(13, 10, 8))
    with pytest.raises(ValueError, match=r"the traces have 12 neurons of neuron0, but the network 13"):
        check_traces(wider, traced(network, rows_of(data, 1), TIMESTEPS))
    pictures, *_ = toy(pictures=True)
    with pytest.raises(ValueError, match=r"the traces have 16 inputs, but the network \d+"):
        check_traces(pictures, traced(network, rows_of(data, 1), TIMESTEPS))


def changed(place, change):
    path = place[2] / "a.traces.nir"
    with h5py.File(path, "r+") as file:
        change(file)
    return path


def replaced(name, values):
    def change(file):
        group = file[f"nodes/{name}"]
        dt = group.attrs
        del group["data"]
        group.create_dataset("data", data=values)
        assert dt["__type__"] == "TimeGriddedData"

    return change


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda f: f.attrs.modify("__type__", "else"), "it is no NIRGraphData"),
        (lambda f: f.pop("nodes/input"), "input"),
        (
            lambda f: f["nodes/neuron0/observables/spikes"].attrs.modify("__type__", "EventData"),
            "must be TimeGriddedData",
        ),
        (replaced("neuron1/observables/spikes", np.zeros((2, 3, 4), bool)), "as many rows and timesteps as input"),
        (replaced("neuron1/observables/spikes", np.zeros((3, 4), bool)), "must be rows, timesteps, values"),
        (
            replaced("input/observables/current", np.arange(12 * 30 * 20, dtype="f4").reshape(12, 30, 20)),
            "the same in all timesteps",
        ),
    ],
)
def test_a_file_that_holds_no_traces_is_one_line(place, change, says):
    path = changed(place, change)
    with pytest.raises(ModelError, match=r"a.traces.nir: holds no traces \(.*\). Pass a file of") as caught:
        read_traces(path)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_huge_claim_is_refused_and_no_file_is_one_line(place):
    network, data, folder = place
    with h5py.File(folder / "huge.nir", "w") as file:
        file.attrs["__type__"] = "NIRGraphData"
        group = file.create_group("nodes/input/observables/current")
        group.attrs["__type__"] = "TimeGriddedData"
        group.create_dataset("data", (1 << 20, 1 << 10, 1 << 10), "f4", chunks=(1, 1, 1024))
    with pytest.raises(ModelError, match="at most 256 MiB"):
        read_traces(folder / "huge.nir")
    with pytest.raises(ModelError, match=r"nowhere.nir: holds no traces"):
        read_traces(folder / "nowhere.nir")
    (folder / "torn.nir").write_bytes((folder / "a.traces.nir").read_bytes()[:3000])
    with pytest.raises(ModelError, match=r"torn.nir: holds no traces"):
        read_traces(folder / "torn.nir")
    with pytest.raises(ValueError, match=r"`traces` of 24 samples take .* MiB, more than 256"):
        traced(network, rows_of(data, 24), 1 << 16)
