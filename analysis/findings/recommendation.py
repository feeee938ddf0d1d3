"""Recommendation: the level to use for each factor, with its evidence. confirmed/recommendations.py has the rule."""

import json
from typing import Any

import pandas as pd

from analysis.confirmed.answers import (
    LIKELY,
    REFUSED,
    TOO_FEW,
    Answer,
    answer_sentence,
    margin,
    margin_text,
    pairs_of,
    rivals,
)
from analysis.confirmed.recommendations import ABSENT, NOTHING_YET, TRAINED, UNDECIDED, recommendations
from analysis.confirmed.settings import Setting, setting_text, standing_for, winner
from analysis.confirmed.tables import shown_sizes
from analysis.findings.winner import headline
from analysis.layout.page import Cell, Section, Table, table
from analysis.layout.text import NOTHING, count, duration, number, percent, points
from analysis.statistics.inference import SEEDS_FOR_A_CLAIM
from study.results import Results

_LABELS = {ABSENT: "not in the winner", NOTHING_YET: "no answer yet"}
_MOST_GAINS = 3  # levels named in one cell
_MUCH_FASTER = 3  # from this ratio of times on, the table names a faster level that is not shown to be worse


def recommendations_section(results: Results, confirmed: list[Setting], answered: pd.DataFrame) -> Section | None:
    """Return the section; None if the study asks no question, such as a study of published configurations only."""
    if not results.factors or set(results.trials["phase"]) == {"published"}:
        return None
    advised = recommendations(results, confirmed, answered)
    best = winner(confirmed)
    if best is None:
        nothing = "Nothing is confirmed yet, so there is nothing to recommend."
        return Section("Recommendation", tables=[_table(advised, answered)], below=[nothing])
    sentences = [
        " ".join(filter(None, [_sentence(row, answered, margin(results)), _held_at(row, confirmed, best)]))
        for row in advised.itertuples()
    ]
    return Section(
        "Recommendation",
        tables=[_table(advised, answered), _rule(advised, answered, margin(results))],
        below=[headline(results, best), *sentences, _together(advised, confirmed, best)],
    )


def _table(advised: pd.DataFrame, answered: pd.DataFrame) -> Table:
    shown: dict[str, Cell] = {
        "factor": "factor",
        "recommendation": lambda row: _name(row.recommended),
        "decision": _how_sure,
        f"gain in points ({LIKELY})": lambda row: _gains(row, answered),
        "seeds needed": lambda row: _needed(row, answered),
        "time per trial": "trial_seconds",
    }
    caption = (
        "For each factor the cheapest level that is as good as the best, by the rule below. Gain: test accuracy minus "
        "that of each other level. Seeds needed: how many would decide an open comparison if its difference is real."
    )
    return table("recommendations", caption, advised, shown | shown_sizes(advised), stacked=True)


def _rule(advised: pd.DataFrame, answered: pd.DataFrame, allowed: float) -> Table:
    """Return the evidence for each recommendation as a table."""
    shown = {
        "factor": "factor",
        "recommendation": lambda row: _name(row.recommended),
        "validation": "val_accuracy",
        "test": "test_accuracy",
        "time per trial": "trial_seconds",
        "why": lambda row: _why(row, answered),
    }
    caption = (
        "The rule. Each factor starts from the winner's level (the winner has the best validation score), or from a "
        "level that beats it on test. A level counts as equally good if it is equivalent on test, within "
        f"{margin_text(allowed)}; not being shown to be worse is not enough. Among equally good levels, the fastest "
        "is recommended, and among those within 10% of its time the one that trains the fewest parameters. "
        "Validation, test and time are those of the recommended level in its comparison."
    )
    return table("recommendation-rule", caption, advised, shown, stacked=True)


def _how_sure(row) -> str:
    decision: str = row.decision
    if decision != UNDECIDED:
        return _LABELS.get(decision, decision)
    kept = decision if row.recommended == row.winner else "not decided"
    return "; ".join(filter(None, [kept, _much_faster(row)]))


