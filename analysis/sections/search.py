"""The report's section on the whole search: effects, interactions, importance, how well early epochs predicted."""

from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from analysis.confirmed.answers import margin
from analysis.confirmed.nuisance_budget import REFINE, budgets, overtakings
from analysis.layout import figures
from analysis.layout.page import Figure, Section, Table, table
from analysis.layout.text import count, number, percent, slug
from analysis.search.audit import audit
from analysis.search.design import search_of
from analysis.search.effects import interactions, main_effects
from analysis.search.importance import importance
from analysis.search.parallel import paths
from analysis.search.rung import Outcomes, outcomes
from analysis.sections.effects_figures import draw_expected_best, draw_paths
from analysis.sections.effects_tables import apart_points, effects_table, interaction_points, interactions_table
from study.results import Results

TITLE = "What the search says"


def search_section(results: Results) -> Section | None:
    """Exploratory throughout (R15): the report's answers come from the confirmation."""
    if not (results.trials["phase"] == "search").any():
        return None
    seen = outcomes(results)
    if (seen.trials["outcome"] == "failed").all():
        return Section(TITLE, ["No search trial left an accuracy by epoch, so the search says nothing of the factors."])
    said = [_read(seen)]
    points_of_it, tables = _effects(results, seen)
    mattered = importance(results, seen)
    if len(mattered):
        tables.append(_importance(mattered))
    else:
        said.append("Too few trials were trained far enough to say which hyperparameters set the best ones apart.")
    predicted = audit(results)
    said.append(_audit_sentence(predicted))
    if len(predicted):
        tables.append(_audit(predicted))
    tuned = budgets(results, seen)
    if len(tuned):
        points_of_it += [_overtaking(row) for row in overtakings(tuned, margin(results)).itertuples()]
        tables.append(_budgets(tuned, seen))
    return Section(TITLE, said, points=points_of_it, figures=[*_paths(results, seen), *_tuned(tuned)], tables=tables)


def _read(seen: Outcomes) -> str:
    n, ways = len(seen.trials), seen.trials["outcome"].value_counts()
    stopped, failed = (int(ways.get(way, 0)) for way in ("stopped", "failed"))
    carried = (
        f" {count(stopped, 'trial')} had been stopped before; how they would have gone on is taken from those that "
        "were as good as they and did go on."
        if stopped
        else ""
    )
    lost = f" {count(failed, 'failed trial')} {'counts' if failed == 1 else 'count'} as the worst." if failed else ""
    return (
        f"Exploratory: what {count(n, 'search trial')} say {seen.title}, the last one that every level of every factor "
        f"reached.{carried}{lost} It shows where to look; the comparisons above are the answers."
    )


def _effects(results: Results, seen: Outcomes) -> tuple[list[str], list[Table]]:
    if results.study.get("goal") == "best":
        return ["Settings were chosen by what had been seen before, so levels were not tried equally: no effects."], []
    search = search_of(results, seen)
    effects, between = main_effects(search), interactions(search)
    if effects.empty:
        return [], []
    said, tables = apart_points(effects), [effects_table(effects, seen)]
    if len(between):
        said += interaction_points(between)
        tables.append(interactions_table(between, seen))
    elif len(results.factors) > 1:
        said.append("No two factors have the four combinations of levels, twice each, that an interaction needs.")
    both = int(effects["disagree"].sum() + between["disagree"].sum())
    if both:
        said.append(
            f"In {count(both, 'row')} marked ≠ the model and the wins point in opposite directions: trust neither."
        )
    if len(search.compared) < len(seen.trials):
        said.append(
            f"Wins are those of {number(len(search.compared))} of the trials, drawn at random: always the same."
        )
    return said, tables


def _importance(mattered: pd.DataFrame) -> Table:
    first = mattered.iloc[0]
    shown = {
        "hyperparameter": lambda row: row.hyperparameter,
        "": lambda row: row.kind,
        "importance": lambda row: percent(row.importance),
    }
    caption = (
        f"Importance after {first['rung']} epochs: how much each hyperparameter sets the best {first['best']} of "
        f"{first['trials']} trials apart (PED-ANOVA, as shares, without intervals). "
        f"{count(int(first['stopped']), 'trial')} had been stopped before and count as not among the best; the table "
        "of effects says how many of each level."
    )
    return table("importance", caption, mattered, shown)


