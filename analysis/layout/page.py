"""The report as plain data: titles, sentences, tables, figures. HTML and Markdown render the same page."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from analysis.layout.text import NOTHING, cell_text, plain
from study.results import TABLES_FOLDER

MOST_ROWS = 50  # shown in the report
Cell = str | Callable[[Any], object]  # a column name, or a function from a row (a named tuple) to its text

# A number with a unit, optionally followed by parentheses: 12 s, 4.0M (12.8k), 91.3% (89.9 to 92.7).
_NUMBER = re.compile(r"−?\d[\d,.]*(e[-+]\d+)?\s?(%|s|min|h|k|M|MB|ms)?( \(.*\))?")


@dataclass(frozen=True)
class Table:
    """A table as shown (`header`, `rows` of text) and as data (`frame`, written to tables/`stem`.csv)."""

    stem: str
    caption: str
    header: list[str]
    rows: list[list[str]]
    frame: pd.DataFrame
    stacked: bool = False  # on a phone, each row becomes a block

    @property
    def numeric(self) -> list[bool]:
        """Whether each column holds numbers, which are right-aligned; the first column names the row."""
        columns = [[row[i] for row in self.rows if row[i] != NOTHING] for i in range(len(self.header))]
        return [i > 0 and len(cells) > 0 and all(map(_NUMBER.fullmatch, cells)) for i, cells in enumerate(columns)]


@dataclass(frozen=True)
class Figure:
    """A figure: `title` stands above it, `alt` describes it in words."""

    stem: str
    title: str
    alt: str
    svg: str
    wide: bool = False  # spans the page


@dataclass(frozen=True)
class Thumbnail:
    """An example image as a data URI, with a Grad-CAM heat map if there is one."""

    source: str
    label: str
    predicted: str
    confidence: str
    heatmap: str = ""
    energy: str = ""  # share of the heat map's energy inside the object's box
    file: str = ""  # name in examples/, for pages that link to it
    heatmap_file: str = ""


@dataclass(frozen=True)
class Gallery:
    """Images of one kind."""

    title: str
    thumbnails: list[Thumbnail]


@dataclass(frozen=True)
class Code:
    """Lines to paste, with what they are for."""

    caption: str
    language: str  # as Markdown names it
    lines: list[str]


@dataclass(frozen=True)
class Section:
    title: str
    paragraphs: list[str] = field(default_factory=list)
    points: list[str] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)
    galleries: list[Gallery] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    code: list[Code] = field(default_factory=list)
    below: list[str] = field(default_factory=list)  # sentences under the tables


@dataclass(frozen=True)
class Part:
    """Sections under one heading of the table of contents."""

    title: str
    sections: list[Section]


@dataclass(frozen=True)
class Page:
    title: str
    dataset: str
    question: str
    parts: list[Part]
    notes: list[str] = field(default_factory=list)  # above everything else

    @property
    def sections(self) -> list[Section]:
        return [section for part in self.parts for section in part.sections]


def table(
    stem: str,
    caption: str,
    frame: pd.DataFrame,
    shown: Mapping[str, Cell],
    most: int = MOST_ROWS,
    *,
    stacked: bool = False,
) -> Table:
    """Return the first `most` rows of `frame` as text; `shown` maps each header to its cells."""
    head = frame.head(most)
    columns = [
        [cell_text(cell, value) for value in head[cell]] if isinstance(cell, str) else map(cell, head.itertuples())
        for cell in shown.values()
    ]
    rows = [list(map(plain, row)) for row in zip(*columns, strict=True)]
    if len(frame) > most:
        caption += f" (the first {most} of {len(frame)}; all are in {TABLES_FOLDER}/{stem}.csv)"
    return Table(stem, caption, list(shown), rows, frame, stacked)
