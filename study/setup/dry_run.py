"""--dry-run: what a study would do and what that costs, without doing it."""

import math
from collections.abc import Sequence

import pandas as pd

from search_spaces.distributions import Condition, accepted
from study.design.plan import search_plan
from study.estimates.cost_inputs import CostInputs
from study.estimates.costs import estimate, wall_seconds
from study.estimates.resources import Resources
from study.estimates.sharing import Candidate, candidates
from study.setup.data_lines import class_line, split_line
from study.setup.prepare import Prepared
from study.spec import Budget, Published, Study
from study.tracking.display import clock
from trainables.data.duplicates import conflicting_groups, copies
from trainables.data.greys import described

# Share of images on which two good settings disagree, and the spread between seeds of one setting:
# reference values for planning, to be replaced by the study's own once it ran.
_DISAGREEMENT = 0.10
_SEED_SPREAD = 0.005
_NORMAL_95, _NORMAL_80 = 1.960, 0.842


def asked(study: Study) -> str:
    """The question, every hyperparameter and what was published: all that the study's file says without its data."""
    lines = [study.question, ""]
    for name, factor in study.factors.items():
        lines.append(f"factor    {name}: {', '.join(map(str, factor.levels))}{_under(factor.when)}")
    for name, each in study.nuisances.items():
        scaled = " on a log scale" if each.log else ""
        lines.append(f"nuisance  {name}: {each.low:g} to {each.high:g}{scaled}{_under(each.when)}")
    lines += [f"fixed     {name}: {value}" for name, value in study.fixed.items()]
    if study.goal != "published" and "unfreeze" not in {*study.factors, *study.fixed}:
        lines.append("default   unfreeze: head, and all of a net that starts from random numbers")
    return "\n".join(lines + [line for each in study.published for line in ("", *_published(each))])


def _under(condition: Condition) -> str:
    """Tuples of levels are named as alternatives."""
    named = [f"{factor}={' or '.join(map(str, accepted(level)))}" for factor, level in condition.items()]
    return f"  (only under {', '.join(named)})" if named else ""


def _published(published: Published) -> list[str]:
    """A configuration with its numbers; --published runs it."""
    named = {published.metric: published.value, **published.also}
    numbers = ", ".join(f"{metric.replace('_', ' ')} {value:.4g}" for metric, value in named.items())
    config = ", ".join(f"{name} {value}" for name, value in published.config.items())
    return [f"published {published.name}: {numbers} on {published.fold}"] + ([f"          {config}"] if config else [])


def describe(prepared: Prepared, resources: Resources) -> str:
    """Arms, trials, epochs, folds, the effect that can be resolved, and the estimated cost of each phase."""
    study, inputs = prepared.study, prepared.inputs
    costs = estimate(study, inputs, prepared.base.study_seed)
    plan = search_plan(study, study.budget.trials, prepared.base.study_seed)
    settings = len({tuple(map(str, planned.factors.items())) for planned in plan})
    lines = ["", *fold_lines(prepared.manifest, study, prepared.found), ""]
    if study.goal == "published":
        lines.append(f"{len(study.published)} published configurations with {study.budget.seeds} seeds each")
    else:
        lines.append(f"{settings} different settings of the factors in {len(plan)} search trials, "
                     f"{sum(planned.audit for planned in plan)} of them audited (never stopped)")  # fmt: skip
    lines += [
        f"{cost.phase:9} {cost.trials:5} {'trials' if cost.phase != 'test' else 'models'}, "
        f"{cost.epochs:6} epochs, about {clock(cost.seconds / resources.concurrent)}"
        for cost in costs
    ]
    lines += sharing_lines(candidates(study, inputs, prepared.base.study_seed))
    total = clock(wall_seconds(costs, resources.concurrent))
    lines.append(
        f"about {total} in all with {resources.concurrent} trials at once on "
        f"{prepared.base.device}: an estimate from {_sources(inputs)}"
    )
    expected = planned_resolution(prepared.manifest, study.budget)
    seeds = (
        f"{study.budget.seeds} {f'rounds of {study.budget.test_folds} models' if study.budget.test_folds else 'seeds'}"
    )
    lines.append(
        f"{seeds} and {expected['items']} test images resolve differences of about "
        f"{100 * expected['difference']:.1f} points "
        f"(80 % power; assumes that levels disagree on {_DISAGREEMENT:.0%} of the images)"
    )
    return "\n".join(lines)


