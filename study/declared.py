"""Check that everything a study declares takes effect in its trials.

Each rule is checked for every combination of levels that trials can have, of the few factors that it concerns.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from search_spaces.distributions import Conditional, Range, combinations, holds, related
from trainables import unfreeze_depth
from trainables.config import DEFAULTS
from trainables.errors import InputError
from trainables.fields import ACTS, EXISTS, FROM_SCRATCH, TOGETHER

Values = Mapping[str, Any]

BATCH_SIZE = 32  # the default
# These fields have a value in every trial, so a study that tunes one of them must tune it under every level.
_ALWAYS_USED = ("learning_rate", "momentum", "step_factor")
# The fields that the defaults of `weights` and `unfreeze` depend on.
_DEFAULT_DEPENDS_ON = {"weights": ("backbone",), "unfreeze": ("backbone", "weights")}


def values_of(
    factors: Mapping[str, Conditional], fixed: Values, levels: Values, start: str = "pretrained"
) -> dict[str, Any]:
    """Return the hyperparameters of a trial with these levels, without its nuisances.

    A conditional factor that does not exist takes its `otherwise`. A fixed value that does not exist, such as the
    strength of another regularizer, is left out.

    Args:
        levels: the factor levels of a trial, or the config of a published configuration.
        start: "none" with --weights none.
    """
    values = dict(fixed)
    taken = {name: value for name, value in levels.items() if name not in factors}
    for name, factor in factors.items():
        if holds(factor.when, taken):
            taken[name] = levels[name]
        else:
            values[name] = factor.otherwise
    values |= taken
    for name, needs in EXISTS.items():
        if name not in taken and not needs.met(values.get(needs.field, DEFAULTS[needs.field])):
            values.pop(name, None)
    if start == "none":
        values["weights"] = "none"
    values.setdefault("weights", "none" if values.get("backbone") in FROM_SCRATCH else "pretrained")
    # A study that wants only the head of a random net to train must say so.
    values.setdefault("unfreeze", unfreeze_depth.default(values["weights"]))
    values.setdefault("batch_size", BATCH_SIZE)
    return values


@dataclass(frozen=True)
class Declared:
    """The parts of a study that determine the values of its trials."""

    factors: Mapping[str, Conditional]
    nuisances: Mapping[str, Range]
    fixed: Values
    epochs: int
    workers: int = 1  # of a trial

    def nuisances_of(self, field: str) -> list[str]:
        """Return the nuisances that set a field."""
        return [name for name, nuisance in self.nuisances.items() if (nuisance.sets or name) == field]

    def reached(self, *names: str) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
        """Yield the levels and the values of every combination that affects these fields; for a range its lower end."""
        fields = {field for name in names for field in (name, *_DEFAULT_DEPENDS_ON.get(name, ()))}
        tuned = [nuisance for field in sorted(fields) for nuisance in self.nuisances_of(field)]
        concerned = related(self.factors, fields.union(*(self.nuisances[nuisance].when for nuisance in tuned)))
        for levels in combinations(concerned):
            values = self.with_defaults(values_of(concerned, self.fixed, levels))
            for nuisance in tuned:
                if holds(self.nuisances[nuisance].when, levels):
                    values[self.nuisances[nuisance].sets or nuisance] = self.nuisances[nuisance].low
            yield levels, values

    def with_defaults(self, values: Values) -> dict[str, Any]:
        return DEFAULTS | {"epochs": self.epochs, "workers": self.workers} | dict(values)


def check_declared(declared: Declared) -> None:
    """Refuse a study if a part of it would not run as declared.

    Raises:
        InputError: the first such part, and the fix.
    """
    for field in dict.fromkeys(nuisance.sets or name for name, nuisance in declared.nuisances.items()):
        _check_ranges(declared, field)
    for names, rule in TOGETHER:
        for _, values in declared.reached(*names):
            rule(values)
    for name, value in declared.fixed.items():
        if value is not None:
            _check_effect(declared, name, f"Fixed {name} {value!r}", lambda levels: True)
    for name in declared.factors:
        if not any(name in levels for levels, _ in declared.reached(name)):
            raise InputError(f"Factor {name!r} exists under no combination of levels: fix its condition.")
        _check_effect(declared, name, f"Factor {name!r}", lambda levels, name=name: name in levels)
    for name, nuisance in declared.nuisances.items():
        exists = partial(holds, nuisance.when)
        _check_effect(declared, nuisance.sets or name, f"Nuisance {name!r}", exists)


def check_configuration(fixed: Values, config: Values, epochs: int) -> None:
    """Refuse a published configuration if a part of it would have no effect. Fixed values of the study may have none.

    Raises:
        InputError: the first such part, and the fix.
    """
    declared = Declared({}, {}, {}, epochs)
    values = declared.with_defaults(values_of({}, fixed, config))
    for _, rule in TOGETHER:
        rule(values)
    for name, value in config.items():
        if value is not None:
            _check_effect(replace(declared, fixed=values), name, f"Published {name} {value!r}", lambda levels: True)


def unfit(declared: Declared) -> list[str]:
    """Return a sentence for every patience and schedule that has no effect under any levels, with so few epochs."""
    acts: dict[str, bool] = {}
    for _, values in declared.reached("patience", "schedule", "step_every", "frozen_epochs"):
        epochs, patience, every = values["epochs"], values["patience"], values["step_every"]
        longest = max(values["frozen_epochs"], epochs - values["frozen_epochs"])
        if patience is not None:
            sentence = f"patience {patience} stops no trial within {epochs} epochs"
            acts[sentence] = acts.get(sentence, False) or patience < longest
        if values["schedule"] == "step":
            sentence = f"the schedule 'step' never lowers the learning rate in {epochs} epochs with step_every {every}"
            acts[sentence] = acts.get(sentence, False) or every < longest
    return [sentence for sentence, has_effect in acts.items() if not has_effect]


def shortened(values: Values, epochs: int) -> dict[str, Any]:
    """Return the values with frozen and warm-up epochs, where they are given, reduced to fit into so few epochs."""
    fitted = dict(values)
    frozen = min(values.get("frozen_epochs") or 0, epochs - 1)
    phase = min(frozen, epochs - frozen) if frozen else epochs
    for name, most in (("frozen_epochs", frozen), ("warmup_epochs", phase - 1)):
        if name in values:
            fitted[name] = min(values[name], most)
    if values.get("frozen_epochs") and not frozen:
        fitted |= {"frozen_learning_rate": None} if "frozen_learning_rate" in values else {}
    return fitted


def _check_ranges(declared: Declared, field: str) -> None:
    """If ranges set the field, every trial that uses it must get it from exactly one range."""
    names, existing = declared.nuisances_of(field), set()
    needs = ACTS.get(field) or EXISTS.get(field)
    for levels, values in declared.reached(field, *([needs.field] if needs else [])):
        setting = [name for name in names if holds(declared.nuisances[name].when, levels)]
        existing.update(setting)
        if len(setting) > 1:
            raise InputError(
                f"Only one nuisance can set {field!r}, but {setting[0]!r} and {setting[1]!r} both set "
                f"it{_under(levels)}: give each its own condition, with `when`."
            )
        if not setting and field in _ALWAYS_USED and (needs is None or needs.met(values[needs.field])):
            raise InputError(
                f"{field!r} is tuned by {_listed(names)}, but by no range{_under(levels)}, so it would be "
                f"{DEFAULTS[field]} there: add a range for that case."
            )
    if missing := [name for name in names if name not in existing]:
        raise InputError(f"Nuisance {missing[0]!r} exists under no combination of levels: fix its condition.")


def _check_effect(declared: Declared, name: str, what: str, exists: Callable[[Values], bool]) -> None:
    """Check that the value has an effect in some trial."""
    needs = [table[name] for table in (EXISTS, ACTS) if name in table]
    reached = declared.reached(name, *(need.field for need in needs))
    if not any(exists(levels) and all(need.met(values[need.field]) for need in needs) for levels, values in reached):
        words = " and ".join(need.words for need in needs)
        raise InputError(
            f"{what} has no effect, because `{name}` is used only with {words}: leave it out, or add that."
        )


def _under(levels: Values) -> str:
    return " under " + ", ".join(f"{name}={level}" for name, level in levels.items()) if levels else ""


def _listed(names: Iterable[str]) -> str:
    return " and ".join(map(repr, names))
