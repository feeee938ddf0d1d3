"""The report's content, section by section, in reading order."""

from collections.abc import Mapping
from functools import partial

import pandas as pd

from analysis import figures, tables
from analysis.answers import margin
from analysis.combined import ensembles_section
from analysis.curves import dots
from analysis.effects_section import search_section
from analysis.learned import learning_section, mistakes_section
from analysis.loss import loss_section
from analysis.neighbours import neighbour_sections
from analysis.outputs import outputs
from analysis.page import Page, Picture, Section, Table, table
from analysis.plan import plan_section
from analysis.published import published_section
from analysis.scored import metrics_section
from analysis.sentences import answer_sentence, overlap_note, state_sentences, winner_sentences
from analysis.settings import Setting, winner
from analysis.text import count, duration, millions, number, percent, percent_interval, plain, slug
from study.results import Results, level_text


def page(results: Results, found: list[Setting], answered: pd.DataFrame) -> Page:
    predicted, note = outputs(results), overlap_note(results)
    overlap = f" {note}" if note else ""  # at the end of the caption of every table with scores on test
    sections = [
        _winner(results, found, overlap),
        *_factors(results, found, answered, overlap),
        published_section(results, predicted, overlap),
        learning_section(results, found),
        loss_section(results, found, predicted, overlap),
        mistakes_section(results, found, overlap),
        metrics_section(found, predicted, overlap),
        ensembles_section(results, found, predicted, overlap),
        *neighbour_sections(results, overlap),
        search_section(results),
        _trials(results),
        plan_section(results),
    ]
    return Page(
        title=plain(results.study["name"]),
        dataset=plain(results.study.get("dataset", "")),
        question=plain(results.study["question"]),
        sections=[one for one in sections if one is not None],
    )


def _winner(results: Results, found: list[Setting], overlap: str) -> Section:
    best = winner(found)
    state = state_sentences(results, found)
    if best is None:
        return Section("The winner", state)
    shown = table(
        "winner",
        f"Accuracy on the test pictures.{overlap}" if overlap else "Accuracy on the test pictures",
        tables.winner_table(results, found),
        {
            "": lambda row: row.model,
            "accuracy (95 % interval)": lambda row: percent_interval(row.accuracy, row.low, row.high),
        },
    )
    return Section("The winner", winner_sentences(results, best) + state, tables=[shown] if best.tested else [])


def _factors(results: Results, found: list[Setting], answered: pd.DataFrame, overlap: str) -> list[Section]:
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
    rung, budget = tables.common_rung(results, factor), results.study.get("budget")
    most = budget.get("epochs") if isinstance(budget, Mapping) else None
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
    for column in tables.PARAMETERS:
        if column in compared and compared[column].nunique() > 1:  # a factor that changes what is trained
            shown[column.replace("_", " ")] = lambda row, column=column: millions(getattr(row, column))
    caption = (
        f"Accuracy of each level. Search, refined and confirmed: on validation, the search {after}, "
        "stopped trials with what they had reached. In brackets: 95 % intervals. Time a trial: the median of those "
        f"that were completed.{overlap}"
    )
    return table(f"compare-{stem}", caption, compared, shown)


def _trials(results: Results) -> Section | None:
    if results.trials.empty:
        return None
    search = results.trials[results.trials["phase"] == "search"]
    curves_shown = results.epochs[results.epochs["trial"].isin(search["trial"])]
    stopped = set(search[search["status"] == "stopped"]["trial"])
    pictures = []
    if len(curves_shown):
        overview = figures.svg(2.6, partial(figures.draw_search, epochs=curves_shown, stopped=stopped))
        front = tables.pareto(results)
        cost = figures.svg(2.6, partial(figures.draw_cost, trials=search, front=front))
        trials = count(len(search), "search trial")
        alt = f"Validation accuracy by epoch of {trials}, {len(stopped)} stopped early"
        pictures = [Picture("search", "Validation accuracy by epoch (grey: stopped early)", alt, overview)]
        spoken = f"Best validation accuracy of each search trial against its time; {len(front)} are on the Pareto front"
        pictures.append(Picture("cost", "Best validation accuracy against time (line: Pareto front)", spoken, cost))
    shown = {
        "phase": lambda row: row.phase,
        "status": lambda row: row.status,
        "trials": lambda row: number(row.trials),
        "epochs": lambda row: number(row.epochs),
        "time": lambda row: duration(row.seconds),
    }
    all_tables = [table("trials", "Trials by phase", tables.overview(results), shown)]
    if len(search):
        all_tables.append(_pareto(results))
    failures = tables.failures(results)
    if len(failures):
        said = {"error": lambda row: row.error, "trials": lambda row: number(row.trials)}
        all_tables.append(table("failures", "Why trials failed", failures, said))
    return Section("Trials and cost", [_cost(results)], pictures=pictures, tables=all_tables)


def _pareto(results: Results) -> Table:
    """What more time bought in the search."""
    shown = {factor: lambda row, i=i: level_text(row[i + 2]) or "none" for i, factor in enumerate(results.factors)}
    shown |= {
        "validation accuracy": lambda row: percent(row.val_accuracy),
        "epochs": lambda row: number(row.epochs_run),
        "time": lambda row: duration(row.seconds),
    }
    caption = (
        "The Pareto front of the search: no other trial was better in less time. A trial's time is its own; what is "
        "frozen is computed once for all, by whichever trial came first."
    )
    return table("pareto", caption, tables.pareto(results), shown)


def _cost(results: Results) -> str:
    wall, compute = (results.study.get(key) for key in ("wall_seconds", "compute_seconds"))
    epochs = int(results.trials["epochs_run"].sum())
    return (
        f"{count(len(results.trials), 'trial')}, {count(epochs, 'epoch')} in all; "
        f"{duration(wall)} from start to end, {duration(compute)} of computing."
    )
