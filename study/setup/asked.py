"""The study that the flags of the command line ask for, and how it differs from the study file."""

from collections import Counter
from dataclasses import replace

from study.arguments import Flags
from study.design.settings import from_scratch
from study.spec import Study
from trainables.errors import InputError


def as_asked(study: Study, flags: Flags) -> Study:
    """Return the study as the flags ask for it, such as --published, --weights none and those of the budget.

    Raises:
        InputError: the study does not allow one of them.
    """
    asked = {"seeds": flags.seeds, "most_seeds": flags.most_seeds}
    study = replace(study, budget=replace(study.budget, **{name: n for name, n in asked.items() if n is not None}))
    if flags.refine is not None:
        study = replace(study, budget=replace(study.budget, refine=flags.refine))
    if flags.test_folds is not None:
        study = replace(study, budget=replace(study.budget, test_folds=flags.test_folds))
    if flags.published:
        study = study.as_published(flags.epochs)
    elif flags.epochs is not None:
        study = _with_epochs(study, flags.epochs)
    if flags.trials is not None:
        study = replace(study, budget=replace(study.budget, trials=flags.trials))
    return from_scratch(study) if flags.weights == "none" else study


def _with_epochs(study: Study, epochs: int) -> Study:
    try:
        return study.at_most(epochs)
    except InputError as problem:
        fewest = study.fewest_epochs()
        raise InputError(f"--epochs {epochs}: {problem} This study needs at least {fewest}.") from None


def consequences(study: Study, asked: Study) -> list[str]:
    """Return a line for each part of the study file that the flags change, except the budget."""
    changed = [
        f"{name} {value} instead of {study.fixed[name]}"
        for name, value in asked.fixed.items()
        if study.fixed.get(name, value) != value
    ]
    if asked.goal == "published":
        before = {published.name: published.differs for published in study.published}
        added = Counter(
            line for published in asked.published for line in published.differs if line not in before[published.name]
        )
        changed += [f"{line}, in {count} of the published configurations" for line, count in added.items()]
    return [f"Changed by the flags: {line}." for line in [*changed, *asked.unfit()]]
