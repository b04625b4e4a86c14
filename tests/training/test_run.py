"""A whole run: the folder that other programs rely on, good accuracy, and one line for whatever goes wrong."""

import errno
import hashlib
import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import onnx
import pytest
from toys import CONTENT, clusters, in_child, prepared, small_spec

import ffedge
from ffedge.errors import FfedgeError, TrainingError
from ffedge.predict.predictor import Predictor
from ffedge.recipe import Recipe
from ffedge.spec import Spec
from ffedge.training import train as module
from ffedge.training.folder import next_folder
from ffedge.training.train import train
from ffedge.training.watch import Watcher

ENGINES = [pytest.param("onnx", id="onnx"), pytest.param("torch", id="torch", marks=pytest.mark.torch)]
DATA = clusters(rows=400, noise=0.4, test_rows=200)
SPEC = small_spec(epochs=3, holdout=0.1, negatives="hard", rate=(0.02, 0.01), scaling="feature")


def weights(model):
    return {tensor.name: tensor.raw_data for tensor in onnx.load(model).graph.initializer}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return train(SPEC, DATA, tmp_path_factory.mktemp("runs") / "one")


def test_the_folder_holds_four_things(run):
    assert sorted(os.listdir(run.path)) == CONTENT


def test_the_report_has_every_field_with_its_unit(run):
    report = json.loads((run.path / "report.json").read_text())
    assert report["format"] == 2
    assert report["versions"]["ffedge"] == ffedge.__version__
    assert {"processor", "cores", "architecture", "system"} <= set(report["machine"])
    assert Recipe.from_dict(report["spec"]) == prepared(SPEC, DATA)[0]
    assert report["data"] == {"name": "clusters", "sha256": DATA.sha256}
    assert 10e6 < report["import_bytes"] <= report["rss_peak_bytes"] < 10e9
    assert 0 < report["seconds"] < 60
    assert len(report["layers"]) == 3
    for index, layer in enumerate(report["layers"]):
        assert (layer["index"], layer["epochs"]) == (index, 3)
        assert 0 < layer["seconds"] < report["seconds"]
        assert 10e6 < layer["rss_start_bytes"] <= layer["rss_peak_bytes"] <= report["rss_peak_bytes"]
        assert layer["state_bytes"] > 4 * 10 * 8
        assert layer["loss"] > 0
        assert 0 <= layer["accuracy"] <= 1
        assert 0 <= layer["accuracy_sum"] <= 1
        assert layer["gamma"] != 1.0


def test_the_reports_accuracies_are_the_models(run):
    report = json.loads((run.path / "report.json").read_text())
    predictor = Predictor(run.model)
    for split, name in ((DATA.test, "test_accuracy"), (DATA.train, "train_accuracy")):
        rows = split.inputs.take(np.arange(len(split.labels)))
        assert report[name] == pytest.approx((predictor.predict(rows).label == split.labels).mean())
    assert report["train_accuracy_rows"] == 400
    assert run.report.test_accuracy == report["test_accuracy"]


def test_the_report_names_the_model_file(run):
    report = json.loads((run.path / "report.json").read_text())
    content = run.model.read_bytes()
    assert report["model_sha256"] == hashlib.sha256(content).hexdigest()
    assert report["model_bytes"] == len(content)


def test_metrics_are_a_line_for_each_layer_and_epoch(run):
    lines = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    assert [(line["layer"], line["epoch"]) for line in lines] == [(i, e) for i in range(3) for e in range(3)]
    for line in lines:
        assert set(line) == {
            "layer",
            "epoch",
            "loss",
            "goodness_positive",
            "goodness_negative",
            "accuracy",
            "accuracy_sum",
            "gamma",
            "seconds",
            "rate",
            "rss_start_bytes",
            "rss_peak_bytes",
        }
    for layer in range(3):
        mine = [line for line in lines if line["layer"] == layer]
        assert mine[-1]["loss"] < mine[0]["loss"]
        assert mine[-1]["goodness_positive"] > mine[-1]["goodness_negative"]


