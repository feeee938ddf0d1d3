"""The command line of the programs that export a study's tables."""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from study.results import Results, ResultsError, read

Export = Callable[[Results, Path], Sequence[object]]


def command(name: str, about: str, default: str, export: Export, arguments: list[str] | None) -> int:
    """Export OUT to a folder or file, by default OUT/`default`, print what was written and return the exit status."""
    parser = argparse.ArgumentParser(prog=f"python -m {name}", description=about)
    parser.add_argument("out", type=Path, metavar="OUT", help="the --out folder of a study")
    kind = "FILE" if Path(default).suffix else "FOLDER"
    parser.add_argument("to", nargs="?", type=Path, metavar=kind, help=f"where to (default: OUT/{default})")
    args = parser.parse_args(arguments)
    try:
        paths = export(read(args.out), args.to or args.out / default)
    except (ResultsError, OSError) as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 2
    print(*paths, sep="\n")
    return 0
