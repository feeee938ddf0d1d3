"""How often the test fold was opened, and the recommendations at its first opening and now."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

import pandas as pd

from analysis.confirmed.answers import answers
from analysis.confirmed.recommendations import recommendations
from analysis.confirmed.settings import Setting, settings
from study.results import FIRST_OPENING, OPENING_COLUMN, STOOD_FOR_COLUMN, Results, StudyRecord, level_text


def openings(results: Results) -> int | None:
    """Return how often the test fold was opened (study.json has a number or a list); None if not recorded."""
    recorded = results.study.get("test_openings")
    times = len(recorded) if isinstance(recorded, list) else recorded
    return times if isinstance(times, int) and not isinstance(times, bool) else None


def opened_once(results: Results) -> bool:
    """Whether study.json records at most one opening, so that no decision can rest on test results."""
    return openings(results) in (0, 1)


def at_first_opening(results: Results) -> Results | None:
    """Return the study as it was at the first of several openings; None if its trials are not recorded."""
    trials, times = results.trials, openings(results)
    if times is None or times < 2 or not {OPENING_COLUMN, STOOD_FOR_COLUMN} <= set(trials.columns):
        return None
    first = trials[trials[OPENING_COLUMN] == 1]
    if first.empty:
        return None
    study = cast(StudyRecord, {**results.study, "decisions": _decisions_at_first(results)})
    return replace(results, study=study, trials=first.assign(stands_for=first[STOOD_FOR_COLUMN]))


def _decisions_at_first(results: Results) -> list[Any]:
    """Return the decisions of study.json, with the recommendation of the first opening in place of the latest one."""
    listed: Any = results.study.get("decisions")
    entries = listed if isinstance(listed, list) else []
    others = [entry for entry in entries if not (isinstance(entry, Mapping) and entry.get("kind") == "recommend")]
    try:
        opening = json.loads((results.out / FIRST_OPENING).read_text(encoding="utf-8"))
    except (OSError, ValueError):  # another program wrote the folder, or the ledger is elsewhere
        return others
    return [*others, opening.get("recommended")] if isinstance(opening, dict) else others


def openings_sentence(results: Results) -> str:
    """Return how often the test fold was opened, as a sentence; the only source of this sentence."""
    times = openings(results)
    known = {
        None: "How often the test fold was opened is not recorded.",
        0: "The test fold has not been opened.",
        1: "The test fold was opened once, at the end.",
    }
    more = f"The test fold was opened {times} times: decisions after the first opening knew its results."
    return known.get(times, more)


def openings_notes(results: Results, confirmed: list[Setting], answered: pd.DataFrame) -> list[str]:
    """Return a note if the test fold was opened more than once. `answered` are the current answers."""
    if (openings(results) or 0) < 2:
        return []
    sentence = openings_sentence(results)
    if not results.factors or not confirmed:
        return [sentence]
    first = at_first_opening(results)
    then = [] if first is None else settings(first)
    if first is None or not then:
        return [
            f"{sentence} What the first opening recommended is not recorded; the report shows what the latest one "
            "recommends."
        ]
    advised = recommendations(first, then, answers(first)), recommendations(results, confirmed, answered)
    at_first, now = map(_recommended, advised)
    if at_first == now:
        return [f"{sentence} The first opening led to the same recommendation: {now}."]
    same = advised[0]["recommended"].map(level_text).tolist() == advised[1]["recommended"].map(level_text).tolist()
    changed = "The recommendation changed after the first opening, the only one made without knowing test results."
    if same:
        changed = "The recommended levels are the same as at the first opening, but their evidence has changed."
    return [f"{sentence} {changed} First opening: {at_first}. Now: {now}."]


def _recommended(advised: pd.DataFrame) -> str:
    """Return the recommended level of every factor with its decision, as text."""
    rows = zip(advised["factor"], advised["recommended"], advised["decision"], strict=True)
    return ", ".join(
        f"{factor} {'–' if pd.isna(level) else level or 'none'} ({decision})" for factor, level, decision in rows
    )
