"""The command line of the programs that export a study's tables."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from study.results import Results, ResultsError, read


def command(
    name: str, about: str, default: str, export: Callable[[Results, Path], list[Path]], arguments: list[str] | None
) -> int:
    """Export OUT into FOLDER, by default OUT/`default`, print the paths written and return the exit status."""
    parser = argparse.ArgumentParser(prog=f"python -m {name}", description=about)
    parser.add_argument("out", type=Path, metavar="OUT", help="the --out folder of a study")
    parser.add_argument("folder", nargs="?", type=Path, metavar="FOLDER", help=f"where to (default: OUT/{default})")
    chosen = parser.parse_args(arguments)
    try:
        paths = export(read(chosen.out), chosen.folder or chosen.out / default)
    except (ResultsError, OSError) as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 2
    for path in paths:
        print(path)
    return 0
