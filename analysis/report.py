"""Answers, tables, figures and the report of a study, from its tables alone.

python -m analysis.report runs/dogs        # also several: each is built again
"""

import argparse
import sys
from pathlib import Path

from analysis import markdown, webpage
from analysis.answers import answers
from analysis.sections import page
from analysis.settings import settings
from study.results import (
    ANSWERS_FILE,
    FIGURES_FOLDER,
    KNN_FILE,
    REPORT_HTML,
    REPORT_MARKDOWN,
    RETRIEVAL_FILE,
    TABLES_FOLDER,
    ResultsError,
    read,
    write_table,
    write_text,
)


def build(out: Path) -> Path:
    """Write everything that can be said about the study in `out`; returns the path of report.html.

    tables/ and figures/ are the report's own: what an earlier one left there goes, other programs' tables stay.
    """
    results = read(out, logits=True)
    answered = answers(results)
    built = page(results, settings(results), answered)
    for folder in (TABLES_FOLDER, FIGURES_FOLDER):
        (out / folder).mkdir(exist_ok=True)
        for stale in (out / folder).glob("*.csv" if folder == TABLES_FOLDER else "*.svg"):
            if stale.name not in (KNN_FILE, RETRIEVAL_FILE):
                stale.unlink()
    write_table(answered, out / ANSWERS_FILE)
    for section in built.sections:
        for table in section.tables:
            write_table(table.frame, out / TABLES_FOLDER / f"{table.stem}.csv")
        for picture in section.pictures:
            write_text(picture.svg, out / FIGURES_FOLDER / f"{picture.stem}.svg")
    write_text(markdown.render(built), out / REPORT_MARKDOWN)
    write_text(webpage.render(built), out / REPORT_HTML)
    return out / REPORT_HTML


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m analysis.report", description="Build the report of a study again.")
    parser.add_argument("out", nargs="+", type=Path, metavar="OUT", help="the --out folder of a study")
    for out in parser.parse_args(arguments).out:
        try:
            print(build(out))
        except (ResultsError, OSError) as error:
            print(f"analysis.report: {error}", file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
