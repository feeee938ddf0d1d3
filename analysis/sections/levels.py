"""The report's sections on the factors: what each pair of levels came to, and the levels side by side."""

from functools import partial

import pandas as pd

from analysis.confirmed import tables
from analysis.confirmed.answers import answer_sentence, margin
from analysis.confirmed.settings import Setting
from analysis.confirmed.tables import shown_sizes
from analysis.layout import figures
from analysis.layout.hover import dot_titles, titled
from analysis.layout.page import Picture, Section, Table, table
from analysis.layout.text import duration, percent, percent_interval, slug
from analysis.search.rung import most_epochs
from analysis.sections.curves import dots
from study.results import Results


def factor_sections(results: Results, found: list[Setting], answered: pd.DataFrame, overlap: str) -> list[Section]:
    if set(results.trials["phase"]) == {"published"}:
        return []
    stems = unique_stems(list(results.factors))
    return [
        _factor(results, found, factor, stem, answered[answered["factor"] == factor], overlap)
        for factor, stem in stems.items()
    ]


def unique_stems(names: list[str]) -> dict[str, str]:
    """A file name stem for each name; a number tells apart those that come out alike."""
    stems: dict[str, str] = {}
    for one in names:
        stem = slug(one)
        stems[one] = stem if stem not in stems.values() else f"{stem}-{len(stems)}"
    return stems


def _factor(
    results: Results, found: list[Setting], factor: str, stem: str, answered: pd.DataFrame, overlap: str
) -> Section:
    compared = tables.comparison(results, found, factor)
    said, drawn = dots(compared)
    companions = answered["companions"].dropna().unique()
    company = [f"Compared with {companions[0].replace('=', ' ')} throughout."] if any(companions) else []
    allowed = margin(results)
    compared_pairs = int(answered["p_holm"].notna().sum())
    pictures = []
    if drawn["value"].notna().any():
        text = figures.svg(0.75 + 0.3 * len(drawn), partial(figures.draw_dots, dots=drawn, xlabel=said))
        text = titled(text, dot_titles(drawn))
        pictures = [Picture(f"levels-{stem}", "", f"{factor}: {said} of each level. {_values(drawn)}", text)]
    return Section(
        factor,
        company,
        points=[answer_sentence(row, allowed, compared_pairs) for row in answered.to_dict("records")],
        pictures=pictures,
        tables=[_comparison(results, factor, stem, compared, overlap)],
    )


def _values(drawn: pd.DataFrame) -> str:
    return ", ".join(f"{row.level} {percent(row.value)}" for row in drawn.itertuples())


def _comparison(results: Results, factor: str, stem: str, compared: pd.DataFrame, overlap: str) -> Table:
    rung, most = tables.common_rung(results, factor), most_epochs(results)
    after = f"after {rung} of {most} epochs" if most else f"after {rung} epochs"
    shown = {
        "level": lambda row: f"{row.level or 'none'}{' (winner)' if row.winner else ''}",
        "search trials": lambda row: f"{row.trials}{f' ({row.failed} failed)' if row.failed else ''}",
        "search best": lambda row: percent(row.search_best),
        "search median": lambda row: percent(row.search_median),
        "refined best": lambda row: percent(row.refine_best),
        "confirmed": lambda row: percent_interval(row.val_accuracy, row.val_low, row.val_high),
        "test": lambda row: percent_interval(row.test_accuracy, row.test_low, row.test_high),
        "time a trial": lambda row: duration(row.trial_seconds),
    }
    shown |= shown_sizes(compared)
    caption = (
        f"Accuracy of each level. Search, refined and confirmed: on validation, the search {after}, "
        "stopped trials with what they had reached. In brackets: 95 % intervals. Time a trial: the median of those "
        f"that were completed, of a confirmed level in the company it was compared in.{overlap}"
    )
    return table(f"compare-{stem}", caption, compared, shown)
