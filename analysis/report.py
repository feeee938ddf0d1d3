"""Answers, tables, figures and the report of a study, from its tables alone.

python -m analysis.report runs/dogs                # builds the study's report again
python -m analysis.report runs/dogs runs/cars      # also lays the studies side by side, in runs/dogs-and-cars
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from analysis.confirmed.answers import answers
from analysis.confirmed.settings import settings
from analysis.contents import page
from analysis.layout import markdown, webpage
from analysis.layout.page import Page
from analysis.sections.side_by_side import labels, side_by_side, studied
from study.results import (
    ANSWERS_FILE,
    FIGURES_FOLDER,
    KNN_FILE,
    REPORT_HTML,
    REPORT_MARKDOWN,
    RETRIEVAL_FILE,
    STUDY_FILE,
    TABLES_FOLDER,
    ResultsError,
    read,
)
from study.writing import in_shell, write_table, write_text


@dataclass(frozen=True)
class _Built:
    """A study's report as it is written at the end, when nothing can fail any more."""

    out: Path
    page: Page
    answered: pd.DataFrame


def build(out: Path) -> Path:
    """Write everything that can be said about the study in `out`; returns the path of report.html.

    tables/ and figures/ are the report's own: what an earlier one left there goes, other programs' tables stay.
    """
    return _write(_built(out))


def compare(outs: Sequence[Path], into: Path | None = None) -> Path:
    """Build the report of every study, and one that lays them side by side; returns the path of the latter.

    It is written into `into`, by default a folder beside the first study. Where one of the studies cannot be
    read, nothing is written.
    """
    into = into or _beside(outs)
    if len({out.resolve() for out in outs}) < len(outs):
        raise ResultsError("The same study is named twice. Name each once.")
    if (into / STUDY_FILE).exists():
        raise ResultsError(f"{str(into)!r} holds a study. Name another folder with --out.")
    read_ones = [read(out) for out in outs]
    compared = side_by_side([studied(one, label) for one, label in zip(read_ones, labels(read_ones), strict=True)])
    del read_ones
    for built in [_built(out) for out in outs]:
        _write(built)
    into.mkdir(parents=True, exist_ok=True)
    return _write_page(compared, into)


def _built(out: Path) -> _Built:
    results = read(out, logits=True)
    answered = answers(results)
    return _Built(out, page(results, settings(results), answered), answered)


def _write(built: _Built) -> Path:
    for folder in (TABLES_FOLDER, FIGURES_FOLDER):
        for stale in (built.out / folder).glob("*.csv" if folder == TABLES_FOLDER else "*.svg"):
            if stale.name not in (KNN_FILE, RETRIEVAL_FILE):
                stale.unlink()
    write_table(built.answered, built.out / ANSWERS_FILE)
    return _write_page(built.page, built.out)


def _write_page(built: Page, out: Path) -> Path:
    for folder in (TABLES_FOLDER, FIGURES_FOLDER):
        (out / folder).mkdir(exist_ok=True)
    for section in built.sections:
        for table in section.tables:
            write_table(table.frame, out / TABLES_FOLDER / f"{table.stem}.csv")
        for figure in section.figures:
            write_text(figure.svg, out / FIGURES_FOLDER / f"{figure.stem}.svg")
    write_text(markdown.render(built), out / REPORT_MARKDOWN)
    write_text(webpage.render(built), out / REPORT_HTML)
    return out / REPORT_HTML


def _beside(outs: Sequence[Path]) -> Path:
    """A folder beside the first study, called after all of them, or after the first and how many more."""
    names = [out.resolve().name for out in outs]
    others = names[1:] if len(names) <= 3 else [f"{len(names) - 1}-more"]
    return outs[0].resolve().parent / "-and-".join([names[0], *others])


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m analysis.report",
        description="Build the report of a study again; of several, also one that lays them side by side.",
    )
    parser.add_argument("studies", nargs="+", type=Path, metavar="OUT", help="the --out folder of a study")
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FOLDER",
        help="where studies are laid side by side (default: beside the first, such as runs/dogs-and-cars)",
    )
    chosen = parser.parse_args(arguments)
    try:
        if len(chosen.studies) > 1:
            made = compare(chosen.studies, chosen.out)
        elif chosen.out:
            raise ResultsError("--out goes with several studies; one study's report is written into the study itself.")
        else:
            made = build(chosen.studies[0])
    except (ResultsError, OSError) as error:
        print(f"analysis.report: {error}", file=sys.stderr)
        return 2
    print(made)
    return 0


def console() -> None:
    """Run this command on the arguments of the process, and exit with its status."""
    sys.exit(in_shell(main))


if __name__ == "__main__":
    console()
