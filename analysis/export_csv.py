"""Export the tables of trials and epochs as CSV: `python -m analysis.export_csv OUT [FOLDER]`."""

import sys
from pathlib import Path

from analysis.exporting import command
from study.results import Results
from study.writing import in_shell, write_table


def export(results: Results, folder: Path) -> list[Path]:
    """Write trials.csv (one row per trial) and epochs.csv (one per trial and epoch); formulas are escaped as text."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {folder / "trials.csv": results.trials, folder / "epochs.csv": results.epochs}
    for path, frame in files.items():
        write_table(frame, path)
    return list(files)


def main(arguments: list[str] | None = None) -> int:
    return command("analysis.export_csv", "The tables of trials and epochs as CSV.", "csv", export, arguments)


if __name__ == "__main__":
    sys.exit(in_shell(main))
