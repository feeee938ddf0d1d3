"""Settings for a study with goal="best": Ray's OptunaSearch with a TPE sampler for conditional spaces."""

import warnings
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.trial import TrialState, create_trial
from ray.tune.search.optuna import OptunaSearch

from search_spaces.distributions import holds
from study.design.plan import Planned
from study.persistence import ledger
from study.spec import Study

_METRIC = "score"  # the study's metric, with its sign changed if less is better
_NAME = "study"


class Space:
    """The study's search space, define-by-run. A module-level class, because Ray pickles it."""

    def __init__(self, study: Study) -> None:
        self.study = study

    def __call__(self, trial: Any) -> None:
        levels: dict[str, Any] = {}
        for name, factor in self.study.factors.items():
            if holds(factor.when, levels):
                levels[name] = trial.suggest_categorical(name, list(factor.levels))
        for name, nuisance in self.study.nuisances.items():
            if holds(nuisance.when, levels):
                trial.suggest_float(name, nuisance.low, nuisance.high, log=nuisance.log)


class OptunaSampler:
    """Draw settings with OptunaSearch. On a resume it learns earlier trials from the ledger."""

    def __init__(self, study: Study, seed: int, out: Path) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        storage = optuna.storages.InMemoryStorage()
        self.study = study
        self.past = optuna.create_study(storage=storage, study_name=_NAME, direction="maximize")
        records = [record for record in ledger.read_records(out).values() if record.planned.phase == "search"]
        # Trials that an earlier process started and did not end. OptunaSearch does not know them.
        self.open = {record.planned.trial: record.planned for record in records if record.status is None}
        for record in records:
            if record.status is not None:
                value = record.score if record.best and record.status != "failed" else None
                self.past.add_trial(_frozen(study, record.planned, value))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # of `group`
            # A resumed sampler must not repeat its earlier draws.
            sampler = optuna.samplers.TPESampler(multivariate=True, group=True, seed=seed + len(records))
        self.search = OptunaSearch(
            Space(study),
            metric=_METRIC,  # with a space of its own, OptunaSearch does not get metric and mode from Tune
            mode="max",
            sampler=sampler,
            storage=storage,
            study_name=_NAME,
        )

    def ask(self, trial: str) -> tuple[dict[str, Any], dict[str, float]]:
        suggested = self.search.suggest(trial)
        assert isinstance(suggested, dict)
        factors = {name: suggested[name] for name in self.study.factors if name in suggested}
        return factors, {name: suggested[name] for name in self.study.nuisances if name in suggested}

    def tell(self, trial: str, value: float | None) -> None:
        if trial in self.open:
            self.past.add_trial(_frozen(self.study, self.open.pop(trial), value))
            return
        result = None if value is None else {_METRIC: value}
        self.search.on_trial_complete(trial, result=result, error=value is None)


def _frozen(study: Study, planned: Planned, value: float | None) -> optuna.trial.FrozenTrial:
    """Return an earlier trial in Optuna's format. A trial without a value has failed."""
    distributions: dict[str, BaseDistribution] = {
        name: CategoricalDistribution(list(study.factors[name].levels)) for name in planned.factors
    }
    for name in planned.nuisances:
        nuisance = study.nuisances[name]
        distributions[name] = FloatDistribution(nuisance.low, nuisance.high, log=nuisance.log)
    return create_trial(
        state=TrialState.FAIL if value is None else TrialState.COMPLETE,
        value=value,
        params=planned.factors | planned.nuisances,
        distributions=distributions,
    )