def _audit_sentence(predicted: pd.DataFrame) -> str:
    if predicted.empty:
        return "Fewer than five trials were exempt from stopping: how well early epochs predicted the end is not known."
    first = predicted.iloc[0]
    return (
        f"{number(first['trials'])} audited trials could not be stopped. Their order after "
        f"{count(int(first['epoch']), 'epoch')} agreed with the one after {number(first['epochs'])} by Kendall's tau "
        f"{_tau(first)}; the one that came out first stood at place {number(first['place_of_the_best'])}."
    )


def _audit(predicted: pd.DataFrame) -> Table:
    shown = {
        "after epoch": lambda row: number(row.epoch),
        "Kendall's tau with the end (95 % interval)": lambda row: _tau(row._asdict()),
        "place of the one that came out first": lambda row: f"{number(row.place_of_the_best)} of {number(row.trials)}",
    }
    caption = "How well early epochs predicted the end, by the trials that could not be stopped"
    return table("audit", caption, predicted, shown)


def _tau(row: Any) -> str:
    return f"{row['kendall']:.2f} ({row['low']:.2f} to {row['high']:.2f})".replace("-", "−")


def _overtaking(row: Any) -> str:
    where = "refined" if row.phase == REFINE else "searched"
    return (
        f"{row.factor} ({where}): {row.first or 'none'} leads after one nuisance point, {row.last or 'none'} from "
        f"{number(row.since)} points on. The verdict hangs on how much was tuned."
    )


def _budgets(tuned: pd.DataFrame, seen: Outcomes) -> Table:
    steps = [k for k in (1, 2, 4, 8, 16, 32) if k <= tuned["points"].max()]
    wide = tuned.pivot_table(index=["factor", "level"], columns="points", values="expected_best", sort=False)
    shown = {"factor": lambda row: row.factor, "level": lambda row: row.level or "none"}
    for k in steps:
        heading = "1 point" if k == 1 else f"{k} points"
        shown[heading] = lambda row, k=k: percent(wide.loc[(row.factor, row.level)].get(k, np.nan))
    origin = tuned.groupby("factor", sort=False)["phase"].first()
    searched = [factor for factor, phase in origin.items() if phase != REFINE]
    source = (
        f" {', '.join(searched)}: from the search {seen.title}, where other factors vary along." if searched else ""
    )
    caption = f"Expected best validation accuracy of each level after so many tuned nuisance points.{source}"
    levels = tuned.drop_duplicates(["factor", "level"])
    rows = table("expected-best", caption, levels, shown)
    return Table(rows.stem, rows.caption, rows.header, rows.rows, tuned)


def _tuned(tuned: pd.DataFrame) -> list[Figure]:
    pictures = []
    for index, (factor, one) in enumerate(tuned.groupby("factor", sort=False)):
        last = one.groupby("level", sort=False).last()
        ends = ", ".join(
            f"{level or 'none'} {percent(row.expected_best)} after {row.points}" for level, row in last.iterrows()
        )
        alt = f"Expected best validation accuracy by number of nuisance points for each {factor}: {ends}"
        text = figures.svg(2.3, partial(draw_expected_best, budgets=one))
        pictures.append(
            Figure(f"expected-best-{index:02d}-{slug(factor)}", f"{factor}: best expected by tuning", alt, text)
        )
    return pictures


def _paths(results: Results, seen: Outcomes) -> list[Figure]:
    found = paths(results, seen)
    if found is None:
        return []
    names = ", ".join(axis.name for axis in found.axes[:-1])
    trials = count(len(found.accuracy), "search trial")
    alt = (
        f"Each of {trials} as a path through {names} down to its validation accuracy, from "
        f"{percent(found.accuracy.min())} to {percent(found.accuracy.max())}"
    )
    text = figures.svg(0.75 * len(found.axes), partial(draw_paths, paths=found))
    title = f"Every trial's path, {seen.title} or where it was stopped (orange: the best)"
    return [Figure("paths", title, alt, text, wide=True)]
