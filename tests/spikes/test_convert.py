"""A converted network's rates stand for the trained one's activities."""

import numpy as np
import pytest
from oracle import Oracle
from spiking_toys import FORM, rows_of, toy
from toys import GROUPS, READOUT, conv_spec, pictures, prepared, small_spec

from ffedge import Predictor, Spec
from ffedge.errors import FfedgeError
from ffedge.model.write import write_model
from ffedge.spikes import SpikingPredictor
from ffedge.spikes.convert import check_convertible, forward

CASES = [
    {},
    {"label_layers": "all"},
    {"label_mode": "concat", "label_layers": "all"},
    {"bytes": True},
    {"goodness": "sum"},
    {"widths": (9,), "norm": "rms"},
    {"prediction_weights": "collaborative"},
    {"bound": "none"},
    {**GROUPS, "widths": (24, 20, 16)},  # of small groups, a unit above its threshold takes off more
    {**GROUPS, "widths": (25, 19), "prediction_weights": "collaborative", "bytes": True},
]


@pytest.mark.parametrize("changes", CASES, ids=str)
def test_the_trained_network_is_run_as_the_oracle_runs_it(changes):
    _, recipe, facts, layers, data = toy(**changes)
    raw = rows_of(data, 10)
    oracle = Oracle(recipe, facts, layers)
    labels = np.tile(np.arange(len(facts.classes)), (10, 1))
    wanted = oracle.forward(raw.reshape(10, -1), labels)
    for (_, y, _), found in zip(wanted, forward(recipe, facts, layers, raw), strict=True):
        np.testing.assert_allclose(found, y, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("changes", CASES, ids=str)
def test_in_many_timesteps_scores_come_near_the_oracles(changes):
    network, recipe, facts, layers, data = toy(timesteps=2048, **changes)
    raw = rows_of(data, 40)
    wanted = Oracle(recipe, facts, layers).scores(raw.reshape(40, -1))
    found = SpikingPredictor(network).predict(raw)
    assert np.abs(found.scores - wanted).max() < 0.1 * np.abs(wanted).max()
    assert np.corrcoef(found.scores.ravel(), wanted.ravel())[0, 1] > 0.995
    assert (found.label == wanted.argmax(1)).mean() > 0.9


@pytest.mark.parametrize("reset", ["subtract", "zero"])
def test_convolutions_come_near_the_scores_of_their_model(reset, tmp_path):
    network, recipe, facts, layers, data = toy(timesteps=1024, reset=reset, pictures=True)
    write_model(tmp_path / "model.onnx", recipe, facts, layers, {})
    raw = rows_of(data, 60)
    wanted = Predictor(tmp_path / "model.onnx").predict(raw)
    found = SpikingPredictor(network).predict(raw)
    assert np.corrcoef(found.scores.ravel(), wanted.scores.ravel())[0, 1] > (0.99 if reset == "subtract" else 0.97)
    assert (found.place == wanted.place).mean() > 0.9


def test_a_byte_of_0_drives_no_synapse():
    network, _, facts, _, data = toy(bytes=True)
    assert any(facts.offset)
    assert not network.scaled(np.zeros_like(rows_of(data, 1))).any()


def test_max_pooling_is_refused_with_what_to_train_instead():
    recipe, _ = prepared(conv_spec(norm="fixed", class_goodness="groups", widths=("8c3a2", "8c3p2")), pictures())
    with pytest.raises(FfedgeError) as caught:
        check_convertible(recipe, "runs/a")
    assert str(caught.value) == (
        "runs/a: was trained with max pooling; spikes are summed. Train another with average pooling, as in "
        "`widths=('32c3a2', …)`"
    )


def test_the_preset_takes_convolutions_as_spikes_can_carry_them():
    spec = Spec.make("spiking", widths=("32c3a2", 20))
    assert (spec.network.class_goodness, spec.rule.sparsity, spec.network.norm) == ("groups", "none", "fixed")
    check_convertible(prepared(spec, pictures())[0], "runs/a")
    assert Spec.make("spiking", widths=("32c3a2", 20), class_goodness="readout").network.class_goodness == "readout"
    assert Spec.make("spiking", class_goodness="groups").rule.sparsity == "none"
    assert Spec.make("spiking", class_goodness="groups", sparsity=0.1).rule.sparsity == 0.1
    assert Spec.make("spiking").rule.sparsity == 0.07
    assert eval(repr(spec), {"Spec": Spec}) == spec


@pytest.mark.parametrize(
    "changes", [{"reset": "zero"}, {"leak_steps": 200}, {"leak_steps": 200, "current_based": True}], ids=str
)
def test_other_neurons_are_recalibrated(changes):
    network, recipe, facts, layers, data = toy(timesteps=2048, **changes)
    raw = rows_of(data, 60)[24:]
    wanted = Oracle(recipe, facts, layers).scores(raw.reshape(len(raw), -1))
    found = SpikingPredictor(network).predict(raw).scores
    assert np.corrcoef(found.ravel(), wanted.ravel())[0, 1] > 0.97
    assert 0.8 < found.mean() / wanted.mean() < 1.25


@pytest.mark.parametrize(
    ("changes", "parameter"),
    [
        ({"norm": "rms"}, "`norm='rms'`"),
        ({"norm": "unit"}, "`norm='unit'`"),
        ({"norm": "layer"}, "`norm='layer'`"),
        ({"input_norm": "unit"}, "`input_norm='unit'`"),
        ({"input_norm": "rms", "widths": (5,)}, "`input_norm='rms'`"),
        (READOUT, "`class_goodness='readout'`"),
    ],
)
def test_a_network_that_spikes_cannot_carry_is_refused_with_what_trains_one(changes, parameter):
    recipe, _ = prepared(small_spec(**(FORM | changes)), toy()[-1])
    with pytest.raises(FfedgeError) as caught:
        check_convertible(recipe, "runs/a")
    assert str(caught.value).startswith(f"runs/a: was trained with {parameter}")
    assert str(caught.value).endswith("; spikes cannot. Train another with `preset='spiking'`")


def test_one_layer_has_no_norm_that_matters():
    recipe, _ = prepared(small_spec(widths=(5,), norm="rms"), toy()[-1])
    check_convertible(recipe, "runs/a")
