"""Values that show when the pointer rests on a mark of a figure: SVG's own <title>, which needs no script."""

import base64
import html
import json
import re
from collections.abc import Iterable, Iterator
from itertools import count

from matplotlib.artist import Artist

from analysis.text import plain

_MARK = "hover:"  # begins the id by which an artist carries its texts into the SVG
_GROUP = re.compile(rf'<g id="{_MARK}([^"]*)">')
_USE = re.compile(r"<use ([^>]*)/>")


def hover(artist: Artist, texts: Iterable[str]) -> None:
    """Give each marker of an artist its text, in the order they are drawn; see `titled`."""
    told = json.dumps([plain(text) for text in texts])
    artist.set_gid(_MARK + base64.urlsafe_b64encode(told.encode()).decode())  # nothing in it needs quoting


def titled(svg: str) -> str:
    """The figure with a <title> in each marker that has a text.

    Where matplotlib drew another number of markers, because some lie outside or are missing, none gets one.
    """
    return "".join(_titled(svg))


def _titled(svg: str) -> Iterator[str]:
    end = 0
    for number in count():
        found = _GROUP.search(svg, end)
        if found is None:
            break
        yield svg[end : found.start()]
        end = _closing(svg, found.end())
        yield _with_titles(
            f'<g id="hover-{number}">{svg[found.end() : end]}', json.loads(base64.urlsafe_b64decode(found[1]))
        )
    yield svg[end:]


def _with_titles(group: str, texts: list[str]) -> str:
    if len(_USE.findall(group)) != len(texts):
        return group
    said = iter(texts)
    return _USE.sub(lambda use: f"<use {use[1]}><title>{html.escape(next(said))}</title></use>", group)


def _closing(svg: str, start: int) -> int:
    """Where the group that was opened before `start` is closed."""
    depth = 1
    for tag in re.compile(r"<g[ >]|</g>").finditer(svg, start):
        depth += -1 if tag.group() == "</g>" else 1
        if depth == 0:
            return tag.end()
    return len(svg)
