"""The best trial of each level, in whatever company it was found: what a search shows before anything is fair."""

import pandas as pd

from analysis.confirmed.objective import merit
from analysis.layout.page import Section, table
from analysis.layout.text import number, percent
from study.results import Results, level_text

TITLE = "Best of each level, in different company"
COLUMNS = ("factor", "level", "trial", "phase", "val_accuracy", "epochs_run", "tries", "companions")


def best_of_level(results: Results) -> pd.DataFrame:
    """One row for each level of each factor: its best search or refining trial on validation, by the study's metric.

    `tries` counts the trials it is the best of. A level without a usable trial has a row without a trial.
    """
    trials = results.trials.assign(merit=merit(results))
    tried = trials[trials["phase"].isin(["search", "refine"])]
    texts = pd.DataFrame({factor: tried[factor].map(level_text) for factor in results.factors}, index=tried.index)
    rows = []
    for factor, levels in results.factors.items():
        for level in levels:
            mine = tried[texts[factor] == level]
            row = {"factor": factor, "level": level, "tries": len(mine)}
            usable = mine[mine["status"] != "failed"].dropna(subset=["merit"])
            if len(usable):
                best = usable.sort_values(["merit", "trial"], ascending=[False, True], kind="stable").iloc[0]
                company = texts.loc[best.name].drop(factor)
                row |= {column: best[column] for column in ("trial", "phase", "val_accuracy", "epochs_run")}
                row["companions"] = ", ".join(f"{other}={text}" for other, text in company.items() if text)
            rows.append(row)
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype({"tries": "Int64", "epochs_run": "Int64"})


def best_of_level_section(results: Results) -> Section | None:
    best = best_of_level(results)
    if best["trial"].isna().all():
        return None
    shown = {
        "factor": lambda row: row.factor,
        "level": lambda row: row.level or "none",
        "best on validation": lambda row: percent(row.val_accuracy),
        "of trials": lambda row: number(row.tries),
        "epochs": lambda row: number(row.epochs_run),
        "phase": lambda row: row.phase if isinstance(row.phase, str) else "",
        "in company of": lambda row: row.companions.replace("=", " ") if isinstance(row.companions, str) else "",
    }
    said = (
        "The best search or refining trial of each level on validation. These are no answers: the levels differ in "
        "their companions too, the best of many trials is better than it would be again, and nothing here was "
        "repeated."
    )
    return Section(TITLE, tables=[table("best-of-level", said, best, shown)])
