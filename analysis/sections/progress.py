"""Notes above the report of a study that is unfinished or failed."""

from analysis.confirmed.settings import Setting, test_folds
from analysis.declared import budget
from analysis.layout.text import number
from study.results import BEST_FOLDER, Results
from study.writing import count


def progress_notes(results: Results, confirmed: list[Setting]) -> list[str]:
    """Return notes on missing results; empty if all planned trials have ended and all confirmed settings are tested."""
    trials = results.trials
    failed = int((trials["status"] == "failed").sum())
    if len(trials) == 0:
        return ["This study is not finished. No trial has ended yet."]
    if failed == len(trials):
        return [f"All {count(failed, 'trial')} failed, so there is nothing to compare. The errors are listed below."]
    if set(trials["phase"]) == {"published"}:
        only = "Only published configurations were run, without a search, so there is no winner and no comparison."
        best = f" {BEST_FOLDER}/ holds the one with the best validation accuracy."
        return [only + (best if (results.out / BEST_FOLDER).is_dir() else "")]
    if not confirmed:
        ended, planned = int((trials["phase"] == "search").sum()), budget(results, "trials") or 0
        refined = int((trials["phase"] == "refine").sum())
        searched = "The search has ended."
        if ended < planned:
            searched = f"{number(ended)} of {count(planned, 'search trial')} have ended."
        elif refined:
            searched = f"The search and {count(refined, 'refinement trial')} have ended."
        return [
            f"This study is not finished. {searched} No setting is confirmed yet, so there is no winner and "
            f"no comparison. Below are the validation results of {count(len(trials) - failed, 'trial')}."
        ]
    return [*_few_seeds(results, confirmed), *_untested(results, confirmed)]


def _few_seeds(results: Results, confirmed: list[Setting]) -> list[str]:
    planned = budget(results, "seeds") or 0
    few = [setting for setting in confirmed if len(set(setting.seeds)) < planned]
    if not few:
        return []
    missing = sum(planned - len(set(setting.seeds)) for setting in few)
    what = "round" if test_folds(results) else "trial"
    return [
        f"This study is not finished, or some of its trials failed: {number(len(few))} of {number(len(confirmed))} "
        f"confirmed settings have fewer than the {count(planned, 'seed')} planned, and {count(missing, what)} "
        f"{'is' if missing == 1 else 'are'} missing."
    ]


def _untested(results: Results, confirmed: list[Setting]) -> list[str]:
    tested = sum(setting.tested for setting in confirmed)
    if results.predictions.empty or not tested:
        return ["The test set has not been opened yet, so there is no answer."]
    if tested < len(confirmed):
        return [f"{number(tested)} of {len(confirmed):,} confirmed settings are tested on all test images so far."]
    return []
