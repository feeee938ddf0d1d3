"""What a study is: a question, as factors, nuisances and what is fixed. A wrong study fails when imported."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from search_spaces.distributions import Conditional, Range, accepted
from study.budget import Budget
from study.declared import Declared, check_declared, shortened, unfit
from study.hyperparameters import STUDIED, check_field, check_level, is_number
from study.published import Published, at_most, check_published
from trainables.data.datasets import DATASETS
from trainables.errors import InputError, did_you_mean, unknown
from trainables.fields import WHOLE, check_value
from trainables.metrics import METRICS

_GOALS = ("factors", "best", "published")
# Folds of a study that says nothing about them.
DEFAULT_SPLIT = "70-15-15"


class _Factors:
    """The attribute `factors`: a study file gives lists or Conditionals, everybody else reads Conditionals."""

    def __get__(self, study: "Study | None", owner: type) -> Mapping[str, Conditional]:
        if study is None:
            raise AttributeError("factors")  # so that the dataclass sees a field without a default
        return study.__dict__["factors"]

    def __set__(self, study: "Study", factors: Mapping[str, Sequence[Any] | Conditional]) -> None:
        study.__dict__["factors"] = factors


@dataclass(frozen=True, kw_only=True)
class Study:
    """One study. It compares factors, tunes nuisances equally for every level, and fixes the rest.

    Raises:
        InputError: the parts do not fit together; the message names the first one and the fix.
    """

    dataset: str
    question: str
    factors: _Factors = _Factors()
    nuisances: Mapping[str, Range]
    fixed: Mapping[str, Any]
    budget: Budget
    goal: Literal["factors", "best", "published"] = "factors"
    margin: float = 0.01  # levels closer than this are equivalent, in accuracy
    official_split: bool = True  # take the dataset's own test fold where it has one
    metric: str | None = None  # chooses epochs and settings; None: accuracy, or balanced accuracy of unequal classes
    control: bool = True  # confirm the winner again with other seeds, as if it were another level: to find nothing
    retrain: bool = False  # ship the winner trained again on training and validation together
    unseen: float = 0.0  # share of the classes, the last ones, set aside for zero-shot retrieval with the winner
    published: Sequence[Published] = ()  # what --published runs

    def __post_init__(self) -> None:
        _check_kinds(self)
        if self.dataset not in DATASETS:
            raise unknown("dataset", self.dataset, DATASETS)
        if self.metric is not None and self.metric not in METRICS:
            raise unknown("metric", self.metric, METRICS)
        if self.goal not in _GOALS:
            raise unknown("goal", self.goal, _GOALS)
        if not 0 <= self.unseen < 1:
            raise InputError(f"`unseen` must be a share of the classes, at least 0 and below 1, but got {self.unseen}.")
        if not 0 < self.margin < 1:
            raise InputError(f"`margin` must be a difference in accuracy between 0 and 1, but got {self.margin}.")
        object.__setattr__(self, "factors", {name: _factor(name, f) for name, f in self.factors.items()})
        for name, factor in self.factors.items():
            _check_factor(name, factor, self)
        for name, nuisance in self.nuisances.items():
            _check_nuisance(name, nuisance)
            _check_condition(name, nuisance.when, self)
        for name, value in self.fixed.items():
            check_field("fixed hyperparameter", name)
            check_level(name, value)
        tuned = {each.sets or name: name for name, each in self.nuisances.items()}
        for name in STUDIED:
            if sum(name in part for part in (self.factors, tuned, self.fixed)) > 1:
                by = f" (nuisance {tuned[name]!r} sets it)" if tuned.get(name, name) != name else ""
                raise InputError(f"A hyperparameter is a factor, a nuisance or fixed, but {name!r} is two of them{by}.")
        if self.goal == "factors" and not self.factors:
            raise InputError('A study must compare the levels of at least one factor, or have goal="best".')
        if self.budget.test_folds and (self.goal == "best" or self.retrain):
            raise InputError('With `test_folds` every image trains, too: goal="best" and `retrain` cannot be had then.')
        for each in self.published:
            check_published(each, self.fixed, self.budget.epochs)
        if self.goal != "published":
            for name, what in (("size", "say the images' `size` in pixels"), ("backbone", "name its `backbone`")):
                if name not in self.fixed and name not in self.factors:
                    raise InputError(f"A study must {what}, in `fixed` or as a factor.")
            check_declared(self.declared())

    def declared(self, workers: int = 1) -> Declared:
        """What decides on the values of a trial; `workers` is how many processes share it."""
        return Declared(self.factors, self.nuisances, self.fixed, self.budget.epochs, workers)

    def levels(self, factor: str) -> list[Any]:
        return list(self.factors[factor].levels)

    def split_levels(self) -> list[str]:
        """All train-val-test ratios of the study; one where the split is no factor."""
        if "split" in self.factors:
            return self.levels("split")
        if self.goal == "published":
            given = [each.config.get("split", self.fixed.get("split", DEFAULT_SPLIT)) for each in self.published]
            return list(dict.fromkeys(given))
        return [self.fixed.get("split", DEFAULT_SPLIT)]

    def uses_official_split(self) -> bool:
        """A study that asks about the ratio, or tests on all images, cannot keep the dataset's own folds."""
        asks = "split" in self.factors or len(self.split_levels()) > 1
        return self.official_split and not asks and not self.budget.test_folds

    def as_published(self, epochs: int | None) -> "Study":
        """The study that runs the published configurations, for at most so many epochs, and nothing else."""
        if not self.published:
            raise InputError("--published runs what a study's source has published, but this study names nothing.")
        published = [at_most(each, self.fixed, self.budget.epochs, epochs) for each in self.published]
        longest = max(each.config["epochs"] for each in published)
        budget = replace(self.budget, trials=len(published) * self.budget.seeds, epochs=longest, test_folds=None)
        return replace(self, goal="published", factors={}, nuisances={}, published=published, budget=budget)

    def at_most(self, epochs: int) -> "Study":
        """The study with so many epochs. What is fixed and does not fit into fewer is less, too; levels must fit.

        Raises:
            InputError: a level, a range or what a study cannot do without does not fit.
        """
        fixed = shortened(self.fixed, epochs)
        return replace(self, fixed=fixed, budget=replace(self.budget, epochs=epochs))

    def fewest_epochs(self) -> int:
        """In which every phase that any trial has fits, with its warm-up."""
        values = [values for _, values in self.declared().reached("frozen_epochs", "warmup_epochs")]
        return max(each["frozen_epochs"] + each["warmup_epochs"] + 1 for each in values)

    def unfit(self) -> list[str]:
        """A sentence for everything declared that the budget's epochs leave without any effect."""
        if self.goal != "published":
            return unfit(self.declared())
        found = []
        for each in self.published:
            whole = {**self.fixed, **each.config}
            found += unfit(Declared({}, {}, whole, whole.get("epochs", self.budget.epochs)))
        return list(dict.fromkeys(found))


