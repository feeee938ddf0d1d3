"""Names that mean harm stay text wherever a report writes them."""

import csv
import re

import pandas as pd
import pytest
from PIL import Image

from analysis import report
from study import results
from tests.fabricated import Plan, fabricate, rewrite
from tests.tags import Tags

HOSTILE = (
    "</script><script>alert(1)</script>",
    "=cmd()|' /C calc'!A0",
    "a|b `c` *d* [e](javascript:alert(1))",
    "line\nbreak\x07\u202ereversed",
    '" onmouseover="alert(1)',
    "$x_1$ {{ 7*7 }}",
)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """Class names, levels, a factor, an error and an unknown key that mean harm."""
    folder = tmp_path_factory.mktemp("hostile") / "study"
    factor = "<b>f</b>"
    plan = Plan(
        factors={factor: list(HOSTILE[:3]), "other": ["=1+1", "x"]},
        winner={factor: HOSTILE[0], "other": "x"},
        classes=HOSTILE,
        items=60,
        extra={
            "question": HOSTILE[0],
            "<i>odd</i>": [HOSTILE[1], {"deep": HOSTILE[0]}],
            "deviations": [HOSTILE[4]],
        },
    )
    fabricate(folder, plan)
    rewrite(folder, "trials", lambda t: t.assign(error=t["error"].mask(t["status"] == "failed", HOSTILE[0])))
    examples = folder / results.EXAMPLES_FOLDER
    examples.mkdir()
    Image.new("RGB", (4, 4)).save(examples / "one.png")
    (folder / "outside.png").write_bytes(b"not to be embedded")
    rows = [
        ("one.png", HOSTILE[0], HOSTILE[4], 0.5),
        ("../outside.png", "a", "a", 1),
        ("gone.png", "a", "a", 1),
    ]
    frame = pd.DataFrame(rows, columns=list(results.EXAMPLES_COLUMNS))
    frame.to_csv(examples / results.EXAMPLES_FILE, index=False)
    assert report.main([str(folder)]) == 0
    return folder


def test_hostile_names_stay_text_in_html(hostile):
    text = (hostile / results.REPORT_HTML).read_text()
    page = Tags(text)
    assert not page.tags & {"b", "i"}
    assert text.count("<script") == 1
    assert not [key for key, _ in page.attributes if key.startswith("on")]
    assert "&lt;/script&gt;&lt;script&gt;alert(1)" in text
    assert "{{ 7*7 }}" in text
    assert not re.findall("[\x00-\x08\x0b-\x1f\u202e]", text)


def test_a_name_is_no_formula_in_a_figure(hostile):
    assert "$x_1$ {{ 7*7 }}</text>" in (hostile / "figures" / "confusion.svg").read_text()


def test_hostile_names_stay_text_in_markdown(hostile):
    text = (hostile / results.REPORT_MARKDOWN).read_text()
    assert "<script" not in text
    assert not re.findall(r"(?<!\\)\]\(javascript", text)
    tables_in_it = re.findall(r"(?:^\|.*\n)+", text, flags=re.MULTILINE)
    assert tables_in_it
    for table in tables_in_it:  # a name with a bar must not open a column
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1


def test_hostile_names_run_in_no_spreadsheet(hostile):
    files = [hostile / results.ANSWERS_FILE, *(hostile / results.TABLES_FOLDER).glob("*.csv")]
    cells = [cell for file in files for row in csv.reader(file.open(newline="")) for cell in row]
    assert "'=1+1" in cells
    for cell in cells:
        assert not cell.startswith(("=", "+", "@"))
        assert not cell.startswith("-") or float(cell) < 0


def test_only_images_of_the_examples_folder_are_embedded(hostile):
    text = (hostile / results.REPORT_HTML).read_text()
    assert text.count('src="data:image/png;base64,') == 1
