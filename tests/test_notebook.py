"""In a notebook or a script, a training shows that it is alive, and what it gives is a line to read."""

import json
import sys

import numpy as np
import pytest
from toys import clusters, in_child, small_spec

import ffedge
from ffedge.errors import ModelError

CELLS = """
import json, sys
sys.path.insert(0, {tests!r})
if {hidden!r}: sys.modules["tqdm"] = None
import ffedge
from toys import clusters, small_spec
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    data = clusters(rows=200, test_rows=40)
    return ffedge.train(small_spec(holdout=0.2), data, tmp_path_factory.mktemp("n") / "run", progress=False)


@pytest.fixture(scope="module")
def data():
    return clusters(rows=200, test_rows=40)


def test_a_training_prints_a_line_for_each_layer_and_epoch_until_it_is_told_not_to(tmp_path, data, capsys):
    ffedge.train(small_spec(widths=(8, 6), epochs=3), data, tmp_path / "a")
    said = capsys.readouterr()
    lines = [line for line in said.err.splitlines() if line.startswith("layer")]
    assert [line[:18] for line in lines] == [f"layer {i}  epoch {e}/3" for i in (0, 1) for e in (1, 2, 3)]
    assert not said.out
    ffedge.train(small_spec(widths=(8, 6)), data, tmp_path / "b", progress=False)
    assert capsys.readouterr() == ("", "")


def test_who_brings_a_watcher_sees_no_other(tmp_path, data, capsys):
    class Mine(ffedge.Watcher):
        def __init__(self):
            self.batches, self.epochs = [], []

        def batch(self, progress):
            self.batches.append(progress)

        def epoch(self, records):
            self.epochs += [(record.layer, record.epoch) for record in records]

    mine = Mine()
    ffedge.train(small_spec(widths=(8, 6)), data, tmp_path / "a", watcher=mine)
    assert capsys.readouterr() == ("", "")
    assert mine.epochs == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert all(isinstance(each, ffedge.Progress) for each in mine.batches)
    assert len(mine.batches) == 4 * mine.batches[0].batches


def test_learning_shows_its_progress_too(run, data, tmp_path, capsys):
    model = tmp_path / "model.onnx"
    model.write_bytes(run.model.read_bytes())
    learning = ffedge.learn(model, data, force=True)
    assert "layer 0  epoch 1/" in capsys.readouterr().err
    assert len(repr(learning)) < 500
    assert str(model) in repr(learning)


def test_what_a_cell_ends_in_is_one_short_line_that_says_what_matters(run, data):
    predictor, x = ffedge.Predictor(run.model), data.test.inputs.take(np.arange(40))
    answers, monitor = predictor.predict(x), ffedge.Monitor(run.model)
    monitor.update(answers)
    evaluation = ffedge.evaluate(predictor, data)
    shown = [
        (run, (str(run.path), f"{run.report.test_accuracy:.2%}")),
        (run.report, ("clusters", f"{run.report.train_accuracy:.2%}")),
        (data, ("200 rows", "4 classes")),
        (predictor, ("model.onnx", "float32 [16]", "4 classes")),
        (answers, ("40 samples", f"{int(answers.known.sum())} known", "class ")),
        (monitor, ("40 samples", "drift")),
        (ffedge.Learner(run.model, force=True), ("0 rows learnt", "4 classes")),
        (evaluation, (f"{evaluation.accuracy:.2%}", "40 rows")),
        (
            ffedge.Spec.make(alpha=tuple((0.123456789,) * 40 for _ in range(40)), widths=(9,) * 40),
            ("Spec.make('tuned'",),
        ),
    ]
    for value, parts in shown:
        text = repr(value)
        assert len(text) < 500
        assert "\n" not in text
        assert all(part in text for part in parts), text


@pytest.mark.parametrize("preset", ["tuned", "pictures", "pictures-small", "spiking", "paper"])
@pytest.mark.parametrize("changes", [{}, {"epochs": 7, "seed": 3}, {"widths": (40, 30, 20), "threads": 1}])
def test_a_short_spec_makes_the_same_one_again(preset, changes):
    spec = ffedge.Spec.make(preset, **changes)
    assert eval(repr(spec), {"Spec": ffedge.Spec}) == spec


def test_a_monitor_opens_a_model_by_its_path_its_bytes_or_its_predictor(run, data):
    predictor = ffedge.Predictor(run.model)
    answers = predictor.predict(data.train.inputs.take(np.arange(50)))
    sources = (run.model, str(run.model), run.model.read_bytes(), predictor, predictor.calibration)
    monitors = [ffedge.Monitor(source) for source in sources]
    for monitor in monitors:
        monitor.update(answers)
    assert all(monitor.summary() == monitors[-1].summary() for monitor in monitors)
    with pytest.raises(ModelError, match=r"nowhere\.onnx: "):
        ffedge.Monitor("nowhere.onnx")


def test_a_monitor_of_a_model_without_calibration_says_what_to_do_in_words_of_python(tmp_path, data):
    run = ffedge.train(small_spec(), data, tmp_path / "a", progress=False)
    with pytest.raises(ValueError, match=r"calibration is missing.*`holdout`, or use ffedge\.recalibrate"):
        ffedge.Monitor(run.model)


def cell(tmp_path, code, hidden=False):
    """Run a cell in a kernel; return its text on stderr, and its value."""
    pytest.importorskip("ipykernel", reason="needs ipykernel")
    nbformat = pytest.importorskip("nbformat", reason="needs nbclient")
    script = """
    import json, sys, warnings
    warnings.simplefilter("ignore")
    import nbformat
    from nbclient import NotebookClient
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source=text) for text in sys.argv[1:]])
    NotebookClient(book, timeout=120, kernel_name="python3").execute()
    print("\\n" + json.dumps(book.cells[-1].outputs))
    """
    del nbformat
    tests = next(path for path in sys.path if path.endswith("tests"))
    said = in_child(script, CELLS.format(tests=tests, hidden=hidden), code, cwd=tmp_path).splitlines()[-1]
    outputs = json.loads(said)
    err = "".join(out["text"] for out in outputs if out["output_type"] == "stream" and out["name"] == "stderr")
    return err, next(out["data"]["text/plain"] for out in outputs if out["output_type"] == "execute_result")


TRAIN = "ffedge.train(small_spec(widths=(8, 6), epochs=3), clusters(rows=200), 'run')"


def test_a_cell_of_a_real_kernel_shows_a_bar_to_its_end_and_then_a_line(tmp_path):
    pytest.importorskip("tqdm", reason="needs tqdm")
    err, value = cell(tmp_path, TRAIN)
    assert "100%|" in err
    assert "layer 1 epoch 3/3" in err
    assert "78/78" in err  # 2 layers, 3 epochs, 13 batches of 16 rows
    assert value.startswith("<Run run: acff (8, 6) on clusters: no test rows")


def test_a_cell_without_tqdm_gets_lines(tmp_path):
    err, _ = cell(tmp_path, TRAIN, hidden=True)
    assert "layer 1  epoch 3/3" in err
    assert "%|" not in err
