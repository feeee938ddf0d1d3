"""The definition of a study: its question, factors, nuisances and fixed values. A wrong study fails on import."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, get_args

from search_spaces.distributions import Conditional, Range, accepted
from study.budget import Budget
from study.declared import Declared, check_declared, shortened, unfit
from study.hyperparameters import STUDIED, check_field, check_level, is_number
from study.published import Published, at_most, check_published
from study.study_record import Goal
from trainables.data.datasets import DATASETS
from trainables.errors import InputError, did_you_mean, unknown
from trainables.fields import WHOLE, check_value
from trainables.metrics import METRICS

# Percentages of train, val and test.
DEFAULT_SPLIT = "70-15-15"


class _Factors:
    """The attribute `factors`. Study files pass lists or Conditionals, and readers always get Conditionals."""

    def __get__(self, study: "Study | None", owner: type) -> Mapping[str, Conditional]:
        if study is None:
            raise AttributeError("factors")  # tells the dataclass that the field has no default
        return study.__dict__["factors"]

    def __set__(self, study: "Study", factors: Mapping[str, Sequence[Any] | Conditional]) -> None:
        study.__dict__["factors"] = factors


@dataclass(frozen=True, kw_only=True)
class Study:
    """A study. It compares factors, tunes nuisances equally for every level, and fixes the rest.

    Raises:
        InputError: a part is wrong or contradicts another one. The message names the first such part and the fix.
    """

    dataset: str
    question: str
    factors: _Factors = _Factors()
    nuisances: Mapping[str, Range]
    fixed: Mapping[str, Any]
    budget: Budget
    goal: Goal = "factors"
    margin: float = 0.01  # levels whose accuracies differ by less are equivalent
    official_split: bool = True  # use the dataset's own test fold if it has one
    metric: str | None = None  # selects epochs and settings; None: accuracy, or balanced accuracy for unequal classes
    control: bool = True  # negative control: confirm the winner again with other seeds, as if it were another level
    retrain: bool = False  # export the winner trained again on the training and validation folds together
    unseen: float = 0.0  # share of the classes, the last ones, set aside for zero-shot retrieval with the winner
    published: Sequence[Published] = ()  # the configurations that --published runs

    def __post_init__(self) -> None:
        _check_types(self)
        if self.dataset not in DATASETS:
            raise unknown("dataset", self.dataset, DATASETS)
        if self.metric is not None and self.metric not in METRICS:
            raise unknown("metric", self.metric, METRICS)
        if self.goal not in get_args(Goal):
            raise unknown("goal", self.goal, get_args(Goal))
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
        tuned = {nuisance.sets or name: name for name, nuisance in self.nuisances.items()}
        for name in STUDIED:
            if sum(name in part for part in (self.factors, tuned, self.fixed)) > 1:
                by = f" (nuisance {tuned[name]!r} sets it)" if tuned.get(name, name) != name else ""
                raise InputError(f"A hyperparameter is a factor, a nuisance or fixed, but {name!r} is two of them{by}.")
        if self.goal == "factors" and not self.factors:
            raise InputError('A study must compare the levels of at least one factor, or have goal="best".')
        if self.budget.test_folds and (self.goal == "best" or self.retrain):
            raise InputError(
                'With `test_folds` every image is also trained on, so goal="best" and `retrain` are not supported: '
                "leave `test_folds` out, or the other."
            )
        for published in self.published:
            check_published(published, self.fixed, self.budget.epochs)
        if self.goal != "published":
            for name, what in (("size", "give the images' `size` in pixels"), ("backbone", "name its `backbone`")):
                if name not in self.fixed and name not in self.factors:
                    raise InputError(f"A study must {what}, in `fixed` or as a factor.")
            check_declared(self.declared())

    def declared(self, workers: int = 1) -> Declared:
        """Return the parts that determine the values of a trial.

        Args:
            workers: the number of data-parallel processes per trial.
        """
        return Declared(self.factors, self.nuisances, self.fixed, self.budget.epochs, workers)

    def levels(self, factor: str) -> list[Any]:
        return list(self.factors[factor].levels)

    def split_levels(self) -> list[str]:
        """Return all train-val-test ratios of the study. There is only one unless the split is a factor."""
        if "split" in self.factors:
            return self.levels("split")
        if self.goal == "published":
            default = self.fixed.get("split", DEFAULT_SPLIT)
            return list(dict.fromkeys(published.config.get("split", default) for published in self.published))
        return [self.fixed.get("split", DEFAULT_SPLIT)]

    def uses_official_split(self) -> bool:
        """Return whether the study keeps the dataset's own folds.

        It cannot if it compares split ratios or tests on all images.
        """
        compares_splits = "split" in self.factors or len(self.split_levels()) > 1
        return self.official_split and not compares_splits and not self.budget.test_folds

    def as_published(self, epochs: int | None) -> "Study":
        """Return the study that only runs the published configurations, each for at most `epochs` epochs.

        Raises:
            InputError: the study has no published configurations.
        """
        if not self.published:
            raise InputError("--published runs published configurations, but this study has none: leave it out.")
        published = [at_most(original, self.fixed, self.budget.epochs, epochs) for original in self.published]
        longest = max(configuration.config["epochs"] for configuration in published)
        budget = replace(self.budget, trials=len(published) * self.budget.seeds, epochs=longest, test_folds=None)
        return replace(self, goal="published", factors={}, nuisances={}, published=published, budget=budget)

    def at_most(self, epochs: int) -> "Study":
        """Return the study with this number of epochs. Fixed frozen and warm-up epochs are reduced to fit.

        Raises:
            InputError: a level or a range does not fit.
        """
        fixed = shortened(self.fixed, epochs)
        return replace(self, fixed=fixed, budget=replace(self.budget, epochs=epochs))

    def fewest_epochs(self) -> int:
        """Return the smallest number of epochs that has room for every training phase with its warm-up."""
        reached = self.declared().reached("frozen_epochs", "warmup_epochs")
        return max(values["frozen_epochs"] + values["warmup_epochs"] + 1 for _, values in reached)

    def unfit(self) -> list[str]:
        """Return a sentence for every declared part that has no effect within the budget's epochs."""
        if self.goal != "published":
            return unfit(self.declared())
        sentences = []
        for published in self.published:
            whole = {**self.fixed, **published.config}
            sentences += unfit(Declared({}, {}, whole, whole.get("epochs", self.budget.epochs)))
        return list(dict.fromkeys(sentences))


