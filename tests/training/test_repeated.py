"""Batches as repeated work: what CUDA's graph of a step may and may not hold, tried by a tape that plays it again."""

import numpy as np
import pytest
from toys import GROUPS, READOUT, clusters, conv_spec, make_loop, pictures, prepared, random_layers, small_spec

from ffedge.data.stream import Chunk
from ffedge.engine.base import on_host
from ffedge.training.checkpoint import Place
from ffedge.training.step import BatchLearner, Turn
from ffedge.training.watch import Journal

pytestmark = pytest.mark.torch
FIRST = 3  # batches before the recording
ALIKE = {"engine": "torch", "optimizer": "adam", "epochs": 3}


@pytest.fixture
def taped(monkeypatch):
    """Have every piece of repeated work recorded after its first runs, and played from then on; return the tapes."""
    from tape import Tape

    import ffedge.training.repeated as module

    tapes = []

    class Taped(module.Repeated):
        def __call__(self):
            self._runs += 1
            if self._runs <= FIRST:
                return self._work()
            if self._runs == FIRST + 1:
                tapes.append(Tape())
                with tapes[-1]:
                    self._made = self._work()
                self._tape = tapes[-1]
            else:
                self._tape.play()
                self._tape.played = getattr(self._tape, "played", 0) + 1
            return self._made

    monkeypatch.setattr(module, "Repeated", Taped)
    return tapes


def learnt(spec, data, repeats, on_device=False):
    """Train, at rates that are numbers of 32 bits as in a tensor; return the loop and its journal's records."""
    from ffedge.training.device_rows import DeviceRows
    from ffedge.training.repeated import RepeatedBatches

    recipe, facts = prepared(spec.with_train(**ALIKE), data)
    journal = Journal()
    loop = make_loop(recipe, data, journal=journal, facts=facts)
    rate = loop._rate
    loop._rate = lambda *where: float(np.float32(rate(*where)))
    loop.learner = (RepeatedBatches if repeats else BatchLearner)(recipe, loop.engine, facts.n_classes)
    if on_device:
        rows = DeviceRows(data.train.inputs, loop.engine.device)
        object.__setattr__(loop._stream, "on_device", rows.take)
    loop.train(Place(), lambda: False)
    return loop, journal.records


def assert_alike(ours, theirs):
    """Compare two trainings: the weights are the same bits; sums of a device have 32."""
    for a, b in zip(ours[0].engine.state(), theirs[0].engine.state(), strict=True):
        assert a.keys() == b.keys()
        for name in a:
            np.testing.assert_array_equal(a[name], b[name], err_msg=name)
    for a, b in zip(ours[1], theirs[1], strict=True):
        for name in ("loss", "goodness_positive", "goodness_negative"):
            assert getattr(a, name) == pytest.approx(getattr(b, name), rel=1e-4), name


DENSE = clusters(rows=165)
SPECS = {
    "tried": (small_spec(variant="ff"), DENSE),
    "collaborating": (small_spec(theta_placement="per_layer"), DENSE),
    "fixed labels": (small_spec(negatives="fixed", variant="fcff"), DENSE),
    "hard labels": (small_spec(negatives="hard", n_negatives=2, variant="ff"), DENSE),
    "gamma by adam": (small_spec(gamma_optimizer="adam", schedule="interleaved"), DENSE),
    "dropout": (small_spec(**GROUPS, input_dropout=0.3), DENSE),
    "weighted classes": (small_spec(**GROUPS, class_weight="balanced"), DENSE),
    "spikes": (small_spec(norm="fixed", sparsity=0.1, schedule="interleaved"), DENSE),
    "logistic": (small_spec(**{**READOUT, "loss": "logistic"}, schedule="interleaved"), DENSE),
    "symmetric": (small_spec(**{**GROUPS, "loss": "symmetric"}, norm="layer", skip="add"), DENSE),
    "pictures": (conv_spec(class_goodness="top-groups", schedule="interleaved", similarity=2.0), pictures(rows=125)),
    "in chunks": (small_spec(**GROUPS, chunk_size=6, schedule="interleaved"), DENSE),
    "hard labels in chunks": (small_spec(negatives="hard", chunk_size=5, variant="ff"), DENSE),
    "pictures in chunks": (conv_spec(chunk_size=10), pictures(rows=125)),
    "pictures that move": (conv_spec(shift=1, mirror=0.5, schedule="interleaved"), pictures(rows=125)),
}


@pytest.mark.parametrize(("spec", "data"), SPECS.values(), ids=SPECS)
def test_what_is_played_again_learns_as_what_is_run(spec, data, taped):
    ours, theirs = learnt(spec, data, True), learnt(spec, data, False)
    assert len(taped) == len(ours[0].stages)
    assert all(tape.played >= 5 for tape in taped)
    assert_alike(ours, theirs)


def test_batches_of_half_precision_are_repeated_too(taped):
    spec, data = SPECS["pictures"]
    spec = spec.with_train(engine="torch", precision="bfloat16")
    assert_alike(learnt(spec, data, True), learnt(spec, data, False))
    assert taped


@pytest.mark.parametrize(
    "spec",
    [
        small_spec(negatives="hard-sum", n_negatives=2),
        small_spec(widths=(9,), variant="acff"),
        small_spec(**GROUPS, batch_size=165),
    ],
    ids=["labels drawn by all layers", "a layer that listens to none", "one batch"],
)
def test_other_batches_run_as_elsewhere(spec, taped):
    ours, theirs = learnt(spec, DENSE, True), learnt(spec, DENSE, False)
    assert not taped
    assert_alike(ours, theirs)


