"""Small spiking networks, and a neuron-by-neuron oracle that shares no code with ffedge."""

from functools import cache

import numpy as np
from toys import clusters, prepared, random_layers, small_spec

from ffedge.spikes.convert import convert

FORM = {"norm": "fixed", "bound": 2.0, "widths": (12, 10, 8)}


def rows_of(data, count):
    return data.train.inputs.take(np.arange(count))


@cache
def toy(timesteps=40, reset="subtract", leak_steps=None, **changes):
    """Return the spiking network of drawn weights, and the recipe, facts, layers and data that it comes from."""
    data = clusters(inputs=20, uint8=True, border=True) if changes.pop("bytes", False) else clusters()
    recipe, facts = prepared(small_spec(**(FORM | changes)), data)
    layers = random_layers(recipe, facts)
    raw = rows_of(data, 24)
    network = convert(recipe, facts, layers, raw, timesteps=timesteps, reset=reset, leak_steps=leak_steps, data="mnist")
    return network, recipe, facts, layers, data


def counted(network, sample, label, timesteps):
    """Return how often each neuron of each layer spikes, one neuron and one timestep at a time, in float64."""
    start = network.facts.size - network.inputs
    offset, scale = (np.broadcast_to(v, network.facts.size) for v in (network.facts.offset, network.facts.scale))
    x = [(float(sample[i]) - offset[i]) * scale[i] for i in range(start, network.facts.size)]
    x += [float(c == label) for c in range(network.layers[0].W.shape[1] - len(x))]
    potentials = [[0.0] * len(layer.b) for layer in network.layers]
    counts = [[0] * len(layer.b) for layer in network.layers]
    for _ in range(timesteps):
        given = x
        for k, layer in enumerate(network.layers):
            spikes = []
            for j in range(len(layer.b)):
                v = layer.decay * potentials[k][j] + float(np.dot(layer.W[j].astype(float), given)) + float(layer.b[j])
                fired = v > layer.threshold
                if fired:
                    v = v - layer.threshold if network.reset == "subtract" else 0.0
                potentials[k][j] = v
                counts[k][j] += fired
                spikes.append(float(fired))
            given = spikes
    return counts
