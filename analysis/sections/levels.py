"""The report's comparisons: for each factor, an answer for each pair of levels and a table of the levels."""

from typing import cast

import pandas as pd

from analysis.confirmed import tables
from analysis.confirmed.answers import Answer, answer_sentence, margin
from analysis.confirmed.settings import Setting, standing_for
from analysis.confirmed.tables import dots, shown_sizes
from analysis.layout import figures
from analysis.layout.page import Cell, Figure, Section, Table, table
from analysis.layout.text import percent_interval, slug
from analysis.search.rung import most_epochs
from analysis.sections.decisions import end_sentences
from study.results import Results


def factor_sections(results: Results, confirmed: list[Setting], answered: pd.DataFrame, overlap: str) -> list[Section]:
    if set(results.trials["phase"]) == {"published"}:
        return []
    stems: dict[str, str] = {}  # file names, made unique by a number
    for factor in results.factors:
        stem = slug(factor)
        stems[factor] = stem if stem not in stems.values() else f"{stem}-{len(stems)}"
    return [_factor(results, confirmed, factor, stem, answered, overlap) for factor, stem in stems.items()]


def _factor(
    results: Results, confirmed: list[Setting], factor: str, stem: str, answered: pd.DataFrame, overlap: str
) -> Section:
    answered = answered[answered["factor"] == factor]
    compared = tables.comparison(results, confirmed, factor)
    metric, drawn = dots(compared)
    companions = answered["companions"].dropna().unique()
    fixed = [f"Held fixed: {companions[0].replace('=', ' ')}."] if any(companions) else []
    standing = [standing_for(confirmed, factor, level) for level in results.factors[factor]]
    ends = end_sentences(results, filter(None, standing), factor)
    allowed = margin(results)
    compared_pairs = int(answered["p_holm"].notna().sum())
    plots: list[Figure] = []
    if drawn["value"].notna().any():
        plots = [figures.dots_figure(f"levels-{stem}", f"{factor}: {metric} of each level.", drawn, metric)]
    return Section(
        f"Comparison: {factor}",
        fixed + ends,
        points=[answer_sentence(cast(Answer, row), allowed, compared_pairs) for row in answered.to_dict("records")],
        figures=plots,
        tables=[_comparison(results, factor, stem, compared, overlap)],
    )


def _comparison(results: Results, factor: str, stem: str, compared: pd.DataFrame, overlap: str) -> Table:
    rung, most = tables.common_rung(results, factor), most_epochs(results)
    after = f"after {rung} of {most} epochs" if most else f"after {rung} epochs"
    shown: dict[str, Cell] = {
        "level": lambda row: (row.level or "none") + (" (the winner's)" if row.winner else ""),
        "search trials": lambda row: f"{row.trials}{f' ({row.failed} failed)' if row.failed else ''}",
        "search best": "search_best",
        "search median": "search_median",
        "refined best": "refine_best",
        **({"seeds": "seeds"} if compared["seeds"].nunique() > 1 else {}),
        "confirmed (95% CI)": lambda row: percent_interval(row.val_accuracy, row.val_low, row.val_high),
        "test (95% CI)": lambda row: percent_interval(row.test_accuracy, row.test_low, row.test_high),
        "time per trial": "trial_seconds",
    } | shown_sizes(compared)
    caption = (
        f"Accuracy of each level: search, refined and confirmed on validation. The search is read {after}; stopped "
        "trials count with their best until then. Time per trial: median of the completed trials, for a confirmed "
        f"level with the other factors held fixed.{overlap}"
    )
    return table(f"compare-{stem}", caption, compared, shown)
