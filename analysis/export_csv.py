"""The tables of trials and epochs as CSV, which any program reads: `python -m analysis.export_csv OUT [FOLDER]`."""

import argparse
import sys
from pathlib import Path

from study.results import Results, ResultsError, read, write_table


def export(results: Results, folder: Path) -> list[Path]:
    """Write trials.csv, one row a trial, and epochs.csv, one row a trial and epoch; cells that would run are text."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {folder / "trials.csv": results.trials, folder / "epochs.csv": results.epochs}
    for path, frame in files.items():
        write_table(frame, path)
    return list(files)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m analysis.export_csv", description="The tables of trials and epochs as CSV."
    )
    parser.add_argument("out", type=Path, metavar="OUT", help="the --out folder of a study")
    parser.add_argument("folder", nargs="?", type=Path, metavar="FOLDER", help="where to (default: OUT/csv)")
    chosen = parser.parse_args(arguments)
    try:
        for path in export(read(chosen.out), chosen.folder or chosen.out / "csv"):
            print(path)
    except (ResultsError, OSError) as error:
        print(f"analysis.export_csv: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