def test_the_model_says_what_it_was_trained_on(run):
    metadata = Predictor(run.model).metadata
    assert metadata["data"] == {"name": "clusters", "sha256": DATA.sha256}
    assert metadata["version"] == ffedge.__version__
    assert metadata["gamma"] == [
        layer["gamma"] for layer in json.loads((run.path / "report.json").read_text())["layers"]
    ]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("schedule", ["greedy", "interleaved"])
@pytest.mark.parametrize("variant", ["ff", "fcff", "acff"])
def test_classes_that_lie_apart_are_told_apart(tmp_path, engine, schedule, variant):
    spec = small_spec(variant=variant, schedule=schedule, engine=engine, epochs=5, holdout=0.1, rate=(0.02,))
    report = train(spec, DATA, tmp_path / "run").report
    assert report.test_accuracy > 0.97
    assert report.layers[-1].accuracy_sum > 0.9
    assert report.in_place


@pytest.mark.parametrize("loss", ["logistic", "symmetric", "contrastive"])
@pytest.mark.parametrize("label_mode", ["overlay", "concat"])
def test_any_loss_and_label_mode_tells_them_apart(tmp_path, loss, label_mode):
    spec = small_spec(loss=loss, label_mode=label_mode, epochs=5, rate=(0.02,), theta=0.5, label_layers="all")
    assert train(spec, DATA, tmp_path / "run").report.test_accuracy > 0.95


@pytest.mark.parametrize("engine", ENGINES)
def test_a_seed_gives_the_same_model_and_another_does_not(tmp_path, engine):
    models = [
        train(SPEC.with_train(engine=engine, seed=seed), DATA, tmp_path / str(i)).model
        for i, seed in enumerate((0, 0, 1))
    ]
    assert weights(models[0]) == weights(models[1])
    assert weights(models[0]) != weights(models[2])
    assert models[0].read_bytes() == models[1].read_bytes()


@pytest.mark.parametrize("preset", ["tuned", "spiking", "paper"])
def test_presets_train_too(tmp_path, preset):
    report = train(Spec.make(preset, widths=(32, 24), epochs=5, batch_size=32), DATA, tmp_path / "run").report
    assert report.test_accuracy > 0.97
    assert Predictor(tmp_path / "run" / "model.onnx").classes == DATA.classes


def test_data_without_a_test_split_have_no_test_accuracy(tmp_path):
    assert train(small_spec(), clusters(), tmp_path / "run").report.test_accuracy is None


def test_a_run_without_a_folder_takes_the_next_free_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    spec = small_spec(widths=(4,), epochs=1)
    assert train(spec, clusters()).path == Path("runs/acff-clusters-1")
    assert train(spec, clusters()).path == Path("runs/acff-clusters-2")
    (tmp_path / "runs" / "acff-clusters-10").mkdir()
    (tmp_path / "runs" / "acff-clusters-best").mkdir()
    assert next_folder(Path("runs"), "acff", "clusters") == Path("runs/acff-clusters-11")
    assert next_folder(Path("runs"), "ff", "clusters") == Path("runs/ff-clusters-1")


def test_a_folder_that_exists_is_not_overwritten(run, tmp_path):
    before = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    text = f"^{run.path}: exists already. Choose another `out`, or use `resume` or `force`$"
    with pytest.raises(FfedgeError, match=text):
        train(SPEC, DATA, run.path)
    assert {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()} == before


def failing(monkeypatch, method, suffix):
    """Let a method of Path fail, as on a full disk, for files that end so."""
    works = getattr(Path, method)

    def full(self, *args, **more):
        if self.name.partition(".tmp")[0].endswith(suffix) or suffix in self.name:
            raise OSError(errno.ENOSPC, "No space left on device")
        return works(self, *args, **more)

    monkeypatch.setattr(Path, method, full)


