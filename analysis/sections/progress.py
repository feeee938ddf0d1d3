"""What is not there yet, for a study that is still running or came to nothing: said before everything else."""

from collections.abc import Mapping

from analysis.confirmed.settings import Setting, test_folds
from analysis.layout.text import count, number
from study.results import BEST_FOLDER, Results


def progress_notes(results: Results, found: list[Setting]) -> list[str]:
    """Nothing where every planned trial has ended and every confirmed setting has been tested."""
    trials = results.trials
    failed = int((trials["status"] == "failed").sum())
    if len(trials) == 0:
        return ["This study is not finished. No trial has ended yet."]
    if failed == len(trials):
        return [f"All {count(failed, 'trial')} failed, so there is nothing to compare; the reasons are below."]
    if set(trials["phase"]) == {"published"}:
        only = "Only published configurations were run here, without a search: there is no winner and no answer."
        best = f" {BEST_FOLDER}/ holds the one that is best on validation."
        return [only + (best if (results.out / BEST_FOLDER).is_dir() else "")]
    if not found:
        return [
            f"This study is not finished. {_searched(results)} Nothing is confirmed yet, so there is no winner and no "
            f"answer. What follows is what {count(len(trials) - failed, 'trial')} showed so far, on validation."
        ]
    return [*_few_seeds(results, found), *_untested(results, found)]


def _planned(results: Results, key: str) -> int:
    """A number of the budget in study.json, which other programs may leave out; 0 where it is not known."""
    budget = results.study.get("budget")
    value = budget.get(key) if isinstance(budget, Mapping) else None
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def _searched(results: Results) -> str:
    ended, planned = int((results.trials["phase"] == "search").sum()), _planned(results, "trials")
    if ended < planned:
        return f"{number(ended)} of {count(planned, 'search trial')} have ended."
    refined = int((results.trials["phase"] == "refine").sum())
    return f"The search has ended{f', {number(refined)} trials have refined it' if refined else ''}."


def _few_seeds(results: Results, found: list[Setting]) -> list[str]:
    planned = _planned(results, "seeds")
    few = [one for one in found if len(set(one.seeds)) < planned]
    if not few:
        return []
    missing = sum(planned - len(set(one.seeds)) for one in few)
    what = "round" if test_folds(results) else "trial"
    return [
        f"This study is not finished, or some of its trials failed: {number(len(few))} of {number(len(found))} "
        f"confirmed settings have fewer than the {count(planned, 'seed')} planned; {count(missing, what)} missing."
    ]


def _untested(results: Results, found: list[Setting]) -> list[str]:
    tested = sum(one.tested for one in found)
    if results.predictions.empty or not tested:
        return ["The test images have not been looked at yet, so there is no answer."]
    if tested < len(found):
        return [f"{number(tested)} of {number(len(found))} confirmed settings have seen all test images so far."]
    return []
