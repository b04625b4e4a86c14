"""The demo in a real browser: strokes, pictures, forms and rows of numbers are answered, and corrections taken up."""

import numpy as np
import pytest

import ffedge
from ffedge.page.demo import Demo
from tests.page.chromium import needs_chromium
from tests.page.conftest import HOSTILE, bars
from tests.page.test_in_chromium import LOOK


def across(browser, *points):
    """Draw a line over the canvas, through points given as shares of its width and height."""
    box = "(() => { const r = document.querySelector('canvas').getBoundingClientRect();"
    left, top, width, height = browser.run(f"{box} return [r.left, r.top, r.width, r.height]; }})()")
    browser.mouse(*[(left + width * x, top + height * y) for x, y in points])


@needs_chromium
@pytest.mark.parametrize("dark", [False, True])
def test_a_stroke_is_answered_and_a_correction_is_taken_up(browser, served, pictures, dark):
    model, url = served(pictures[0])
    browser.look(390, dark=dark)
    browser.open(url)
    assert browser.run("document.title") == "ffedge demo"
    assert browser.run("document.getElementById('correct').hidden")
    across(browser, (0.05, 0.38), (0.5, 0.38), (0.95, 0.38))
    browser.wait("document.querySelector('.said b')")
    said = browser.run("document.querySelector('.said b').textContent")
    assert said in HOSTILE
    other = next(name for name in HOSTILE if name != said)
    browser.run(
        f"document.getElementById('right').selectedIndex = {list(ffedge.Predictor(model).classes).index(other)}"
    )
    browser.run("document.querySelector('#correct button').click()")
    browser.wait("document.getElementById('learnt').textContent.includes('no file has changed')")
    assert browser.run("document.querySelectorAll('.said').length") == 2
    assert browser.run("document.querySelectorAll('.said')[1].textContent").startswith(
        f"The model in the file says {said}"
    )
    told = browser.run("document.getElementById('learnt').textContent")
    if "so, too" in told:
        assert browser.run("document.querySelector('.said b').textContent") == other
    seen = browser.run(LOOK)
    assert seen["across"] <= 390
    assert seen["loose"] == []
    assert seen["least_contrast"] >= 4.5
    ends = "[...document.querySelectorAll('.bars tr td:nth-child(2) .share')].map(e => e.getBoundingClientRect())"
    assert browser.run(f"{ends}.some(r => r.width > 10) && {ends}.every(r => r.right <= 390)")
    for name, then in (("An example", "'learnt').textContent.startsWith('A kept')"), ("Clear", "'correct').hidden")):
        browser.run(f"[...document.querySelectorAll('button')].find(b => b.textContent === '{name}').click()")
        browser.wait(f"document.getElementById({then}")
    assert browser.errors == []
    assert all(each.startswith(url) for each in browser.asked)


@needs_chromium
def test_a_picture_is_chosen_for_a_model_of_colours(browser, served, colours, tmp_path):
    from PIL import Image

    model, url = served(colours)
    x = bars(1, 3, (12, 12, 3))[0][0]
    Image.fromarray(x).save(tmp_path / "x.png")
    browser.open(url)
    node = browser.call("DOM.getDocument")["root"]["nodeId"]
    file = browser.call("DOM.querySelector", nodeId=node, selector="input[type=file]")["nodeId"]
    browser.call("DOM.setFileInputFiles", nodeId=file, files=[str(tmp_path / "x.png")])
    browser.wait("document.querySelector('.said b')")
    found = ffedge.Predictor(model).predict(x)
    assert browser.run("document.querySelector('.said b').textContent") == found.classes[found.place[0]]
    first = browser.run("document.querySelector('.bars td').textContent")
    assert first in (f"{100 * found.proba[0].max():.1f} %", f"{found.scores[0].max():.3g}")
    browser.run("[...document.querySelectorAll('button')].find(b => b.textContent === 'An example').click()")
    browser.wait("document.getElementById('learnt').textContent.startsWith('A kept')")
    shown = browser.run("[...document.querySelector('canvas').getContext('2d').getImageData(0, 0, 12, 12).data]")
    pixels = np.array(shown, np.uint8).reshape(144, 4)[:, :3].reshape(12, 12, 3)
    found = ffedge.Predictor(model).predict(pixels)
    assert browser.run("document.querySelector('.said b').textContent") == found.classes[found.place[0]]
    (tmp_path / "bad.png").write_text("no picture")
    browser.call("DOM.setFileInputFiles", nodeId=file, files=[str(tmp_path / "bad.png")])
    browser.wait("document.body.innerText.includes('This file is no picture that the browser can read.')")


@needs_chromium
def test_a_form_of_the_columns_asks_as_it_is_filled_in(browser, served, table):
    _, url = served(table)
    browser.look(390)
    browser.open(url)
    assert browser.run("[...document.querySelectorAll('.field')].map(e => e.firstChild.data)") == [
        "temp",
        "site",
        "<b>odd</b>",
    ]
    for value, said in (("28.5", "hot"), ("20", "mild")):
        browser.run(
            f"(() => {{ const e = document.querySelector('[name=temp]'); e.value = '{value}';"
            "e.dispatchEvent(new Event('input', {bubbles: true})); })()"
        )
        browser.wait(f"document.querySelector('.said b')?.textContent === '{said}'")
    browser.run(
        "(() => { const e = document.querySelector('[name=temp]'); e.value = 'warm';"
        "e.dispatchEvent(new Event('input', {bubbles: true})); })()"
    )
    browser.wait("document.body.innerText.includes(\"column 'temp' must be a number\")")
    assert browser.run("document.scrollingElement.scrollWidth") <= 390
    assert not browser.run("document.querySelector('#demo b b')")


@needs_chromium
def test_rows_of_numbers_are_written_and_an_end_is_told(browser, copied, signals):
    with Demo(copied(signals)).site(0) as site:
        browser.open(site.url)
        typed = "(() => { const e = document.querySelector('textarea'); e.value = '%s';"
        typed += "e.dispatchEvent(new Event('input', {bubbles: true})); })()"
        browser.run(typed % ", ".join(["1.5"] * 30))
        browser.wait("document.querySelector('.said b')?.textContent === '1'")
        browser.run("[...document.querySelectorAll('button')].find(b => b.textContent === 'An example').click()")
        browser.wait("document.querySelector('textarea').value.split(' ').length === 30")
        browser.wait("document.getElementById('learnt').textContent.startsWith('A kept')")
        browser.run(typed % "1 2 x")
        browser.wait("document.body.innerText.includes('a list of 30 numbers')")
    browser.run(typed % "1 2 3")
    browser.wait("document.body.innerText.includes('ffedge demo has ended')")