def _check_types(study: Study) -> None:
    """Check the types of all parts, because a study file may contain anything."""
    for name in ("factors", "nuisances", "fixed"):
        if not isinstance(getattr(study, name), Mapping):
            raise InputError(
                f"`{name}` must be a dict with names of hyperparameters as keys, but got {getattr(study, name)!r}."
            )
    for name in ("dataset", "question"):
        if not isinstance(getattr(study, name), str):
            raise InputError(f"`{name}` must be a string, but got {getattr(study, name)!r}.")
    for name in ("official_split", "control", "retrain"):
        if not isinstance(getattr(study, name), bool):
            raise InputError(f"`{name}` must be True or False, but got {getattr(study, name)!r}.")
    for name in ("margin", "unseen"):
        if type(getattr(study, name)) not in (int, float):
            raise InputError(f"`{name}` must be a number, but got {getattr(study, name)!r}.")
    for published in study.published:
        if not isinstance(published, Published):
            raise InputError(f"`published` must be a list of Published(...), but contains {published!r}.")
    if not isinstance(study.budget, Budget):
        raise InputError(f"`budget` must be a Budget(...), but got {study.budget!r}.")
    for name, nuisance in study.nuisances.items():
        if not isinstance(nuisance, Range):
            raise InputError(
                f"A nuisance must be a Range, but {name!r} is {nuisance!r}: put a single value into `fixed`."
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
            "put a single level into `fixed`."
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
        raise InputError(f"Nuisance {name!r} sets {sets!r}, but has the name of another hyperparameter: rename it.")
    try:
        for end in (nuisance.low, nuisance.high):
            check_value(sets, end)
    except InputError as problem:
        raise InputError(f"Nuisance {name!r}, from {nuisance.low:g} to {nuisance.high:g}: {problem}") from None


def _check_condition(name: str, when: Mapping[str, Any], study: Study) -> None:
    factors: Mapping[str, Any] = study.factors
    earlier = list(factors)[: list(factors).index(name)] if name in factors else list(factors)
    for factor, levels in when.items():
        if factor in study.fixed:
            raise InputError(
                f"{name!r} exists only under a level of {factor!r}, but {factor!r} is fixed to "
                f"{study.fixed[factor]!r}: leave out the `when`, or make {factor!r} a factor."
            )
        for level in accepted(levels):
            if factor not in earlier or level not in factors[factor].levels:
                known = map(str, factors[factor].levels) if factor in earlier else earlier
                raise InputError(
                    f"{name!r} exists only under {factor}={level}, but no factor before it has this "
                    f"level.{did_you_mean(level if factor in earlier else factor, known)}"
                )
