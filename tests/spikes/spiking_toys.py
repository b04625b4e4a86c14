"""Small spiking networks, and a neuron-by-neuron oracle that shares no code with ffedge."""

from functools import cache

import numpy as np
from toys import clusters, conv_spec, pictures, prepared, random_layers, small_spec

from ffedge.spikes.convert import convert

FORM = {"norm": "fixed", "bound": 2.0, "widths": (12, 10, 8)}
PICTURES = {"widths": ("8c3a2", "8c3s2", 9), "class_goodness": "groups"}


def rows_of(data, count):
    return data.train.inputs.take(np.arange(count))


@cache
def toy(timesteps=40, reset="subtract", leak_steps=None, current_based=False, **changes):
    """Return the spiking network of drawn weights, and the recipe, facts, layers and data that it comes from."""
    if changes.pop("pictures", False):
        data, spec = pictures(), conv_spec(**(FORM | PICTURES | changes))
    else:
        data = clusters(inputs=20, uint8=True, border=True) if changes.pop("bytes", False) else clusters()
        spec = small_spec(**(FORM | changes))
    recipe, facts = prepared(spec, data)
    layers = random_layers(recipe, facts)
    raw = rows_of(data, 24)
    kind = {"reset": reset, "leak_steps": leak_steps, "current_based": current_based}
    network = convert(recipe, facts, layers, raw, timesteps=timesteps, data="mnist", **kind)
    return network, recipe, facts, layers, data


def counted(network, sample, label, timesteps):
    """Return how often each neuron of each layer spikes, one neuron and one timestep at a time, in float64."""
    start = network.facts.size - network.inputs
    offset, scale = (np.broadcast_to(v, network.facts.size) for v in (network.facts.offset, network.facts.scale))
    x = [(float(sample[i]) - offset[i]) * scale[i] for i in range(start, network.facts.size)]
    x += [float(c == label) for c in range(network.layers[0].W.shape[1] - len(x))]
    if network.layout == "hwc":
        height, width, channels = network.facts.shape
        x = [x[(y * width + z) * channels + c] for c in range(channels) for y in range(height) for z in range(width)]
    maps = [as_matrix(layer) for layer in network.layers]
    potentials = [[0.0] * len(b) for _, b in maps]
    counts = [[0] * len(b) for _, b in maps]
    synapses = [[0.0] * len(b) for _, b in maps]
    for _ in range(timesteps):
        given = x
        for k, (layer, (W, b)) in enumerate(zip(network.layers, maps, strict=True)):
            spikes = []
            for j in range(len(b)):
                drive = float(np.dot(W[j], given)) + float(b[j])
                if layer.current_based:
                    drive = synapses[k][j] = 0.5 * synapses[k][j] + 0.5 * drive
                v = layer.decay * potentials[k][j] + drive
                fired = v > layer.threshold
                if fired:
                    v = v - layer.threshold if network.reset == "subtract" else 0.0
                potentials[k][j] = v
                counts[k][j] += fired
                spikes.append(float(fired))
            given = spikes if layer.convolution is None else squares(layer, spikes)
    return counts


def as_matrix(layer):
    """Return what drives each neuron, synapse by synapse: [H, D] and [H]."""
    if layer.convolution is None:
        return layer.W.astype(float), layer.b
    outputs, inputs, size, _ = layer.W.shape
    _, height, width = layer.convolution.picture
    rows, columns = -(-height // layer.convolution.stride), -(-width // layer.convolution.stride)
    W = np.zeros((outputs, rows, columns, inputs, height, width))
    for row, column, i, j in np.ndindex(rows, columns, size, size):
        y = row * layer.convolution.stride + i - size // 2
        x = column * layer.convolution.stride + j - size // 2
        if 0 <= y < height and 0 <= x < width:
            W[:, row, column, :, y, x] = layer.W[:, :, i, j]
    return W.reshape(outputs * rows * columns, -1), np.repeat(layer.b, rows * columns)


def squares(layer, spikes):
    """Return the spikes summed over each square."""
    pool, (channels, height, width) = layer.convolution.pool, layer.shape
    each = np.reshape(spikes, (channels, height, width))
    places = np.ndindex(channels, height // pool, width // pool)
    return [float(each[c, y * pool : (y + 1) * pool, x * pool : (x + 1) * pool].sum()) for c, y, x in places]
