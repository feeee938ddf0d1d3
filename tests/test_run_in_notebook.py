"""`from study import Study, run` in a real kernel: the command line's own way in."""

from pathlib import Path

import nbformat
from nbclient import NotebookClient

from tests.tiny import PATIENCE, make_pictures, write_study

ROOT = Path(__file__).parent.parent


def test_a_study_runs_in_a_notebook_and_its_errors_are_exceptions(tmp_path: Path) -> None:
    make_pictures(tmp_path / "pictures", 10)
    file = write_study(tmp_path)
    flags = f"data={str(tmp_path / 'pictures')!r}, out={str(tmp_path / 'out')!r}, cache={str(tmp_path / 'cache')!r}"
    cells = [
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\nfrom study import Study, run\n"
        "print(sorted({'torch', 'ray', 'timm'} & set(sys.modules)))",
        f"try:\n    run({str(file)!r}, {flags}, trials=0)\nexcept ValueError as problem:\n    print(problem)",
        f"results = run({str(file)!r}, {flags}, trials=2, epochs=1, seeds=1, skip_preflight=True, quiet=True)\n"
        "print(results.study['name'], sorted(set(results.trials['phase'])))",
        f"try:\n    run({str(file)!r}, {flags})\nexcept ValueError as problem:\n    print(problem)",
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    NotebookClient(
        notebook, timeout=PATIENCE, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    printed = ["".join(out.get("text", "") for out in cell["outputs"]) for cell in notebook.cells]
    assert printed[0] == "[]\n"
    assert "--trials: must be a whole number of at least 1, but got '0'" in printed[1]
    assert printed[2].splitlines()[-1] == "tiny ['confirm', 'refine', 'search']"
    assert "already holds a study: continue it with --resume" in printed[3]
    assert (tmp_path / "out" / "report.html").is_file()
