"""What was decided before the first trial, and every way in which the study did not follow it."""

import hashlib
import json
from pathlib import Path
from typing import Any

from analysis.layout.text import count, value_text
from study.results import FIRST_PLAN, Results, level_text

SKIPPED = "skipped"  # what study.json says of gates that were left out


def plan_sentence(results: Results) -> str:
    """Whether the plan that the study holds is the one whose hash was written before the first trial."""
    recorded, file = results.study.get("plan_hash"), results.out / FIRST_PLAN
    if not isinstance(recorded, str) or not recorded:
        return "The study does not record the hash of its plan."
    said = f"The plan was written before the first trial, with hash {recorded[:12]}…"
    if not file.is_file():
        return f"{said}; the plan is not in this folder, so it cannot be checked."
    if hashlib.sha256(file.read_bytes()).hexdigest() == recorded:
        return f"{said}; {FIRST_PLAN} still has this hash."
    return f"{said}; {FIRST_PLAN} has a different hash: it was changed afterward!"


def deviations(results: Results) -> list[str]:
    """A phrase for each deviation: those recorded while the study ran, then those that the tables show."""
    recorded = results.study.get("deviations")
    said = [value_text(one) for one in recorded] if isinstance(recorded, list) else []
    if results.study.get("preflight") == SKIPPED:
        said.append("the checks before the sweep were skipped (--skip-preflight)")
    said += _off_the_plan(results)
    failed = int(((results.trials["phase"] == "confirm") & (results.trials["status"] == "failed")).sum())
    if failed:
        said.append(f"{count(failed, 'confirmation trial')} failed, so some settings have fewer seeds than planned")
    return said


def deviation_sentences(results: Results) -> list[str]:
    return [f"Deviation from the plan: {one}" for one in deviations(results)] or ["No known deviation from the plan."]


def _off_the_plan(results: Results) -> list[str]:
    """Planned trials that ran with other levels or, once the search is over, not at all."""
    planned = _read_plan(results.out / FIRST_PLAN)
    trials = results.trials.set_index("trial")
    ran = {factor: trials[factor].map(level_text).to_dict() for factor in results.factors}
    missing = [one for one in planned if one["trial"] not in trials.index]
    other = [
        one["trial"]
        for one in planned
        # a published configuration also names what is no factor
        for levels in [{factor: level_text(one["factors"][factor]) for factor in ran if factor in one["factors"]}]
        if any(ran[factor].get(one["trial"], level) != level for factor, level in levels.items())
    ]
    said = []
    if missing and (results.trials["phase"].eq("confirm").any() or len(results.predictions)):
        said.append(f"{len(missing)} of {count(len(planned), 'planned trial')} were not started")
    if other:
        said.append(f"{count(len(other), 'trial')} ran with other levels than planned, the first {other[0]}")
    return said


def _read_plan(file: Path) -> list[dict[str, Any]]:
    """Empty where there is no plan, or none that is written as ours are."""
    try:
        plan = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    for trial in plan if isinstance(plan, list) else [None]:
        levels = trial.get("factors") if isinstance(trial, dict) and isinstance(trial.get("trial"), str) else None
        if not isinstance(levels, dict) or any(isinstance(level, list | dict) for level in levels.values()):
            return []
    return plan
