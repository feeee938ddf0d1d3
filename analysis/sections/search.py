"""The report's section on the search: early stopping, importance, marginal effects."""

import numpy as np
import pandas as pd

from analysis.layout.page import Section, Table, table
from analysis.layout.text import number, percent, percent_interval
from analysis.search.audit import LEAST, audit
from analysis.search.importance import importance
from analysis.search.rung import Outcomes, outcomes
from study.results import Results
from study.writing import count

TITLE = "Search"
EFFECTS = ["factor", "level", "trials", "stopped", "failed", "accuracy", "lower", "upper", "best", "rung"]


def search_section(results: Results) -> Section | None:
    """Return the section; exploratory, because the answers of the report come from confirmation and test."""
    if not (results.trials["phase"] == "search").any():
        return None
    at_rung = outcomes(results)
    if (at_rung.trials["outcome"] == "failed").all():
        return Section(TITLE, ["No search trial has an accuracy by epoch, so there is nothing to compare."])
    paragraphs, tables = [_read(at_rung)], []
    shares, ranking = importance(results, at_rung), audit(results)
    if len(shares):
        tables.append(_importance(shares))
    else:
        paragraphs.append("Too few trials were trained far enough to estimate the importance of hyperparameters.")
    if results.study.get("goal") == "best":
        paragraphs.append(
            "Settings were chosen adaptively, so the levels were not sampled equally and have no marginal effects."
        )
    else:
        tables.append(_effects(effects(results, at_rung), at_rung))
    if len(ranking):
        tables.append(_audit(ranking))
    paragraphs.append(_audit_sentence(ranking))
    return Section(TITLE, paragraphs, tables=tables)


def _read(at_rung: Outcomes) -> str:
    outcome = at_rung.trials["outcome"]
    stopped, failed = int((outcome == "stopped").sum()), int((outcome == "failed").sum())
    early = f" {count(stopped, 'trial')} had been stopped before that." if stopped else ""
    crashed = f" {count(failed, 'trial')} failed." if failed else ""
    return (
        f"Exploratory: {count(len(outcome), 'search trial')}, compared {at_rung.title}, the last epoch that every "
        f"level of every factor reached.{early}{crashed} Use this to decide where to look next; the answers are the "
        "comparisons above."
    )


def effects(results: Results, at_rung: Outcomes) -> pd.DataFrame:
    """Return a row for each level of each factor: its trials, and the quartiles and maximum of their accuracy.

    `accuracy` is the median and `lower, upper` the other quartiles of the best validation accuracy within the rung.
    Stopped trials count with their best until they were stopped. Failed trials have no accuracy.
    """
    levels = [(factor, level) for factor in results.factors for level in dict.fromkeys(results.factors[factor])]
    return pd.DataFrame([_effect(at_rung, factor, level) for factor, level in levels], columns=EFFECTS)


def _effect(at_rung: Outcomes, factor: str, level: str) -> dict[str, object]:
    having = (at_rung.trials[factor] == level).to_numpy()
    outcome = at_rung.trials.loc[having, "outcome"]
    reached = at_rung.accuracy[having][np.isfinite(at_rung.accuracy[having])]
    lower, median, upper, best = np.quantile(reached, [0.25, 0.5, 0.75, 1.0]) if len(reached) else [np.nan] * 4
    return {
        "factor": factor,
        "level": level,
        "trials": len(outcome),
        "stopped": int((outcome == "stopped").sum()),
        "failed": int((outcome == "failed").sum()),
        "accuracy": median,
        "lower": lower,
        "upper": upper,
        "best": best,
        "rung": at_rung.rung,
    }


def _effects(frame: pd.DataFrame, at_rung: Outcomes) -> Table:
    shown = {
        "factor": "factor",
        "level": lambda row: row.level or "none",
        "median (middle half)": lambda row: percent_interval(row.accuracy, row.lower, row.upper),
        "best": lambda row: percent(row.best),
        "trials": "trials",
        "stopped": "stopped",
        "failed": "failed",
    }
    caption = (
        f"Marginal effects: validation accuracy of each level's search trials {at_rung.title}. All other factors and "
        "the nuisances vary, so small differences mean little. Stopped trials count with their best accuracy "
        "until then; failed trials are left out of the accuracy."
    )
    return table("effects", caption, frame, shown)


def _importance(shares: pd.DataFrame) -> Table:
    first = shares.iloc[0]
    shown = {"hyperparameter": "hyperparameter", "kind": "kind", "importance": "importance"}
    caption = (
        f"Importance after {count(int(first['rung']), 'epoch')} (PED-ANOVA): how strongly each hyperparameter "
        f"separates the best {first['best']} of {number(first['trials'])} trials from the rest, as shares of 100%, "
        "without intervals. Stopped and failed trials count as not among the best."
    )
    return table("importance", caption, shares, shown)


def _audit_sentence(ranking: pd.DataFrame) -> str:
    if ranking.empty:
        return (
            f"Fewer than {LEAST} trials were exempt from early stopping, so this study cannot tell whether early "
            "stopping discarded good settings."
        )
    first = ranking.iloc[0]
    sentence = (
        f"{number(first['trials'])} audited trials were exempt from early stopping. After "
        f"{count(int(first['epoch']), 'epoch')}, the one that finished best ranked "
        f"{number(first['place_of_the_best'])} of {number(first['trials'])}."
    )
    if first["low"] > 0:
        return sentence
    return (
        f"{sentence} Kendall's tau is {_tau(first['kendall'])}, but {number(first['trials'])} trials show little: "
        f"anything from {_tau(first['low'])} to {_tau(first['high'])} is possible, so they do not show that early "
        "accuracy predicts final accuracy."
    )


def _audit(ranking: pd.DataFrame) -> Table:
    shown = {
        "after epoch": "epoch",
        "trials stopped by then": "stopped",
        "Kendall's tau (95% CI)": lambda row: f"{_tau(row.kendall)} ({_tau(row.low)} to {_tau(row.high)})",
        "rank of the final best": lambda row: f"{number(row.place_of_the_best)} of {number(row.trials)}",
    }
    caption = (
        "Early stopping: rank correlation between early and final accuracy, over the audited trials. A low tau means "
        "that early stopping discards good settings; a longer grace period avoids it. The interval is conservative."
    )
    return table("audit", caption, ranking, shown)


def _tau(value: float) -> str:
    return f"{value:.2f}".replace("-", "−")
