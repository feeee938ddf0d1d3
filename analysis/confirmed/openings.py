"""How often the test fold was opened, and the study as the first opening found it."""

from dataclasses import replace

from study.results import OPENING_COLUMN, STOOD_FOR_COLUMN, Results


def openings(results: Results) -> int | None:
    """How often the test fold was opened, a number or a list in study.json; None where that does not say."""
    recorded = results.study.get("test_openings")
    times = len(recorded) if isinstance(recorded, list) else recorded
    return times if isinstance(times, int) and not isinstance(times, bool) else None


def opened_once(results: Results) -> bool:
    """Whether nothing can have been decided by what the test fold showed, as far as study.json tells."""
    return openings(results) in (0, 1)


def at_first_opening(results: Results) -> Results | None:
    """The study with the trials of the first of several openings alone; None where these are not known."""
    trials, times = results.trials, openings(results)
    if times is None or times < 2 or not {OPENING_COLUMN, STOOD_FOR_COLUMN} <= set(trials.columns):
        return None
    first = trials[trials[OPENING_COLUMN] == 1]
    if first.empty:
        return None
    return replace(results, trials=first.assign(stands_for=first[STOOD_FOR_COLUMN]))
