"""What is said before everything else where the test fold was opened more than once: both recommendations."""

import pandas as pd

from analysis.confirmed.answers import answers
from analysis.confirmed.openings import at_first_opening, openings
from analysis.confirmed.recommendations import recommendations
from analysis.confirmed.settings import Setting, settings, winner
from analysis.sections.sentences import openings_sentence, setting_text
from study.results import Results


def openings_notes(results: Results, found: list[Setting], answered: pd.DataFrame) -> list[str]:
    """Nothing after one opening. `answered` are the answers as of now."""
    if (openings(results) or 0) < 2:
        return []
    said = openings_sentence(results)
    if not results.factors or not found:
        return [said]
    first = at_first_opening(results)
    then = [] if first is None else settings(first)
    if first is None or not then:
        return [f"{said} What the first look recommended is not recorded; this is what the last one recommends."]
    at_first = _recommended(first, then, answers(first))
    now = _recommended(results, found, answered)
    if at_first == now:
        return [f"{said} The first look recommended the same: {now}."]
    return [
        f"{said} The recommendation changed after the first look, which alone was untouched by what the test pictures "
        f"had shown. First look: {at_first}. Now: {now}."
    ]


def _recommended(results: Results, found: list[Setting], answered: pd.DataFrame) -> str:
    """The recommended level of every factor with how sure it is, and the winner they were chosen around."""
    best = winner(found)
    each = [
        f"{row.factor} {'–' if pd.isna(row.recommended) else row.recommended or 'none'} ({row.decision})"
        for row in recommendations(results, found, answered).itertuples()
    ]
    return f"{', '.join(each)}; the best setting is {setting_text(best.levels)}" if best else ", ".join(each)
