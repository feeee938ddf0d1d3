"""The page as Markdown, for repositories; figures and tables are linked, names are shown as they are."""

import re

from analysis.page import Page, Section, Table
from analysis.text import plain
from study.results import FIGURES_FOLDER

_SPECIAL = re.compile(r"([\\`*_\[\]|~#!$])")


def render(page: Page) -> str:
    parts = [f"# {escaped(page.title)}", escaped(page.question)]
    parts += [block for section in page.sections for block in _section(section)]
    return "\n\n".join(parts) + "\n"


def escaped(text: str) -> str:
    """Text that Markdown and the HTML inside it show as it is."""
    shown = plain(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _SPECIAL.sub(r"\\\1", shown)


def _section(section: Section) -> list[str]:
    blocks = [f"## {escaped(section.title)}", *map(escaped, filter(None, section.paragraphs))]
    if section.points:
        blocks.append("\n".join(f"- {escaped(point)}" for point in section.points))
    blocks += [f"![{escaped(one.alt)}]({FIGURES_FOLDER}/{one.stem}.svg)" for one in section.pictures]
    return blocks + [_table(one) for one in section.tables]


def _table(table: Table) -> str:
    rule = ["---:" if numeric else "---" for numeric in table.numeric]
    rows = [[escaped(cell) for cell in row] for row in (table.header, *table.rows)]
    lines = ["| " + " | ".join(cells) + " |" for cells in (rows[0], rule, *rows[1:])]
    return f"{escaped(table.caption)}\n\n" + "\n".join(lines)
