"""Recommendation: the setting to use, with the evidence for each level. confirmed/recommendations.py has the rule."""

from typing import Any

import pandas as pd

from analysis.confirmed.answers import (
    BETTER_A,
    EQUIVALENT,
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
from analysis.confirmed.recommendations import ABSENT, BEATEN, NOTHING_YET, UNDECIDED, recommendations
from analysis.confirmed.settings import Setting, company, setting_text, standing_for, winner
from analysis.confirmed.tables import shown_sizes
from analysis.findings.winner import headline
from analysis.layout.page import Cell, Section, Table, table
from analysis.layout.text import NOTHING, duration, number, percent, points
from analysis.statistics.inference import SEEDS_FOR_A_CLAIM
from study.results import Results
from study.writing import count

_LABELS = {ABSENT: "not in the winner", NOTHING_YET: "no answer yet"}
_MOST_GAINS = 3  # levels named in one cell
_MANY_TIMES = 3  # as much time: worth a word even if nothing is decided
_PARTS = {2: "half", 3: "a third", 4: "a quarter", 5: "a fifth", 10: "a tenth"}


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
        [headline(results, best), *_combined(confirmed, best)],
        tables=[_table(advised, answered), _rule(advised, answered, margin(results))],
        below=sentences,
    )


def _combined(confirmed: list[Setting], best: Setting) -> list[str]:
    """Say how the winner came about if it stands for no level of the comparisons."""
    if not best.is_recommended or best.stands_for:
        return []
    return [
        "It combines the cheapest levels that do as well on validation as the best setting, and was confirmed like all "
        f"others. Levels were compared one by one around another setting: {setting_text(company(confirmed))}."
    ]


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
        "For each factor the winner's level. Decision: whether the test fold shows that it is better than the others, "
        "or equally good. Gain: test accuracy minus that of each other level. Seeds needed: how many would decide an "
        "open comparison if its difference is real."
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
        "The rule. One setting is recommended, and it was run as a whole: the confirmed setting that is best on "
        "validation, or a confirmed combination of the cheapest levels that do as well there, within "
        f"{margin_text(allowed)}. The test fold selects nothing, because the accuracy of a setting that was chosen by "
        "its test images would be too high. Validation, test and time are those of the level in its comparison."
    )
    return table("recommendation-rule", caption, advised, shown, stacked=True)


def _how_sure(row) -> str:
    decision = _LABELS.get(row.decision) or row.decision
    if not _is_much_faster(row):
        return decision
    return f"{decision}; {_name(row.faster)} takes {_of_the_time(row.faster_seconds, row.trial_seconds)}"


def _is_much_faster(row) -> bool:
    """Whether an open level takes so much less time that its price may decide."""
    undecided = row.decision == UNDECIDED and isinstance(row.faster, str)
    return undecided and _MANY_TIMES * row.faster_seconds <= row.trial_seconds


def _of_the_time(seconds: float, other: float) -> str:
    """Return a training time as a share of a longer one."""
    share = max(seconds / other, 1e-3)
    parts = round(1 / share)
    named = f"about {_PARTS.get(parts, f'1/{parts}')}" if parts > 1 else f"{100 * share:.0f}%"
    return f"{named} of the time"


def _why(row, answered: pd.DataFrame) -> str:
    """Return why a level is recommended, with the numbers behind it."""
    if pd.isna(row.recommended):
        return NOTHING
    pairs = list(rivals(pairs_of(answered, row.factor), row.recommended))
    why = ["chosen on validation" + (f", but {_name(row.best)} beats it on test" if row.decision == BEATEN else "")]
    for verdict, words in ((BETTER_A, "beats {} on test"), (EQUIVALENT, "equivalent on test: {}")):
        levels = [_name(pair["level_b"]) for pair in pairs if pair["verdict"] == verdict]
        why += [words.format(", ".join(levels))] if levels else []
    if isinstance(row.cheaper, str):
        takes = _of_the_time(row.cheaper_seconds, row.trial_seconds)
        why.append(f"{_name(row.cheaper)} does as well and takes {takes}")
    if isinstance(row.faster, str):
        why.append(f"{_name(row.faster)} is faster but not shown to be as good: {_behind(row, answered)}")
    return "; ".join(why)


def _behind(row, answered: pd.DataFrame) -> str:
    """Compare the faster open level with the recommended one, on validation and on test."""
    known = f"{duration(row.faster_seconds)}, {percent(row.faster_val_accuracy)} on validation"
    pair = _pair(pairs_of(answered, row.factor), row.faster, row.recommended)
    if pair is None:
        return f"{known}, not compared on test"
    lead = f"{points(abs(pair['difference']))} points {'ahead' if pair['difference'] > 0 else 'behind'}"
    return f"{known}, {lead} on test ({LIKELY} {points(pair['low'])} to {points(pair['high'])})"


