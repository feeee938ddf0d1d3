"""The plan written before the first trial, and every deviation of the study from it."""

import hashlib
import json
from pathlib import Path
from typing import Any

from analysis.layout.text import value_text
from study.results import FIRST_PLAN, Results, level_text
from study.writing import count

SKIPPED = "skipped"  # the value of `preflight` in study.json if the gates were skipped


def plan_sentence(results: Results) -> str:
    """Say whether the plan in the folder has the hash that was recorded before the first trial."""
    recorded, file = results.study.get("plan_hash"), results.out / FIRST_PLAN
    if not isinstance(recorded, str) or not recorded:
        return "The study does not record the hash of its plan."
    written = f"The plan was written before the first trial, with hash {recorded[:12]}…"
    if not file.is_file():
        return f"{written}; the plan is not in this folder, so it cannot be checked."
    if hashlib.sha256(file.read_bytes()).hexdigest() == recorded:
        return f"{written}; {FIRST_PLAN} still has this hash."
    return f"{written}; {FIRST_PLAN} has a different hash: it was changed afterward!"


def deviations(results: Results) -> list[str]:
    """Return a phrase for each deviation: those recorded during the study, then those that the tables show."""
    recorded = results.study.get("deviations")
    phrases = [value_text(deviation) for deviation in recorded] if isinstance(recorded, list) else []
    if results.study.get("preflight") == SKIPPED:
        phrases.append("the checks before the sweep were skipped (--skip-preflight)")
    phrases += _off_the_plan(results)
    failed = int(((results.trials["phase"] == "confirm") & (results.trials["status"] == "failed")).sum())
    if failed:
        phrases.append(f"{count(failed, 'confirmation trial')} failed, so some settings have fewer seeds than planned")
    return phrases


def deviation_sentences(results: Results) -> list[str]:
    sentences = [f"Deviation from the plan: {phrase}" for phrase in deviations(results)]
    return sentences or ["No known deviation from the plan."]


def _off_the_plan(results: Results) -> list[str]:
    """Return how many planned trials ran with other levels or, once the search is over, not at all."""
    planned = _read_plan(results.out / FIRST_PLAN)
    trials = results.trials.set_index("trial")
    ran = {factor: trials[factor].map(level_text).to_dict() for factor in results.factors}
    missing, other = [trial for trial in planned if trial["trial"] not in trials.index], []
    for trial in planned:
        common = ran.keys() & trial["factors"].keys()  # a published configuration also names fields that are no factors
        wanted = {factor: level_text(trial["factors"][factor]) for factor in common}
        if any(ran[factor].get(trial["trial"], level) != level for factor, level in wanted.items()):
            other.append(trial["trial"])
    phrases = []
    if missing and (results.trials["phase"].eq("confirm").any() or len(results.predictions)):
        phrases.append(f"{len(missing)} of {count(len(planned), 'planned trial')} were not started")
    if other:
        phrases.append(f"{count(len(other), 'trial')} ran with other levels than planned, the first {other[0]}")
    return phrases


def _read_plan(file: Path) -> list[dict[str, Any]]:
    """Return the planned trials; empty if there is no plan or its format is not ours."""
    try:
        plan = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    for trial in plan if isinstance(plan, list) else [None]:
        levels = trial.get("factors") if isinstance(trial, dict) and isinstance(trial.get("trial"), str) else None
        if not isinstance(levels, dict) or any(isinstance(level, list | dict) for level in levels.values()):
            return []
    return plan
