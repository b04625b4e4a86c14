"""Runs a NIR file in Rockpool 3.1 (torch), by its own reader, and counts spikes.

It reads neurons with a leak and a synapse (CubaLIF) alone. They are set to one spike a timestep and to the file's dt;
the reset subtracts, and at the threshold they spike. A call runs all timesteps of a layer.
"""

from pathlib import Path

import numpy as np
import torch
from rockpool.nn.modules.torch.nir import from_nir

torch.set_num_threads(1)


@torch.no_grad()
def counts(path, inputs, timesteps):
    """Return the spikes of each layer [R, H + P] for constant inputs [R, D + C], a map and its neurons at a time."""
    network = dict(from_nir(Path(path)).named_modules())
    given, totals = torch.from_numpy(np.repeat(inputs[:, None], timesteps, axis=1)), []
    for number in range(sum(name.startswith("affine") for name in network)):
        neurons = network[f"neuron{number}"]
        neurons.max_spikes_per_dt, neurons.dt = torch.tensor(1.0), 1e-4
        given = neurons(network[f"affine{number}"](given))
        totals.append(given.sum(dim=1).numpy())
    return totals