@pytest.mark.parametrize(
    ("method", "suffix"),
    [
        ("replace", ".safetensors"),
        ("replace", "model.onnx"),
        ("replace", "report.json"),
        ("write_text", "report.json"),
        ("open", "metrics.jsonl"),
        ("mkdir", "checkpoint"),
    ],
)
def test_a_full_disk_is_one_line_that_names_the_file(tmp_path, monkeypatch, method, suffix):
    failing(monkeypatch, method, suffix)
    with pytest.raises(FfedgeError) as caught:
        train(small_spec(epochs=1), clusters(), tmp_path / "run")
    assert "No space left on device" in str(caught.value)
    assert suffix in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("engine", ENGINES)
def test_room_for_kept_activities_is_asked_for_before_the_work(tmp_path, monkeypatch, engine):
    asked = []
    monkeypatch.setattr(module, "check_room", lambda folder, n_bytes, what: asked.append(n_bytes))
    for cache in ("none", "activations"):
        spec = small_spec(engine=engine, epochs=1, class_goodness="groups", label_mode="none", cache=cache)
        train(spec, clusters(), tmp_path / cache)
    assert asked[1] - asked[0] >= 160 * 2 * (12 + 10)  # float16 of both layers below the last


def test_to_resume_a_folder_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"^`resume` needs `out`, the folder"):
        train(small_spec(), clusters(), resume=True)
    assert not os.listdir(tmp_path)


