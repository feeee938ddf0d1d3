"""--dry-run: what a study would do and what it would cost, without running it."""

from collections.abc import Sequence

from search_spaces.distributions import Condition, accepted
from study.design.plan import search_plan
from study.estimates.cost_inputs import CostInputs
from study.estimates.costs import estimate, wall_seconds
from study.estimates.resolution import DISAGREEMENT, planned_resolution
from study.estimates.resources import Resources
from study.estimates.sharing import Shareable, shareables
from study.setup.data_lines import fold_lines
from study.setup.prepare import Prepared
from study.spec import Published, Study
from study.tracking.display import clock


def asked(study: Study) -> str:
    """Return the contents of the study file: the question, every hyperparameter and the published configurations."""
    lines = [study.question, ""]
    for name, factor in study.factors.items():
        lines.append(f"factor    {name}: {', '.join(map(str, factor.levels))}{_under(factor.when)}")
    for name, nuisance in study.nuisances.items():
        scale = " on a log scale" if nuisance.log else ""
        lines.append(f"nuisance  {name}: {nuisance.low:g} to {nuisance.high:g}{scale}{_under(nuisance.when)}")
    lines += [f"fixed     {name}: {value}" for name, value in study.fixed.items()]
    if study.goal != "published" and "unfreeze" not in {*study.factors, *study.fixed}:
        lines.append("default   unfreeze: head, and all layers of a net that is trained from scratch")
    return "\n".join(lines + [line for published in study.published for line in ("", *_published(published))])


def _under(condition: Condition) -> str:
    """Return a condition in words. A tuple of levels means any of them."""
    parts = [f"{factor}={' or '.join(map(str, accepted(level)))}" for factor, level in condition.items()]
    return f"  (only under {', '.join(parts)})" if parts else ""


def _published(published: Published) -> list[str]:
    """Return the lines of a published configuration with its numbers."""
    values = {published.metric: published.value, **published.also}
    numbers = ", ".join(f"{metric.replace('_', ' ')} {value:.4g}" for metric, value in values.items())
    config = ", ".join(f"{name} {value}" for name, value in published.config.items())
    return [f"published {published.name}: {numbers} on {published.fold}"] + ([f"          {config}"] if config else [])


def describe(prepared: Prepared, resources: Resources) -> str:
    """Return the folds, the search, the estimated cost of each phase, what is stored, and the resolvable difference."""
    study, inputs = prepared.study, prepared.inputs
    costs = estimate(study, inputs)
    lines = ["", *fold_lines(prepared.manifest, study, prepared.layout), "", _search_line(prepared)]
    lines += [
        f"{cost.phase:9} {cost.trials:5} {'trials' if cost.phase != 'test' else 'models'}, "
        f"{cost.epochs:6} epochs, about {clock(cost.seconds / resources.concurrent)}"
        for cost in costs
    ]
    lines += sharing_lines(shareables(study, inputs))
    total = clock(wall_seconds(costs, resources.concurrent))
    lines.append(
        f"about {total} in total with {resources.concurrent} trials at once on {prepared.base.device}, "
        f"estimated from {_sources(inputs)}"
    )
    return "\n".join([*lines, _resolution_line(prepared)])


def _search_line(prepared: Prepared) -> str:
    study = prepared.study
    if study.goal == "published":
        return f"{len(study.published)} published configurations with {study.budget.seeds} seeds each"
    plan = search_plan(study, study.budget.trials, prepared.base.study_seed)
    settings = len({tuple(map(str, planned.factors.items())) for planned in plan})
    return (
        f"{settings} different settings of the factors in {len(plan)} search trials, "
        f"{sum(planned.audit for planned in plan)} of them audited (never stopped)"
    )


def _resolution_line(prepared: Prepared) -> str:
    budget = prepared.study.budget
    expected = planned_resolution(prepared.manifest, budget)
    seeds = f"rounds of {budget.test_folds} models" if budget.test_folds else "seeds"
    return (
        f"{budget.seeds} {seeds} and {expected['items']} test images resolve differences of about "
        f"{100 * expected['difference']:.1f} points "
        f"(80% power; assumes that levels disagree on {DISAGREEMENT:.0%} of the images)"
    )


def sharing_lines(candidates: Sequence[Shareable]) -> list[str]:
    """Return a line for each kind of activations or views: whether they are stored, their cost and their size."""
    lines = []
    for shareable in candidates:
        what = "views" if shareable.depth == "all" else f"frozen layers at unfreeze {shareable.depth!r}"
        computing, reading = 1e3 * shareable.computing, 1e3 * shareable.reading
        lines.append(
            f"{'stored' if shareable.kept else 'computed'}: {what} of {shareable.backbone}, for {shareable.trials} "
            f"trials: an image takes {computing:.2g} ms to compute, {reading:.2g} ms to read; "
            f"{shareable.bytes / 2**30:.2g} GiB in total"
        )
    return lines


def _sources(inputs: CostInputs) -> str:
    measured = [rates.measured for rates in inputs.rates.values()]
    return (
        "rates measured here" if all(measured) else "measured and table rates" if any(measured) else "a table of rates"
    )