def _check_kinds(study: Study) -> None:
    """What anybody's Python may have put in the wrong place."""
    for name in ("factors", "nuisances", "fixed"):
        if not isinstance(getattr(study, name), Mapping):
            raise InputError(
                f"`{name}` must be a dict with the names of hyperparameters, but got {getattr(study, name)!r}."
            )
    for name in ("dataset", "question"):
        if not isinstance(getattr(study, name), str):
            raise InputError(f"`{name}` must be a text, but got {getattr(study, name)!r}.")
    for name in ("official_split", "control", "retrain"):
        if not isinstance(getattr(study, name), bool):
            raise InputError(f"`{name}` must be True or False, but got {getattr(study, name)!r}.")
    for name in ("margin", "unseen"):
        if type(getattr(study, name)) not in (int, float):
            raise InputError(f"`{name}` must be a number, but got {getattr(study, name)!r}.")
    for each in study.published:
        if not isinstance(each, Published):
            raise InputError(f"`published` must be a list of Published(...), but has {each!r}.")
    if not isinstance(study.budget, Budget):
        raise InputError(f"`budget` must be a Budget(...), but got {study.budget!r}.")
    for name, each in study.nuisances.items():
        if not isinstance(each, Range):
            raise InputError(
                f"A nuisance must be a Range, but {name!r} is {each!r}: a single value belongs into `fixed`."
            )


def _factor(name: str, factor: Sequence[Any] | Conditional) -> Conditional:
    levels = factor.levels if isinstance(factor, Conditional) else factor
    if isinstance(levels, str) or not isinstance(levels, Sequence):
        raise InputError(f"Factor {name!r} must be a list of its levels, but got {levels!r}.")
    if isinstance(factor, Conditional):
        return factor
    return Conditional(levels=tuple(levels), when={}, otherwise=None)


def _check_factor(name: str, factor: Conditional, study: Study) -> None:
    check_field("factor", name)
    for level in factor.levels:
        check_level(name, level)
    if len(set(factor.levels)) < max(2, len(factor.levels)):
        raise InputError(
            f"Factor {name!r} must have at least two different levels, but got {list(factor.levels)}: "
            "a single level belongs into `fixed`."
        )
    _check_condition(name, factor.when, study)
    if factor.when:
        check_level(name, factor.otherwise)


def _check_nuisance(name: str, nuisance: Range) -> None:
    sets = nuisance.sets or name
    check_field("nuisance", sets)
    if not is_number(sets) or sets in WHOLE or sets == "train_fraction":
        raise InputError(f"A nuisance must be a continuous hyperparameter, but {name!r} is not: make it a factor.")
    if name in STUDIED and name != sets:
        raise InputError(f"Nuisance {name!r} has the name of another hyperparameter than it sets, {sets!r}: rename it.")
    try:
        for end in (nuisance.low, nuisance.high):
            check_value(sets, end)
    except InputError as problem:
        raise InputError(f"Nuisance {name!r}, from {nuisance.low:g} to {nuisance.high:g}: {problem}") from None


def _check_condition(name: str, when: Mapping[str, Any], study: Study) -> None:
    factors: Mapping[str, Any] = study.factors
    earlier = list(factors)[: list(factors).index(name)] if name in factors else list(factors)
    for factor, named in when.items():
        if factor in study.fixed:
            raise InputError(
                f"{name!r} exists only under a level of {factor!r}, which is fixed to {study.fixed[factor]!r}: leave "
                "its `when` out, or make that a factor."
            )
        for level in accepted(named):
            if factor not in earlier or level not in factors[factor].levels:
                known = map(str, factors[factor].levels) if factor in earlier else earlier
                raise InputError(
                    f"{name!r} exists only under {factor}={level}, but the study has no such level of a factor "
                    f"named before it.{did_you_mean(level if factor in earlier else factor, known)}"
                )