def test_a_batch_larger_than_the_data_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"^`batch_size` must be at most the 160 rows that are trained on, got 161$"):
        train(small_spec(batch_size=161), clusters(), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("engine", ENGINES)
def test_a_loss_that_is_no_number_leaves_the_last_good_model(tmp_path, engine):
    """Layer 1 diverges at once, so the network as it was after layer 0 is what remains."""
    spec = small_spec(engine=engine, epochs=2, rate=(0.02, 1e25), weight_decay=0.0, holdout=0.1, variant="ff")
    path = tmp_path / "run"
    with pytest.raises(TrainingError) as caught, np.errstate(all="ignore"):
        train(spec, DATA, path)
    assert str(caught.value) == (
        f"layer 1, epoch 0: the loss is not a number at rate 1e+25. Use a smaller `rate`. "
        f"The network of the last checkpoint stands in {path / 'model.onnx'}"
    )
    alone = train(spec.with_train(rate=(0.02,), epochs=2), DATA, tmp_path / "good").model
    raw = DATA.test.inputs.take(np.arange(200))
    left, good = (Predictor(model).predict(raw, layers=True) for model in (path / "model.onnx", alone))
    np.testing.assert_array_equal(left.goodness[:, 0], good.goodness[:, 0])
    assert np.isfinite(left.scores).all()
    report = json.loads((path / "report.json").read_text())
    assert report["stopped"].startswith("layer 1, epoch 0: the loss is not a number")
    assert [layer["index"] for layer in report["layers"]] == [0]


def test_epochs_that_the_model_of_the_last_checkpoint_has_not_seen_are_not_told(tmp_path):
    """Layer 1 diverges after an epoch or two, of one step each; the last checkpoint is of layer 0."""
    more = {"optimizer": "sgd", "weight_decay": 0.0, "variant": "ff", "widths": (12, 10)}
    spec = small_spec(epochs=3, batch_size=160, rate=(0.02, 1e10), **more)
    path = tmp_path / "run"
    with pytest.raises(TrainingError, match=r"^layer 1, epoch [12]: "), np.errstate(all="ignore"):
        train(spec, clusters(), path, checkpoint_every="1000")
    told = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    assert [(record["layer"], record["epoch"]) for record in told] == [(0, 0), (0, 1), (0, 2)]
    assert [layer["index"] for layer in json.loads((path / "report.json").read_text())["layers"]] == [0]


def test_a_layer_that_is_listened_to_before_it_learns_leaves_one_file(tmp_path):
    train(small_spec(variant="fcff", scope="all", epochs=1), clusters(), tmp_path / "run")
    names = sorted(path.name for path in (tmp_path / "run" / "checkpoint").glob("*-*"))
    assert names == [f"layer-{layer:02d}.safetensors" for layer in range(3)]


def test_a_loss_that_is_no_number_in_the_first_epoch_says_so(tmp_path):
    with (
        pytest.raises(TrainingError, match=r"^layer 0, epoch 0: .*There is no checkpoint before it$"),
        np.errstate(all="ignore"),
    ):
        train(small_spec(rate=(1e25,), weight_decay=0.0), DATA, tmp_path / "run")


@pytest.mark.parametrize("batch_size", ["full", 200])
def test_weights_that_blew_up_in_an_epochs_last_step_are_no_good_model(tmp_path, batch_size):
    """The loss is measured before the step: an epoch's last step can ruin the weights and still look well."""
    spec = small_spec(widths=(12,), rate=(1e25,), weight_decay=0.0, batch_size=batch_size, holdout=0.0, epochs=2)
    path = tmp_path / "run"
    with pytest.raises(TrainingError), np.errstate(all="ignore"):
        train(spec, DATA, path)
    if (path / "model.onnx").exists():
        scores = Predictor(path / "model.onnx").predict(DATA.test.inputs.take(np.arange(50))).scores
        assert np.isfinite(scores).all()


def test_the_last_epoch_of_a_run_is_looked_at_too(tmp_path):
    spec = small_spec(widths=(12,), rate=(1e25,), weight_decay=0.0, batch_size="full", epochs=1)
    with pytest.raises(TrainingError, match=r"^layer 0, "), np.errstate(all="ignore"):
        train(spec, DATA, tmp_path / "run")


def test_torch_that_is_not_there_is_one_line(tmp_path):
    script = """
        import sys
        from pathlib import Path

        from toys import clusters, small_spec

        from ffedge import FfedgeError, train

        try:
            train(small_spec(engine="torch"), clusters(), Path(sys.argv[1]))
        except FfedgeError as error:
            print(error)
    """
    assert in_child(script, str(tmp_path / "run"), hidden={"torch"}) == (
        "training with `engine='torch'` needs torch, which is not installed. Run: pip install 'ffedge[torch]'\n"
    )


def test_two_processes_do_not_train_in_one_folder(tmp_path):
    train(small_spec(epochs=1), clusters(), tmp_path / "run")
    before = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    holding = """
        import fcntl, os, sys
        fcntl.flock(os.open(sys.argv[1], os.O_RDONLY), fcntl.LOCK_EX)
        print("held", flush=True)
        sys.stdin.read()
    """
    words = [sys.executable, "-c", textwrap.dedent(holding), str(tmp_path / "run")]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "held\n"
        for how in ("resume", "force"):
            with pytest.raises(FfedgeError, match=rf"^{tmp_path / 'run'}: another process trains there\. Choose"):
                train(small_spec(epochs=1), clusters(), tmp_path / "run", **{how: True})
        other.stdin.close()
    assert before == {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    train(small_spec(epochs=1), clusters(), tmp_path / "run", resume=True)


def test_rows_that_are_all_alike_are_told(tmp_path):
    class Heard(Watcher):
        def note(self, text):
            notes.append(text)

    for value, told in (
        (0.0, ["minibatches: 64 rows that were looked at are all alike. Nothing is learnt of such rows"]),
        (1.0, []),
    ):
        notes, rows = [], np.zeros((200, 12), np.float32)
        rows[::3, 4] = value
        train(small_spec(epochs=1), [(rows, np.arange(200) % 3)], tmp_path / str(value), watcher=Heard())
        assert [note for note in notes if "alike" in note] == told
