"""The page of a run tells what numpy and Pillow find, escapes every text, and says what is lacking."""

import base64
import io
import json
import re
import shutil
from html.parser import HTMLParser

import numpy as np
import pytest

import ffedge
from ffedge.cli import main
from ffedge.errors import DataError, ModelError
from ffedge.page.answers import answers
from ffedge.page.charts import Line, bar_chart, line_chart, thinned, ticks
from ffedge.page.page import page
from ffedge.page.pictures import png

VOID = {"meta", "img", "br"}


class Read(HTMLParser):
    """Reads a page strictly: every element is closed in its order; keeps tags, their attributes, and text."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.texts = [], [], []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append((self.open[-1] if self.open else "", data))

    def text(self, tag):
        return [text for where, text in self.texts if where == tag]


def pictures_of(text):
    from PIL import Image

    found = re.findall(r'src="data:image/png;base64,([^"]+)"', text)
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))) for data in found]


@pytest.mark.parametrize("shape", [(1, 1), (7, 5), (6, 9, 3), (128, 128)])
def test_a_png_holds_the_pixels_as_pillow_reads_them(shape):
    from PIL import Image

    pixels = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(png(pixels)))), pixels)


def test_the_answers_are_what_numpy_counts(pictures):
    run, data = pictures
    predictor, dataset = ffedge.Predictor(run / "model.onnx"), ffedge.load(data)
    found, x, true = answers(predictor, dataset), dataset.test.inputs.take(np.arange(120)), dataset.test.labels[:]
    said = predictor.predict(x, layers=True)
    confusion = np.zeros((3, 3), int)
    for a, b in zip(true, said.place, strict=True):
        confusion[a, b] += 1
    assert found.confusion.tolist() == confusion.tolist()
    assert (found.of, found.count) == ("test rows", 120)
    order = np.argsort(-said.margin)
    for share, accuracy in found.rejection:
        first = order[: round(share * 120)]
        assert accuracy == pytest.approx((said.place == true)[first].mean())
    assert found.rejection[-1] == (1.0, found.accuracy)
    wrong = said.place != true
    assert [row.margin for row in found.mistakes] == pytest.approx(sorted(said.margin[wrong], reverse=True)[:24])
    assert [row.margin for row in found.unsure] == pytest.approx(sorted(said.margin)[:24])
    for row in found.unsure:
        assert np.array_equal(row.input, x[row.row])
        assert (row.true, row.given) == (true[row.row], said.place[row.row])
    best = said.proba.max(axis=1)
    for mean, share in found.calibration:
        part = np.floor(best * 10) == np.floor(mean * 10)
        assert (mean, share) == pytest.approx((best[part].mean(), (said.place == true)[part].mean()))
    assert len(found.calibration) == len(np.unique(np.minimum(np.floor(best * 10), 9)))
    for layer, (edges, mine, best) in enumerate(found.goodness):
        goodness = said.goodness[:, layer].astype(float)
        own = goodness[np.arange(120), true]
        assert mine == np.histogram(np.clip(own, edges[0], edges[-1]), edges)[0].tolist()
        assert sum(best) == 120


def test_the_page_shows_curves_counts_rows_and_weights(pictures):
    run, data = pictures
    text = page(run)
    read, dataset = Read(text), ffedge.load(data)
    report = json.loads((run / "report.json").read_text())
    assert f"{report['test_accuracy']:.2%}" in read.text("dd")
    titles = read.text("figcaption")
    for title in (
        "Loss of each layer",
        "Accuracy on held-out rows",
        "Goodness of layer 1",
        "Seconds of each layer",
        "Calibration of the probabilities",
    ):
        assert title in titles
    assert any(title.startswith("Gamma") for title in titles)
    assert not re.search('lacking">', text)
    shown = pictures_of(text)
    found = answers(ffedge.Predictor(run / "model.onnx"), dataset)
    rows = [row.input for row in (*found.mistakes, *found.unsure)]
    assert all(np.array_equal(a, b) for a, b in zip(shown, rows, strict=False))
    assert len(shown) == len(rows) + 20  # units of the first layer
    assert all(picture.shape == (12, 12, 3) for picture in shown[len(rows) :])
    last = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()][-1]
    assert f"layer 1 {last['loss']:.4g}" in next(a["aria-label"] for t, a in read.tags if "aria-label" in a)


def test_names_of_strangers_stay_text_and_nothing_is_asked_of_the_network(pictures):
    text = page(pictures[0])
    read = Read(text)
    assert not {tag for tag, _ in read.tags} & {"script", "link", "iframe", "object", "base", "form", "a"}
    for _, attributes in read.tags:
        assert not any(name.startswith("on") for name in attributes)
        assert attributes.get("src", "data:").startswith("data:")
    assert "url(" not in text
    assert "@import" not in text
    policy = next(a["content"] for t, a in read.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'")
    assert any(name.startswith("<script>") for name in read.text("b"))


def test_colours_and_filters_are_pictures_in_colour(colours):
    text = page(colours)
    shown = pictures_of(text)
    assert "First layer: all 6 filters" in text
    assert [picture.shape for picture in shown[-6:]] == [(3, 3, 3)] * 6
    assert shown[0].shape == (12, 12, 3)
    assert "rows held out of training" in text


def test_rows_of_a_table_are_a_table_of_its_columns_by_name(table):
    text = page(table)
    read = Read(text)
    assert {"temp", "site", "<b>odd</b>", "is", "said"} <= set(read.text("th"))
    assert {"north", "south"} & set(read.text("td"))
    assert any("site = north" in a.get("aria-label", "") for _, a in read.tags)
    assert "<b>odd" not in text


def test_rows_of_numbers_are_small_lines(signals):
    text = page(signals)
    assert "rows it learnt from" in text
    assert "30 values from" in text
    assert "input 3" in text


def test_what_is_lacking_is_said_in_a_line_and_the_rest_is_shown(pictures, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(pictures[0], run)
    (run / "metrics.jsonl").write_text('{"layer": 77}\n')
    (run / "checkpoint").rename(tmp_path / "elsewhere")
    text = page(run)
    lines = re.findall(r'<p class="lacking">([^<]*)</p>', text)
    assert len(lines) == 2
    assert "metrics.jsonl: is damaged" in lines[0]
    assert lines[1].startswith("The rows cannot be shown")
    assert "Seconds of each layer" in text
    assert "First layer" in text
    assert "Loss of each layer" not in text
    (run / "metrics.jsonl").write_text("".join((pictures[0] / "metrics.jsonl").read_text().splitlines(True)[:-1]))
    assert re.search(r"metrics.jsonl tells \d+ of \d+ epochs of layers. The others are not shown", page(run))
    again = page(run, str(pictures[1]))  # where the data are is said
    assert "The surest mistakes" in again
    (run / "model.onnx").unlink()
    text = page(run)
    assert "model.onnx: no such file" in text
    assert "Seconds of each layer" in text


def test_other_data_than_the_run_learnt_from_are_not_shown(pictures, tmp_path):
    x, y = np.zeros((30, 12, 12), np.uint8), np.arange(30) % 3
    np.savez(tmp_path / "other.npz", x=x, y=y)
    text = page(pictures[0], str(tmp_path / "other.npz"))
    assert "is not what the run learnt from" in text
    assert "The least sure" not in text


def test_a_model_that_learnt_on_is_told(pictures, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(pictures[0], run)
    assert "has changed since" not in page(run)
    ffedge.recalibrate(run / "model.onnx", str(pictures[1]), coverage=0.5)
    assert "model.onnx has changed since this run" in page(run)


def test_without_a_report_there_is_no_page(tmp_path):
    with pytest.raises(ModelError, match=r"report\.json: cannot be read"):
        page(tmp_path)


def test_the_command_writes_the_page_and_never_over_another_file(pictures, tmp_path, capsys):
    out, run = tmp_path / "out.html", str(pictures[0])
    assert main(["report", run, "--html", str(out)]) == 0
    assert capsys.readouterr().out.startswith(f"page {out}")
    assert out.read_text() == page(pictures[0])
    assert main(["report", run, "--html", str(out)]) == 1
    assert "exists already. Choose another --html, or use --force" in capsys.readouterr().err
    assert main(["report", run, "--html", str(out), "--force"]) == 0


def test_the_command_says_what_is_lacking_in_its_own_words(pictures, tmp_path, capsys):
    np.savez(tmp_path / "other.npz", x=np.zeros((30, 12, 12), np.uint8), y=np.arange(30) % 3)
    words = ["report", str(pictures[0]), "--html", str(tmp_path / "o.html"), "--data", str(tmp_path / "other.npz")]
    assert main(words) == 0
    assert "Pass that as --data" in capsys.readouterr().err


RANGES = [(0.0, 1.0), (-3e-12, 5e-12), (7.0, 7.0), (0.0, 0.0), (1.0, 1.0 + 2e-16), (1e-20, 3e-20)]


@pytest.mark.parametrize("values", RANGES)
def test_ticks_span_what_they_are_for(values):
    found = ticks(*values)
    assert found == sorted(found)
    assert 2 <= len(found) <= 9
    assert found[0] <= values[0] + 1e-12 * abs(values[0])
    assert found[-1] >= values[1] - 1e-12 * abs(values[1])


@pytest.mark.parametrize("bad", [None, float("nan"), float("inf"), 1e308])
def test_a_chart_leaves_out_what_is_no_number(bad):
    chart = line_chart("a", [Line("x", [(1, 0.5), (2, bad), (3, 1.5)])], "epoch")
    assert "nan" not in chart
    assert "inf" not in chart
    assert len(re.search(r'points="([^"]*)"', chart)[1].split()) == 2
    assert line_chart("a", [Line("x", [(1, bad)])], "epoch") == ""
    assert "nan" not in bar_chart("a", [("x", bad or 0.0, "-"), ("y", 2.0, "2")])


def test_long_lines_are_thinned_to_their_ends():
    points = [(float(i), float(i)) for i in range(100_000)]
    few = thinned(points)
    assert len(few) < 300
    assert (few[0], few[-1]) == (points[0], points[-1])


def ticks_of(chart, anchor):
    return re.findall(rf'text-anchor="{anchor}">([^<]*)</text>', chart)


def test_epochs_are_whole_and_shares_end_at_all():
    chart = line_chart("a", [Line("x", [(1, 1.0), (2, 1.0)])], "epoch", per_cent=True)
    assert ticks_of(chart, "middle") == ["1", "2", "epoch"]
    assert "100 %" in ticks_of(chart, "end")
    assert not any(float(tick.split()[0]) > 100 for tick in ticks_of(chart, "end"))


def test_a_sensors_window_is_a_line_for_each_channel(tmp_path):
    rng, y = np.random.default_rng(0), np.arange(200) % 2
    np.savez(tmp_path / "w.npz", x=rng.normal(y[:, None, None], 1, (200, 40, 3)).astype(np.float32), y=y)
    spec = ffedge.Spec.make(widths=(8,), epochs=1, batch_size=32)
    text = page(ffedge.train(spec, tmp_path / "w.npz", tmp_path / "run", progress=False).path)
    card = text.partition('<div class="card">')[2].partition("</div>")[0]
    assert card.count("<polyline") == 3
    assert "120 values from" in card


def bench_result(tmp_path, **changes):
    """Write a result as `ffedge bench --memory` does, of two arms."""
    work = {"data": "x", "widths": [9, 8], "batch_size": 4, "rows": 3000, "epochs": 1, "threads": 2}
    arms = [
        {
            "arm": name,
            "rss_peak_bytes": peak << 20,
            "seconds": seconds,
            "accuracy": 0.875,
            "layers": [{"index": i, "seconds": own, "rss_peak_bytes": (peak - 1) << 20} for i in range(2)],
        }
        for name, peak, seconds, own in (("ffedge-<b>", 40, 1.5, 0.7), ("backprop-adam", 290, 2.5, None))
    ]
    found = {"benchmark": "memory", "machine": {"processor": "some"}, "points": [{"work": work, "measures": arms}]}
    (tmp_path / "memory.json").write_text(json.dumps(found | changes))
    return tmp_path


def test_backprop_stands_beside_where_it_was_measured(pictures, tmp_path):
    text = page(pictures[0], bench=bench_result(tmp_path))
    assert "Beside backpropagation" in text
    said = {a["aria-label"] for t, a in Read(text).tags if "aria-label" in a}
    assert "Peak memory of the process: ffedge-<b> 40 MiB, backprop-adam 290 MiB" in said
    assert "Seconds: ffedge-<b> 1.5 s, backprop-adam 2.5 s" in said
    assert any(line.endswith("at the end ffedge-<b> 39, backprop-adam 289") for line in said)
    assert "compare nothing" not in text
    assert "Beside" not in page(pictures[0])


def test_what_speaks_against_the_seconds_of_bench_is_told(pictures, tmp_path):
    (point,) = json.loads((bench_result(tmp_path) / "memory.json").read_text())["points"]
    folder = bench_result(tmp_path, points=[point | {"doubts": ["other work kept 1.3 cores busy"]}])
    assert "The seconds compare nothing: other work kept 1.3 cores busy." in page(pictures[0], bench=folder)


def test_where_there_is_no_result_of_bench_the_line_names_both_measures(pictures, tmp_path):
    (tmp_path / "inference.json").write_text("{}")
    told = r"cannot be read \(No such file.*\)\. Pass what `ffedge bench --memory` or `ffedge bench --speed` wrote$"
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(DataError, match=told):
            page(pictures[0], bench=path)


@pytest.mark.parametrize("changes", [{"points": []}, {"benchmark": "inference"}, {"points": [{"work": {}}]}])
def test_what_is_no_result_of_bench_is_refused_in_a_line(pictures, tmp_path, capsys, changes):
    folder, out = bench_result(tmp_path, **changes), tmp_path / "o.html"
    assert main(["report", str(pictures[0]), "--html", str(out), "--bench", str(folder)]) == 1
    assert "memory.json: is no result of `ffedge bench --memory`" in capsys.readouterr().err
    assert not out.exists()