def _much_faster(row) -> str:
    """Return which level is many times faster than the recommended one and cannot be told apart from it, if any is."""
    if not isinstance(row.faster, str) or row.trial_seconds < _MUCH_FASTER * row.faster_seconds:
        return ""
    times = number(round(row.trial_seconds / row.faster_seconds)) if row.faster_seconds > 0 else "many"
    return (
        f"{_name(row.faster)} takes {duration(row.faster_seconds)} per trial instead of {duration(row.trial_seconds)}, "
        f"{times} times less"
    )


def _why(row, answered: pd.DataFrame) -> str:
    """Return the step of the rule that recommends a level, with the numbers behind it."""
    if pd.isna(row.recommended):
        return NOTHING
    best, others = _name(row.best), json.loads(row.as_good)[1:]
    if row.recommended != row.best:
        return f"equivalent to {best} on test and cheaper: {_saved(row)}"
    beats = best != _name(row.winner)
    why = [f"beats {_name(row.winner) if row.winner else 'others'} on test" if beats else "the winner's level"]
    if others:
        why.append(f"equivalent but not cheaper: {', '.join(map(_name, others))}")
    if isinstance(row.faster, str):
        why.append(f"{_name(row.faster)} is faster but not shown to be as good: {_behind(row, answered)}")
    return "; ".join(why)


def _saved(row) -> str:
    if row.cheaper_by == TRAINED:
        return "it trains fewer parameters in about the same time"
    return f"{duration(row.trial_seconds)} per trial instead of {duration(row.best_seconds)}"


def _behind(row, answered: pd.DataFrame) -> str:
    """Compare the faster open level with the best level, on validation and on test."""
    known = f"{duration(row.faster_seconds)}, {percent(row.faster_val_accuracy)} on validation"
    pairs = rivals(pairs_of(answered, row.factor), row.faster)
    pair = next((pair for pair in pairs if pair["level_b"] == row.best and pd.notna(pair["difference"])), None)
    if pair is None:
        return f"{known}, not compared on test"
    lead = f"{points(abs(pair['difference']))} points {'ahead' if pair['difference'] > 0 else 'behind'}"
    return f"{known}, {lead} on test ({LIKELY} {points(pair['low'])} to {points(pair['high'])})"


def _name(level: Any) -> str:
    """Return the name of a level; a dash if no level is recommended."""
    return NOTHING if pd.isna(level) else str(level) or "none"


def _gains(row, answered: pd.DataFrame) -> str:
    """Return the gain over every other compared level, closest rival first."""
    pairs = pairs_of(answered, row.factor)
    compared = [pair for pair in rivals(pairs, row.recommended) if pd.notna(pair["difference"])]
    compared.sort(key=lambda pair: pair["difference"])
    gains = [_gain(pair) for pair in compared[:_MOST_GAINS]]
    if len(compared) > _MOST_GAINS:
        gains.append(f"and over {count(len(compared) - _MOST_GAINS, 'more level')}")
    return "; ".join(gains) or NOTHING


def _gain(pair: Answer) -> str:
    """Return the gain over a level, or the lead of that level."""
    rival, gain, low, high = _name(pair["level_b"]), pair["difference"], pair["low"], pair["high"]
    if gain < 0:
        return f"{rival} ahead by {points(-gain)} ({points(-high)} to {points(-low)})"
    return f"over {rival} {points(gain)} ({points(low)} to {points(high)})"


def _behind_on_test(row: Any, pairs: list[Answer]) -> str:
    """Explain why a level is kept although another was ahead of it on test."""
    if row.decision != UNDECIDED:
        return ""
    ahead = [pair for pair in rivals(pairs, row.recommended) if pair["difference"] < 0]
    if not ahead:
        return ""
    leads = ", ".join(f"{_name(pair['level_b'])} was {points(-pair['difference'])} points" for pair in ahead)
    return f"{leads} ahead on test; {_name(row.recommended)} is kept because it was chosen on validation."


