"""The same NIR file in simulators that others wrote: the same labels and spike counts as in ffedge's own.

They come with the extras `simulators` (snnTorch, Sinabs, Norse, Rockpool), `spikingjelly` and `spyx`, which do not go
together; CI has an environment for each.
"""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

from ffedge import Spec, load, train
from ffedge.spikes import read
from ffedge.spikes.export import export_nir
from ffedge.spikes.simulate import Run

if importlib.util.find_spec("nir") is None:
    pytest.skip("needs nir: ffedge[simulators]", allow_module_level=True)
SIMULATORS = [
    pytest.param(name, marks=pytest.mark.skipif(not importlib.util.find_spec(name), reason=f"needs {name}"))
    for name in ("snntorch", "sinabs", "norse", "spikingjelly", "spyx")
]
ROCKPOOL = importlib.util.find_spec("rockpool")
if all(param.marks[0].args[0] for param in SIMULATORS) and not ROCKPOOL:
    pytest.skip("needs a simulator: ffedge[simulators], ffedge[spikingjelly] or ffedge[spyx]", allow_module_level=True)
sys.path.insert(0, str(Path(__file__).parent))

IMAGES, BLOCK, TIMESTEPS, LEAK = 300, 50, 64, 256
CANNOT = {  # resets, and whether pictures
    "norse": "Norse resets to 0 alone",
    "spyx": "Spyx subtracts alone",
    "pictures": "it has no SumPool2d, or reads channels last",
}
EXACT = ("norse", "spikingjelly", "spyx")  # spike for spike, but where a potential meets the threshold in float32
pytestmark = pytest.mark.filterwarnings("ignore")  # of the simulators' own


NETWORKS = {
    "tried": {"widths": (128, 64), "class_goodness": "tried"},
    "groups": {"widths": (128, 64), "class_goodness": "groups"},
    "convolutions": {"widths": ("10c3s2a2", "20c3", 30)},
}


@pytest.fixture(scope="module", params=NETWORKS)
def run(request, tmp_path_factory):
    """Train on the embedded digits."""
    spec = Spec.make("spiking", epochs=6, **NETWORKS[request.param])
    return train(spec, "mnist-mini", tmp_path_factory.mktemp(request.param) / "digits").path


@pytest.fixture(scope="module", params=["subtract", "zero"])
def ours(request, run, tmp_path_factory):
    """Export with a reset, and run all images in ffedge's simulator; return path, network, counts of each block."""
    path = tmp_path_factory.mktemp("nir") / f"{request.param}.nir"
    export_nir(run, path, timesteps=TIMESTEPS, reset=request.param)
    network = read(path)
    return path, network, blocks_of(network)


def blocks_of(network):
    """Return images, in blocks, and the counts of ffedge's simulator for each."""
    images, blocks = load("mnist-mini").test.inputs.take(np.arange(IMAGES)), []
    for start in range(0, IMAGES, BLOCK):
        raw = images[start : start + BLOCK]
        state = Run(network, raw)
        for _ in range(TIMESTEPS):
            state.step()
        blocks.append((raw, state.counts))
    return blocks


def grouped(squares, layer, classes):
    """Return the squares of each class's group: of units, or of channels."""
    channels = len(layer.b)
    apart = squares.reshape(len(squares), channels, -1)
    return [group.reshape(len(squares), -1) for group in np.array_split(apart, classes, axis=1)]


def scores(network, counts):
    total = 0.0
    for layer, spikes in zip(network.layers, counts, strict=True):
        squares, classes = (spikes[:, : layer.units].astype(float) / TIMESTEPS) ** 2, network.facts.n_classes
        groups = [squares] if network.label_mode != "none" else grouped(squares, layer, classes)
        goodness = np.stack([group.mean(axis=1) for group in groups], axis=1).reshape(-1, classes)
        total = total + layer.weight * layer.goodness_scale * goodness
    return total


def labelled(network, raw):
    """Return the constant inputs [N * C, D + C] of samples with each label; [N, D] where none is tried, or pictures."""
    if network.convolves:
        return network.scaled(raw).reshape(-1, *network.layers[0].convolution.picture)
    if not network.tries_labels:
        return network.scaled(raw)
    classes = network.facts.n_classes
    x = np.repeat(network.scaled(raw), classes, axis=0)
    return np.concatenate([x, np.tile(np.eye(classes, dtype=np.float32), (len(raw), 1))], axis=1)


def counted(simulator, path, network, raw):
    """Return a simulator's spikes of each layer."""
    if simulator in ("spyx", "rockpool"):
        return importlib.import_module(f"outside_{simulator}").counts(path, labelled(network, raw), TIMESTEPS)
    import outside

    return outside.counts(
        getattr(outside, f"{simulator}_modules"), path, network.reset, labelled(network, raw), TIMESTEPS
    )


@pytest.mark.parametrize("simulator", SIMULATORS)
def test_a_simulator_gives_the_same_labels_but_for_ties_and_the_same_counts(simulator, ours):
    path, network, blocks = ours
    if (simulator, network.reset) in (("norse", "subtract"), ("spyx", "zero")):
        pytest.skip(CANNOT[simulator])
    if simulator in ("snntorch", "spikingjelly", "spyx") and network.convolves:
        pytest.skip(CANNOT["pictures"])
    compare(simulator, path, network, blocks)


@pytest.mark.skipif(not ROCKPOOL, reason="needs rockpool")
def test_neurons_that_leak_are_read_where_there_are_no_others(run, tmp_path):
    if "convolutions" in str(run):
        pytest.skip(CANNOT["pictures"])
    path = tmp_path / "leaky.nir"
    export_nir(run, path, timesteps=TIMESTEPS, leak=LEAK, current_based=True)
    network = read(path)
    compare("rockpool", path, network, blocks_of(network))


def compare(simulator, path, network, blocks):
    """Assert that a simulator counts what ffedge's did."""
    spikes, ties, apart, other = np.zeros((2, len(network.layers))), 0, 0, []
    for raw, counts in blocks:
        found = counted(simulator, path, network, raw)
        other += [(a != b).mean() for a, b in zip(counts, found, strict=True)]
        spikes += [[layer.sum() for layer in both] for both in (counts, found)]
        a, b = scores(network, counts), scores(network, found)
        best = np.sort(a, axis=1)
        tie = best[:, -1] - best[:, -2] < 0.001 * best[:, -1]
        apart += int(((a.argmax(1) != b.argmax(1)) & ~tie).sum())
        ties += int(tie.sum())
    if simulator in EXACT:
        assert np.mean(other) < 0.001
    assert apart == 0
    assert ties < 0.01 * IMAGES
    np.testing.assert_allclose(spikes[1], spikes[0], rtol=0.01)
    assert spikes.min() > IMAGES
