"""Models that learnt apart become one, by their rows; what does not fit is refused, and nothing is written."""

import json
import os
import shutil
from dataclasses import replace

import numpy as np
import pytest
from faults import DONE, FULL, KILL, trials
from toys import (
    GROUPS,
    READOUT,
    changed,
    clusters,
    conv_spec,
    make_model,
    model_bytes,
    pictures,
    prepared,
    random_layers,
    small_spec,
)

import ffedge
from ffedge.errors import FfedgeError, ModelError
from ffedge.export.forms import Forms
from ffedge.export.source import read_trained
from ffedge.learning.merge import merge
from ffedge.model.calibration import Calibration, Moments, pooled
from ffedge.model.file import Model
from ffedge.network import stored
from ffedge.training.replay import kept_file

DATA = clusters()
KNOWN = Calibration(0.9, 100, 0.92, -1.0, 5.0, 0.1, Moments(1.0, 0.5, 0.2), Moments(2.0, 1.0, -0.3), 0.5)
OTHER = replace(KNOWN, rows=300, least_score=-3.0, score=Moments(3.0, 0.2, 0.0), temperature=2.0)


def written(path, spec=None, data=DATA, **changes):
    """Write a model with drawn weights; return its path."""
    path.write_bytes(make_model(spec or small_spec(), data, **changes)[0])
    return path


@pytest.fixture
def models(tmp_path):
    """Write three models of one kind."""
    return [written(tmp_path / f"{name}.onnx", seed=seed) for seed, name in enumerate("abc")]


@pytest.fixture
def fleet(tmp_path):
    """Let three boards learn from copies of one model: 40, 80 and 120 rows."""
    run = ffedge.train(small_spec(), clusters(rows=400), tmp_path / "run")
    paths = []
    for board in range(3):
        path = tmp_path / f"board-{board}.onnx"
        shutil.copy(run.model, path)
        shutil.copy(kept_file(run.model), kept_file(path))
        ffedge.learn(path, clusters(rows=40 * (board + 1), seed=0, noise=1.0), epochs=2, max_drop=1.0, progress=False)
        paths.append(path)
    return run.model, paths


def refused(kind, match, *words, **more):
    before = sorted(os.listdir(words[1].parent))
    with pytest.raises(kind, match=match):
        merge(*words, **more)
    assert sorted(os.listdir(words[1].parent)) == before


def test_a_fleet_counts_by_the_rows_that_its_files_tell(fleet, tmp_path):
    base, paths = fleet
    done = merge(paths, tmp_path / "all.onnx")
    assert done.rows == [40, 80, 120]
    opened, found = [Model(path) for path in paths], Model(tmp_path / "all.onnx")
    for index in range(3):
        for name, array in found.layer(index).items():
            wanted = np.average([m.layer(index)[name] for m in opened], axis=0, weights=done.rows)
            np.testing.assert_allclose(array, wanted, rtol=1e-6)
    assert found.metadata["data"] == Model(base).metadata["data"]
    assert [time["rows"] for time in found.metadata["learnt"]] == [240]
    test = clusters(rows=400).train
    answers = ffedge.Predictor(tmp_path / "all.onnx").predict(test.inputs.take(np.arange(400)))
    assert (answers.label == test.labels).mean() > 0.9
    assert not kept_file(tmp_path / "all.onnx").exists()


def test_a_merged_model_takes_a_boards_place_and_the_next_round_counts_from_there(fleet, tmp_path):
    _, paths = fleet
    merge(paths[:2], tmp_path / "all.onnx")
    for path in paths:
        shutil.copy(tmp_path / "all.onnx", path)
    first, second = clusters(rows=60, seed=0, noise=1.0), clusters(rows=20, seed=0, noise=1.0)
    ffedge.learn(paths[0], first, epochs=1, max_drop=1.0, progress=False)
    ffedge.learn(paths[0], second, epochs=1, max_drop=1.0, progress=False)
    with ffedge.Learner(paths[1], max_drop=1.0) as learner:
        learner.observe(first.train.inputs.take(np.arange(30)), first.train.labels[:30])
        learner.save(paths[1])
    done = merge(paths, tmp_path / "next.onnx")
    assert (done.rows, done.shares[2], done.moved[2] > 0) == ([80, 30, 0], 0.0, True)
    assert [time["rows"] for time in Model(tmp_path / "next.onnx").metadata["learnt"]] == [120, 110]