def test_a_place_in_a_run_is_taken_up_where_it_was(taped):
    """The optimiser's count of steps stands in a tensor that the first batch after a stop makes."""
    spec = small_spec(**GROUPS, schedule="interleaved")
    whole = learnt(spec, DENSE, True)
    recipe, facts = whole[0].recipe, prepared(spec, DENSE)[1]
    states, places = [], []

    class Kept(Journal):
        def checkpoint(self, state, place):
            states.append([{n: a.copy() for n, a in layer.items()} for layer in state])
            places.append(place)

    half = make_loop(recipe, DENSE, journal=Kept(), facts=facts)
    half.train(Place(), lambda: False)
    at = next(i for i, place in enumerate(places) if place.epoch == 1)
    from ffedge.training.repeated import RepeatedBatches
    from ffedge.training.train import make_engine

    rest = make_loop(recipe, DENSE, make_engine(recipe, facts, states[at]), facts=facts)
    rest.learner = RepeatedBatches(recipe, rest.engine, facts.n_classes)
    rest.train(places[at], lambda: False)
    for a, b in zip(rest.engine.state(), whole[0].engine.state(), strict=True):
        np.testing.assert_allclose(a["W"], b["W"], rtol=1e-4, atol=3e-6)


@pytest.mark.parametrize("name", ["hard labels", "dropout", "pictures", "pictures that move"])
def test_rows_that_the_device_holds_are_the_same_rows(name, taped):
    spec, data = SPECS[name]
    ours, theirs = learnt(spec, data, True, on_device=True), learnt(spec, data, True)
    for a, b in zip(ours[0].engine.state(), theirs[0].engine.state(), strict=True):
        np.testing.assert_array_equal(a["W"], b["W"])


@pytest.mark.parametrize("name", ["tried", "hard labels", "spikes", "weighted classes", "pictures"])
def test_a_step_takes_nothing_from_the_host(name, monkeypatch):
    """On torch's device "meta": all that its operations read lies there, but for numbers of the code."""
    import torch
    from tape import Tape, tree_leaves

    import ffedge.engine.torch as engines
    from ffedge.training.repeated import RepeatedBatches

    class Plain(torch.optim.Optimizer):
        """Takes its rate from a tensor, as torch's fused Adam does, which "meta" has not."""

        @torch.no_grad()
        def step(self):
            for group in self.param_groups:
                for parameter in group["params"]:
                    parameter.sub_(group["lr"] * parameter.grad)

    monkeypatch.setattr(engines, "_device", torch.device)
    monkeypatch.setattr(engines, "AdamW", lambda groups, **more: Plain(groups, {"lr": 1.0}))
    spec, data = SPECS[name]
    recipe, facts = prepared(spec.with_train(**ALIKE, chunk_size=16, batch_size=16), data)
    engine = engines.TorchEngine(recipe.with_train(device="meta"), facts, random_layers(recipe, facts))
    run, layers = RepeatedBatches(recipe, engine, facts.n_classes), list(range(len(engine.layers)))
    engine.begin(layers, chunked=False)
    at = np.arange(16)
    weights = np.ones(16, np.float32) if name == "weighted classes" else None
    chunk = Chunk(data.train.inputs.take(at).reshape(16, -1), data.train.labels[at], at, None, weights)
    steps = [[1, 2, 3][: recipe.train.n_negatives]]
    wrong = None if name == "hard labels" else lambda chunk: (chunk.labels[:, None] + steps) % 4
    turn = Turn(layers, wrong, lambda: np.random.default_rng(0), 0, dict.fromkeys(layers, 0.01))
    run.batch([chunk], 16, turn)
    (batch,) = run._batches.values()
    with Tape() as tape:
        batch.step()
    assert len(tape.operations) > 50
    for function, args, kwargs, _ in tape.operations:
        for value in tree_leaves((args, kwargs)):
            assert not isinstance(value, torch.Tensor) or value.device.type == "meta", function


def test_the_tape_sees_a_number_that_stands_still():
    """Else the tests above could not fail."""
    import torch
    from tape import Tape

    numbers, x = iter([1.0, 2.0]), torch.zeros(1)
    with Tape() as tape:
        made = x + next(numbers)
    x.fill_(5.0)
    tape.play()
    assert made.item() == 6.0
    with pytest.raises(AssertionError, match="asks the device for a number"), Tape():
        float(x)


def test_sums_of_a_device_are_those_of_the_host():
    import torch

    from ffedge.engine.base import summed

    goodness = np.random.default_rng(0).normal(size=(7, 4)).astype(np.float32)
    sums = on_host(summed(torch.tensor(3.5), torch.tensor(goodness)))
    np.testing.assert_allclose(sums, [3.5, goodness[:, 0].sum(), goodness[:, 1:].mean(1).sum()], rtol=1e-5)


def test_cuda_takes_a_step_as_a_graph():
    import torch

    if not torch.cuda.is_available():
        pytest.skip("there is no CUDA device here")
    spec, data = SPECS["pictures"]
    spec = spec.with_train(engine="torch", device="cuda")
    ours = learnt(spec, data, True)
    (batch,) = ours[0].learner._batches.values()
    assert batch.step._graph is not None
    assert_alike(ours, learnt(spec, data, False))
