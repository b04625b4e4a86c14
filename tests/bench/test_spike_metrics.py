"""Metrics are what NeuroBench's own package says of the same layers, run the same way; and what loops count."""

import numpy as np
import pytest
from spike_metrics import (
    Operations,
    connection_sparsity,
    footprint,
    workload_of_mlp,
    workload_of_model,
    workload_of_spikes,
)
from spiking_toys import rows_of, toy

from ffedge.spikes.convert import forward
from ffedge.spikes.simulate import Run

rng = np.random.default_rng(0)
W1, W2 = rng.normal(size=(7, 12)) * (rng.random((7, 12)) > 0.4), rng.normal(size=(4, 7)) * (rng.random((4, 7)) > 0.2)
B1, B2 = rng.normal(size=7), rng.normal(size=4)
X = rng.normal(size=(9, 12)) * (rng.random((9, 12)) > 0.3)


def pairs(inputs, W):
    return sum(1 for row in inputs for h in range(len(W)) for d in range(len(row)) if row[d] != 0 and W[h, d] != 0)


def test_operations_are_pairs_that_are_not_zero():
    operations = Operations()
    operations.add(X, W1)
    assert (operations.effective_macs, operations.effective_acs, operations.dense) == (pairs(X, W1), 0, 9 * 84)
    spikes = (X > 0).astype(float)
    operations.add(spikes, W1)
    assert (operations.effective_macs, operations.effective_acs) == (pairs(X, W1), pairs(spikes, W1))


def test_spike_counts_give_what_each_timestep_gives():
    network, *_, data = toy(label_layers="all")
    raw, operations, every = rows_of(data, 5), Operations(), []
    run = Run(network, raw)
    for _ in range(20):
        run.step()
        every.append([spikes.copy() for spikes in run.spikes])
        for spikes, layer in zip(run.spikes, network.layers[1:], strict=False):
            operations.add(spikes, layer.W)
    found = workload_of_spikes(network, raw, run.counts, np.full(5, 20))
    label = np.tile(np.eye(4), (5, 1))
    first = network.layers[0].W
    shared = pairs(network.scaled(raw), first[:, : network.inputs])
    assert found.effective_macs == pytest.approx(shared / 5)
    assert found.effective_acs == pytest.approx(
        (operations.effective_acs + pairs(label, first[:, network.inputs :])) / 5
    )
    outputs = np.concatenate([spikes.ravel() for step in every for spikes in step])
    assert found.activation_sparsity == pytest.approx(1 - np.count_nonzero(outputs) / outputs.size)
    assert found.neuron_updates == outputs.size / 5


def test_a_models_operations_are_those_of_its_layers():
    network, recipe, facts, layers, data = toy(label_layers="all")
    raw = rows_of(data, 5)
    x, label = network.scaled(raw), np.tile(np.eye(4), (5, 1))
    found = workload_of_model(recipe, facts, layers, raw, x)
    y = forward(recipe, facts, layers, raw)
    macs = sum(pairs(inputs, layer["W"].T) for inputs, layer in zip([x, *y[:2]], layers, strict=True))
    assert found.effective_macs == pytest.approx(macs / 5)
    assert found.effective_acs == pytest.approx(sum(pairs(label, layer["V"].T) for layer in layers) / 5)
    zeros = np.concatenate([a.ravel() for a in y])
    assert found.activation_sparsity == pytest.approx((zeros == 0).mean())
    assert found.footprint_bytes == 4 * sum(layer[n].size for layer in layers for n in "WVb")


def test_neurobench_counts_the_same():
    """Its package also rounds the connection sparsity to 4 digits."""
    torch = pytest.importorskip("torch", reason="needs torch")
    for module in ("neurobench", "snntorch"):
        pytest.importorskip(module, reason=f"needs {module}")
    from neurobench.metrics.static import ConnectionSparsity, Footprint
    from neurobench.metrics.workload import ActivationSparsity, SynapticOperations
    from neurobench.models import TorchModel

    net = torch.nn.Sequential(torch.nn.Linear(12, 7), torch.nn.ReLU(), torch.nn.Linear(7, 4))
    with torch.no_grad():
        for layer, W, b in ((net[0], W1, B1), (net[2], W2, B2)):
            layer.weight.copy_(torch.from_numpy(W))
            layer.bias.copy_(torch.from_numpy(b))
    model = TorchModel(net)
    model.register_hooks()
    x = X.astype(np.float32)
    with torch.no_grad():
        logits = model(torch.from_numpy(x))
    weights = [W.astype(np.float32) for W in (W1, W2)]
    found, labels = workload_of_mlp(weights, [b.astype(np.float32) for b in (B1, B2)], x)
    operations = SynapticOperations()(model, logits, (torch.from_numpy(x), None))
    assert labels.tolist() == logits.argmax(1).tolist()
    assert found.effective_macs == pytest.approx(operations["Effective_MACs"])
    assert found.effective_acs == operations["Effective_ACs"] == 0
    assert found.dense == pytest.approx(operations["Dense"])
    assert found.activation_sparsity == pytest.approx(ActivationSparsity()(model, logits, None))
    assert round(connection_sparsity(weights), 4) == pytest.approx(ConnectionSparsity()(model), abs=1e-4)
    assert footprint([*weights, np.zeros(11, np.float32)]) == Footprint()(model)
    model.reset_hooks()
    spikes = torch.from_numpy((X > 0).astype(np.float32))
    with torch.no_grad():
        net[0](spikes)
    ours = Operations()
    ours.add(spikes.numpy(), weights[0])
    assert ours.effective_acs / 9 == pytest.approx(SynapticOperations()(model, None, (spikes, None))["Effective_ACs"])


def test_neurobench_counts_the_same_of_spikes():
    """It runs the network in snnTorch: a row for each label, and the first layer's product in every timestep."""
    torch = pytest.importorskip("torch", reason="needs torch")
    for module in ("neurobench", "snntorch"):
        pytest.importorskip(module, reason=f"needs {module}")
    import snntorch
    from neurobench.metrics.workload import ActivationSparsity, SynapticOperations
    from neurobench.models import TorchModel

    network, *_, data = toy(label_layers="all")
    raw, steps, classes = rows_of(data, 5), 20, 4
    modules = []
    for layer in network.layers:
        linear = torch.nn.Linear(*reversed(layer.W.shape))
        linear.weight.data, linear.bias.data = torch.from_numpy(layer.W), torch.from_numpy(layer.b)
        modules += [linear, snntorch.Leaky(beta=1.0, threshold=layer.threshold, init_hidden=True)]
    net = torch.nn.Sequential(*modules)
    model = TorchModel(net)
    model.add_activation_module(snntorch.SpikingNeuron)
    model.register_hooks()
    inputs = np.hstack([np.repeat(network.scaled(raw), classes, axis=0), np.tile(np.eye(classes), (5, 1))])
    run = Run(network, raw)
    with torch.no_grad():
        for _ in range(steps):
            net(torch.from_numpy(inputs.astype(np.float32)))
            run.step()
    found = workload_of_spikes(network, raw, run.counts, np.full(5, steps))
    theirs = SynapticOperations()(model, None, (torch.empty(5, 1), None))
    label = pairs(np.tile(np.eye(classes), (5, 1)), network.layers[0].W[:, network.inputs :])
    assert found.effective_acs - label / 5 == pytest.approx(theirs["Effective_ACs"], rel=0.001)
    assert found.effective_macs > 0
    assert theirs["Effective_MACs"] == pytest.approx(steps * (classes * found.effective_macs + label / 5))
    assert found.activation_sparsity == pytest.approx(ActivationSparsity()(model, None, None), abs=0.001)
