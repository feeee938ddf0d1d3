"""What each phase of a study trains, decided from the trials that have ended."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from study.design.plan import Levels, Planned, example_trial
from study.design.settings import resolve
from study.persistence import ledger
from study.persistence.ledger import Cut, Record
from study.results import Phase
from study.schedule.level_settings import best_trial
from study.schedule.more_seeds import more_seeds
from study.schedule.next_trials import (
    best_seed,
    confirm_setting,
    confirm_trials,
    confirmed,
    control_trials,
    has_control,
    retrain_trials,
    setting_of,
)
from study.schedule.recommendation import best_setting, cheapest_as_good, confirmed_settings, recommended
from study.schedule.refinement import Refinement, after, judge, refine_setting, refine_trials, refined_settings
from study.study_record import DecisionRecord, SeedsDecision

if TYPE_CHECKING:
    from study.schedule.state import StudyState


def plan(state: StudyState, phase: Phase) -> list[Planned]:
    """Return all trials of a phase that are decided by now, those that have ended included.

    A phase is over when all trials of its plan have ended and it plans no new ones.
    """
    return _PLANS[phase](state)


def _search(state: StudyState) -> list[Planned]:
    """Return the plan, or the trials sampled so far."""
    search = [record.planned for record in state.of_phase("search")]
    return ledger.read_plan(state.out) if state.sampler is None else search


def _refine(state: StudyState) -> list[Planned]:
    """Return the refinement trials that are decided by now; a sampled search refines nothing."""
    return _refinement(state)[0] if state.sampler is None else []


def _refinement(state: StudyState) -> tuple[list[Planned], Refinement | None]:
    """Replay the refinement. Return its trials so far, and where it ended; None if it has not, or if all failed."""
    study, search, seed = state.study, state.of_phase("search"), state.base.study_seed
    state.decisions = []
    if best_trial(search) is None:
        return [], None
    first = state.decide({"search": len(search)}, lambda: _first_base(search))[0]
    assert first["kind"] == "base"
    state.decisions.append(first)
    refinement = Refinement(first["levels"])
    trials: list[Planned] = []
    while True:
        state.points = refine_trials(study, refinement, search, seed)
        planned = state.kept(state.points)
        trials += planned
        ended = state.ended_of(planned)
        if ended is None:
            return trials, None
        judged = state.decide(
            {"search": len(search), **refinement.to_dict(), "cut": "refine" in state.cuts},
            partial(_judged, state, refinement, ended),
        )
        state.decisions += judged
        following = after(refinement, judged)
        if following is None:
            return trials, refinement
        refinement = following


def _judged(state: StudyState, refinement: Refinement, ended: dict[str, Record]) -> list[DecisionRecord]:
    """Return what follows from a round; nothing if no time is left for another one."""
    if "refine" not in state.cuts and state.out_of_time("refine", len(ended)):
        state.end_early(Cut("refine", len(ended), ()))
    if "refine" in state.cuts:
        return []
    search, base = state.of_phase("search"), state.base
    return judge(state.study, refinement, search, ended, base.study_seed, base.validation_images)


def _first_base(search: list[Record]) -> list[DecisionRecord]:
    best = best_trial(search)
    assert best is not None
    return [{"kind": "base", "levels": best.planned.factors, "trial": best.planned.trial}]


def _confirm(state: StudyState) -> list[Planned]:
    """Return the confirmations that are decided by now, and the refinement of the cheapest levels together."""
    study, search, seed = state.study, state.of_phase("search"), state.base.study_seed
    if best_trial(search) is None:
        return []
    if study.goal == "best":
        planned = confirm_trials(study, {}, search, [])
        state.stands_for = {trial.trial: trial.stands_for for trial in planned}
        _choose(state, {"search": len(search), "seeds": study.budget.seeds}, planned, None)
        return planned
    refinement = _refinement(state)[1]
    assert refinement is not None  # this phase begins when it has ended
    tuned = state.ended_of(state.kept(refine_trials(study, refinement, search, seed)))
    assert tuned is not None
    planned = confirm_trials(study, refined_settings(study, refinement, search), search, list(tuned.values()))
    state.stands_for = {trial.trial: trial.stands_for for trial in planned}
    ended = state.ended_of(planned)
    if ended is None:
        return planned
    at = {"search": len(search), **refinement.to_dict(), "seeds": study.budget.seeds}
    combined = state.decide(at, lambda: _combination(state, ended))
    state.decisions += combined
    candidate = next((decision["levels"] for decision in combined if decision["kind"] == "combine"), None)
    if candidate is not None:
        of_candidate = refine_setting(study, refinement, candidate, seed)
        refined = state.ended_of(of_candidate)
        if refined is None:
            return planned + of_candidate
        more = confirm_setting(study, candidate, list(refined.values()))
        planned += [trial for trial in more if trial.trial not in state.stands_for]
        state.stands_for = {trial.trial: trial.stands_for for trial in planned}
    planned = _with_more_seeds(state, at, planned, candidate)
    _choose(state, at, planned, candidate)
    return planned


def _combination(state: StudyState, ended: dict[str, Record]) -> list[DecisionRecord]:
    """Return a decision to confirm the cheapest levels that are as good together, unless they have been confirmed."""
    from study.design.operations import operations  # imported here, because it imports torch

    if "refine" in state.cuts or state.out_of_time("confirm", len(ended)):
        return []
    completed = [record for record in ended.values() if record.status == "completed"]
    settings, search = confirmed_settings(completed), state.of_phase("search")
    standing = _standing(state, completed)

    def cost(levels: Levels) -> float:
        return operations(resolve(state.study, example_trial(state.study, levels), state.base))

    levels = cheapest_as_good(state.study, settings, standing, search, cost)
    best = best_setting(settings)
    return [] if levels is None or best is None or levels == best.levels else [{"kind": "combine", "levels": levels}]


def _standing(state: StudyState, completed: list[Record]) -> dict[str, str]:
    """Return the name of the setting that stands for each "factor=level"."""
    return {level: setting_of(record) for record in completed for level in state.stands_for[record.planned.trial]}


def _with_more_seeds(
    state: StudyState, at: dict[str, Any], planned: list[Planned], candidate: Levels | None
) -> list[Planned]:
    """Return the confirmations with the seeds that settings in doubt get on top."""
    while state.study.budget.seeds_at_most > state.study.budget.seeds:
        ended = state.ended_of(planned)
        if ended is None:
            break
        counts = dict(sorted(Counter(trial.arm for trial in planned).items()))
        most = {"most_seeds": state.study.budget.seeds_at_most}
        added = state.decide(at | most | {"of": counts}, partial(_more_seeds, state, ended, candidate))
        if not added:
            break
        state.decisions += added
        totals = {name: item["seeds"] for item in added if item["kind"] == "seeds" for name in item["arms"]}
        first = {trial.arm: trial for trial in reversed(planned)}
        for name, total in totals.items():
            more = range(counts[name] + 1, total + 1)
            planned = planned + [confirmed(first[name], repeat, first[name].stands_for) for repeat in more]
        state.stands_for = {trial.trial: trial.stands_for for trial in planned}
    return planned


def _more_seeds(state: StudyState, ended: dict[str, Record], candidate: Levels | None) -> list[DecisionRecord]:
    study, base = state.study, state.base
    completed = [record for record in ended.values() if record.status == "completed"]
    settings, standing = confirmed_settings(completed), _standing(state, completed)
    best = recommended(settings, candidate, study.margin)
    if best is None or not base.validation_images:
        return []
    accuracies: dict[str, dict[int, float]] = defaultdict(dict)
    for record in sorted(ended.values(), key=lambda record: record.planned.seed):
        value = record.best["val_accuracy"] if record.best and record.status == "completed" else float("nan")
        accuracies[record.planned.arm][record.planned.seed] = value
    wanted: dict[str, int] = {}
    for factor, level in best.levels.items():
        names = [standing[name] for each in study.levels(factor) if (name := f"{factor}={each}") in standing]
        leader = standing.get(f"{factor}={level}")
        if leader is None or state.out_of_time("confirm", len(ended)):
            continue
        more = more_seeds(
            {name: list(values.values()) for name, values in accuracies.items()},
            leader,
            {factor: names},
            base.validation_images,
            base.test_images,
            study.margin,
            study.budget.seeds,
            study.budget.seeds_at_most,
        )
        for name, total in more.items():
            wanted[name] = max(wanted.get(name, 0), total)
    return [
        SeedsDecision(kind="seeds", seeds=total, arms=sorted(name for name in wanted if wanted[name] == total))
        for total in sorted(set(wanted.values()))
    ]


def _choose(state: StudyState, at: dict[str, Any], planned: list[Planned], candidate: Levels | None) -> None:
    """Choose the recommended setting when all confirmations have ended."""
    state.winner = None
    ended = state.ended_of(planned)
    if ended is None:
        return
    settings = confirmed_settings(record for record in ended.values() if record.status == "completed")

    def choose() -> list[DecisionRecord]:
        best = recommended(settings, candidate, state.study.margin)
        return [] if best is None else [{"kind": "recommend", "levels": dict(best.levels), "arm": best.name}]

    chosen = state.decide(at | {"candidate": candidate, "of": len(planned)}, choose)
    state.decisions += chosen
    names = {decision["arm"] for decision in chosen if decision["kind"] == "recommend"}
    state.winner = best_seed([record for setting in settings if setting.name in names for record in setting.records])


def _control(state: StudyState) -> list[Planned]:
    return control_trials(state.study, state.winner) if has_control(state.study) else []


def _retrain(state: StudyState) -> list[Planned]:
    return retrain_trials(state.confirmed(), state.winner) if state.study.retrain else []


def _published(state: StudyState) -> list[Planned]:
    planned = ledger.read_plan(state.out)
    ended = state.ended_of(planned) or {}
    best = best_setting(confirmed_settings(record for record in ended.values() if record.status == "completed"))
    state.winner = best_seed(best.records) if best else None
    return planned


_PLANS: dict[Phase, Callable[[StudyState], list[Planned]]] = {
    "search": _search,
    "refine": _refine,
    "confirm": _confirm,
    "control": _control,
    "retrain": _retrain,
    "published": _published,
}
