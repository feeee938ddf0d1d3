"""The page as one self-contained HTML file: inline style and script, inline SVG, images as data URIs."""

import base64
import hashlib
import html
import re
from itertools import count
from pathlib import Path

import jinja2
from markupsafe import Markup

from analysis.layout.figures import GRID, INK, PAPER
from analysis.layout.page import Figure, Page
from analysis.layout.text import plain

_HERE = Path(__file__).parent
_COLORS = {INK: "currentColor", GRID: "var(--line)", PAPER: "var(--paper)"}


def render(page: Page) -> str:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        # all other values come from folders, files and study.json
        finalize=lambda value: value if isinstance(value, Markup) else plain(value),
    )
    script, ids = (_HERE / "report.js").read_text(encoding="utf-8"), count(1)
    rendered = environment.get_template("report.html").render(
        page=page,
        # titles may repeat or contain characters that are invalid in an id
        numbered=[(part, [(f"section-{next(ids)}", section) for section in part.sections]) for part in page.parts],
        style=Markup((_HERE / "report.css").read_text(encoding="utf-8")),  # noqa: S704 ours
        script=Markup(script),  # noqa: S704 ours
        # the Content-Security-Policy allows only this script
        script_hash=f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}",
        inline=inline,
    )
    return rendered.lstrip()


def inline(figure: Figure) -> Markup:
    """Return the figure as inline SVG: in the page's colors, with unique ids and a label for screen readers."""
    body = figure.svg[figure.svg.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    # only tags, never the text between them
    body = re.sub(r"<[^>]+>", lambda tag: _tag(tag.group(), figure.stem), body)
    named = f'<svg role="img" aria-label="{html.escape(plain(figure.alt))}" '
    return Markup(named + body.removeprefix("<svg "))  # noqa: S704 ours; matplotlib escapes the text in it


def _tag(tag: str, stem: str) -> str:
    if tag.startswith("<svg"):
        tag = re.sub(r' (width|height)="[^"]*"', "", tag)
    for color, own in _COLORS.items():
        tag = tag.replace(color, own)
    return re.sub(r'( id="|url\(#|href="#)', rf"\g<1>{stem}-", tag)