def test_recalibration_is_no_learning(fleet, tmp_path):
    _, paths = fleet
    ffedge.recalibrate(paths[0], clusters(rows=100, seed=0), 0.5)
    assert merge(paths, tmp_path / "all.onnx").rows == [40, 80, 120]


@pytest.mark.parametrize("change", [{}, GROUPS, READOUT, {"variant": "ff"}, {"norm": "fixed"}])
def test_a_model_merged_with_itself_is_the_same_bit_for_bit(tmp_path, change):
    path = written(tmp_path / "a.onnx", small_spec(**change), calibration=KNOWN)
    shutil.copy(path, tmp_path / "b.onnx")
    merge([path, tmp_path / "b.onnx"], tmp_path / "c.onnx", rows=[3, 7])
    before, after = Model(path), Model(tmp_path / "c.onnx")
    assert {n: a.tobytes() for n, a in before.weights().items()} == {n: a.tobytes() for n, a in after.weights().items()}
    assert (after.calibration, after.gammas) == (KNOWN, before.gammas)


def test_a_network_of_convolutions_is_merged_and_learns_on(tmp_path):
    run = ffedge.train(conv_spec(epochs=1), pictures(), tmp_path / "run")
    paths = [tmp_path / "a.onnx", tmp_path / "b.onnx"]
    for seed, path in enumerate(paths):
        shutil.copy(run.model, path)
        shutil.copy(kept_file(run.model), kept_file(path))
        ffedge.learn(path, pictures(seed=seed), epochs=1, max_drop=1.0, seed=seed, progress=False)
    merge(paths, tmp_path / "c.onnx")
    shutil.copy(kept_file(run.model), kept_file(tmp_path / "c.onnx"))
    assert ffedge.learn(tmp_path / "c.onnx", pictures(), epochs=1, max_drop=1.0, progress=False).accepted


def test_bounds_and_temperature_are_means_and_moments_those_of_all_rows(tmp_path):
    found = pooled([KNOWN, OTHER])
    assert (found.rows, found.least_score, found.most_score) == (400, -2.5, 5.0)
    assert found.temperature == pytest.approx(2**0.5)
    rng = np.random.default_rng(0)
    parts = [rng.gamma(2, 1, 100), rng.normal(5, 2, 300)]
    mixed = pooled([replace(c, score=Moments.of(p)) for c, p in zip((KNOWN, OTHER), parts, strict=True)]).score
    wanted = Moments.of(np.concatenate(parts))
    assert (mixed.mean, mixed.deviation, mixed.skewness) == pytest.approx(
        (wanted.mean, wanted.deviation, wanted.skewness)
    )
    paths = [written(tmp_path / "a.onnx", calibration=KNOWN), written(tmp_path / "b.onnx", calibration=OTHER)]
    done = merge(paths, tmp_path / "c.onnx", rows=[1, 1])
    assert Model(tmp_path / "c.onnx").calibration == found
    assert done.notes == ["what counts as known is their mean, until `ffedge.recalibrate` or learning chooses it anew"]
    written(tmp_path / "b.onnx")
    assert merge(paths, tmp_path / "c.onnx", rows=[1, 1]).notes[0].startswith("every answer counts as known")


def test_rows_may_be_numbers_of_numpy(models, tmp_path):
    assert merge(models, tmp_path / "out.onnx", rows=np.array([1, 2, 1])).rows == [1, 2, 1]


def test_one_path_is_no_list_of_models(models, tmp_path):
    refused(ValueError, "`models` must be a list of two or more, got .*onnx$", str(models[0]), tmp_path / "out.onnx")


@pytest.mark.parametrize(
    ("rows", "method", "words"),
    [
        (None, "mean", "a.onnx: does not tell how many rows it learnt since it and the others parted. Pass `rows`, a"),
        ([1, 2], "mean", "`rows` must be a number for each of the 3 models, got 2"),
        ([0, 0, 0], "mean", "`rows` must be whole numbers from 0 to 2 .. 53 - 1, not all 0, got 0, 0, 0"),
        ([1, 2, 1 << 53], "mean", "`rows` must be whole numbers from 0 to 2 .. 53 - 1, not all 0, got 1, 2, 9007199"),
        ([1, 2, True], "mean", "`rows` must be whole numbers from 0 to 2 .. 53 - 1, not all 0, got 1, 2, True"),
        ([1, 2, 0.5], "mean", "`rows` must be whole numbers from 0 to 2 .. 53 - 1, not all 0, got 1, 2, 0.5"),
        ([1, 2, "3"], "mean", "`rows` must be whole numbers from 0 to 2 .. 53 - 1, not all 0, got 1, 2, '3'"),
        ([1, 2, 3], "median", "`rows` plays no part where `method` is median"),
        (None, "banana", "`method` must be mean, median, trimmed, got 'banana'"),
    ],
)
def test_rows_that_cannot_be_are_refused(models, tmp_path, rows, method, words):
    refused((ModelError, ValueError), words, models, tmp_path / "out.onnx", rows=rows, method=method)


