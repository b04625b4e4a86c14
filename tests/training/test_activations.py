"""Kept activities: the same learning but for rounding, one pass of each layer's rows through it, and resuming."""

import errno
import os
from itertools import product

import numpy as np
import pytest
from toys import GROUPS, READOUT, clusters, make_engine, make_loop, pictures, prepared, small_spec

from ffedge.errors import FfedgeError, StoppedError
from ffedge.model.file import Model
from ffedge.predict.predictor import Predictor
from ffedge.spec import Spec
from ffedge.training.checkpoint import Place
from ffedge.training.layer_cache import cache_bytes, widened
from ffedge.training.train import plan, train
from ffedge.training.watch import Watcher

DATA = clusters(rows=200, noise=0.5, test_rows=80)
ENGINES = ["onnx", pytest.param("torch", marks=pytest.mark.torch)]
PICTURES = pictures()
KINDS = {"tried": {}, "groups": GROUPS, "groups, 1 wrong": {**GROUPS, "n_negatives": 1}, "readout": READOUT}


def spec_of(**changes):
    shared = {"scope": "previous", "epochs": 3, "holdout": 0.1, "negatives": "hard", "rate": (0.02,)}
    return small_spec(**({"widths": (24, 16, 12, 8)} | shared | changes))


SPEC = spec_of()


def cached(spec=SPEC, **changes):
    return spec.with_train(cache="activations", **changes)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("kind", "negatives"), list(product(KINDS, ["hard", "fresh", "fixed"])))
def test_learning_is_the_same_but_for_rounding(tmp_path, engine, kind, negatives):
    changes = {"engine": engine, "negatives": negatives, "epochs": 1}
    spec = spec_of(**KINDS[kind])
    one = train(spec.with_train(**changes), DATA, tmp_path / "one").report
    two = train(cached(spec, **changes), DATA, tmp_path / "two").report
    for a, b in zip(one.layers, two.layers, strict=True):
        assert b.loss == pytest.approx(a.loss, rel=0.02)
        assert b.gamma == pytest.approx(a.gamma, abs=0.01)
    assert two.test_accuracy == pytest.approx(one.test_accuracy, abs=0.05)
    assert one.layers[0].loss == two.layers[0].loss  # nothing is kept before the first layer has finished


class Counting:
    """Counts the passes through each layer."""

    def __init__(self, engine):
        self._engine, self.passes = engine, {}

    def __getattr__(self, name):
        return getattr(self._engine, name)

    def forward(self, layer, source, labels):
        self.passes[layer] = self.passes.get(layer, 0) + source.samples
        return self._engine.forward(layer, source, labels)


@pytest.mark.parametrize("cache", ["none", "activations"])
def test_a_layers_rows_run_through_it_once_and_not_for_each_batch(tmp_path, cache):
    recipe, facts = prepared(SPEC.with_train(cache=cache, epochs=20, holdout=0.0), DATA)
    engine = Counting(make_engine(recipe, facts))
    make_loop(recipe, DATA, engine, facts=facts).train(Place(), lambda: False)
    checked = 4 * 20 * 16  # rows on which each epoch of the four layers looks whether the network is sound
    through_second = engine.passes[1] - 3 * 20 * 16
    assert through_second == (200 if cache == "activations" else 2 * 20 * 200)
    assert engine.passes[0] <= (200 + 20 * 200 + checked if cache == "activations" else 10**9)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("kind", KINDS)
def test_a_stopped_run_goes_on_bit_for_bit(tmp_path, engine, kind):
    """What was kept is gone with the process, and made anew."""
    spec = cached(spec_of(**KINDS[kind]), engine=engine)
    whole = train(spec, DATA, tmp_path / "whole")
    count = iter(range(1000))
    with pytest.raises(StoppedError):
        train(spec, DATA, tmp_path / "parts", stop=lambda: next(count) == 80)  # of 144 batches: in the third layer
    parts = train(spec, DATA, tmp_path / "parts", resume=True)
    assert parts.model.read_bytes() == whole.model.read_bytes()


def test_a_disk_that_writes_a_part_at_a_time_keeps_all_and_one_that_fails_is_told(tmp_path, monkeypatch):
    whole, true = train(cached(), DATA, tmp_path / "whole"), os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda file, data, at: true(file, data[:1000], at))
    assert train(cached(), DATA, tmp_path / "parts").model.read_bytes() == whole.model.read_bytes()

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(FfedgeError, match=r"/run: cannot be written \(No space.*, or use `cache='none'`$"):
        train(cached(), DATA, tmp_path / "run")


