"""What was decided before the first trial, and every way in which the study did not follow it."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.text import count, value_text
from study.results import FIRST_PLAN, Results, level_text

SKIPPED = "skipped"  # what study.json says of gates that were left out


def plan_sentence(results: Results) -> str:
    """Whether the plan that the study holds is the one whose hash was written before the first trial."""
    recorded, file = results.study.get("plan_hash"), results.out / FIRST_PLAN
    if not isinstance(recorded, str) or not recorded:
        return "The hash of a plan from before the first trial is not recorded."
    said = f"Before the first trial the plan was written down, with the hash {recorded[:12]}…"
    if not file.is_file():
        return f"{said}; the plan itself is not in this folder, so that it cannot be compared."
    if hashlib.sha256(file.read_bytes()).hexdigest() == recorded:
        return f"{said}; {FIRST_PLAN} still has this hash."
    return f"{said}; {FIRST_PLAN} has another one: it was changed afterwards!"


def deviations(results: Results) -> list[str]:
    """A phrase for each deviation: those recorded while the study ran, then those that the tables show."""
    recorded = results.study.get("deviations")
    said = [value_text(one) for one in recorded] if isinstance(recorded, list) else []
    if results.study.get("preflight") == SKIPPED:
        said.append("the gates before the sweep were left out (--skip-preflight)")
    return said + _off_the_plan(results) + _fewer_seeds(results)


def deviation_sentences(results: Results) -> list[str]:
    return [f"Deviation from the plan: {one}" for one in deviations(results)] or ["No deviation from the plan is known."]


def _off_the_plan(results: Results) -> list[str]:
    """Planned search trials that were not run, or with other levels; nothing where the plan is not there or unknown."""
    planned = _read_plan(results.out / FIRST_PLAN)
    trials = results.trials.drop_duplicates("trial").set_index("trial")
    missing = [one["trial"] for one in planned if one["trial"] not in trials.index]
    other = [one["trial"] for one in planned if one["trial"] in trials.index and _differs(results, one, trials)]
    said = []
    if missing:
        said.append(f"{len(missing)} of {count(len(planned), 'planned trial')} were not begun")
    if other:
        said.append(f"{count(len(other), 'trial')} ran with other levels than planned, the first {other[0]}")
    return said


def _differs(results: Results, one: Mapping[str, Any], trials: pd.DataFrame) -> bool:
    """A published configuration may name what is no factor, so only factors are looked at."""
    ran = trials.loc[one["trial"]]
    levels = {factor: level_text(one["factors"][factor]) for factor in results.factors if factor in one["factors"]}
    return any(level_text(ran[factor]) != level for factor, level in levels.items())


def _read_plan(file: Path) -> list[dict[str, Any]]:
    try:
        plan = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    known = isinstance(plan, list) and all(
        isinstance(one, dict) and isinstance(one.get("trial"), str) and isinstance(one.get("factors"), dict)
        for one in plan
    )
    return plan if known else []


def _fewer_seeds(results: Results) -> list[str]:
    failed = results.trials[(results.trials["phase"] == "confirm") & (results.trials["status"] == "failed")]
    if failed.empty:
        return []
    return [f"{count(len(failed), 'confirmation')} failed, so that some settings have fewer seeds than planned"]
