"""The notebooks, on studies that are fabricated; tests/test_study_run.py opens one on a real study."""

import ast
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fabricated import Plan, fabricate
from tests.notebooks import FOLDER, read, run, said, surroundings

NOTEBOOKS = sorted(path.name for path in FOLDER.glob("*.ipynb"))


@pytest.fixture(scope="module", autouse=True)
def studies(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A study, named to the notebooks; everything that Jupyter writes stays here."""
    folder = tmp_path_factory.mktemp("studies")
    fabricate(folder / "one", Plan(accuracy={("backbone", "small"): 0.8}))
    with pytest.MonkeyPatch.context() as patch:
        surroundings(patch, folder, STUDY=folder / "one", FIGURE=folder / "figure.pdf")
        yield folder


def test_there_is_one_to_explore_and_one_for_a_paper() -> None:
    assert NOTEBOOKS == ["explore.ipynb", "paper.ipynb"]


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_keeps_no_output_and_defines_nothing(name: str) -> None:
    code = [cell for cell in read(name).cells if cell["cell_type"] == "code"]
    assert all(not cell["outputs"] and cell["execution_count"] is None for cell in code)
    nodes = [node for cell in code for node in ast.walk(ast.parse(cell["source"]))]
    assert not [node for node in nodes if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Lambda)]


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_uses_analysis_and_the_tables_only(name: str) -> None:
    trees = [ast.parse(cell["source"]) for cell in read(name).cells if cell["cell_type"] == "code"]
    modules = {node.module for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    ours = {str(module) for module in modules if str(module).split(".")[0] in ("analysis", "study", "trainables")}
    assert {module for module in ours if not module.startswith("analysis")} == {"study.results"}


def test_a_study_is_explored_without_torch_or_ray(studies: Path) -> None:
    cells = run("explore.ipynb").cells
    assert said(cells[-1]) == "[]\n"
    everything = "".join(said(cell) for cell in cells if cell["cell_type"] == "code")
    question = json.loads((studies / "one" / "study.json").read_text())["question"]
    assert question in everything
    # One figure a factor, one of learning, two of the search.
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    figures = [output for output in outputs if "image/svg+xml" in output.get("data", {})]
    assert len(figures) == 3 + 1 + 2


def test_a_figure_for_a_paper_is_written_without_torch_or_ray(studies: Path) -> None:
    cells = run("paper.ipynb").cells
    assert said(cells[-1]) == "[]\n"
    assert (studies / "figure.pdf").read_bytes().startswith(b"%PDF")
    assert "\\begin{tabular}" in said(cells[-2])
