"""What a reader sees of the page in a real browser: on a phone and on a wide screen, light and dark."""

import base64
import html
import json
import re
import shutil
import subprocess

import pytest

from ffedge.page.page import page
from tests.page.conftest import HOSTILE

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium, which is not installed")

LOOK = """
function look(frame) {
  const doc = frame.contentDocument, view = frame.contentWindow, width = view.innerWidth;
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
    asked: view.performance.getEntriesByType("resource").map(e => e.name).filter(n => !n.startsWith("data:")),
    scripts: doc.scripts.length,
  };
}
addEventListener("load", () => { const out = document.createElement("pre"); out.id = "out";
  out.textContent = btoa(unescape(encodeURIComponent(JSON.stringify(look(document.getElementById("page"))))));
  document.body.append(out); });
"""


def looked(text, tmp_path, width, dark):
    """Open a page in a frame of some width; return what is to be seen of it."""
    frame = f'<iframe id="page" style="width:{width}px;height:900px;border:0" srcdoc="{html.escape(text)}"></iframe>'
    harness = tmp_path / "harness.html"
    scheme = "dark" if dark else "light"
    head = f'<!doctype html><html style="color-scheme:{scheme}"><meta charset="utf-8">'
    harness.write_text(f"{head}<body>{frame}<script>{LOOK}</script></body></html>")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"]
    flags += [f"--blink-settings=preferredColorScheme={0 if dark else 1}", f"--user-data-dir={tmp_path / 'profile'}"]
    flags += ["--window-size=1400,1000", "--virtual-time-budget=10000", "--dump-dom"]
    done = subprocess.run(
        [CHROMIUM, *flags, harness.as_uri()],
        capture_output=True,
        check=False,
        timeout=120,
    )
    found = re.search(rb'<pre id="out">([^<]+)</pre>', done.stdout)
    assert found, done.stderr[-2000:]
    return json.loads(base64.b64decode(found[1]))


@pytest.mark.parametrize(("width", "dark"), [(360, False), (360, True), (1280, False), (1280, True)])
def test_all_is_seen_without_scrolling_sideways_and_stands_out_from_what_is_behind_it(pictures, tmp_path, width, dark):
    seen = looked(page(pictures[0]), tmp_path, width, dark)
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


def test_names_of_strangers_are_read_and_not_obeyed(pictures, tmp_path):
    seen = looked(page(pictures[0]), tmp_path, 800, False)
    assert seen["title"] == "acff on bars"
    assert (seen["scripts"], seen["asked"]) == (0, [])
    assert all(name[:20] in seen["text"] for name in HOSTILE)


@pytest.mark.parametrize("kind", ["colours", "table", "signals"])
def test_other_kinds_of_data_fit_a_phone_too(kind, request, tmp_path):
    seen = looked(page(request.getfixturevalue(kind)), tmp_path, 360, True)
    assert seen["across"] <= 360
    assert seen["loose"] == []
    assert seen["least_contrast"] >= 4.5
    assert all(shown and loaded for shown, loaded, _, _ in seen["pictures"])
