"""Runs a NIR file in Spyx 1.0 (JAX), by its own reader, and counts spikes.

Its IF subtracts the threshold, whatever the file says, and shows a spike in the timestep after: so each layer is given
one more timestep, and the first one is left out of what it gives to the next.
"""

from functools import cache

import jax.numpy as jnp
import nir
import numpy as np
from flax import nnx
from spyx.nir import from_nir
from spyx.nn import Sequential, run


@cache
def layers(path, size):
    """Return the layers that Spyx reads, each a map and its neurons."""
    network, _ = from_nir(nir.read(path), jnp.zeros((1, 1, size)), dt=1)
    return [Sequential(*pair) for pair in zip(network.layers[::2], network.layers[1::2], strict=True)]


@nnx.jit
def spikes(layer, given):
    return run(layer, given)[0]


def counts(path, inputs, timesteps):
    """Return the spikes of each layer [R, H + P] for constant inputs [R, D + C], a map and its neurons at a time."""
    given, totals = np.broadcast_to(inputs, (timesteps, *inputs.shape)), []
    for layer in layers(path, inputs.shape[1]):
        found = spikes(layer, jnp.asarray(np.concatenate([given, given[-1:]])))
        given = np.asarray(found)[1:]
        totals.append(given.sum(axis=0))
    return totals