def test_nothing_is_left_in_the_folder(tmp_path):
    run = train(cached(), DATA, tmp_path / "run")
    kept = {"model.onnx", "model.kept.safetensors", "report.json", "metrics.jsonl", "checkpoint"}
    assert {path.name for path in run.path.iterdir()} == kept


@pytest.mark.parametrize(
    ("changes", "remedy"),
    [
        ({"schedule": "interleaved"}, "`schedule='greedy'`"),
        ({"negatives": "hard-sum"}, "other `negatives` than hard-sum"),
    ],
)
def test_what_changes_while_a_layer_learns_cannot_be_kept(changes, remedy):
    Spec.make(cache="activations")
    with pytest.raises(ValueError, match=rf"^`cache='activations'` keeps what finished layers say. Use {remedy}$"):
        Spec.make(cache="activations", **changes)


NOISE = {"input_dropout": 0.25, "shift": 1, "mirror": 0.5, "cutout": 2}


def noisy(**changes):
    return cached(spec_of(layout="hwc", widths=(8,) * 6, label_mode="concat", **NOISE | {"epochs": 1} | changes))


def test_noise_is_drawn_for_layers_2_3_and_5_and_else_the_same_rows_are_kept():
    recipe, facts = prepared(noisy(), PICTURES)
    loop = make_loop(recipe, PICTURES, make_engine(recipe, facts), facts=facts)
    passes, forward = [], loop._cache._run
    loop._cache._run = lambda positions, layers, *rest: passes.append(layers) or forward(positions, layers, *rest)
    loop.train(Place(), lambda: False)
    assert list(dict.fromkeys(passes)) == [range(1), range(2), range(2, 3), range(4), range(4, 5)]
    quiet, facts = prepared(noisy(**dict.fromkeys(NOISE, 0)), PICTURES)
    assert not quiet.train.noisy


def test_a_draw_is_the_same_however_it_is_cut():
    recipe, facts = prepared(noisy(), PICTURES)
    stream = make_loop(recipe, PICTURES, facts=facts)._stream
    rows, whole, parts = np.arange(50), stream.noise(2, 1, 0), stream.noise(2, 1, 0)
    pieces = [parts(rows[start : start + 7]) for start in range(0, 50, 7)]
    for i, array in enumerate(whole(rows)):
        np.testing.assert_array_equal(np.concatenate([piece[i] for piece in pieces]), array)
    assert not np.array_equal(whole(rows)[0], stream.noise(2, 1, 0)(rows)[0])


def test_a_noisy_run_goes_on_bit_for_bit(tmp_path):
    """Stopped in the fourth layer, which reads the draw of the third."""
    whole = train(noisy(), PICTURES, tmp_path / "whole")
    count = iter(range(1000))
    with pytest.raises(StoppedError):
        train(noisy(), PICTURES, tmp_path / "parts", stop=lambda: next(count) == 24)  # of 7 batches a layer
    parts = train(noisy(), PICTURES, tmp_path / "parts", resume=True)
    assert parts.model.read_bytes() == whole.model.read_bytes()


def deep(**changes):
    return Spec.make(widths=(8,) * 6, epochs=20, batch_size=90, holdout=0.1, threads=1, **changes)


class Notes(Watcher):
    """Keeps what a run notes."""

    def __init__(self):
        self.notes = []

    def note(self, text):
        self.notes.append(text)


def test_a_deep_network_keeps_activities_by_itself_says_so_and_goes_on_with_it(tmp_path, monkeypatch):
    heard, count = Notes(), iter(range(1000))
    asked = train(deep(cache="activations"), DATA, tmp_path / "asked")
    with pytest.raises(StoppedError):
        train(deep(), DATA, tmp_path / "run", watcher=heard, stop=lambda: next(count) == 70)
    assert heard.notes[-1].endswith(", cache activations")
    monkeypatch.setattr("ffedge.training.prepare.has_room", lambda *_: False)  # what it began with stays
    run = train(deep(), DATA, tmp_path / "run", resume=True)
    assert run.report.spec["train"]["cache"] == "activations"
    assert Model(run.model).layer(5)["W"].tobytes() == Model(asked.model).layer(5)["W"].tobytes()


@pytest.mark.parametrize("short", ["disk", "budget"])
def test_where_there_is_no_room_nothing_is_kept(tmp_path, monkeypatch, short):
    changes, heard = {}, Notes()
    if short == "disk":
        monkeypatch.setattr("ffedge.training.prepare.has_room", lambda *_: False)
    else:
        monkeypatch.setattr("ffedge.training.prepare.anonymous_bytes", lambda: 2**26)
        changes = {"memory_budget": plan(deep(cache="none", memory_budget=2**36), DATA).floor_bytes}
    run = train(deep(**changes), DATA, tmp_path / "run", watcher=heard)
    assert (run.report.spec["train"]["cache"], run.report.plan["disk_bytes"]) == ("none", 0)
    assert "cache" not in heard.notes[-1]
    assert "the schedule interleaved spares that" in heard.notes[0]


