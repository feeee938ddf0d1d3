"""What a study is: a question, as factors, nuisances and what is fixed. A wrong study fails when imported."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

from search_spaces.distributions import Conditional, Range, accepted
from study.budget import Budget
from trainables.augmentation.policies import POLICIES
from trainables.config import (
    DISTANCES,
    FIELDS,
    LOSSES,
    MIXINGS,
    OPTIMIZERS,
    REGIONS,
    REGULARIZERS,
    SAMPLINGS,
    SCHEDULES,
    UNFREEZE,
    TrialConfig,
)
from trainables.data.datasets import DATASETS
from trainables.data.splits import parse_ratio
from trainables.errors import InputError
from trainables.metrics import METRICS

# Of a trial's config, what no study may ask about or fix.
# fmt: off
_MACHINERY = (
    "manifest", "split_levels", "official_split", "study_seed", "seed", "folds", "test_folds", "trains_on",
    "weights_hash", "stored_side", "epochs", "steps_per_epoch", "device", "threads", "precision", "frozen_precision",
    "channels_last", "metric",
)
# fmt: on
STUDIED = tuple(name for name in FIELDS if name not in _MACHINERY)
_TYPES = {each.name: each.type for each in fields(TrialConfig)}
_WHOLE = (int, int | None)
_FROM_ZERO = ("warmup_epochs", "frozen_epochs")
_GOALS = ("factors", "best", "published")
_KNOWN = {
    "regularizer": REGULARIZERS,
    "optimizer": OPTIMIZERS,
    "schedule": SCHEDULES,
    "augmentation": tuple(POLICIES),
    "weights": ("pretrained", "none"),
    "sampling": SAMPLINGS,
    "mixing": MIXINGS,
    "loss": LOSSES,
    "distance": DISTANCES,
    "region": REGIONS,
}
# Folds of a study that says nothing about them.
DEFAULT_SPLIT = "70-15-15"


@dataclass(frozen=True, kw_only=True)
class Published:
    """A configuration that somebody published, with the number they gave for it.

    `config` holds what differs from the study's `fixed`; `epochs` may be among it. `value` is a share of 1 for
    accuracies, `n` the pictures it was measured on, where that can be told. `differs` says what our run does otherwise;
    `also` are other metrics of the same model on the same pictures, in the words of analysis.metrics.
    """

    name: str
    config: Mapping[str, Any]
    metric: str
    fold: str  # "validation", "test" or "unknown"
    value: float
    n: int | None = None
    also: Mapping[str, float] = field(default_factory=dict)
    differs: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class Study:
    """One study. Factors are compared, nuisances are tuned equally for every level, the rest is fixed."""

    dataset: str
    question: str
    factors: Mapping[str, Sequence[Any] | Conditional]
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
        if self.dataset not in DATASETS:
            raise InputError(f"Unknown dataset {self.dataset!r}; known: {', '.join(DATASETS)}.")
        if self.metric is not None and self.metric not in METRICS:
            raise InputError(f"Unknown metric {self.metric!r}; known: {', '.join(METRICS)}.")
        if not 0 <= self.unseen < 1:
            raise InputError(f"`unseen` must be a share of the classes, at least 0 and below 1, but got {self.unseen}.")
        if self.goal not in _GOALS:
            raise InputError(f"Unknown goal {self.goal!r}; known: {', '.join(_GOALS)}.")
        object.__setattr__(self, "factors", {name: _factor(name, f) for name, f in self.factors.items()})
        for name, factor in self.factors.items():
            _check_factor(name, factor, self.factors)
        for name, nuisance in self.nuisances.items():
            _check_nuisance(name, nuisance.sets or name)
            _check_condition(name, nuisance.when, self.factors)
        for name, value in self.fixed.items():
            _check_field("fixed hyperparameter", name)
            _check_level(name, value)
        for name in STUDIED:
            if sum(name in part for part in (self.factors, self.nuisances, self.fixed)) > 1:
                raise InputError(f"A hyperparameter is a factor, a nuisance or fixed, but {name!r} is two of them.")
        if self.goal == "factors" and not self.factors:
            raise InputError('A study must compare the levels of at least one factor, or have goal="best".')
        if self.budget.test_folds and (self.goal == "best" or self.retrain):
            raise InputError(
                'With `test_folds` every picture trains, too: goal="best" and `retrain` cannot be had then.'
            )
        for each in self.published:
            _check_published(each, self.fixed)
        if "size" not in self.fixed and "size" not in self.factors and self.goal != "published":
            raise InputError("A study must say the pictures' `size` in pixels, in `fixed` or as a factor.")

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
        """A study that asks about the ratio, or tests on all pictures, cannot keep the dataset's own folds."""
        asks = "split" in self.factors or len(self.split_levels()) > 1
        return self.official_split and not asks and not self.budget.test_folds

    def as_published(self, epochs: int | None) -> "Study":
        """The study that runs the published configurations, for at most so many epochs, and nothing else."""
        if not self.published:
            raise InputError("--published runs what a study's source has published, but this study names nothing.")
        longest = max(each.config.get("epochs", self.budget.epochs) for each in self.published)
        trials = len(self.published) * self.budget.seeds
        budget = replace(self.budget, trials=trials, epochs=epochs or longest, test_folds=None)
        return replace(self, goal="published", factors={}, nuisances={}, budget=budget)


