"""--dry-run: what a study would do and what it would cost, without running it."""

from collections.abc import Sequence
from pathlib import Path

from search_spaces.distributions import Condition, accepted
from study.design.plan import search_plan
from study.estimates.cost_inputs import CostInputs
from study.estimates.costs import estimate, wall_seconds
from study.estimates.left import phases_left, rate_so_far, seconds_spent
from study.estimates.resources import Resources
from study.estimates.sharing import Shareable, shareables
from study.persistence import ledger, storage
from study.price import Price, cost, money
from study.setup.data_lines import fold_lines
from study.setup.prepare import Prepared
from study.setup.promises import (
    all_tested,
    budget_line,
    claims_line,
    is_compared,
    metric_line,
    resolution_line,
    small_test_line,
)
from study.setup.study_json import StudyJson
from study.spec import Published, Study
from study.tracking.display import clock
from study.writing import count


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


def describe(prepared: Prepared, resources: Resources, price: Price) -> str:
    """Return the folds, the search, the cost of each phase, what is stored, and what the report will be able to say."""
    study, inputs, manifest = prepared.study, prepared.inputs, prepared.manifest
    costs = estimate(study, inputs)
    lines = ["", *fold_lines(manifest, study, prepared.layout), "", _search_line(prepared)]
    lines += [
        f"{phase.phase:9} {phase.trials:5} {_models(phase.phase)}, {phase.epochs:6} epochs, "
        f"about {_takes(phase.seconds / resources.concurrent, price)}"
        for phase in costs
    ]
    lines += sharing_lines(shareables(study, inputs))
    total = _takes(wall_seconds(costs, resources.concurrent), price)
    lines.append(
        f"about {total} in total with {resources.concurrent} trials at once on {prepared.base.device}, "
        f"estimated from {_sources(inputs)}"
    )
    lines += _may_follow(study)
    lines += [*_price_lines(price), *_answer_lines(study, prepared.base.metric)]
    lines += [resolution_line(manifest, study)] if is_compared(study) else []
    tested = all_tested(manifest, study, inputs, prepared.base.study_seed, prepared.test is not None)
    lines += [small_test_line(manifest, study, tested, _takes(tested.seconds, price))] if tested else []
    return "\n".join(lines)


def _may_follow(study: Study) -> list[str]:
    """Return a line about the trials that a study decides on while it runs, which no estimate has."""
    if study.goal != "factors":
        return []
    budget = study.budget
    seeds = (
        f", and up to {budget.seeds_at_most} seeds of settings in doubt" if budget.seeds_at_most > budget.seeds else ""
    )
    return [f"not in this estimate: refinement trials where a range widens or a better setting is found{seeds}"]


def describe_left(prepared: Prepared, begun: StudyJson, resources: Resources, price: Price) -> str:
    """Return what is left of the study in `prepared.out`, from its ledger, and what it costs. Nothing is written."""
    study, inputs, out = prepared.study, prepared.inputs, prepared.out
    records = list(ledger.read_records(out).values())
    left = phases_left(study, inputs, records, tested=_tested(out), cuts=ledger.read_cuts(out))
    spent = seconds_spent(records, begun.wall_seconds, begun.resources.concurrent)
    rate = rate_so_far(study, inputs, records, spent * begun.resources.concurrent)
    lines = ["", f"the study has run for {_takes(spent, price)}"]
    lines += [
        f"{item.phase:9} {item.done:5} {_models(item.phase)} finished, {item.left:5} left, "
        f"about {_takes(rate * item.seconds / resources.concurrent, price)}"
        for item in left
    ]
    rest = rate * sum(item.seconds for item in left) / resources.concurrent
    lines.append(
        f"about {_takes(rest, price)} left with {resources.concurrent} trials at once on {prepared.base.device}, "
        f"estimated from {'its speed so far' if spent else _sources(inputs)}"
    )
    return "\n".join([*lines, *_price_lines(price), *_answer_lines(study, prepared.base.metric)])


def _answer_lines(study: Study, metric: str) -> list[str]:
    budget = [] if study.goal == "published" else [f"budget: {budget_line(study)}"]
    return [*budget, metric_line(metric, study), *([claims] if (claims := claims_line(study)) else [])]


def _price_lines(price: Price) -> list[str]:
    if price.per_hour is None:
        return []
    return [f"costs are for {count(price.nodes, 'node')} at {money(price.per_hour)} per node and hour"]


def _takes(seconds: float, price: Price) -> str:
    """Return a time, and its cost if the price is known."""
    return clock(seconds) if price.per_hour is None else f"{clock(seconds)} ({money(cost(seconds, price))})"


def _tested(out: Path) -> int:
    """Return the number of models that have been evaluated on the test fold."""
    return sum(name.endswith(".predictions.parquet") for name in storage.names(out, storage.MODELS))


def _models(phase: str) -> str:
    return "models" if phase == "test" else "trials"


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


def sharing_lines(candidates: Sequence[Shareable]) -> list[str]:
    """Return a line for each kind of activations or views: whether they are stored, their cost and their size."""
    lines = []
    for shareable in candidates:
        what = "views" if shareable.depth == "all" else f"frozen layers at unfreeze {shareable.depth!r}"
        computing, reading = 1e3 * shareable.computing, 1e3 * shareable.reading
        lines.append(
            f"{'stored' if shareable.kept else 'computed'}: {what} of {shareable.backbone}, for "
            f"{count(shareable.trials, 'trial')}: an image takes {computing:.2g} ms to compute, "
            f"{reading:.2g} ms to read; {shareable.bytes / 2**30:.2g} GiB in total"
        )
    return lines


def _sources(inputs: CostInputs) -> str:
    measured = [rates.measured for rates in inputs.rates.values()]
    return (
        "rates measured here" if all(measured) else "measured and table rates" if any(measured) else "a table of rates"
    )
