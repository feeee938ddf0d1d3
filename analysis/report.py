"""Rebuild the answers, tables, figures and report of a study from its tables.

python -m analysis.report runs/dogs                # rebuilds the study's report
python -m analysis.report runs/dogs runs/cars      # also compares the studies, in runs/dogs-and-cars
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from analysis.confirmed.answers import answers
from analysis.confirmed.settings import settings
from analysis.contents import page
from analysis.findings.summary import summary
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
    SUMMARY_FILE,
    TABLES_FOLDER,
    ResultsError,
    read,
)
from study.writing import in_shell, wrapped, write_table, write_text


def build(out: Path) -> Path:
    """Build the report of the study in `out` and return the path of report.html.

    Tables and figures of an earlier report are deleted, except the tables of `study.retrieval`.

    Raises:
        ResultsError: the folder does not hold a study that can be read.
    """
    return _write(out, *_built(out))


def compare(outs: Sequence[Path], into: Path | None = None) -> Path:
    """Build the report of every study and one that compares them, and return the path of the latter.

    The comparison is written into `into`, by default a folder beside the first study.

    Raises:
        ResultsError: a study is named twice or cannot be read, or `into` holds a study. Nothing is written.
    """
    names = [out.resolve().name for out in outs]
    others = names[1:] if len(names) <= 3 else [f"{len(names) - 1}-more"]
    into = into or outs[0].resolve().parent / "-and-".join([names[0], *others])
    if len({out.resolve() for out in outs}) < len(outs):
        raise ResultsError("The same study is given twice. Give each study once.")
    if (into / STUDY_FILE).exists():
        raise ResultsError(f"{str(into)!r} holds a study. Pass another folder with --out.")
    studies = [read(out) for out in outs]
    compared = side_by_side([studied(study, label) for study, label in zip(studies, labels(studies), strict=True)])
    del studies
    for out, built in [(out, _built(out)) for out in outs]:
        _write(out, *built)
    into.mkdir(parents=True, exist_ok=True)
    return _write_page(compared, into)


def _built(out: Path) -> tuple[Page, pd.DataFrame, list[str]]:
    """Return a study's report, answers and summary; nothing is written yet, so errors leave all files unchanged."""
    results = read(out, logits=True)
    confirmed, answered = settings(results), answers(results)
    built = page(results, confirmed, answered)
    return built, answered, summary(results, confirmed, answered, built)


def _write(out: Path, built: Page, answered: pd.DataFrame, lines: list[str]) -> Path:
    for folder in (TABLES_FOLDER, FIGURES_FOLDER):
        for stale in (out / folder).glob("*.csv" if folder == TABLES_FOLDER else "*.svg"):
            if stale.name not in (KNN_FILE, RETRIEVAL_FILE):
                stale.unlink()
    write_table(answered, out / ANSWERS_FILE)
    write_text("\n".join([*lines, ""]), out / SUMMARY_FILE)
    return _write_page(built, out)


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


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m analysis.report",
        description="Rebuild the report of a study. With several studies, also compare them.",
    )
    parser.add_argument("studies", nargs="+", type=Path, metavar="OUT", help="the --out folder of a study")
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FOLDER",
        help="where to write the comparison of several studies (default: beside the first, e.g. runs/dogs-and-cars)",
    )
    args = parser.parse_args(arguments)
    try:
        if len(args.studies) > 1:
            made = compare(args.studies, args.out)
        elif args.out:
            raise ResultsError("--out needs several studies: the report of one study is written into its own folder.")
        else:
            made = build(args.studies[0])
            print(wrapped((args.studies[0] / SUMMARY_FILE).read_text(encoding="utf-8")))
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