def _factor(name: str, factor: Sequence[Any] | Conditional) -> Conditional:
    if isinstance(factor, Conditional):
        return factor
    return Conditional(levels=tuple(factor), when={}, otherwise=None)


def _check_factor(name: str, factor: Conditional, factors: Mapping[str, Conditional]) -> None:
    _check_field("factor", name)
    levels = factor.levels
    if len(levels) < 2 or len(set(map(str, levels))) < len(levels):
        raise InputError(
            f"Factor {name!r} must have at least two different levels, but got {list(levels)}: "
            "a single level belongs into `fixed`."
        )
    for level in levels:
        _check_level(name, level)
    _check_condition(name, factor.when, factors)
    if factor.when:
        _check_level(name, factor.otherwise)


def _check_field(kind: str, name: str) -> None:
    if name not in STUDIED:
        raise InputError(f"Unknown {kind} {name!r}; known: {', '.join(STUDIED)}.")


def _check_nuisance(name: str, sets: str) -> None:
    _check_field("nuisance", sets)
    if not _is_number(sets) or _TYPES[sets] in _WHOLE or sets == "train_fraction":
        raise InputError(f"A nuisance must be a continuous hyperparameter, but {name!r} is not: make it a factor.")


def _check_level(name: str, level: Any) -> None:
    if level is None and _TYPES[name] in (float | None, int | None):
        return  # the strength of another regularizer, fresh views
    if _TYPES[name] in _WHOLE:
        fits = type(level) is int and level >= (0 if name in _FROM_ZERO else 1)
    else:
        fits = type(level) in (int, float) if _is_number(name) else isinstance(level, str)
    if not fits:
        kind = "a whole number above 0" if _TYPES[name] in _WHOLE else "a number" if _is_number(name) else "a text"
        raise InputError(f"`{name}` must be {kind}, but got {level!r}.")
    if name in _KNOWN and level not in _KNOWN[name]:
        raise InputError(f"Unknown {name} {level!r}; known: {', '.join(_KNOWN[name])}.")
    if name == "split":
        parse_ratio(level)
    if name == "train_fraction" and not (isinstance(level, int | float) and 0 < level <= 1):
        raise InputError(f"`0 < train_fraction <= 1` must hold, but got {level}.")
    if name == "unfreeze" and not UNFREEZE.fullmatch(str(level)):
        raise InputError(f"Unknown unfreeze depth {level!r}: use 'head', 'last stage', 'last 20 layers' or 'all'.")


def _check_published(published: Published, fixed: Mapping[str, Any]) -> None:
    for name, value in published.config.items():
        if name != "epochs":
            _check_field("hyperparameter of a published configuration", name)
            _check_level(name, value)
    for name in ("backbone", "size"):
        if name not in published.config and name not in fixed:
            raise InputError(f"The published configuration {published.name!r} must say its `{name}`.")


def _is_number(name: str) -> bool:
    return _TYPES[name] in (*_WHOLE, float, float | None)


def _check_condition(name: str, when: Mapping[str, Any], factors: Mapping[str, Conditional]) -> None:
    earlier = list(factors)[: list(factors).index(name)] if name in factors else list(factors)
    for factor, named in when.items():
        for level in accepted(named):
            if factor not in earlier or level not in factors[factor].levels:
                raise InputError(
                    f"{name!r} exists only under {factor}={level}, but the study has no such level of a factor "
                    "named before it."
                )