def test_median_and_trimmed_mean_need_three(models, tmp_path):
    for method in ("median", "trimmed"):
        refused(ValueError, "must have three models or more, got 2", models[:2], tmp_path / "o.onnx", method=method)
        assert merge(models, tmp_path / f"{method}.onnx", method=method).rows is None
    refused(ValueError, "`most_norm` plays no part", models, tmp_path / "o.onnx", method="median", most_norm=3)
    refused(ValueError, "`models` must be two or more, got 1", models[:1], tmp_path / "o.onnx")


def strangers(folder):
    """Yield files that are not of the first model's kind, and what is said of them."""
    names = DATA.classes
    facts = prepared(small_spec(), DATA)[1]
    recipe = prepared(small_spec(), DATA)[0]
    layers = random_layers(recipe, facts)

    def of(**changes):
        return model_bytes(recipe, replace(facts, **changes), layers)

    content = (folder / "a.onnx").read_bytes()
    yield of(classes=names[::-1]), "knows its classes in another order than "
    yield of(classes=(*names[:3], "storm")), "knows other classes ('storm' is in one of them alone) than "
    more = make_model(small_spec(), clusters(classes=5))[0]
    yield more, "knows other classes ('class 4' is in one of them alone) than "
    yield of(scale=(2.0,)), "has the input's scale (2.0,), but "
    yield make_model(small_spec(widths=(12, 10, 9)), DATA)[0], "has widths (12, 10, 9), but "
    yield make_model(small_spec(variant="ff"), DATA)[0], "has variant ff, but "
    yield make_model(small_spec(theta=1.0, loss="logistic"), DATA)[0], "has loss logistic, but "
    yield make_model(small_spec(seed=7), DATA)[0], "from other weights (seeds 0, 7), and no mean of them means anything"
    yield changed(content, format="99"), "has model format 99, but this ffedge reads"
    yield b"no model", "is no model that ffedge can run"
    yield content[: len(content) // 2], "is no model that ffedge can run"
    yield b"", "is no model that ffedge can run"
    yield Forms(read_trained(folder / "a.onnx"), None).make("exact").model, "is the exported form exact"
    for layer, name, value in ((1, "W", np.nan), (0, "b", np.inf)):
        bad = [dict(arrays) for arrays in layers]
        bad[layer][name] = np.full_like(bad[layer][name], value)
        yield model_bytes(recipe, facts, bad), f"layer {layer} holds numbers that are not finite"
    long = [{name: array * np.float32(1e6) for name, array in arrays.items()} for arrays in layers]
    yield model_bytes(recipe, facts, long), "layer 0 is 1e+06 times as long as the others', beyond `most_norm` 10"


def test_a_model_that_does_not_fit_the_first_is_refused_in_one_line(models, tmp_path):
    other = models[1]
    for content, said in strangers(tmp_path):
        other.write_bytes(content)
        with pytest.raises(ModelError) as caught:
            merge(models[:2], tmp_path / "out.onnx", rows=[1, 1])
        assert f"{other}: " in str(caught.value)
        assert said in str(caught.value)
    assert sorted(os.listdir(tmp_path)) == ["a.onnx", "b.onnx", "c.onnx"]


def test_one_that_lies_far_from_the_others_is_refused_unless_that_is_allowed(tmp_path):
    recipe, facts = prepared(small_spec(), DATA)
    rng, base, paths = np.random.default_rng(0), random_layers(recipe, facts), []
    for size in (0.01, 0.01, 0.01, 0.5):
        layers = [{n: np.float32(a + size * rng.normal(size=a.shape)) for n, a in arrays.items()} for arrays in base]
        paths.append(tmp_path / f"{len(paths)}.onnx")
        paths[-1].write_bytes(model_bytes(recipe, facts, layers))
    refused(ModelError, r"3.onnx: layer 0 moved .* Leave it out", paths, tmp_path / "out.onnx", rows=[1] * 4)
    assert max(merge(paths, tmp_path / "out.onnx", rows=[1] * 4, most_norm=1000).moved) > 30
    assert merge(paths, tmp_path / "median.onnx", method="median").moved[3] > 30


def test_one_file_counts_once_and_none_is_written_over(models, tmp_path):
    out = tmp_path / "out.onnx"
    (tmp_path / "link.onnx").symlink_to(models[0])
    os.link(models[0], tmp_path / "hard.onnx")
    for name in ("a.onnx", "link.onnx", "hard.onnx"):
        refused(ValueError, "are one file", [models[0], tmp_path / name], out, rows=[1, 1])
        refused(ValueError, "`out` must be none of the models", models[:2], tmp_path / name, rows=[1, 1])
    refused(ModelError, "no such file", [models[0], tmp_path / "none.onnx"], out, rows=[1, 1])
    (tmp_path / "loop.onnx").symlink_to("loop.onnx")
    refused(ModelError, "no such file", [models[0], tmp_path / "loop.onnx"], out, rows=[1, 1])
    refused(FfedgeError, "is no regular file", models, tmp_path / ".." / tmp_path.name, rows=[1, 1, 1])


def test_a_link_stays_one_and_the_file_behind_it_keeps_its_rights(models, tmp_path):
    (tmp_path / "there").write_bytes(b"before")
    (tmp_path / "there").chmod(0o640)
    (tmp_path / "out.onnx").symlink_to("there")
    models[0].chmod(0o600)
    merge(models, tmp_path / "out.onnx", rows=[1, 1, 1])
    assert (tmp_path / "out.onnx").is_symlink()
    assert (tmp_path / "there").stat().st_mode & 0o777 == 0o640
    merge(models, tmp_path / "new.onnx", rows=[1, 1, 1])
    assert (tmp_path / "new.onnx").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("kind", [FULL, KILL])
def test_wherever_writing_fails_the_file_before_stands_or_the_new_one(models, tmp_path, kind):
    def prepare(folder):
        for path in models:
            shutil.copy(path, folder)
        (folder / "out.onnx").write_bytes(b"before")

    def work(folder):
        merge([folder / path.name for path in models], folder / "out.onnx", rows=[1, 2, 3])

    prepare(tmp_path / "whole") if (tmp_path / "whole").mkdir() is None else None
    work(tmp_path / "whole")
    new, count = (tmp_path / "whole" / "out.onnx").read_bytes(), 0
    for trial in trials(kind, prepare, work, tmp_path / "trials"):
        count, content = count + 1, (trial.folder / "out.onnx").read_bytes()
        assert content in (b"before", new), trial.name
        if kind == FULL:
            stands = trial.said == DONE or "stands in its place" in trial.said
            assert stands == (content == new), (trial.name, trial.said)
        work(trial.folder)
        assert (trial.folder / "out.onnx").read_bytes() == new
    assert count > 3


@pytest.mark.parametrize("learnt", [7, [7], [{"rows": "x", "from": "a"}], [{"from": 3, "rows": 1}], [{"rows": -1}]])
def test_a_history_that_ffedge_did_not_write_tells_nothing(models, tmp_path, learnt):
    for path in models:
        path.write_bytes(changed(path.read_bytes(), learnt=json.dumps(learnt)))
    refused(ModelError, "does not tell how many rows", models, tmp_path / "out.onnx")
    merge(models, tmp_path / "out.onnx", rows=[1, 1, 1])
    assert ffedge.Predictor(tmp_path / "out.onnx").predict(np.zeros((1, 16), np.float32)).label.shape == (1,)


def test_every_stored_array_is_averaged(models, tmp_path):
    """A parameter that a new kind of layer brings is not left out."""
    merge(models, tmp_path / "out.onnx", rows=[1, 1, 1])
    first, found = Model(models[0]), Model(tmp_path / "out.onnx")
    from ffedge.network import layers_of

    for layer in layers_of(first.recipe, first.facts):
        for name in stored(first.recipe, layer):
            index = layer.place.index
            assert not np.array_equal(first.layer(index)[name], found.layer(index)[name]), name
