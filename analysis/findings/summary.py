"""The answers in a few lines of text, for a terminal: the recommended setting, then each factor."""

import pandas as pd

from analysis.confirmed.answers import (
    BETTER_A,
    BETTER_B,
    EQUIVALENT,
    LIKELY,
    REFUSED,
    Answer,
    answer_sentence,
    margin,
    margin_text,
    pairs_of,
    rivals,
)
from analysis.confirmed.recommendations import UNDECIDED, recommendations
from analysis.confirmed.settings import Setting, winner
from analysis.findings.winner import headline
from analysis.layout.page import Page
from analysis.layout.text import plain, points
from study.results import Results
from study.writing import count

_MOST = 3  # levels named in one line
_DECIDED = (BETTER_A, BETTER_B, EQUIVALENT)


def summary(results: Results, confirmed: list[Setting], answered: pd.DataFrame, page: Page) -> list[str]:
    """Return the recommended setting and a line for each factor; or the published configurations."""
    best = winner(confirmed)
    if best is None:
        tables = [table for section in page.sections for table in section.tables if table.stem == "published"]
        rows = [row for table in tables for row in table.rows]
        return [
            f"{name}: {metric} {ours} measured, {theirs} published" for name, metric, theirs, _, ours, *_ in rows
        ] or ["Nothing is confirmed yet."]
    advised = recommendations(results, confirmed, answered)
    lines = [headline(results, best), *(_factor(row, answered, margin(results)) for row in advised.itertuples())]
    return [plain(line) for line in lines]


def _factor(row, answered: pd.DataFrame, allowed: float) -> str:
    """Return what was decided about a factor, or what would decide it."""
    pairs = pairs_of(answered, row.factor)
    refusals = {pair["verdict"] for pair in pairs if pair["verdict"].startswith(REFUSED)}
    if len(refusals) == 1 and all(pair["verdict"].startswith(REFUSED) for pair in pairs):
        return f"{row.factor}: not compared: {refusals.pop().removeprefix(REFUSED)}."
    if pd.isna(row.recommended):
        compared = sum(pd.notna(pair["p_holm"]) for pair in pairs)
        outcomes = [answer_sentence(pair, allowed, compared) for pair in pairs[:_MOST]]
        return f"{row.factor}: not part of this setting; where it exists: {' '.join(outcomes)}"
    level = row.recommended
    against = list(rivals(pairs, level))
    decided = [pair for pair in against if pair["verdict"] in _DECIDED]
    still_open = [pair for pair in against if pair["verdict"] not in _DECIDED]
    advice = f"{level or 'none'} (not decided)" if row.decision == UNDECIDED else f"use {level or 'none'}"
    outcomes = [_outcome(pair, allowed) for pair in decided[:_MOST]]
    if len(decided) > _MOST:
        outcomes.append(f"{count(len(decided) - _MOST, 'more comparison')} decided")
    sentences = [f"{row.factor}: {', which '.join(filter(None, [advice, ', '.join(outcomes)]))}."]
    if still_open:
        closest = min(still_open, key=lambda pair: (pair["verdict"].startswith(REFUSED), pair["difference"]))
        sentences.append(answer_sentence(closest, allowed, sum(pd.notna(pair["p_holm"]) for pair in pairs)))
        others = [pair["level_b"] or "none" for pair in still_open if pair is not closest]
        sentences += (
            [f"Also open: {', '.join(others[:_MOST])}{', ...' if len(others) > _MOST else ''}."] if others else []
        )
    return " ".join(sentences)


def _outcome(pair: Answer, allowed: float) -> str:
    """Return how a level compares with another one, from its own side."""
    rival = pair["level_b"] or "none"
    if pair["verdict"] == EQUIVALENT:
        return f"is equivalent to {rival} within {margin_text(allowed)}"
    difference, low, high = pair["difference"], pair["low"], pair["high"]
    if pair["verdict"] == BETTER_B:
        return f"is {points(-difference)} points behind {rival} ({LIKELY} {points(-high)} to {points(-low)})"
    return f"beats {rival} by {points(difference)} points ({LIKELY} {points(low)} to {points(high)})"
