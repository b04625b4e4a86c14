"""What a reader sees of the page in a real browser: on a phone and on a wide screen, light and dark."""

import pytest

from ffedge.page.page import page
from tests.page.chromium import needs_chromium
from tests.page.conftest import HOSTILE

pytestmark = needs_chromium

LOOK = """
(() => {
  const doc = document, view = window, width = view.innerWidth;
  const rgb = text => { const c = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
    c.fillStyle = text; c.fillRect(0, 0, 1, 1); return [...c.getImageData(0, 0, 1, 1).data]; };
  const light = ([r, g, b]) => { const f = v => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
    return 0.2126 * f(r) + 0.7152 * f(g) + 0.0722 * f(b); };
  const back = rgb(view.getComputedStyle(doc.body).backgroundColor);
  const contrast = (text, behind) => { const a = light(text), b = light(behind);
    return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05); };
  const behind = el => { for (let e = el; e; e = e.parentElement) {
      const c = view.getComputedStyle(e).backgroundColor, a = rgb(c);
      const m = /\\/ ([\\d.]+)\\)|rgba\\(.*, ([\\d.]+)\\)/.exec(c), alpha = m ? +(m[1] || m[2]) : 1;
      if (c !== "rgba(0, 0, 0, 0)" && alpha > 0) { const full = rgb(c.replace(/\\/? ?,? ?[\\d.]+\\)$/, ")"));
        return m ? full.slice(0, 3).map((v, i) => v * alpha + back[i] * (1 - alpha)) : a; } }
    return back; };
  const seen = el => { const r = el.getBoundingClientRect(), s = view.getComputedStyle(el);
    return r.width > 0 && r.height > 0 && s.visibility === "visible" && +s.opacity > 0; };
  const texts = [...doc.querySelectorAll("h1,h2,p,dt,dd,figcaption,li,td,th,small,footer")].filter(seen);
  const marks = [...doc.querySelectorAll("svg text")].filter(seen);
  const inside = el => { const r = el.getBoundingClientRect(); return r.left >= -1 && r.right <= width + 1; };
  const loose = [...doc.querySelectorAll("h1,h2,p,dt,dd,figcaption,li,small,footer,svg,img")].filter(e => !inside(e));
  return {
    width, across: doc.scrollingElement.scrollWidth, back, text: doc.body.innerText, title: doc.title,
    least_contrast: Math.min(...texts.map(e => contrast(rgb(view.getComputedStyle(e).color), behind(e)))),
    least_mark_contrast: Math.min(...marks.map(e => contrast(rgb(view.getComputedStyle(e).fill), back))),
    least_text_px: Math.min(...marks.map(e => e.getBoundingClientRect().height)),
    loose: loose.map(e => e.outerHTML.slice(0, 80)),
    pictures: [...doc.images].map(i => [seen(i), i.complete, i.naturalWidth, i.getBoundingClientRect().width]),
    lines: [...doc.querySelectorAll("polyline")].map(e => { const r = e.getBoundingClientRect(),
      s = e.ownerSVGElement.getBoundingClientRect();
      const across = r.left >= s.left - 3 && r.right <= s.right + 3;
      return [r.width > 20, across && r.top >= s.top - 3 && r.bottom <= s.bottom + 3,
        contrast(rgb(view.getComputedStyle(e).stroke), back)]; }),
    scripts: doc.scripts.length,
  };
})()
"""


def looked(browser, text, tmp_path, width, dark):
    """Open a page on a screen of some width; return what is to be seen of it, and that it asked for nothing."""
    (tmp_path / "page.html").write_text(text)
    browser.look(width, dark=dark)
    browser.open((tmp_path / "page.html").as_uri())
    seen = browser.run(LOOK)
    assert browser.errors == []
    assert browser.asked == [(tmp_path / "page.html").as_uri()]
    return seen


@pytest.mark.parametrize(("width", "dark"), [(390, False), (390, True), (1280, False), (1280, True)])
def test_all_is_seen_without_scrolling_sideways_and_stands_out_from_what_is_behind_it(
    browser, pictures, tmp_path, width, dark
):
    seen = looked(browser, page(pictures[0]), tmp_path, width, dark)
    assert seen["width"] == width
    assert seen["across"] <= width
    assert seen["loose"] == []
    assert (sum(seen["back"][:3]) < 200) == dark
    assert seen["least_contrast"] >= 4.5
    assert seen["least_mark_contrast"] >= 4.5
    assert seen["least_text_px"] >= 9
    assert seen["pictures"]
    assert all(shown and loaded and own == 12 and 40 <= px <= 110 for shown, loaded, own, px in seen["pictures"])
    assert seen["lines"]
    assert all(drawn and inside and contrast >= 3 for drawn, inside, contrast in seen["lines"])
    for words in ("test accuracy", "Loss of each layer", "The surest mistakes", "The least sure", "First layer"):
        assert words in seen["text"]


def test_names_of_strangers_are_read_and_not_obeyed(browser, pictures, tmp_path):
    seen = looked(browser, page(pictures[0]), tmp_path, 800, False)
    assert seen["title"] == "acff on bars"
    assert seen["scripts"] == 0
    assert all(name[:20] in seen["text"] for name in HOSTILE)


@pytest.mark.parametrize("kind", ["colours", "table", "signals"])
def test_other_kinds_of_data_fit_a_phone_too(browser, kind, request, tmp_path):
    seen = looked(browser, page(request.getfixturevalue(kind)), tmp_path, 360, True)
    assert seen["across"] <= 360
    assert seen["loose"] == []
    assert seen["least_contrast"] >= 4.5
    assert all(shown and loaded for shown, loaded, _, _ in seen["pictures"])


def test_a_page_that_asks_or_errs_is_found_out(browser, tmp_path):
    """Guards the tests above."""
    bad = '<img src="http://127.0.0.1:9/x"><p style="width:2000px;color:#eee">wide</p><script>nothing()</script>'
    (tmp_path / "bad.html").write_text(bad)
    browser.look(390)
    browser.open((tmp_path / "bad.html").as_uri())
    assert browser.run("document.scrollingElement.scrollWidth") > 390
    assert browser.asked[1:] == ["http://127.0.0.1:9/x"]
    assert any("nothing is not defined" in str(error) for error in browser.errors)
