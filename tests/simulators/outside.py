"""Runs a NIR file in simulators that others wrote, each by its own reader, and counts spikes.

A reader of NIR chooses what the format leaves open; so some choices are set here to what the file's metadata say:

- snnTorch 1.0 reads IF as a leaky neuron with beta 0.9: beta is set to 1. Its reset is a setting.
- Sinabs 3.1 lets a neuron spike several times in a timestep and holds its potential above minus the threshold: it
  is set to one spike and no floor. Its reset is a setting.
- Norse 1.1 has NIR's hard reset alone.
- SpikingJelly 2.0 is given dt = 1, so that r = 1 is what it wants. Its reset is a setting; at the threshold it spikes.

snnTorch and SpikingJelly have no SumPool2d.
"""

from string import ascii_letters as LETTERS
from string import digits as DIGITS

import nir
import torch

torch.set_num_threads(1)  # of small layers two threads would wait for each other


def snntorch_modules(path, reset):
    from snntorch.import_nir import import_from_nir

    network = import_from_nir(nir.read(path))
    for _, module in neurons(network):
        module.beta = torch.tensor(1.0)
        module.reset_mechanism = reset
    return network


def sinabs_modules(path, reset):
    import sinabs.activation
    import sinabs.nir

    network = sinabs.nir.from_nir(nir.read(path), batch_size=1)
    for _, module in neurons(network):
        module.min_v_mem, module.spike_fn = None, sinabs.activation.SingleSpike
        if reset == "zero":
            module.reset_fn = sinabs.activation.MembraneReset()
    return network


def norse_modules(path, reset):
    import norse.torch

    assert reset == "zero"
    return norse.torch.from_nir(nir.read(path))


def spikingjelly_modules(path, reset):
    from spikingjelly.activation_based.nir_exchange import import_from_nir

    network = import_from_nir(nir.read(path), dt=1.0)
    for module in network.modules():
        if reset == "subtract" and hasattr(module, "v_reset"):
            module.v_reset = None
    return network


def neurons(network):
    """Return the neurons of a network that a reader made, in their order."""
    found = [(name, module) for name, module in network.named_modules() if name.startswith("neuron")]
    return sorted((n, m) for n, m in found if "." not in n)


@torch.no_grad()
def counts(read, path, reset, inputs, timesteps):
    """Return the spikes of each layer [R, H + P] for constant inputs [R, D + C], module by module."""
    network = dict(read(path, reset).named_modules())
    places = {"flatten": 0, "affine": 1, "conv": 1, "neuron": 2, "pool": 3}  # in a layer, whose number stands behind
    named = [
        (int(name.lstrip(LETTERS)), places[kind], name) for name in network if (kind := name.rstrip(DIGITS)) in places
    ]
    chain = [name for *_, name in sorted(named)]
    given = torch.from_numpy(inputs)
    totals, states = {}, {}
    for _ in range(timesteps):
        value = given
        for name in chain:
            module = network[name]
            if not name.startswith("neuron"):
                value = module(value)
                continue
            value, states[name] = stepped(module, value, states.get(name))
            totals[name] = totals.get(name, 0) + value.flatten(1)
    return [totals[name].numpy() for name in sorted(totals)]


def stepped(module, value, state):
    """Run one timestep of a simulator's neurons; return spikes and state."""
    kind = type(module).__module__.partition(".")[0]
    if kind == "sinabs":  # it keeps its state, and takes rows of a batch in turn
        if state is None:
            module.reset_states()
            module.batch_size, module.num_timesteps = len(value), 1
        return module(value), True
    if kind == "snntorch":
        return module(value, torch.zeros_like(value) if state is None else state)
    return module(value, state)
