"""What a study declares runs under its own name, and means something there, or the study is refused (DESIGN.md, D12).

Looked at are the combinations of levels that trials can have, for each rule those of the few factors it concerns.
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

BATCH_SIZE = 32  # of a study that does not say
# What trials take of these where a study says nothing is a choice like any other, and no absence of something.
_TUNED = ("learning_rate", "momentum", "step_factor")
# What decides on the defaults of `weights` and `unfreeze`.
_DECIDES = {"weights": ("backbone",), "unfreeze": ("backbone", "weights")}


def values_of(
    factors: Mapping[str, Conditional], fixed: Values, chosen: Values, start: str = "pretrained"
) -> dict[str, Any]:
    """The hyperparameters of a trial with these levels, without its nuisances.

    A conditional factor takes its `otherwise` where it does not exist; what is fixed and does not exist is left out,
    such as the strength of another regularizer. `chosen` may name more than factors: a published configuration.
    `start` "none" is that of --weights none.
    """
    values = dict(fixed)
    taken = {name: value for name, value in chosen.items() if name not in factors}
    for name, factor in factors.items():
        if holds(factor.when, taken):
            taken[name] = chosen[name]
        else:
            values[name] = factor.otherwise
    values |= taken
    for name, needs in EXISTS.items():
        if name not in taken and not needs.met(values.get(needs.field, DEFAULTS[needs.field])):
            values.pop(name, None)
    if start == "none":
        values["weights"] = "none"
    values.setdefault("weights", "none" if values.get("backbone") in FROM_SCRATCH else "pretrained")
    # Whoever wants the head of a frozen random net says so.
    values.setdefault("unfreeze", unfreeze_depth.default(values["weights"]))
    values.setdefault("batch_size", BATCH_SIZE)
    return values


@dataclass(frozen=True)
class Declared:
    """The parts of a study that say what its trials have."""

    factors: Mapping[str, Conditional]
    nuisances: Mapping[str, Range]
    fixed: Values
    epochs: int
    workers: int = 1  # of a trial

    def setting(self, name: str) -> list[str]:
        """The nuisances that set a field."""
        return [nuisance for nuisance, each in self.nuisances.items() if (each.sets or nuisance) == name]

    def reached(self, *names: str) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
        """The levels and the values of each combination that differs in these fields; of a range its lower end."""
        fields = {more for name in names for more in (name, *_DECIDES.get(name, ()))}
        drawn = [nuisance for name in sorted(fields) for nuisance in self.setting(name)]
        concerned = related(self.factors, fields.union(*(self.nuisances[each].when for each in drawn)))
        for chosen in combinations(concerned):
            values = self.with_defaults(values_of(concerned, self.fixed, chosen))
            for nuisance in drawn:
                if holds(self.nuisances[nuisance].when, chosen):
                    values[self.nuisances[nuisance].sets or nuisance] = self.nuisances[nuisance].low
            yield chosen, values

    def with_defaults(self, values: Values) -> dict[str, Any]:
        return DEFAULTS | {"epochs": self.epochs, "workers": self.workers} | dict(values)


def check_declared(declared: Declared) -> None:
    """Refuse what would not run as declared.

    Raises:
        InputError: the first of it, and the way out.
    """
    for field in dict.fromkeys(each.sets or name for name, each in declared.nuisances.items()):
        _check_ranges(declared, field)
    for names, rule in TOGETHER:
        for _, values in declared.reached(*names):
            rule(values)
    for name, value in declared.fixed.items():
        if value is not None:
            _check_effect(declared, name, f"Fixed {name} {value!r}", lambda chosen: True)
    for name in declared.factors:
        if not any(name in chosen for chosen, _ in declared.reached(name)):
            raise InputError(f"Factor {name!r} exists under no combination of levels: mend its condition.")
        _check_effect(declared, name, f"Factor {name!r}", lambda chosen, name=name: name in chosen)
    for name, each in declared.nuisances.items():
        is_there = partial(holds, each.when)
        _check_effect(declared, each.sets or name, f"Nuisance {name!r}", is_there)


def check_configuration(fixed: Values, config: Values, epochs: int) -> None:
    """The same of a published configuration; what the study fixes besides need not matter in it."""
    declared = Declared({}, {}, {}, epochs)
    values = declared.with_defaults(values_of({}, fixed, config))
    for _, rule in TOGETHER:
        rule(values)
    for name, value in config.items():
        if value is not None:
            _check_effect(replace(declared, fixed=values), name, f"Published {name} {value!r}", lambda chosen: True)


def unfit(declared: Declared) -> list[str]:
    """A sentence for every patience and schedule that so few epochs leave without effect, whatever the other levels."""
    acts: dict[str, bool] = {}
    for _, values in declared.reached("patience", "schedule", "step_every", "frozen_epochs"):
        epochs, patience, every = values["epochs"], values["patience"], values["step_every"]
        longest = max(values["frozen_epochs"], epochs - values["frozen_epochs"])
        if patience is not None:
            said = f"patience {patience} ends no trial of {epochs} epochs"
            acts[said] = acts.get(said, False) or patience < longest
        if values["schedule"] == "step":
            said = f"the schedule 'step' drops no rate within {epochs} epochs, as step_every is {every}"
            acts[said] = acts.get(said, False) or every < longest
    return [said for said, does in acts.items() if not does]


def shortened(values: Values, epochs: int) -> dict[str, Any]:
    """What is left of the frozen and the warm-up epochs in so few, as far as `values` name them; the rest as it is."""
    left = dict(values)
    frozen = min(values.get("frozen_epochs") or 0, epochs - 1)
    phase = min(frozen, epochs - frozen) if frozen else epochs
    for name, most in (("frozen_epochs", frozen), ("warmup_epochs", phase - 1)):
        if name in values:
            left[name] = min(values[name], most)
    if values.get("frozen_epochs") and not frozen:
        left |= {"frozen_learning_rate": None} if "frozen_learning_rate" in values else {}
    return left


def _check_ranges(declared: Declared, field: str) -> None:
    """Every trial that has use for the field has it from one range, if it has it from ranges at all."""
    names, there = declared.setting(field), set()
    needs = ACTS.get(field) or EXISTS.get(field)
    for chosen, values in declared.reached(field, *([needs.field] if needs else [])):
        here = [name for name in names if holds(declared.nuisances[name].when, chosen)]
        there.update(here)
        if len(here) > 1:
            raise InputError(
                f"Nuisances {here[0]!r} and {here[1]!r} both set {field!r}{_under(chosen)}, where only one can: let "
                "each exist under a level of its own, with `when`."
            )
        if not here and field in _TUNED and (needs is None or needs.met(values[needs.field])):
            raise InputError(
                f"{field!r} is tuned by {_listed(names)}, but{_under(chosen)} by none, so it would be "
                f"{DEFAULTS[field]} there: give that a range, too."
            )
    if missing := [name for name in names if name not in there]:
        raise InputError(f"Nuisance {missing[0]!r} exists under no combination of levels: mend its condition.")


def _check_effect(declared: Declared, name: str, said: str, is_there: Callable[[Values], bool]) -> None:
    """Some trial must have the value where it counts."""
    needs = [table[name] for table in (EXISTS, ACTS) if name in table]
    found = declared.reached(name, *(each.field for each in needs))
    if not any(is_there(chosen) and all(each.met(values[each.field]) for each in needs) for chosen, values in found):
        words = " and ".join(each.words for each in needs)
        raise InputError(f"{said} has no effect, as `{name}` counts only with {words}: leave it out, or add that.")


def _under(chosen: Values) -> str:
    return " under " + ", ".join(f"{name}={level}" for name, level in chosen.items()) if chosen else ""


def _listed(names: Iterable[str]) -> str:
    return " and ".join(map(repr, names))
