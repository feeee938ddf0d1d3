"""What is said before everything else where the test fold was opened more than once: both recommendations."""

import pandas as pd

from analysis.confirmed.answers import answers
from analysis.confirmed.openings import at_first_opening, openings
from analysis.confirmed.recommendations import recommendations
from analysis.confirmed.settings import Setting, settings, winner
from analysis.sections.sentences import openings_sentence, setting_text
from study.results import Results, level_text


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
    advised = recommendations(first, then, answers(first)), recommendations(results, found, answered)
    at_first, now = _recommended(advised[0], then), _recommended(advised[1], found)
    if at_first == now:
        return [f"{said} The first look recommended the same: {now}."]
    same = advised[0]["recommended"].map(level_text).tolist() == advised[1]["recommended"].map(level_text).tolist()
    changed = (
        "The recommended levels are those of the first look, but not all that is said of them."
        if same
        else "The recommendation changed after the first look, which alone was untouched by what the test images had "
        "shown."
    )
    return [f"{said} {changed} First look: {at_first}. Now: {now}."]


def _recommended(advised: pd.DataFrame, found: list[Setting]) -> str:
    """The recommended level of every factor with how sure it is, and the winner they were chosen around."""
    best = winner(found)
    each = [
        f"{row.factor} {'–' if pd.isna(row.recommended) else row.recommended or 'none'} ({row.decision})"
        for row in advised.itertuples()
    ]
    return f"{', '.join(each)}; the best setting is {setting_text(best.levels)}" if best else ", ".join(each)
