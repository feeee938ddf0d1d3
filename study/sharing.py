"""What a study keeps of what its trials have in common."""

from study.plan import search_plan
from study.settings import effective
from study.spec import Study


def worth_storing(study: Study) -> frozenset[tuple[str, str]]:
    """The (backbone, unfreeze depth) whose frozen part, or views where all trains, several trials need."""
    settings = [effective(study, planned.factors) for planned in search_plan(study, study.budget.trials, 0)]
    return frozenset((values["backbone"], values.get("unfreeze", "head")) for values in settings)
