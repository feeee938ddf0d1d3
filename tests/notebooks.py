"""The notebooks run from the first cell to the last by a real kernel, as Jupyter does it."""

from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

FOLDER = Path(__file__).parent.parent / "analysis" / "notebooks"
HEAVY = "import sys\nprint(sorted({'torch', 'torchvision', 'timm', 'ray'} & set(sys.modules)))"
_JUPYTER = ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR", "MPLCONFIGDIR")


def surroundings(patch: pytest.MonkeyPatch, folder: Path, **named: object) -> None:
    """What the notebooks are told by the environment; everything that Jupyter writes stays in `folder`."""
    for name, value in (named | {name: folder / name.lower() for name in _JUPYTER}).items():
        patch.setenv(name, str(value))
    patch.setenv("PYTHONPATH", str(FOLDER.parent.parent))


def read(name: str) -> Any:
    return nbformat.read(FOLDER / name, as_version=4)


def run(name: str) -> Any:
    """The notebook after its last cell, and one more that prints which heavy packages it loaded."""
    notebook = read(name)
    notebook.cells.append(nbformat.v4.new_code_cell(HEAVY))
    beside = {"metadata": {"path": FOLDER}}
    return NotebookClient(notebook, timeout=240, kernel_name="python3", resources=beside).execute()


def said(cell: Any) -> str:
    """All text that a cell put out."""
    texts = [output.get("text", "") for output in cell["outputs"]]
    return "".join(texts + [str(output["data"]) for output in cell["outputs"] if "data" in output])
