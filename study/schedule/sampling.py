"""Settings for a study with goal="best": Ray's OptunaSearch with a TPE that understands conditional spaces."""

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

_METRIC = "score"  # the study's metric, turned so that more is better
_NAME = "study"


class Space:
    """The study's space, define-by-run. A class of its own module, because Ray pickles it plainly."""

    def __init__(self, study: Study) -> None:
        self.study = study

    def __call__(self, trial: Any) -> None:
        chosen: dict[str, Any] = {}
        for name, factor in self.study.factors.items():
            if holds(factor.when, chosen):
                chosen[name] = trial.suggest_categorical(name, list(factor.levels))
        for name, nuisance in self.study.nuisances.items():
            if holds(nuisance.when, chosen):
                trial.suggest_float(name, nuisance.low, nuisance.high, log=nuisance.log)


class OptunaSampler:
    """Asks and tells OptunaSearch; on a resume it knows the search's earlier trials from the ledger."""

    def __init__(self, study: Study, seed: int, out: Path) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        storage = optuna.storages.InMemoryStorage()
        self.study = study
        self.past = optuna.create_study(storage=storage, study_name=_NAME, direction="maximize")
        records = [each for each in ledger.read_records(out).values() if each.planned.phase == "search"]
        # Asked for by an earlier process and not ended: OptunaSearch does not know them.
        self.open = {record.planned.trial: record.planned for record in records if record.status is None}
        for record in records:
            if record.status is not None:
                value = record.score if record.best and record.status != "failed" else None
                self.past.add_trial(_frozen(study, record.planned, value))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # of `group`
            # A resumed sampler must not draw again what it drew before.
            sampler = optuna.samplers.TPESampler(multivariate=True, group=True, seed=seed + len(records))
        self.search = OptunaSearch(
            Space(study),
            metric=_METRIC,  # OptunaSearch does not take them over from Tune once it has a space
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
    """An earlier trial as Optuna keeps it; without a value it failed."""
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