def test_the_plan_says_what_it_takes_on_disk():
    found = plan(cached(), DATA)
    assert found.disk_bytes == cache_bytes(*prepared(SPEC, DATA), 180) == 180 * 4 * (2 * (24 + 16) + 4 * (4 + 2))
    assert any("kept on disk" in why for why in found.reasons)
    assert any("cache='activations'" in why for why in plan(SPEC, DATA).reasons)
    one_pass = cached(spec_of(**GROUPS))
    found = plan(one_pass, DATA).disk_bytes
    assert found == cache_bytes(*prepared(one_pass, DATA), 180) == 180 * (2 * (24 + 16) + 4 * 4 * (4 + 2))


def test_a_disk_too_small_is_one_line(tmp_path):
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**14, hard))
    try:
        with pytest.raises(
            FfedgeError, match=r"GB of activities cannot be kept \(File too large\)\. Free space, or use"
        ):
            train(cached(SPEC.with_train(epochs=1)), clusters(rows=4000), tmp_path / "run")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("kind", KINDS)
def test_goodness_and_rows_are_those_of_a_forward_pass(kind):
    recipe, facts = prepared(cached(spec_of(**KINDS[kind]), epochs=1, holdout=0.0), DATA)
    loop = make_loop(recipe, DATA, facts=facts)
    loop.train(Place(), lambda: False)
    cache, engine = loop._cache, loop.engine
    cache.advance(3, None)
    positions = np.array([5, 150, 7])
    labels = np.array([[0, 3], [2, 1], [1, 1]])
    raw = DATA.train.inputs.take(loop._stream.rows[positions])
    source, heard = engine.product(raw, None), np.zeros(labels.shape)
    for layer in range(3):
        source, goodness = engine.forward(layer, source, labels)
        heard += recipe.rule.alpha[3][layer] * (goodness - recipe.rule.theta)
    rows = engine.rows(source)
    found, told = cache.read(positions, labels)
    np.testing.assert_allclose(told, heard, rtol=0.01, atol=0.005)
    np.testing.assert_allclose(engine.rows(found), rows, rtol=0.02, atol=0.01)


def test_widened_rows_are_numpys_bit_for_bit():
    every = np.arange(2**16, dtype=np.uint16).view(np.float16)
    for rows in (every[:0x7C00], every[0x8000:0xFC00], every, every[:0]):
        np.testing.assert_array_equal(widened(rows).view(np.uint32), rows.astype(np.float32).view(np.uint32))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("variant", "scope"), [("ff", "all"), ("fcff", "previous"), ("acff", "all")])
def test_with_fixed_negatives_nothing_is_rounded(tmp_path, engine, variant, scope):
    """The layers ahead, which have not learnt, are listened to as without a cache."""
    spec = small_spec(
        widths=(24, 16, 12), variant=variant, scope=scope, epochs=3, holdout=0.1, negatives="fixed", n_negatives=1
    )
    spec = spec.with_train(engine=engine, rate=(0.02,))
    one, two = (train(spec.with_train(cache=c), DATA, tmp_path / c) for c in ("none", "activations"))
    for a, b in zip(one.report.layers, two.report.layers, strict=True):
        assert b.loss == pytest.approx(a.loss, rel=1e-5)
        assert a.gamma is None or b.gamma == pytest.approx(a.gamma, rel=1e-5)
    raw = DATA.test.inputs.take(np.arange(80))
    scores = [Predictor(run.model, threads=1).predict(raw).scores for run in (one, two)]
    np.testing.assert_allclose(scores[1], scores[0], rtol=1e-4)


def test_fixed_negatives_keep_the_labels_that_are_tried_alone(tmp_path):
    spec = small_spec(widths=(24, 16, 12), negatives="fixed", n_negatives=1, cache="activations", epochs=1)
    assert plan(spec, DATA).disk_bytes == cache_bytes(*prepared(spec, DATA), 200) == 200 * 2 * 4 * (24 + 3 + 1)
    recipe, facts = prepared(spec, DATA)
    engine = Counting(make_engine(recipe, facts))
    make_loop(recipe, DATA, engine, facts=facts).train(Place(), lambda: False)
    assert engine.passes[1] >= 200
    loop = make_loop(recipe, DATA, make_engine(recipe, facts), facts=facts)
    loop.train(Place(), lambda: False)
    with pytest.raises(ValueError, match="`negatives` must be hard"):
        loop._cache.first_goodness(np.arange(3))
