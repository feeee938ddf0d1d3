"""The page as one HTML file that asks for nothing: inline style, inline SVG, pictures as data URIs."""

import html
import re
from pathlib import Path

import jinja2
from markupsafe import Markup

from analysis.figures import GRID, INK, PAPER
from analysis.page import Page, Picture
from analysis.text import plain

_HERE = Path(__file__).parent
_COLOURS = {INK: "currentColor", GRID: "var(--line)", PAPER: "var(--paper)"}


def render(page: Page) -> str:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        # what is not markup of ours comes from folders, files and study.json
        finalize=lambda value: value if isinstance(value, Markup) else plain(value),
    )
    style = Markup((_HERE / "report.css").read_text(encoding="utf-8"))  # noqa: S704 ours
    return environment.get_template("report.html").render(page=page, style=style, inline=inline)


def inline(picture: Picture) -> Markup:
    """The figure for inside a page: in the page's colours, with its own ids and words for screen readers."""
    body = picture.svg[picture.svg.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    # tags alone, never the text between them
    body = re.sub(r"<[^>]+>", lambda tag: _tag(tag.group(), picture.stem), body)
    named = f'<svg role="img" aria-label="{html.escape(plain(picture.alt))}" '
    return Markup(named + body.removeprefix("<svg "))  # noqa: S704 ours; matplotlib escapes the text in it


def _tag(tag: str, stem: str) -> str:
    if tag.startswith("<svg"):
        tag = re.sub(r' (width|height)="[^"]*"', "", tag)
    for colour, own in _COLOURS.items():
        tag = tag.replace(colour, own)
    return re.sub(r'( id="|url\(#|href="#)', rf"\g<1>{stem}-", tag)
