"""A run is seen while it trains, and is no other for it."""

import json
import socket

import numpy as np
import pytest
from toys import in_child

import ffedge
from ffedge.cli import main
from ffedge.page.live import Live
from ffedge.training.watch import Progress, Watcher
from tests.page.chromium import needs_chromium
from tests.page.conftest import bars
from tests.page.test_in_chromium import LOOK
from tests.page.test_page import Read
from tests.page.web import ask


class Looks(Watcher):
    """Looks at the page after each epoch."""

    def __init__(self):
        self.seen, self.url = [], ""

    def epoch(self, records):
        self.seen.append(ask(self.url)[2])


@pytest.fixture
def data(tmp_path):
    x, y = bars(360, 0)
    np.savez(tmp_path / "bars.npz", x=x, y=y)
    return tmp_path / "bars.npz"


def test_the_page_grows_with_the_run_whose_weights_stay_bit_for_bit(data, tmp_path):
    spec, looks = ffedge.Spec.make(widths=(20, 12), epochs=2, batch_size=32, holdout=0.2), Looks()
    with Live(looks, 0) as live:
        looks.url = live.url
        assert "Reading the data." in ask(live.url)[2]
        seen = ffedge.train(spec, data, tmp_path / "seen", watcher=live)
    alone = ffedge.train(spec, data, tmp_path / "alone", progress=False)
    assert seen.model.read_bytes() == alone.model.read_bytes()
    assert len(looks.seen) == 4
    first, last = Read(looks.seen[0]), Read(looks.seen[-1])
    assert str(tmp_path / "seen") in first.text("p")
    assert first.text("dd")[:2] == ["0", "1 of 2"]
    assert last.text("dd")[:2] == ["1", "2 of 2"]
    assert "Goodness of layer 1" in last.text("figcaption")
    assert "Goodness of layer 1" not in first.text("figcaption")
    assert "Seconds of each layer" in first.text("figcaption")
    assert {a.get("src") for tag, a in last.tags if tag == "script"} == {"/live.js"}
    with pytest.raises(ConnectionRefusedError):
        ask(live.url)


def test_the_command_says_where_the_page_is_and_stops_with_the_run(data, tmp_path, capsys):
    words = ["train", "--data", str(data), "--widths", "8", "--epochs", "1", "--out", str(tmp_path / "run")]
    assert main([*words, "--live", "0"]) == 0
    line = capsys.readouterr().err.splitlines()[0]
    assert line.endswith("/ shows the run while it trains")
    with pytest.raises(ConnectionRefusedError):
        ask(line.split()[1])


def test_a_port_in_use_is_told_in_a_line_before_anything_is_done(data, tmp_path, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["train", "--data", str(data), "--out", str(tmp_path / "run"), "--live", str(port)]) == 1
    found = capsys.readouterr()
    assert found.err == f"ffedge: port {port} cannot be had (Address already in use). Choose another one\n"
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("port", ["65536", "-1", "x", "80.5"])
def test_what_is_no_port_is_refused(port, capsys):
    assert main(["train", "--live", port]) == 2
    assert "--live must be a port from 0 to 65535" in capsys.readouterr().err


def test_it_plays_no_part_where_nothing_is_trained(capsys):
    assert main(["train", "--live", "0", "--plan"]) == 2
    assert "--live plays no part with --plan" in capsys.readouterr().err


def test_damaged_metrics_are_said_and_disturb_nobody(tmp_path):
    with Live(Watcher(), 0) as live:
        live.begun(tmp_path)
        (tmp_path / "metrics.jsonl").write_text("{\n")
        status, _, text = ask(live.url)
        assert status == 200
        assert "metrics.jsonl: is damaged" in text


def test_it_takes_little_memory(tmp_path):
    line = {"layer": 0, "epoch": 0, "loss": 0.5, "goodness_positive": 2.0, "goodness_negative": 1.0, "accuracy": 0.5}
    line |= {"accuracy_sum": 0.5, "gamma": None, "seconds": 1.0, "rate": 0.1, "rss_start_bytes": 1, "rss_peak_bytes": 2}
    lines = [json.dumps(line | {"layer": i % 4, "epoch": i // 4}) for i in range(400)]
    (tmp_path / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    source = """
        import http.client
        from pathlib import Path
        import ffedge.training.train, ffedge.training.shown
        from ffedge.meter import PeakMeter, rss_bytes
        from ffedge.training.watch import Watcher
        before, meter = rss_bytes(), PeakMeter()
        from ffedge.page.live import Live
        with Live(Watcher(), 0) as live:
            live.begun(Path("."))
            for _ in range(20):
                connection = http.client.HTTPConnection(live.url.split("/")[2])
                connection.request("GET", "/")
                assert b"layer 3" in connection.getresponse().read()
                connection.close()
        print(meter.peak() - before)
    """
    assert int(in_child(source, cwd=tmp_path)) < 10 << 20


@needs_chromium
@pytest.mark.parametrize("dark", [False, True])
def test_the_curves_fit_a_phone_and_stand_out(browser, pictures, dark):
    with Live(Watcher(), 0) as live:
        live.begun(pictures[0])
        live.batch(Progress(1, 2, [1], 2, 3, 30, 40, 960, 0.25, 70 << 20))
        browser.look(390, dark=dark)
        browser.open(live.url)
        seen = browser.run(LOOK)
    assert seen["across"] <= 390
    assert seen["loose"] == []
    assert (sum(seen["back"][:3]) < 200) == dark
    assert min(seen["least_contrast"], seen["least_mark_contrast"]) >= 4.5
    assert seen["lines"]
    assert all(drawn and inside and contrast >= 3 for drawn, inside, contrast in seen["lines"])


@needs_chromium
def test_a_browser_sees_it_go_on_and_end(browser):
    with Live(Watcher(), 0) as live:
        browser.look(390)
        browser.open(live.url)
        assert browser.run("document.body.innerText").strip() == "Training\n\nReading the data."
        live.batch(Progress(0, 2, [0], 4, 9, 30, 40, 960, 0.25, 70 << 20))
        browser.wait("document.body.innerText.includes('5 of 9')")
        assert "70 MiB" in browser.run("document.body.innerText")
        assert browser.errors == []
    browser.wait("document.body.innerText.includes('The run has ended or was stopped')")
    assert "5 of 9" in browser.run("document.body.innerText")
    assert browser.run("document.scrollingElement.scrollWidth") <= 390
    assert all(url.startswith(live.url) for url in browser.asked)
