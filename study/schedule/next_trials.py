"""The trials of each phase, as pure functions of earlier trials, so that a resumed study makes the same decisions."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace

from study.design.plan import Levels, Planned, arm
from study.persistence.ledger import Record
from study.schedule.level_settings import best_trial
from study.spec import Study

# With goal="best", this many settings of the search are confirmed.
CONFIRMED_BEST = 3
# With fewer seeds a negative control cannot detect anything.
FEWEST_CONTROL_SEEDS = 3
# The seeds of the control begin after this one, far beyond any --seeds of a confirmation.
_BEFORE_CONTROL_SEEDS = 1000


def confirm_trials(
    study: Study, settings: Mapping[str, Levels], search: list[Record], refined: list[Record]
) -> list[Planned]:
    """Plan the best refined setting of every level, with several seeds and no stopping.

    Args:
        settings: the setting of every level, as "factor=level".
        refined: the refinement trials that count, all of them ended.
    """
    if study.goal == "best":
        best = [(record.planned, ()) for record in _best_arms(search)]
        return [
            confirmed(planned, repeat, stands_for)
            for repeat in range(1, study.budget.repeats + 1)
            for planned, stands_for in best
        ]
    trials: dict[str, Planned] = {}
    standing: dict[str, list[str]] = defaultdict(list)
    for name, levels in settings.items():
        for planned in confirm_setting(study, levels, refined):
            trials.setdefault(planned.trial, planned)
            standing[planned.trial].append(name)
    return sorted(
        (replace(planned, stands_for=tuple(standing[name])) for name, planned in trials.items()),
        key=lambda planned: planned.seed,
    )


def confirm_setting(study: Study, levels: Levels, refined: list[Record]) -> list[Planned]:
    """Plan one setting with every seed at its best refined point; with test folds at the best of each repeat."""
    trials = []
    for repeat in range(1, study.budget.repeats + 1):
        tuned_on = repeat if study.budget.test_folds else 0
        best = best_trial(
            [record for record in refined if record.planned.factors == levels and record.planned.seed == tuned_on]
        )
        if best is not None:
            trials.append(confirmed(best.planned, repeat))
    return trials


def confirmed(planned: Planned, repeat: int, stands_for: tuple[str, ...] = ()) -> Planned:
    """Return a tuned trial as it is confirmed with one seed."""
    return Planned(
        trial=f"confirm-{planned.arm}-{repeat}",
        phase="confirm",
        factors=planned.factors,
        nuisances=planned.nuisances,
        seed=repeat,
        stands_for=stands_for,
    )


def best_seed(records: list[Record]) -> Record | None:
    """Return the seed of a setting that is best on validation; the first if several are equal."""
    return max(records, key=lambda record: (record.score, -record.planned.seed), default=None)


def setting_of(record: Record) -> str:
    """Return a name for what a confirmed trial repeats: its arm, or with test folds its levels."""
    planned = record.planned
    return arm(planned.factors, {}) if record.config.get("test_folds") else planned.arm


def has_control(study: Study) -> bool:
    """Return whether the study has a negative control. With test folds it would need another refinement per round."""
    return study.control and not study.budget.test_folds and study.budget.seeds >= FEWEST_CONTROL_SEEDS


def control_trials(study: Study, winner: Record | None) -> list[Planned]:
    """Plan the winner once more, with as many seeds as in the confirmation, all of them new."""
    seeds = study.budget.seeds
    if winner is None or seeds < FEWEST_CONTROL_SEEDS:
        return []
    planned = winner.planned
    return [
        Planned(
            trial=f"control-{planned.arm}-{repeat}",
            phase="control",
            factors=planned.factors,
            nuisances=planned.nuisances,
            seed=_BEFORE_CONTROL_SEEDS + repeat,
        )
        for repeat in range(1, seeds + 1)
    ]


def retrain_trials(confirmed: list[Record], winner: Record | None) -> list[Planned]:
    """Plan the winner once more, on training and validation data, for as many epochs as its seeds took on average."""
    if winner is None:
        return []
    planned = winner.planned
    best_epochs = [record.best["epoch"] for record in confirmed if record.planned.arm == planned.arm and record.best]
    epochs = max(1, round(sum(best_epochs) / len(best_epochs)))
    name = f"retrain-{planned.arm}-{planned.seed}"
    return [Planned(name, "retrain", planned.factors, planned.nuisances, seed=planned.seed, epochs=epochs)]


def _best_arms(search: list[Record]) -> list[Record]:
    ranked = sorted(
        (record for record in search if record.status == "completed"),
        key=lambda record: (-record.score, record.planned.trial),
    )
    distinct: Mapping[str, Record] = {record.planned.arm: record for record in reversed(ranked)}
    return [record for record in ranked if distinct[record.planned.arm] is record][:CONFIRMED_BEST]
