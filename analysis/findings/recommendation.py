"""The report's first section: what to choose for each factor, in one table and in sentences."""

import json

import pandas as pd

from analysis.confirmed.answers import LIKELY, REFUSED, answer_sentence, margin, margin_text, pairs_of, rivals
from analysis.confirmed.recommendations import ABSENT, NOTHING_YET, TRAINED, UNDECIDED, recommendations
from analysis.confirmed.settings import Setting, setting_text, winner
from analysis.confirmed.tables import shown_sizes
from analysis.findings.winner import headline
from analysis.layout.page import Section, Table, table
from analysis.layout.text import NOTHING, count, duration, number, percent, points
from study.results import Results

_SAID = {ABSENT: "not in the winner", NOTHING_YET: "no answer yet"}


_MOST_GAINS = 3  # levels named in one cell


def recommendations_section(results: Results, found: list[Setting], answered: pd.DataFrame) -> Section | None:
    """Missing where nothing was asked, as in a study of published configurations alone."""
    if not results.factors or set(results.trials["phase"]) == {"published"}:
        return None
    advised = recommendations(results, found, answered)
    best = winner(found)
    if best is None:
        nothing = "Nothing is confirmed yet, so there is nothing to recommend."
        return Section("What to choose", tables=[_table(advised, answered)], below=[nothing])
    sentences = [
        " ".join(filter(None, [_sentence(row, answered, margin(results)), _company(row, found, best)]))
        for row in advised.itertuples()
    ]
    return Section(
        "What to choose",
        tables=[_table(advised, answered), _rule(advised, answered, margin(results))],
        below=[headline(results, best), *sentences, _together(advised, found, best)],
    )


def _table(advised: pd.DataFrame, answered: pd.DataFrame) -> Table:
    shown = {
        "choice": lambda row: row.factor,
        "recommendation": lambda row: _name(row.recommended),
        "how sure": _how_sure,
        "gain in points (95 % interval)": lambda row: _gains(row, answered),
        "seeds needed": lambda row: _needed(row, answered),
        "time a trial": lambda row: duration(row.trial_seconds),
    }
    caption = (
        "What to choose: for each factor the cheapest level that is as good as the best, by the rule below. "
        "Gain: accuracy on the test images over each other level. Seeds needed: how many would settle what is "
        "undecided, if the difference is real."
    )
    return table("recommendations", caption, advised, shown | shown_sizes(advised), stacked=True)


def _rule(advised: pd.DataFrame, answered: pd.DataFrame, allowed: float) -> Table:
    """The numbers that each recommendation went by."""
    shown = {
        "choice": lambda row: row.factor,
        "recommendation": lambda row: _name(row.recommended),
        "validation": lambda row: percent(row.val_accuracy),
        "test": lambda row: percent(row.test_accuracy),
        "time a trial": lambda row: duration(row.trial_seconds),
        "why": lambda row: _why(row, answered),
    }
    caption = (
        "Why. Each factor starts from the winner's level, where the winner is the setting with the best validation "
        "score, or from a level that beats it on test. Levels that are equivalent to it on test, within "
        f"{margin_text(allowed)}, count as equally good; a level that is merely not shown to be worse does not. Among "
        "equally good levels the one with the shortest time a trial is recommended, and among those within a tenth of "
        "it the one that trains the fewest parameters. Validation, test and time are those of the recommended level as "
        "it was compared"
    )
    return table("recommendation-rule", caption, advised, shown, stacked=True)


def _how_sure(row) -> str:
    if row.decision == UNDECIDED and row.recommended != row.winner:
        return "undecided"
    return _SAID.get(row.decision, row.decision)


def _why(row, answered: pd.DataFrame) -> str:
    """By which step of the rule a level is recommended, with the numbers that the step went by."""
    if pd.isna(row.recommended):
        return NOTHING
    best, others = _name(row.best), json.loads(row.as_good)[1:]
    if row.recommended != row.best:
        return f"as good as {best} on test, and cheaper: {_saved(row)}"
    beats = best != _name(row.winner)
    why = [f"beats {_name(row.winner) if row.winner else 'others'} on test" if beats else "the winner's level"]
    if others:
        why.append(f"as good, and not cheaper: {', '.join(map(_name, others))}")
    if isinstance(row.faster, str):
        why.append(f"{_name(row.faster)} is faster, but not shown to be as good: {_behind(row, answered)}")
    return "; ".join(why)


def _saved(row) -> str:
    if row.cheaper_by == TRAINED:
        return "it trains fewer parameters in about the same time"
    return f"{duration(row.trial_seconds)} a trial against {duration(row.best_seconds)}"