def _pair(pairs: list[Answer], level: str, other: str) -> Answer | None:
    """Return the comparison of two levels, the first as `level_a`; None if they were not compared on test."""
    compared = (pair for pair in rivals(pairs, level) if pair["level_b"] == other and pd.notna(pair["difference"]))
    return next(compared, None)


def _name(level: Any) -> str:
    """Return the name of a level; a dash if no level is recommended."""
    return NOTHING if pd.isna(level) else str(level) or "none"


def _gains(row, answered: pd.DataFrame) -> str:
    """Return the gain over every other compared level, closest rival first."""
    level = row.best if pd.isna(row.recommended) else row.recommended
    compared = [pair for pair in rivals(pairs_of(answered, row.factor), level) if pd.notna(pair["difference"])]
    compared.sort(key=lambda pair: pair["difference"])
    gains = [_gain(pair) for pair in compared[:_MOST_GAINS]]
    if len(compared) > _MOST_GAINS:
        gains.append(f"and over {count(len(compared) - _MOST_GAINS, 'more level')}")
    return ("" if pd.notna(row.recommended) or not gains else f"{_name(level)} ") + "; ".join(gains) or NOTHING


def _gain(pair: Answer) -> str:
    """Return the gain over a level, or the lead of that level."""
    rival, gain, low, high = _name(pair["level_b"]), pair["difference"], pair["low"], pair["high"]
    if gain < 0:
        return f"{rival} ahead by {points(-gain)} ({points(-high)} to {points(-low)})"
    return f"over {rival} {points(gain)} ({points(low)} to {points(high)})"


def _behind_on_test(row: Any, pairs: list[Answer]) -> str:
    """Explain why a level is kept although another was ahead of it on test."""
    if row.decision == BEATEN:
        return (
            f"{_name(row.best)} beats it on test. The winner stays, because the test fold must not select: the "
            "accuracy of a setting that was chosen by its test images would be too high."
        )
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
    """Return the level of the winner for one factor, and the evidence for it."""
    pairs = pairs_of(answered, row.factor)
    refused = [pair["verdict"] for pair in pairs if pair["verdict"].startswith(REFUSED)]
    refusals = list(dict.fromkeys(verdict.removeprefix(REFUSED) for verdict in refused))
    compared = sum(pd.notna(pair["p_holm"]) for pair in pairs)
    level, unsure = row.best if row.decision == ABSENT else row.recommended, row.decision in (UNDECIDED, BEATEN)
    answers = [answer_sentence(pair, allowed, compared) for pair in rivals(pairs, level)]
    if row.decision == ABSENT:
        return _absent(row, pairs, refusals, answers)
    sentences = [
        f"{row.factor}: {f'{_name(level)} ({row.decision})' if unsure else f'use {_name(level)}'}.",
        _behind_on_test(row, pairs),
        _saving(row, pairs, allowed),
    ]
    if refusals and len({pair["verdict"] for pair in pairs}) == 1:
        sentences.append(f"Its levels were not compared: {refusals[0]}.")
    else:
        sentences += answers
    return " ".join(filter(None, sentences))


def _absent(row: Any, pairs: list[Answer], refusals: list[str], answers: list[str]) -> str:
    """Return the answer for a factor that does not exist in the winner, in the setting where it does."""
    companions = next((pair["companions"] for pair in pairs if isinstance(pair["companions"], str)), "")
    where = f" ({companions.replace('=', ' ')})" if companions else ""
    start = f"{row.factor}: this factor does not exist in the winner; where it exists{where},"
    if isinstance(row.best, str):
        return " ".join([f"{start} {_name(row.best)} is best.", *answers])
    reason = f"not all levels were compared: {'; '.join(refusals)}" if refusals else "no level beats another"
    return f"{start} {reason}."


def _saving(row: Any, pairs: list[Answer], allowed: float) -> str:
    """Name a level that takes less time and is equally good, or that takes much less and is not shown to be worse."""
    level, seconds, as_good = row.cheaper, row.cheaper_seconds, f"does as well on test, within {margin_text(allowed)},"
    if not isinstance(level, str):
        level, seconds, as_good = row.faster, row.faster_seconds, "is not shown to be worse"
        if not _is_much_faster(row) or _pair(pairs, level, row.recommended) is None:
            return ""
    saved = f"{duration(seconds)} per trial instead of {duration(row.trial_seconds)}"
    return f"{_name(level)} {as_good} and takes {_of_the_time(seconds, row.trial_seconds)} ({saved})."


def _held_at(row: Any, confirmed: list[Setting], best: Setting) -> str:
    """Say which other factors were held at levels that the winner does not use."""
    compared = standing_for(confirmed, row.factor, row.recommended)
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
