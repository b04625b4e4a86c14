"""A page as HTML that forbids itself the network, and the parts that all pages have."""

from collections.abc import Sequence
from html import escape
from pathlib import Path

from ffedge.errors import one_line

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"  # no script, and nothing of the network


def section(title: str, figures: Sequence[str]) -> str:
    """Return figures under a title; empty where there are none."""
    shown = "".join(figures)
    return f'<section><h2>{escape(title)}</h2><div class="grid">{shown}</div></section>' if shown else ""


def lacking_lines(lines: Sequence[str]) -> str:
    """Return what is to be known first, a line each."""
    return "".join(f'<p class="lacking">{escape(one_line(line))}</p>' for line in lines)


def document(title: str, sections: Sequence[str], script: str = "", policy: str = POLICY) -> str:
    """Return a page; `script` is the path that a server has one at, which the policy must allow."""
    style = Path(__file__).with_name("style.css").read_text()
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark"><meta name="referrer" content="no-referrer">'
        f"<title>{escape(title)}</title><style>{style}</style>"
        + (f'<script src="{script}" defer></script>' if script else "")
        + "</head><body><main>\n"
        + "\n".join(section for section in sections if section)
        + "\n</main></body></html>\n"
    )
