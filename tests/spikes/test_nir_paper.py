"""The NIR paper's single LIF neuron (neuromorphs/NIR, paper/01_lif) in ffedge's simulator, by its published numbers.

Its graph is an Affine of weight 1 and a LIF of r = 1, tau = 2.5 ms, v_threshold = 0.1, in timesteps of 0.1 ms. ffedge's
files have r = tau / dt, so that the same neuron has a weight of dt / tau.
"""

import dataclasses
import math

import numpy as np
import pytest
from spiking_toys import toy
from toys import GROUPS

from ffedge.network import InputFacts
from ffedge.spikes import read
from ffedge.spikes.network import SpikingLayer
from ffedge.spikes.nir_file import write
from ffedge.spikes.simulate import Run

TAU_S, STEP_S, THRESHOLD = 0.0025, 0.0001, 0.1
# an input pulse of one timestep at each of these; all ends after 1000
PULSES = [60, 220, 270, 310, 320, 350, 370, 400, 410, *range(430, 540, 10), *range(670, 790, 10), 840, 850]
NORSE_SPIKES = [460, 510, 710, 760]  # snnTorch's, too
NORSE = {  # lif_norse.csv: potential after a timestep; snnTorch's file has the same to 2e-8
    **{60: 0.04, 61: 0.038399998, 219: 6.069961e-05, 220: 0.04005827, 270: 0.045202997, 310: 0.048831135},
    **{320: 0.072464526, 350: 0.061294258, 370: 0.06709221, 400: 0.059715554, 410: 0.07970084, 430: 0.07522796},
    **{440: 0.090013996, 450: 0.09984423, 459: 0.06914552, 460: 0.0, 470: 0.04, 480: 0.066593304, 500: 0.09602771},
    **{669: 0.00022862932, 670: 0.040219482, 700: 0.09609221, 710: 0.0},
}
EXACT = {60: 3.921056170668949e-02, 61: 3.767309355733538e-02, 900: 9.416124742061714e-03, 999: 1.7950064625385097e-04}


def exact():
    """Solve the equation between pulses: potentials after each timestep, and the moments of the spikes in timesteps."""
    decay, v, potentials, spikes = math.exp(-STEP_S / TAU_S), 0.0, [], []
    for step in range(1000):
        i, left = float(step in PULSES), 1.0
        if v * decay + i * (1 - decay) > THRESHOLD:
            left = 1 + TAU_S / STEP_S * math.log((THRESHOLD - i) / (v - i))
            spikes.append(step + 1 - left)
            v = 0.0
        v = i + (v - i) * math.exp(-left * STEP_S / TAU_S)
        potentials.append(v)
    return np.array(potentials), spikes


@pytest.fixture
def run(tmp_path):
    """Write the neuron to a file, twice as a group needs one for each class, and begin to run what is read."""
    share = STEP_S / TAU_S
    W, b = np.full((2, 1), share, np.float32), np.zeros(2, np.float32)
    layer = SpikingLayer(W, b, THRESHOLD, 1 - share, units=2, goodness_scale=1.0, weight=1.0)
    network = toy(**GROUPS, reset="zero")[0]
    facts = InputFacts((1,), "float32", ("a", "b"))
    path = tmp_path / "lif.nir"
    write(dataclasses.replace(network, layers=(layer,), facts=facts), path)
    nir = pytest.importorskip("nir")
    node = nir.read(path).nodes["neuron0"]
    np.testing.assert_allclose(node.tau, TAU_S, rtol=1e-6)
    np.testing.assert_allclose(node.v_threshold, THRESHOLD, rtol=1e-6)
    np.testing.assert_allclose(node.r * W.ravel(), 1, rtol=1e-6)
    return Run(read(path), inputs=np.zeros((1, 1), np.float32))


def test_the_papers_neuron_does_what_its_simulators_did(run):
    layer, potentials, spikes = run.network.layers[0], [], []
    for step in range(1000):
        run._current = layer.current(np.full((1, 1), step in PULSES, np.float32))
        run.step()
        potentials.append(float(run._potentials[0][0, 0]))
        spikes += [step] * int(run.spikes[0][0, 0])
    assert spikes == NORSE_SPIKES
    found = np.array(potentials)
    np.testing.assert_allclose(found[list(NORSE)], list(NORSE.values()), atol=1e-6)
    solved, moments = exact()
    np.testing.assert_allclose(solved[list(EXACT)], list(EXACT.values()), rtol=1e-5)
    assert [int(moment) for moment in moments] == NORSE_SPIKES
    assert np.abs(found - solved).max() < 0.07 * THRESHOLD  # after a spike, which resets within its timestep