def _behind(row, answered: pd.DataFrame) -> str:
    """How the faster open level does beside the best one, on validation and on test."""
    said = [f"{duration(row.faster_seconds)}", f"{percent(row.faster_val_accuracy)} on validation"]
    pair = next((one for one in rivals(pairs_of(answered, row.factor), row.faster) if one["level_b"] == row.best), None)
    if pair is None or pd.isna(pair["difference"]):
        return ", ".join([*said, "not compared on test"])
    ahead = "ahead" if pair["difference"] > 0 else "behind"
    interval = f"{points(pair['low'])} to {points(pair['high'])}"
    return ", ".join([*said, f"{points(abs(pair['difference']))} points {ahead} on test ({LIKELY} {interval})"])


def _name(level: object) -> str:
    """A level as it is called; nothing where none is recommended."""
    return NOTHING if pd.isna(level) else str(level) or "none"


def _gains(row, answered: pd.DataFrame) -> str:
    """The gain over every other level that was compared, the closest rival first."""
    pairs = pairs_of(answered, row.factor)
    compared = [one for one in rivals(pairs, row.recommended) if pd.notna(one["difference"])]
    compared.sort(key=lambda one: one["difference"])
    said = [
        f"over {_name(one['level_b'])} {points(one['difference'])} ({points(one['low'])} to {points(one['high'])})"
        for one in compared[:_MOST_GAINS]
    ]
    more = len(compared) - _MOST_GAINS
    return "; ".join(said + ([f"{count(more, 'more level')} below"] if more > 0 else [])) or NOTHING


def _needed(row, answered: pd.DataFrame) -> str:
    if row.decision != UNDECIDED:
        return NOTHING
    if pd.notna(row.seeds_needed):
        return number(row.seeds_needed)
    verdicts = [pair["verdict"] for pair in rivals(pairs_of(answered, row.factor), row.best)]
    refused = sum(verdict.startswith(REFUSED) for verdict in verdicts)
    if refused == len(verdicts):
        return "not compared"
    return "not all compared" if refused else "seeds will not do"


def _sentence(row, answered: pd.DataFrame, allowed: float) -> str:
    """What to do about one factor, and why."""
    pairs = pairs_of(answered, row.factor)
    if row.decision == ABSENT:
        reasons = dict.fromkeys(
            pair["verdict"].removeprefix(REFUSED) for pair in pairs if pair["verdict"].startswith(REFUSED)
        )
        found = f"not all levels were compared: {'; '.join(reasons)}" if reasons else "no level beats another"
        return f"{row.factor}: the winner has no such choice, and where there is one {found}."
    undecided = row.decision == UNDECIDED
    verb, doubt = "keep" if undecided and row.recommended == row.winner else "take", ", undecided" if undecided else ""
    said = [f"{row.factor}: {verb} {_name(row.recommended)}{doubt}.", _not_the_winners(row), _cheaper(row, allowed)]
    refusals = {pair["verdict"] for pair in pairs}
    if len(refusals) == 1 and (verdict := refusals.pop()).startswith(REFUSED):
        said.append(f"Its levels were not compared: {verdict.removeprefix(REFUSED)}.")
    else:
        compared = sum(pd.notna(pair["p_holm"]) for pair in pairs)
        said += [answer_sentence(pair, allowed, compared) for pair in rivals(pairs, row.best)]
    return " ".join(filter(None, said))


def _not_the_winners(row) -> str:
    if row.best == row.winner:
        return ""
    if not row.winner:
        return "The winner has no such choice; this holds where there is one."
    return f"The winner has {_name(row.winner)}, which was best on validation and is beaten on the test images."


def _cheaper(row, allowed: float) -> str:
    if row.recommended == row.best:
        return ""
    return (
        f"{_name(row.recommended)} does as well as {_name(row.best)} within the margin of {margin_text(allowed)}, "
        f"and is cheaper ({_saved(row)})."
    )


def _company(row, found: list[Setting], best: Setting) -> str:
    """What the levels were compared in, where that is not what the winner has."""
    compared = next((one for one in found if (row.factor, row.best) in one.stands_for), None)
    if compared is None or pd.isna(row.gain):
        return ""
    others = {
        factor: level
        for factor, level in compared.levels.items()
        if factor != row.factor and level and best.levels[factor] not in ("", level)
    }
    return (
        f"Measured with {setting_text(others)}; the winner differs there, so the gap may differ, too." if others else ""
    )


def _together(advised: pd.DataFrame, found: list[Setting], best: Setting) -> str:
    """Whether what is recommended was run as a whole: each choice was compared with the others held."""
    chosen = {row.factor: row.recommended for row in advised.itertuples() if pd.notna(row.recommended)}
    same = [one for one in found if all(one.levels[factor] in ("", level) for factor, level in chosen.items())]
    if best in same:
        return "All of this together is the winner, as it was confirmed."
    if same:
        return f"All of this together was confirmed, too, beside the winner: {setting_text(same[0].levels)}."
    return (
        f"All of this together ({setting_text(chosen)}) was not run as a whole. Each choice was compared with the "
        "others held, so confirm the whole before you rely on it."
    )