def _needed(row, answered: pd.DataFrame) -> str:
    if row.decision != UNDECIDED:
        return NOTHING
    if pd.notna(row.seeds_needed):
        return number(row.seeds_needed)
    verdicts = [pair["verdict"] for pair in rivals(pairs_of(answered, row.factor), row.best)]
    if TOO_FEW in verdicts:
        return f"at least {SEEDS_FOR_A_CLAIM}"
    refused = sum(verdict.startswith(REFUSED) for verdict in verdicts)
    if refused == len(verdicts):
        return "not compared"
    return "not all compared" if refused else "more seeds will not help"


def _sentence(row, answered: pd.DataFrame, allowed: float) -> str:
    """Return the recommendation for one factor and its reasons."""
    pairs = pairs_of(answered, row.factor)
    refused = [pair["verdict"] for pair in pairs if pair["verdict"].startswith(REFUSED)]
    refusals = list(dict.fromkeys(verdict.removeprefix(REFUSED) for verdict in refused))
    if row.decision == ABSENT:
        reason = f"not all levels were compared: {'; '.join(refusals)}" if refusals else "no level beats another"
        return f"{row.factor}: this factor does not exist in the winner; where it exists, {reason}."
    level = _name(row.recommended)
    sentences = [
        f"{row.factor}: {f'{level} ({_how_sure(row)})' if row.decision == UNDECIDED else f'use {level}'}.",
        _not_the_winners(row),
        _cheaper(row, allowed),
        _behind_on_test(row, pairs),
    ]
    if refusals and len({pair["verdict"] for pair in pairs}) == 1:
        sentences.append(f"Its levels were not compared: {refusals[0]}.")
    else:
        compared = sum(pd.notna(pair["p_holm"]) for pair in pairs)
        sentences += [answer_sentence(pair, allowed, compared) for pair in rivals(pairs, row.best)]
    return " ".join(filter(None, sentences))


def _not_the_winners(row) -> str:
    if row.best == row.winner:
        return ""
    if not row.winner:
        return "This factor does not exist in the winner; the answer holds for settings that have it."
    return f"The winner uses {_name(row.winner)}, which was best on validation but is beaten on test."


def _cheaper(row, allowed: float) -> str:
    if row.recommended == row.best:
        return ""
    return (
        f"{_name(row.recommended)} matches {_name(row.best)} within the margin of {margin_text(allowed)} "
        f"and is cheaper ({_saved(row)})."
    )


def _held_at(row: Any, confirmed: list[Setting], best: Setting) -> str:
    """Say which other factors were held at levels that the winner does not use."""
    compared = standing_for(confirmed, row.factor, row.best)
    if compared is None or pd.isna(row.gain):
        return ""
    others = {
        factor: level
        for factor, level in compared.levels.items()
        if factor != row.factor and level and best.levels[factor] not in ("", level)
    }
    if not others:
        return ""
    held = [f"without {best.levels[f]}" if level == "none" else f"with {f} {level}" for f, level in others.items()]
    used = ", ".join(best.levels[factor] for factor in others)
    return f"Measured {', '.join(held)}; the winner uses {used}, where the gap may differ."


def _together(advised: pd.DataFrame, confirmed: list[Setting], best: Setting) -> str:
    """Say whether the recommended levels were trained together: each factor was compared with the others held fixed."""
    rows = advised[["factor", "recommended"]].dropna()
    levels = {str(factor): str(level) for factor, level in zip(rows["factor"], rows["recommended"], strict=True)}
    same = [s for s in confirmed if all(s.levels[factor] in ("", level) for factor, level in levels.items())]
    if best in same:
        return "This combination is the winner, as confirmed."
    if same:
        return f"This combination was also confirmed: {setting_text(same[0].levels)}."
    return (
        f"This combination ({setting_text(levels)}) has not been trained yet. Each factor was compared with the others "
        "held fixed, so confirm the combination before relying on it."
    )
