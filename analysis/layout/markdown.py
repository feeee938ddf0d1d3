"""The page as Markdown, for repositories. Figures are linked; names are escaped."""

import re
from urllib.parse import quote

from analysis.layout.page import Code, Gallery, Page, Section, Table, Thumbnail
from analysis.layout.text import plain
from study.results import EXAMPLES_FOLDER, FIGURES_FOLDER

_SPECIAL = re.compile(r"([\\`*_\[\]|~#!$])")


def render(page: Page) -> str:
    parts = [f"# {escaped(page.title)}", escaped(page.question), *(f"> {escaped(note)}" for note in page.notes)]
    parts += [block for section in page.sections for block in _section(section)]
    return "\n\n".join(parts) + "\n"


def escaped(text: str) -> str:
    """Escape text for Markdown and the HTML inside it."""
    shown = plain(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _SPECIAL.sub(r"\\\1", shown)


def _section(section: Section) -> list[str]:
    blocks = [f"## {escaped(section.title)}", *map(escaped, filter(None, section.paragraphs))]
    if section.points:
        blocks.append("\n".join(f"- {escaped(point)}" for point in section.points))
    blocks += [f"![{escaped(figure.alt)}]({FIGURES_FOLDER}/{figure.stem}.svg)" for figure in section.figures]
    blocks += [block for gallery in section.galleries for block in _gallery(gallery)]
    blocks += map(_table, section.tables)
    blocks += map(_code, section.code)
    below = "\n".join(f"- {escaped(sentence)}" for sentence in section.below if sentence)
    return [*blocks, below] if below else blocks


def _gallery(gallery: Gallery) -> list[str]:
    return [f"### {escaped(gallery.title)}", "\n".join(map(_example, gallery.thumbnails))]


def _example(thumbnail: Thumbnail) -> str:
    files = [file for file in (thumbnail.file, thumbnail.heatmap_file) if file]
    shown = " ".join(f"![{escaped(thumbnail.label)}]({EXAMPLES_FOLDER}/{quote(file)})" for file in files)
    true_class = "" if thumbnail.label == thumbnail.predicted else f" (true class {escaped(thumbnail.label)})"
    return f"- {shown} {escaped(thumbnail.predicted)}, {escaped(thumbnail.confidence)}{true_class}"


def _code(code: Code) -> str:
    return "\n".join([f"{escaped(code.caption)}\n", f"```{code.language}", *map(plain, code.lines), "```"])


def _table(table: Table) -> str:
    rule = ["---:" if numeric else "---" for numeric in table.numeric]
    rows = [[escaped(cell) for cell in row] for row in (table.header, *table.rows)]
    lines = ["| " + " | ".join(cells) + " |" for cells in (rows[0], rule, *rows[1:])]
    return f"{escaped(table.caption)}\n\n" + "\n".join(lines)
