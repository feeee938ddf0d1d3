"""Any name at all stays text: in HTML, Markdown, CSV, a terminal, TensorBoard, and in the manifest's files."""

import csv
import io
import re
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import metadata

from analysis.layout import markdown, webpage
from analysis.layout.page import Page, Part, Section, Table
from analysis.layout.text import plain
from study.design.plan import Planned
from study.persistence.ledger import Record
from study.tracking.display import Display
from study.tracking.tensorboard import EventFiles
from study.writing import printable, write_table
from tests.courses import CONFIG, small_study
from tests.simulated import progress
from tests.tags import Tags
from tests.trees import table
from trainables.data.manifest import manifest_hash

# Pieces that mean something to one of the readers, between any characters but lone surrogates, which no file keeps.
MARKS = (
    "<",
    "</script>",
    "<img src=x onerror=a()>",
    "&lt;",
    '"',
    "'",
    "|",
    "`",
    "](x:y)",
    "\\",
    "{{7*7}}",
    "=",
    "@",
    "+1",
    "-1",
)
SIGNS = ("\n", "\r", "\t", "\x1b[31m", "\x9b2J", "\u202e", "\x00", "🐶")
PIECES = st.one_of(st.sampled_from([*MARKS, *SIGNS]), st.text(max_size=4))
NAMES = st.lists(PIECES, min_size=1, max_size=6).map("".join)
WILD = settings(max_examples=30)


def page(name: str) -> Page:
    rows = [[plain(name), "1"]]
    one = Section(name, [name], [name], tables=[Table("t", name, [name, "n"], rows, pd.DataFrame())], below=[name])
    return Page(name, name, name, [Part(name, [one])], [name])


EMPTY = Tags(webpage.render(page("x")))


@given(NAMES)
@settings(max_examples=12)
def test_in_html_it_adds_no_tag_and_no_attribute(name: str) -> None:
    text = webpage.render(page(f"n{name}"))
    seen = Tags(text)
    assert seen.tags == EMPTY.tags
    assert {key for key, _ in seen.attributes} == {key for key, _ in EMPTY.attributes}
    assert text.count("<") == webpage.render(page("x")).count("<")
    assert not set(text) & {"\x00", "\x1b", "\x9b", "\u202e"}


@given(NAMES)
@WILD
def test_in_markdown_nothing_of_it_is_markup(name: str) -> None:
    text = markdown.escaped(name)
    assert not set(text) & set("<>\n\r\x1b\x00")
    bare = text.replace("\\\\", "")
    assert all(bare[place - 1] == "\\" for place, sign in enumerate(bare) if sign in "`*_[]|~#!$")


@given(NAMES)
@WILD
def test_in_a_csv_it_is_one_cell_and_no_formula(name: str) -> None:
    with TemporaryDirectory() as folder:
        file = Path(folder) / "t.csv"
        write_table(pd.DataFrame({name: [name], "other": ["x"]}), file)
        rows = list(csv.reader(io.StringIO(file.read_bytes().decode(), newline="")))
    assert [len(row) for row in rows] == [2, 2]
    shown = re.sub("[\x00-\x08\x0b-\x1f\x7f-\x9f]", " ", name)
    for cell in (rows[0][0], rows[1][0]):
        assert cell in (shown, f"'{shown}")
        assert cell[:1] not in ("=", "+", "-", "@", "\t", "\r") or cell.strip("+-").replace(".", "").isdigit()


@given(NAMES)
@WILD
def test_on_a_terminal_it_is_one_line_without_commands(name: str) -> None:
    assert printable(name).isprintable()
    shown = Console(file=io.StringIO(), force_terminal=True, width=10_000, color_system=None)
    planned = Planned("search-0001", "search", {"augmentation": name}, {})
    record = Record(planned, CONFIG, status="failed", error=name)
    display = Display(name, "val_accuracy", progress([record]), shown)
    display.hear("end", record)
    assert display.line(record).isprintable()
    assert display.summary().isprintable()


@given(NAMES)
@settings(max_examples=8)
def test_in_tensorboard_it_is_a_value(name: str) -> None:
    study = small_study({"backbone": [name, f"{name}x"]})
    with TemporaryDirectory() as folder:
        events = EventFiles(Path(folder), study)
        planned = Planned("search-0001", "search", {"backbone": name}, {})
        events.hear("end", Record(planned, CONFIG, status="failed"))
        events.close()
        read = EventAccumulator(str(Path(folder) / "tensorboard" / "search-0001"))
        read.Reload()
        content = read.summary_metadata[metadata.SESSION_START_INFO_TAG].plugin_data.content
        values = metadata.parse_session_start_info_plugin_data(content).hparams
        assert values["backbone"].string_value == name


@given(st.lists(NAMES, min_size=2, max_size=4, unique=True))
@WILD
def test_in_the_manifest_it_comes_back_as_it_was(names: list[str]) -> None:
    manifest = table({name: [1, 2] for name in names})
    manifest["path"] = [f"{name}/{item}" for name, item in zip(manifest["label_name"], manifest["item"], strict=True)]
    manifest["sha256"] = "0"
    with TemporaryDirectory() as folder:
        write_table(manifest, Path(folder) / "manifest.parquet")
        again = pd.read_parquet(Path(folder) / "manifest.parquet")
    assert list(again["label_name"]) == list(manifest["label_name"])
    assert manifest_hash(again) == manifest_hash(manifest)
    other = manifest.assign(label_name=manifest["label_name"].replace({names[0]: f"{names[0]}x"}))
    assert manifest_hash(other) != manifest_hash(manifest)
