"""Every path, link, module and make target that the documentation names exists."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", *(ROOT / "docs").glob("*.md")])
ROOMS = ("analysis", "search_spaces", "study", "trainables", "tests", "clusters", "docs")


@pytest.fixture(params=PAGES, ids=lambda page: page.name)
def page(request: pytest.FixtureRequest) -> Path:
    return request.param


def test_every_path_of_the_project_exists(page: Path) -> None:
    named = set(re.findall(rf"`((?:{'|'.join(ROOMS)})/[\w./-]*)`", page.read_text()))
    assert sorted(path for path in named if not (ROOT / path).exists()) == []


def test_every_link_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)?(?:#([^)]+))?\)", page.read_text())
    for file, heading in links:
        target = page.parent / file if file else page
        assert target.exists(), file
        if heading:
            titles = re.findall(r"^#+ (.*)$", target.read_text(), re.MULTILINE)
            assert heading in [re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles]


def test_every_module_that_is_run_exists(page: Path) -> None:
    for module in re.findall(r"python -m ((?:analysis|study|tests)[\w.]*)", page.read_text()):
        path = ROOT / module.replace(".", "/")
        assert path.with_suffix(".py").exists() or (path / "__main__.py").exists(), module


def test_every_target_of_make_exists(page: Path) -> None:
    phony = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert phony is not None
    code = re.findall(r"`[^`]+`|```.*?```", page.read_text(), re.DOTALL)
    asked = {target for text in code for target in re.findall(r"(?<![\w-])make ([a-z]+(?:-[a-z]+)*)", text)}
    assert asked <= set(phony[1].split())


def test_every_name_in_the_table_of_changes_is_in_its_file() -> None:
    table = (ROOT / "CONTRIBUTING.md").read_text()
    named = re.findall(
        r"`((?:analysis|search_spaces|study|trainables)/[\w./]+\.py)` \(((?:`\w+`(?:, | or )?)+)\)", table
    )
    assert len(named) > 8
    for file, names in named:
        for name in re.findall(r"`(\w+)`", names):
            assert re.search(rf"\b{name}\b", (ROOT / file).read_text()), f"{file} has no {name}"


def test_every_folder_of_a_study_in_security_is_written_by_the_code() -> None:
    code = "".join(file.read_text() for file in (ROOT / "study").rglob("*.py"))
    for folder in re.findall(r"`OUT/(\.?\w+)", (ROOT / "SECURITY.md").read_text()):
        assert f'"{folder}"' in code, folder
