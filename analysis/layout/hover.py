"""Values that show when the pointer rests on a mark of a figure: SVG's own <title>, which needs no script."""

import html
import re
from collections.abc import Mapping

import pandas as pd

from analysis.layout.text import percent_interval, plain


def titled(svg: str, titles: Mapping[str, str]) -> str:
    """The figure with a title in each group whose id is in `titles`: what an artist was given as its gid."""

    def add(tag: re.Match[str]) -> str:
        title = titles.get(tag[1])
        return tag[0] if title is None else f"{tag[0]}<title>{html.escape(plain(title))}</title>"

    return re.sub(r'<g id="([^"]*)">', add, svg)


def dot_titles(dots: pd.DataFrame) -> dict[str, str]:
    """What the marks of `figures.draw_dots` say, which are numbered from the lowest."""
    rows = enumerate(dots.iloc[::-1].itertuples())
    return {f"dot-{row}": f"{dot.level}: {percent_interval(dot.value, dot.low, dot.high)}" for row, dot in rows}