def sharing_lines(found: list[Candidate]) -> list[str]:
    """What is computed once and stored, and what is not because reading it would save nothing or has no room."""
    lines = []
    for each in found:
        what = "views" if each.depth == "all" else f"what is frozen under {each.depth!r}"
        computing, reading = 1e3 * each.computing, 1e3 * each.reading
        lines.append(
            f"{'stored' if each.kept else 'computed'}: {what} of {each.backbone}, for {each.trials} trials: an image "
            f"takes {computing:.2g} ms to compute, {reading:.2g} ms to read; {each.bytes / 2**30:.2g} GiB in all"
        )
    return lines


def _sources(inputs: CostInputs) -> str:
    measured = [rates.measured for rates in inputs.rates.values()]
    return (
        "rates measured here" if all(measured) else "measured and table rates" if any(measured) else "a table of rates"
    )


def planned_resolution(manifest: pd.DataFrame, budget: Budget) -> dict[str, float]:
    """What is to be expected of the test images and models before anything ran, for study.json."""
    tested = manifest["keep"] if budget.test_folds else manifest["fold"] == "test"
    items = int(tested.sum())
    return {"difference": resolvable_effect(items, budget.repeats), "seeds": budget.seeds, "items": items} | {
        "disagreement": _DISAGREEMENT,
        "seed_spread": _SEED_SPREAD,
    }


def resolvable_effect(items: int, seeds: int) -> float:
    """The difference in accuracy that a paired comparison finds with 80 % power at the 5 % level.

    Images and seeds as crossed random effects: the variance of a paired difference is disagreement / items plus
    twice the spread between seeds squared / seeds.
    """
    variance = _DISAGREEMENT / items + 2 * _SEED_SPREAD**2 / seeds
    return (_NORMAL_95 + _NORMAL_80) * math.sqrt(variance)


def fold_lines(manifest: pd.DataFrame, study: Study, found: Sequence[str] = ()) -> list[str]:
    """What the study has to work with and what it left out, a line each; `found` are the lines on the data's layout."""
    kept = manifest[manifest["keep"]]
    counts = kept["fold"].value_counts()
    lines = [
        f"{len(kept)} images of {kept['label'].nunique()} classes: {counts.get('test', 0)} test, "
        f"{counts.get('val', 0)} common validation, {counts.get('pool', 0)} to train on"
    ]
    lines += [*found, class_line(manifest), split_line(manifest, study.uses_official_split())]
    if "split" in study.factors:
        sizes = [f"{level}: {int((kept[f'split_{level}'] == 'train').sum())}" for level in study.levels("split")]
        lines.append(f"training images by split: {', '.join(sizes)}; the official split is ignored")
    if study.budget.test_folds:
        lines.append(
            f"that is the search; in the confirmation every image tests once a seed, in {study.budget.test_folds} "
            "test folds, and nuisances are refined for each; the official split is ignored"
        )
    dropped = manifest.loc[~manifest["keep"], "drop_reason"].value_counts()
    lines += [f"dropped: {count} {'file' if count == 1 else 'files'}, {reason}" for reason, count in dropped.items()]
    lines += described(manifest)
    twins = int(copies(kept).duplicated().sum())
    if twins:
        lines.append(f"{twins} images repeat another or nearly so: kept in the same fold as the first")
    conflicts = conflicting_groups(manifest)
    if conflicts:
        lines.append(f"{len(conflicts)} images stand under two labels, the first as {_labels(manifest, conflicts[0])}")
    return lines


def _labels(manifest: pd.DataFrame, items: list[int]) -> str:
    rows = manifest[manifest["item"].isin(items)]
    return " and ".join(f"{path!r}" for path in rows["path"])
